"""`Rows`: the rows a generator is asked for, and the draws it makes for them. Each draw is named by its column.

A drawn value depends on (seed, entity, column, row) and on nothing else: not on the other columns, the order of calls,
the scale, the machine or the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.generate import draws
from snapseed.generate.drawing.choices import ChoiceDraws
from snapseed.generate.drawing.identity import Int64s, int64s
from snapseed.generate.drawing.times import TimeDraws
from snapseed.generate.drawing.unique import UniqueDraws
from snapseed.generate.pools import Pools

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity


@dataclass(frozen=True)
class Rows(TimeDraws, ChoiceDraws, UniqueDraws):
    """A run of rows of one entity; `roots` and `ordinals` (both uint64, one per row) identify each of them.

    `positions` counts, from 0, the rows of the same parent (of a root entity: always 0).

    Every method that takes a `column` draws once per row and returns a `polars.Series` with one value per row. Two
    draws for one column need two names: `rows.chance("title missing", 0.1)` is as good a name as any.
    """

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

    def items(self, column: str, counts: pl.Series) -> Items:
        """`counts[i]` items for row i: rows within rows, to draw the elements of a list or the pieces of a text.

        Raises `ValueError` for counts that are null or negative, or not one for each row.

        >>> items = rows.items("tags", rows.integers("number of tags", 0, 3))
        >>> items.lists(items.choice("tag", ["red", "hot", "new"])).to_list()
        [['red'], ['red', 'hot', 'hot'], [], ['new', 'red', 'hot']]
        """
        sizes = np.atleast_1d(int64s(counts, f"items({column!r})"))
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
    are_items: ClassVar[bool] = True

    def _own_numbers(self, what: str) -> Int64s:
        raise ValueError(f"{what}: items have no numbers of their own to be unique by; draw it for rows")

    def of_owner(self, values: pl.Series) -> pl.Series:
        """A series with one value per row, repeated for each of the row's items.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.of_owner(rows.number()).to_list()
        [1, 1, 3, 4]
        """
        return values.gather(self.owners)

    def lists(self, values: pl.Series) -> pl.Series:
        """A series with one value per item as lists, one per row.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.lists(items.integers("size", 1, 9)).to_list()
        [[4, 5], [], [7], [2]]
        """
        self._check(values)
        array = values.rechunk().to_arrow()
        offsets = pa.array(self.offsets, type=pa.int64())
        result = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, array))
        assert isinstance(result, pl.Series)
        return result

    def joined(self, values: pl.Series, separator: str = " ") -> pl.Series:
        """A series with one text per item joined to one text per row.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.joined(items.choice("word", ["so", "well", "now"]), separator=", ").to_list()
        ['now, now', '', 'well', 'well']
        """
        return self.lists(values).list.join(separator)

    def total(self, values: pl.Series) -> pl.Series:
        """A series with one whole number per item, summed per row (Int64).

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.total(items.integers("cents", 1, 9)).to_list()
        [6, 0, 4, 3]
        """
        running = self._running(values)
        return pl.Series(running[self.offsets[1:]] - running[self.offsets[:-1]])

    def running_total(self, values: pl.Series) -> pl.Series:
        """For each item the sum over its row's items before it: where it starts, if the values are lengths (Int64).

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.running_total(items.integers("seconds", 1, 9)).to_list()
        [0, 9, 0, 0]
        """
        running = self._running(values)
        return pl.Series(running[:-1] - running[self.offsets[self.owners]])

    def _running(self, values: pl.Series) -> Int64s:
        self._check(values)
        return np.concatenate([[0], np.cumsum(int64s(values, "a total"))])

    def _check(self, values: pl.Series) -> None:
        if len(values) != len(self):
            raise ValueError(f"there are {len(self)} items, and {len(values)} values for them")
