"""The fixpoint: from the roots along all steps until no row is new. Pure but for `reach`, which finds rows.

It goes by rounds. The steps of a round begin at the rows that the last one added, and what they find is put together
in the order of the steps, so a row's reason depends on nothing else. A frame of keys has a column for each column of
the key, named `1`, `2` and so on; `why` says how a row came in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from snapseed.capture.subset.graph import Graph, Step

# Values of `why`; those from 0 on are numbers of steps.
ROOT, WHOLE = -1, -2


# Finds, for a step and the keys of rows at its start, the keys at its end; with a limit also `place` and `siblings`.
Reach = Callable[[Step, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are in the subset, and the keys of those whose children are followed."""

    present: pl.DataFrame
    followed: pl.DataFrame

    @property
    def keys(self) -> list[str]:
        """The names of the columns of the key."""
        return self.followed.columns


@dataclass(frozen=True)
class Cut:
    """Rows that a step did not take because of its limit, and how many rows have these as children."""

    rows: int = 0
    parents: int = 0


@dataclass(frozen=True)
class Closure:
    """The rows of each table by its name; and by the numbers of the steps that led anywhere, what their limits cut."""

    rows: Mapping[str, Rows]
    cuts: Mapping[int, Cut]


def closure(graph: Graph, roots: Mapping[str, list[pl.DataFrame]], reach: Reach) -> Closure:
    """The roots, all that they refer to, and the children that the steps of the graph allow.

    `roots` are keys with `why`. Every row's parents are followed. Children are followed of roots and of children, and
    of other rows by steps that say so.
    """
    rows = {table.name: _no_rows([column.is_integer for column in table.identity]) for table in graph.tables}
    descending = [ROOT, *(number for number, step in enumerate(graph.steps) if step.is_down)]
    cuts: dict[int, Cut] = {}
    found = roots
    while found:
        new = {name: _grown(rows[name], frames, descending) for name, frames in found.items()}
        rows |= {name: everything for name, (everything, _) in new.items()}
        ends: dict[str, list[pl.DataFrame]] = {name: [] for name in rows}
        for number, step in enumerate(graph.steps):
            start = _start(graph, step, new[step.start.name][1]) if step.start.name in new else pl.DataFrame()
            if start.is_empty():
                continue
            end = reach(step, start)
            cuts[number] = _with_cut(cuts.get(number, Cut()), step, end)
            keys = end.select(rows[step.end.name].keys)
            ends[step.end.name].append(keys.with_columns(why=pl.lit(number, pl.Int16)))
        found = {name: frames for name, frames in ends.items() if any(map(len, frames))}
    return Closure(rows, cuts)


def _start(graph: Graph, step: Step, new: Rows) -> pl.DataFrame:
    """The keys of the new rows from which a step begins."""
    if step.is_down:
        return new.present.select(new.keys) if step.of_parents else new.followed
    came_this_way = [
        number for number, other in enumerate(graph.steps) if other.is_down and other.reference is step.reference
    ]
    # A child that was found from its only parent need not be asked for it.
    known = pl.col("why").is_in(came_this_way if step.reference.is_to_one else [])
    return new.present.filter(~known).select(new.keys)


def _with_cut(cut: Cut, step: Step, end: pl.DataFrame) -> Cut:
    """What a step has cut so far, with the rows that it has just found."""
    if step.limit is None:
        return cut
    over = end.filter((pl.col("place") == 1) & (pl.col("siblings") > step.limit))
    return Cut(cut.rows + int(over["siblings"].sum()) - step.limit * len(over), cut.parents + len(over))


def _no_rows(are_integers: Sequence[bool]) -> Rows:
    """An empty set, for a key with these columns."""
    keys = {str(number): pl.Int64 if integer else pl.String for number, integer in enumerate(are_integers, 1)}
    return Rows(pl.DataFrame(schema={**keys, "why": pl.Int16}), pl.DataFrame(schema=keys))


def _grown(known: Rows, found: Sequence[pl.DataFrame], descending: Sequence[int]) -> tuple[Rows, Rows]:
    """The set with the rows that were found, and those of them that are new: present, or followed.

    Children are followed of rows that came in by one of the ways in `descending`, also if the row was there before.
    """
    every = pl.concat([known.present.clear(), *found])
    keys = known.keys
    present = every.unique(keys, keep="first", maintain_order=True).join(known.present, on=keys, how="anti")
    descended = every.filter(pl.col("why").is_in(descending)).select(keys).unique(maintain_order=True)
    followed = descended.join(known.followed, on=keys, how="anti")
    return Rows(known.present.vstack(present), known.followed.vstack(followed)), Rows(present, followed)
