"""`Rows`: the rows a generator is asked for, and the draws it makes for them. Each draw is named by its column.

A drawn value depends on (seed, entity, column, row) and on nothing else: not on the other columns, the order of calls,
the scale, the machine or the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snapseed.generate import draws
from snapseed.generate.groups import Groups
from snapseed.generate.pools import Pools

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity

Int64s = npt.NDArray[np.int64]
Numbers = int | pl.Series

_ALL_BITS = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Rows:
    """A run of rows of one entity; `roots` and `ordinals` (both uint64, one per row) identify each of them.

    `positions` counts, from 0, the rows of the same parent (of a root entity: always 0).

    Every method that takes a `column` draws once per row and returns a `polars.Series` with one value per row. Two
    draws for one column need two names: `rows.chance("title missing", 0.1)` is as good a name as any.
    """

    entity: Entity
    seed: int
    now: datetime
    pools: Pools
    roots: draws.UInt64s
    ordinals: draws.UInt64s
    positions: pl.Series
    hashes: draws.UInt64s

    @classmethod
    def of(
        cls,
        entity: Entity,
        *,
        seed: int,
        now: datetime,
        pools: Pools,
        roots: draws.UInt64s,
        ordinals: draws.UInt64s,
        positions: Int64s,
    ) -> Rows:
        """The rows with these identities."""
        hashes = draws.row_hashes(draws.key(seed, entity.name), roots, ordinals)
        return cls(entity, seed, now, pools, roots, ordinals, pl.Series(positions), hashes)

    def __len__(self) -> int:
        return len(self.roots)

    def bits(self, column: str) -> draws.UInt64s:
        """64 uniform bits per row (numpy uint64), for draws that have no method of their own."""
        return draws.column_bits(self.hashes, column)

    def key(self) -> pl.Series:
        """The keys of these rows, in the type that the entity declares for its key column, in ascending order.

        A uuid is of version 8 (RFC 9562): 48 bits root row, 24 bits ordinal, 50 bits hash. An integer is `number()`.
        Raises `ValueError` for a key of another type: such keys the generator makes itself.
        """
        return self.entity.keys_of(self.roots, self.ordinals, self.seed)

    def number(self) -> pl.Series:
        """A whole number from 1 that no other row of the entity has, ascending; the same at every scale (Int64)."""
        return pl.Series(self.entity.numbers_of(self.roots, self.ordinals))

    def integers(self, column: str, minimum: Numbers, maximum: Numbers) -> pl.Series:
        """Whole numbers from `minimum` to `maximum`, both included, each equally likely (Int64).

        The bounds are numbers or series with one value per row. Raises `ValueError` where a maximum is smaller, and
        for a bound that is null.
        """
        low, high = (_int64s(bound, f"integers({column!r})") for bound in (minimum, maximum))
        if np.any(high < low):
            raise ValueError(f"integers({column!r}): a maximum is smaller than its minimum")
        bits = self.bits(column)
        widest = high.astype(np.uint64) - low.astype(np.uint64)  # one less than the numbers to choose from; wraps
        drawn = np.where(widest == _ALL_BITS, bits, draws.below(bits, widest + (widest != _ALL_BITS)))
        return pl.Series((drawn + low.astype(np.uint64)).astype(np.int64))

    def decimals(self, column: str, minimum: Decimal | str, maximum: Decimal | str, digits: int = 2) -> pl.Series:
        """Exact decimals between the bounds, both included where they are steps of 10^-digits (Decimal)."""
        low, high = (Decimal(bound).scaleb(digits) for bound in (minimum, maximum))
        return as_decimals(self.integers(column, math.ceil(low), math.floor(high)), digits)

    def chance(self, column: str, probability: float) -> pl.Series:
        """True with this probability, from 0.0 to 1.0 (Boolean)."""
        if not 0 <= probability <= 1:
            raise ValueError(f"chance({column!r}): a probability lies between 0 and 1, got {probability}")
        if probability == 1:
            return pl.Series(np.ones(len(self), dtype=bool))
        return pl.Series(self.bits(column) < np.uint64(int(probability * 2**64)))

    def or_null(self, column: str, values: pl.Series, probability: float) -> pl.Series:
        """`values`, but null with this probability."""
        nulls = pl.repeat(None, len(self), dtype=values.dtype, eager=True)
        return nulls.zip_with(self.chance(column, probability), values).alias(column)

    def choice(
        self, column: str, options: Sequence[object] | pl.Series, weights: Sequence[int] | None = None
    ) -> pl.Series:
        """One of `options` per row; with `weights` (whole numbers, one per option) in that proportion."""
        values = options if isinstance(options, pl.Series) else pl.Series(options)
        if not len(values) or (weights is not None and len(weights) != len(values)):
            raise ValueError(f"choice({column!r}): needs options, and as many weights where there are any")
        if weights is None:
            chosen = draws.below(self.bits(column), len(values)).astype(np.int64)
        else:
            chosen = draws.categories(self.bits(column), draws.thresholds(weights)).astype(np.int64)
        return values.gather(chosen).alias(column)

    def sample(
        self, column: str, table: pl.DataFrame, weights: str | None = None, **match: pl.Series | str
    ) -> pl.DataFrame:
        """For each row, one row of `table` among those that match, as a frame with the table's columns.

        `match` names columns of the table and the value wanted there: one for all, or a series with one per row.
        `weights` names a column of whole numbers. Raises `ValueError` where a wanted combination is not in the table.
        """
        what = f"sample({column!r})"
        groups = Groups.of(table, list(match), weights, what)
        starts, totals = groups.ranges(match, len(self), what)
        return groups.rows_at(draws.below(self.bits(column), totals) + starts)

    def timestamps(
        self, column: str, start: datetime | pl.Series, end: datetime | pl.Series | None = None
    ) -> pl.Series:
        """Moments from `start` to `end` (default: the project's `now`), both included (Datetime, microseconds, UTC)."""
        low = _microseconds(start, len(self))
        high = _microseconds(self.now if end is None else end, len(self))
        return self.integers(column, low, high).cast(pl.Datetime("us", "UTC"))

    def reference(self, column: str, entity: Entity) -> pl.Series:
        """The key of a random row of a root entity that exists at every scale at which this row exists.

        For a root entity that grows these are its earlier rows; the first row of all has none and gets null. The other
        entity must take its keys from `rows.key()`.
        """
        if entity.parent is not None or self.entity.root.parent is not None:
            raise ValueError(f"reference({column!r}): {entity.name} is not a root entity")
        scale_before = self.entity.root.scale_needed(self.roots)
        limits = entity.rows_before(scale_before, same=entity is self.entity.root, roots=self.roots)
        chosen = draws.below(self.bits(column), np.maximum(limits, 1).astype(np.uint64))
        keys = entity.keys_of(chosen, np.zeros(len(self), dtype=np.uint64), self.seed)
        frame = pl.DataFrame({"key": keys, "exists": limits > 0})
        return frame.select(pl.when("exists").then("key").alias(column)).to_series()

    def pool(self, name: str) -> pl.DataFrame:
        """The pool `pools/NAME.csv` beside the generators, every column as text."""
        return self.pools.table(name)

    def items(self, column: str, counts: pl.Series) -> Items:
        """`counts[i]` items for row i: rows within rows, to draw the elements of a list or the pieces of a text.

        Raises `ValueError` for counts that are null or negative, or not one for each row.
        """
        sizes = np.atleast_1d(_int64s(counts, f"items({column!r})"))
        if len(sizes) != len(self) or np.any(sizes < 0):
            raise ValueError(
                f"items({column!r}): needs a count for each of {len(self)} rows, none negative; got {len(sizes)}"
            )
        owners = np.repeat(np.arange(len(self)), sizes)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        positions = np.arange(len(owners)) - offsets[owners]
        hashes = draws.numbered(self.bits(column)[owners], positions.astype(np.uint64))
        return Items(
            entity=self.entity,
            seed=self.seed,
            now=self.now,
            pools=self.pools,
            roots=self.roots[owners],
            ordinals=self.ordinals[owners],
            positions=pl.Series(positions),
            hashes=hashes,
            owners=owners,
            offsets=offsets,
        )


@dataclass(frozen=True)
class Items(Rows):
    """The items of some rows, one behind the other; draws as `Rows` does. `positions` counts from 0 in each row.

    `owners` is the number of each item's row, `offsets` where each row's items begin, and the end of the last.
    """

    owners: Int64s
    offsets: Int64s

    def of_owner(self, values: pl.Series) -> pl.Series:
        """A series with one value per row, repeated for each of the row's items."""
        return values.gather(self.owners)

    def lists(self, values: pl.Series) -> pl.Series:
        """A series with one value per item as lists, one per row."""
        self._check(values)
        array = values.rechunk().to_arrow()
        offsets = pa.array(self.offsets, type=pa.int64())
        result = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, array))
        assert isinstance(result, pl.Series)
        return result

    def joined(self, values: pl.Series, separator: str = " ") -> pl.Series:
        """A series with one text per item joined to one text per row."""
        return self.lists(values).list.join(separator)

    def total(self, values: pl.Series) -> pl.Series:
        """A series with one whole number per item, summed per row (Int64)."""
        running = self._running(values)
        return pl.Series(running[self.offsets[1:]] - running[self.offsets[:-1]])

    def running_total(self, values: pl.Series) -> pl.Series:
        """For each item the sum over its row's items before it: where it starts, if the values are lengths (Int64)."""
        running = self._running(values)
        return pl.Series(running[:-1] - running[self.offsets[self.owners]])

    def _running(self, values: pl.Series) -> Int64s:
        self._check(values)
        return np.concatenate([[0], np.cumsum(_int64s(values, "a total"))])

    def _check(self, values: pl.Series) -> None:
        if len(values) != len(self):
            raise ValueError(f"there are {len(self)} items, and {len(values)} values for them")


def as_decimals(units: pl.Series, digits: int) -> pl.Series:
    """Whole numbers of 10^-digits as decimals: `as_decimals(cents, 2)`. Exact, no float on the way."""
    low = units.cast(pl.Int64).to_numpy()
    words = np.stack([low, low >> 63], axis=1)  # a decimal128 is an integer of two words, the upper one the sign here
    array = pa.Array.from_buffers(
        pa.decimal128(19, digits), len(low), [None, pa.py_buffer(np.ascontiguousarray(words))]
    )
    result = pl.from_arrow(array)
    assert isinstance(result, pl.Series)
    return result


def _int64s(value: Numbers, what: str) -> Int64s:
    if isinstance(value, int):
        return np.asarray(value, dtype=np.int64)
    if value.null_count():
        raise ValueError(f"{what}: {value.null_count()} of {len(value)} values are null")
    return value.cast(pl.Int64).to_numpy()


def _microseconds(moment: datetime | pl.Series, count: int) -> pl.Series:
    if isinstance(moment, pl.Series):
        return moment.cast(pl.Datetime("us", "UTC")).cast(pl.Int64)
    return pl.Series([moment]).cast(pl.Datetime("us", "UTC")).cast(pl.Int64).new_from_index(0, count)
