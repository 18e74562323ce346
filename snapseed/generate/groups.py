"""A table laid out for weighted draws among the rows that match: sorted by group, with running weights."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.generate.running import RunningSums

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

# Up to so many pairs of numbers, what each stands for is looked up in a table of all, else searched for.
_MOST_PAIRS = 2**20


@dataclass(frozen=True)
class Groups:
    """`table` sorted into groups, which are rows of the same values in some columns.

    Group g begins at `starts[g]` of the running sum of weights, and has `totals[g]` of it; behind the last comes one
    without rows. `ends` is that sum for each row, None where each weighs one.
    """

    table: pl.DataFrame
    levels: list[_Level]
    starts: UInt64s
    totals: UInt64s
    ends: RunningSums | None

    @classmethod
    def of(cls, table: pl.DataFrame, by: list[str], weights: str | None, what: str) -> Groups:
        """Group `table` by its columns `by`; each row weighs one, or the whole number in the column `weights`.

        A table that is drawn from again is not grouped again. Raises `ValueError` that begins with `what` for a weight
        that is negative or null.
        """
        known = _groups_of(table)
        layout = (*by, None, weights)
        if layout not in known:
            known[layout] = cls._of(table, by, weights, what)
        return known[layout]

    @classmethod
    def _of(cls, table: pl.DataFrame, by: list[str], weights: str | None, what: str) -> Groups:
        table = table.clone()  # which the groups keep, and not what they are known by
        levels, numbers, count = [], np.zeros(len(table), dtype=np.int64), 1
        for name in by:
            level = _Level.of(table[name], numbers, count)
            numbers, count = level.numbers(table[name], numbers), len(level.pairs)
            levels.append(level)
        if by:
            # A stable sort: within a group the table's own order decides, whatever the sorting algorithm is.
            order = np.argsort(numbers, kind="stable")
            table, numbers = table[order], numbers[order]
        weight = np.ones(len(table), dtype=np.int64)
        if weights:
            weight = table[weights].cast(pl.Int64).fill_null(-1).to_numpy()
        if np.any(weight < 0):
            raise ValueError(f"{what}: a weight in {weights!r} is negative or null")
        before = np.concatenate([[0], np.cumsum(weight)])
        bounds = before[np.searchsorted(numbers, np.arange(count + 1))]
        totals = np.append(np.diff(bounds), 0)
        ends = RunningSums.of(weight) if weights else None
        return cls(table, levels, bounds.astype(np.uint64), totals.astype(np.uint64), ends)

    def ranges(self, match: dict[str, pl.Series | str], count: int, what: str) -> tuple[UInt64s, UInt64s]:
        """For each of `count` draws, where the weights of its group start, and their sum.

        Raises `ValueError` that begins with `what` for a combination the table does not have.
        """
        numbers = np.zeros(1, dtype=np.int64)
        for level, wanted in zip(self.levels, match.values(), strict=True):
            numbers = level.numbers(wanted if isinstance(wanted, pl.Series) else pl.Series([wanted]), numbers)
        numbers = np.broadcast_to(numbers, count)
        totals = self.totals[numbers]
        missing = totals == 0
        if missing.any():
            if not match:
                raise ValueError(f"{what}: the table has no rows, or no weight")
            row = int(missing.argmax())
            example = ", ".join(
                f"{name}={value[row] if isinstance(value, pl.Series) else value!r}" for name, value in match.items()
            )
            raise ValueError(f"{what}: the table has no row for {example}")
        return self.starts[numbers], totals

    def rows_at(self, drawn: UInt64s) -> pl.DataFrame:
        """The row of the table that each place in the running sum of weights belongs to."""
        if self.ends is None:
            return self.table[drawn.astype(np.int64)]
        return self.table[self.ends.places(drawn)]


# By the identity of a table, while it lives. Constants and pools, which most draws are made from, live on.
_KNOWN: dict[int, dict[tuple[str | None, ...], Groups]] = {}


def _groups_of(table: pl.DataFrame) -> dict[tuple[str | None, ...], Groups]:
    if id(table) not in _KNOWN:
        _KNOWN[id(table)] = {}
        weakref.finalize(table, _KNOWN.pop, id(table), None)
    return _KNOWN[id(table)]


@dataclass(frozen=True)
class _Level:
    """Numbers for the groups by some columns and one more: for each pair of a group by those and a value in this.

    `values` are the distinct ones, `pairs` the sorted numbers of the pairs there are. A pair that there is not has the
    number behind the last, as have null and any value that there is not.
    """

    values: pa.Array
    pairs: Int64s
    table: Int64s | None

    @classmethod
    def of(cls, column: pl.Series, groups: Int64s, count: int) -> _Level:
        values = pc.drop_null(pa.array(column.to_arrow()).unique())
        level = cls(values, np.zeros(0, dtype=np.int64), None)
        every, numbers = level._pairs(column, groups), len(values) + 1
        pairs = np.unique(every[every % numbers != len(values)])
        table = None
        if (count + 1) * numbers <= _MOST_PAIRS:
            table = np.full((count + 1) * numbers, len(pairs))
            table[pairs] = np.arange(len(pairs))
        return cls(values, pairs, table)

    def numbers(self, column: pl.Series, groups: Int64s) -> Int64s:
        """The number of each row's group, given that of its group by the columns before."""
        pairs = self._pairs(column, groups)
        if self.table is not None:
            return self.table[pairs]
        places = np.searchsorted(self.pairs, pairs)
        found = self.pairs[np.minimum(places, len(self.pairs) - 1)] == pairs
        return np.where(found, places, len(self.pairs))

    def _pairs(self, column: pl.Series, groups: Int64s) -> Int64s:
        indexes = pc.index_in(column.to_arrow(), value_set=self.values).fill_null(len(self.values))
        pairs: Int64s = groups * (len(self.values) + 1) + indexes.to_numpy(zero_copy_only=False)
        return pairs
