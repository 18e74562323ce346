"""The fixpoint: from the roots along all steps until no row is new. Pure but for `reach`, which finds rows.

It goes by rounds. The steps of a round begin at the rows that the last one added, and what they find is put together
in the order of the steps, so a row's reason depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from snapseed.capture.subset.graph import Graph, Step
from snapseed.capture.subset.keys import ROOT, Rows, grown, no_rows

# Finds, for a step and the keys of rows at its start, the keys at its end; with a limit also `place` and `siblings`.
Reach = Callable[[Step, pl.DataFrame], pl.DataFrame]


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
    rows = {table.name: no_rows([column.is_integer for column in table.identity]) for table in graph.tables}
    descending = [ROOT, *(number for number, step in enumerate(graph.steps) if step.is_down)]
    cuts: dict[int, Cut] = {}
    found = roots
    while found:
        new = {name: grown(rows[name], frames, descending) for name, frames in found.items()}
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
