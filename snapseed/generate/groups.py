"""A table laid out for weighted draws among the rows that match: sorted by group, with running weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

UInt64s = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Groups:
    """`table` sorted by the columns `by`; `ends` is the running sum of weights, `bounds` each group's share of it."""

    table: pl.DataFrame
    by: list[str]
    ends: UInt64s
    bounds: pl.DataFrame

    @classmethod
    def of(cls, table: pl.DataFrame, by: list[str], weights: str | None, what: str) -> Groups:
        """Group `table`; each row weighs one, or the whole number in the column `weights`.

        Raises `ValueError` that begins with `what` for a weight that is negative or null.
        """
        # A stable sort: within a group the table's own order decides, whatever the sorting algorithm is.
        ordered = table.sort(by, maintain_order=True) if by else table
        weight = (
            ordered[weights].cast(pl.Int64).fill_null(-1).to_numpy() if weights else np.ones(len(ordered), np.int64)
        )
        if np.any(weight < 0):
            raise ValueError(f"{what}: a weight in {weights!r} is negative or null")
        ends = np.cumsum(weight)
        columns = {name: ordered[name] for name in by}
        keyed = pl.DataFrame({**columns, "_start": ends - weight, "_end": ends})
        bounds = keyed.group_by(by).agg(pl.col("_start").min(), pl.col("_end").max()) if by else keyed
        return cls(ordered, by, ends.astype(np.uint64), bounds)

    def ranges(self, match: dict[str, pl.Series | str], count: int, what: str) -> tuple[UInt64s, UInt64s]:
        """For each of `count` draws, where the weights of its group start, and their sum.

        Raises `ValueError` that begins with `what` for a combination the table does not have.
        """
        if not self.by:
            if not len(self.ends) or not self.ends[-1]:
                raise ValueError(f"{what}: the table has no rows, or no weight")
            return np.zeros(count, dtype=np.uint64), np.full(count, self.ends[-1])
        wanted = pl.DataFrame({name: _repeated(value, count) for name, value in match.items()})
        found = wanted.join(self.bounds, on=self.by, how="left", maintain_order="left")
        missing = found.filter(pl.col("_start").is_null() | (pl.col("_end") == pl.col("_start")))
        if len(missing):
            example = ", ".join(f"{name}={missing[name][0]!r}" for name in self.by)
            raise ValueError(f"{what}: the table has no row for {example}")
        starts = found["_start"].to_numpy().astype(np.uint64)
        return starts, found["_end"].to_numpy().astype(np.uint64) - starts

    def rows_at(self, drawn: UInt64s) -> pl.DataFrame:
        """The row of the table that each place in the running sum of weights belongs to."""
        return self.table[np.searchsorted(self.ends, drawn, side="right")]


def _repeated(value: pl.Series | str, count: int) -> pl.Series:
    return value if isinstance(value, pl.Series) else pl.Series([value]).new_from_index(0, count)
