"""Draws from what exists: options, rows of a table that match, numbers that differ among siblings.

Siblings are the children of one parent, or the items of one row; they are neighbors, and `positions` counts them from
zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.generate.draws.bits import Int64s, UInt64s, below, categories, mixed, thresholds

Options = Iterable[object] | Mapping[object, int] | pl.Series
Int32s = npt.NDArray[np.int32]

# Columns for `Groups`, with names that no table has.
_GROUP, _TOTAL = "\0group", "\0total"
# Buckets per sum: so many that most numbers find their sum at once, while the guide stays below 16 bytes a sum.
_BUCKETS = 4
# Steps from the first sum of a bucket. Numbers that need more, in long runs of small weights, are searched for.
_STEPS = 8


def chosen(bits: UInt64s, options: Options, weights: Sequence[int] | None, siblings: pl.Series | None) -> pl.Series:
    """What `Rows.choice` documents: distinct among `siblings`, if these positions are given."""
    if isinstance(options, str):
        raise ValueError(f"the options are one text, {options!r}; give a list")  # noqa: TRY004
    if isinstance(options, Mapping):
        weights = list(options.values())  # iterating over a mapping gives its options
    if not isinstance(options, pl.Series):
        options = pl.Series([option.value if isinstance(option, Enum) else option for option in options])
    if not len(options) or (weights is not None and len(weights) != len(options)):
        raise ValueError("needs at least one option, and one weight for each if there are weights")
    if siblings is not None:
        if weights is not None:
            raise ValueError("distinct options cannot have weights")
        places = distinct_below(bits, siblings, np.full(len(bits), len(options))).astype(np.int64)
    elif weights is None:
        places = below(bits, len(options)).astype(np.int64)
    else:
        places = categories(bits, thresholds(weights)).astype(np.int64)
    return options.gather(places)


def distinct_below(bits: UInt64s, positions: pl.Series, limits: Int64s, remedy: str = "") -> UInt64s:
    """Whole numbers below `limits`, different among siblings, which all have the same limit.

    The numbers are divided into as many ranges as there are siblings, and each sibling draws from its own; then all of
    them are rotated by the same random amount. Raises `ValueError` if there are more siblings than numbers.
    """
    place, count = positions.to_numpy(), counts(positions)
    first = np.arange(len(bits)) - place
    if np.any(too_many := count > limits):
        row = int(too_many.argmax())
        raise ValueError(f"{count[row]} siblings cannot be distinct among {limits[row]}{remedy}")
    sizes = limits.astype(np.uint64)
    width, more = np.divmod(limits, count)
    start, end = (number * width + number * more // count for number in (place, place + 1))
    drawn = start.astype(np.uint64) + below(bits, (end - start).astype(np.uint64))
    drawn += below(mixed(~bits[first]), sizes)
    rotated: UInt64s = np.where(drawn >= sizes, drawn - sizes, drawn)
    return rotated


def counts(positions: pl.Series) -> Int64s:
    """For each row, how many siblings there are, itself included."""
    first = np.flatnonzero(positions.to_numpy() == 0)
    sizes = np.diff(first, append=len(positions))
    return np.repeat(sizes, sizes)


def ascending(values: pl.Series, positions: pl.Series) -> pl.Series:
    """The values sorted within each group of siblings, nulls last."""
    group = (positions == 0).cum_sum()
    frame = pl.DataFrame({"group": group, "value": values}).sort("group", "value", nulls_last=True)
    return frame["value"].alias(values.name)


@dataclass(frozen=True)
class RunningSums:
    """Running sums of weights, and a guide to find the one that a number falls to.

    The guide says for each of equally wide ranges of numbers which sum is the first above its start (Chen and Asau,
    1974). Ten times faster than a binary search once the sums outgrow the processor's cache.
    """

    sums: UInt64s
    guide: Int32s
    shift: np.uint64

    @classmethod
    def of(cls, weights: Int64s) -> RunningSums:
        """The running sums of weights, which are zero or more."""
        sums = np.cumsum(weights).astype(np.uint64)
        total = int(sums[-1]) if len(sums) else 0
        shift = np.uint64(max(0, total.bit_length() - (_BUCKETS * len(sums)).bit_length()))
        starts = np.arange((total >> int(shift)) + 1, dtype=np.uint64) << shift
        return cls(sums, np.searchsorted(sums, starts, side="right").astype(np.int32), shift)

    def places(self, numbers: UInt64s) -> Int64s:
        """For each number below the last sum, how many sums do not exceed it."""
        places = self.guide[(numbers >> self.shift).astype(np.int64)].astype(np.int64)
        late = np.flatnonzero(self.sums[places] <= numbers)
        for _ in range(_STEPS):
            if not len(late):
                return places
            places[late] += 1
            late = late[self.sums[places[late]] <= numbers[late]]
        places[late] = np.searchsorted(self.sums, numbers[late], side="right")
        return places


@dataclass(frozen=True)
class Groups:
    """A table sorted into groups, whose rows have the same values in some columns, to draw rows of a group by weight.

    `known` has those columns, and the number of each group. A group has the numbers from `starts` on, `totals` of them,
    in the running sum of weights; a last one without any stands for all groups that the table does not have. `sums` has
    the running sums of the rows' weights, and is None if each row weighs one.
    """

    table: pl.DataFrame
    known: pl.DataFrame
    starts: UInt64s
    totals: UInt64s
    sums: RunningSums | None

    @classmethod
    def of(cls, table: pl.DataFrame, by: Sequence[str], weights: str | None) -> Groups:
        """Group `table` by the columns `by`; a row weighs one, or the whole number in its column `weights`.

        Raises `ValueError` for a weight that is negative or null.
        """
        if by:
            table = table.sort(by, maintain_order=True)  # the table's own order decides within a group
        weight = table[weights].cast(pl.Int64) if weights else pl.repeat(1, len(table), dtype=pl.Int64, eager=True)
        if weight.null_count() or (weight < 0).any():
            raise ValueError(f"a weight in {weights!r} is negative or null")
        found = table.select(*by, weight.alias(_TOTAL))
        found = found.group_by(by, maintain_order=True).sum() if by else found.sum()
        totals = np.append(found[_TOTAL].to_numpy(), 0).astype(np.uint64)
        known = found.select(*by, pl.int_range(pl.len()).alias(_GROUP))
        sums = RunningSums.of(weight.to_numpy()) if weights else None
        return cls(table, known, np.cumsum(totals) - totals, totals, sums)

    def drawn(self, bits: UInt64s, match: Mapping[str, pl.Series | str]) -> pl.DataFrame:
        """For each draw, a row of the group whose values `match` says.

        Raises `ValueError` for a combination of values that the table does not have.
        """
        types = self.known.schema
        own = {name: value.cast(types[name]) for name, value in match.items() if isinstance(value, pl.Series)}
        same = [pl.col(name) == value for name, value in match.items() if name not in own]
        found = self.known.filter(same).drop(match.keys() - own.keys()) if same else self.known
        if own:
            found = pl.DataFrame(own).join(found, on=list(own), how="left", maintain_order="left")
        groups = found[_GROUP] if len(found) else pl.Series([-1])
        numbers = (groups.fill_null(-1) if groups.null_count() else groups).to_numpy()
        totals = self.totals[numbers]
        if len(bits) and not totals.all():
            row = int((totals == 0).argmax())
            wanted = ", ".join(f"{name}={own[name][row] if name in own else value!r}" for name, value in match.items())
            raise ValueError(f"the table {f'has no row with {wanted}' if match else 'has no rows, or no weight'}")
        places = below(bits, totals) + self.starts[numbers]
        rows = pl.Series((places if self.sums is None else self.sums.places(places)).astype(np.uint32))
        # The values that were asked for are those that are found.
        return pl.DataFrame(
            [
                own[column.name].alias(column.name) if column.name in own else column.gather(rows)
                for column in self.table
            ]
        )
