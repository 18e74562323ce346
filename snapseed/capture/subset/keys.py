"""Sets of rows by their keys, as frames, and how they grow: pure, and the same whatever finds the rows.

A frame of keys has a column for each column of the key, named `1`, `2` and so on; `why` says how a row came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

# Values of `why`; those from 0 on are numbers of steps.
ROOT, WHOLE = -1, -2


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are in the subset, and the keys of those whose children are followed."""

    present: pl.DataFrame
    followed: pl.DataFrame

    @property
    def keys(self) -> list[str]:
        """The names of the columns of the key."""
        return self.followed.columns


def no_rows(are_integers: Sequence[bool]) -> Rows:
    """An empty set, for a key with these columns."""
    keys = {str(number): pl.Int64 if integer else pl.String for number, integer in enumerate(are_integers, 1)}
    return Rows(pl.DataFrame(schema={**keys, "why": pl.Int16}), pl.DataFrame(schema=keys))


def grown(known: Rows, found: Sequence[pl.DataFrame], descending: Sequence[int]) -> tuple[Rows, Rows]:
    """The set with the rows that were found, and those of them that are new: present, or followed.

    Children are followed of rows that came in by one of the ways in `descending`, also if the row was there before.
    """
    every = pl.concat([known.present.clear(), *found])
    keys = known.keys
    present = every.unique(keys, keep="first", maintain_order=True).join(known.present, on=keys, how="anti")
    descended = every.filter(pl.col("why").is_in(descending)).select(keys).unique(maintain_order=True)
    followed = descended.join(known.followed, on=keys, how="anti")
    return Rows(known.present.vstack(present), known.followed.vstack(followed)), Rows(present, followed)


def array_literal(values: pl.Series) -> str:
    """Values, none of them NULL, as an array of texts that PostgreSQL reads (PostgreSQL manual, section 8.15.6)."""
    texts = values.cast(pl.String).str.replace_all(r'(["\\])', r"\$1")
    return '{"' + str(texts.str.join('","').item()) + '"}' if len(texts) else "{}"
