"""The fixpoint: from the roots along all steps until no row is new. Pure, except for `reach`, which finds rows.

It goes by rounds. The steps of a round begin at the rows that the last one added, and what they find is put together
in the order of the steps, so a row's reason depends on nothing else.

A set of rows is a frame: a column for each column of the key, named `1`, `2` and so on; `why`, how a row came in first;
and `down`, whether its children are followed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from snapseed.capture.subset.graph import Graph, Step

# Values of `why`; those from 0 on are numbers of steps.
ROOT, WHOLE = -1, -2

# A frame that has grown so often is put into one piece.
_MOST_CHUNKS = 50

# A step within a table from so few rows is repeated by the server until nothing is left. With more, it would follow the
# same rows many times.
_CHAIN_STARTS = 500

# Finds, for a step and the keys of rows at its start, the keys at its end; with a limit also `place` and `siblings`. If
# told to repeat the step, it finds all rows that follow.
Reach = Callable[[Step, pl.DataFrame, bool], pl.DataFrame]


@dataclass(frozen=True)
class Cut:
    """Rows that a step did not take because of its limit, and how many rows have these as children."""

    rows: int = 0
    parents: int = 0


@dataclass(frozen=True)
class Closure:
    """The rows of each table by its name; and by the numbers of the steps that led anywhere, what their limits cut."""

    rows: Mapping[str, pl.DataFrame]
    cuts: Mapping[int, Cut]


def closure(graph: Graph, roots: Mapping[str, list[pl.DataFrame]], reach: Reach) -> Closure:
    """The roots, all that they refer to, and the children that the steps of the graph allow, sorted by their keys.

    `roots` are keys with `why`. Every row's parents are followed. Children are followed of roots and of children, and
    of other rows by steps that say so.
    """
    rows: dict[str, pl.DataFrame] = {}
    descending = [ROOT, *(number for number, step in enumerate(graph.steps) if step.is_down)]
    cuts: dict[int, Cut] = {}
    found, repeated = dict(roots), set[int]()
    while found:
        new = {}
        for name, frames in found.items():
            rows[name], new[name] = _grown(rows.get(name), pl.concat(frames), descending)
        found, done, repeated = {}, repeated, set()
        for number, step in enumerate(graph.steps):
            if step.start.name not in new:
                continue
            start = _start(graph, number, new[step.start.name], is_done=number in done)
            if start.is_empty():
                continue
            if step.is_chain and len(start) <= _CHAIN_STARTS:
                repeated.add(number)
            end = reach(step, start, number in repeated)
            cut = cuts.setdefault(number, Cut())
            if step.limit is not None:
                over = end.filter((pl.col("place") == 1) & (pl.col("siblings") > step.limit))
                left_out = int(over["siblings"].sum()) - step.limit * len(over)
                cuts[number] = Cut(cut.rows + left_out, cut.parents + len(over))
            if not end.is_empty():
                keys = end.select(keys_of(end)).with_columns(why=pl.lit(number, pl.Int16))
                found.setdefault(step.end.name, []).append(keys)
    return Closure({name: frame.sort(keys_of(frame)) for name, frame in rows.items()}, cuts)


def keys_of(frame: pl.DataFrame) -> list[str]:
    """The names of the columns of the key."""
    return [name for name in frame.columns if name.isdecimal()]


def _start(graph: Graph, number: int, new: pl.DataFrame, *, is_done: bool) -> pl.DataFrame:
    """The keys of the new rows from which a step begins; not of those that it found itself, if it was repeated."""
    step = graph.steps[number]
    needless = [number] if is_done else []
    if not step.is_down and step.reference.is_to_one:
        # A child that was found from its only parent need not be asked for it.
        needless += [
            other for other, down in enumerate(graph.steps) if down.is_down and down.reference is step.reference
        ]
    begins = pl.col("down") if step.is_down and not step.of_parents else pl.col("is_new")
    return new.filter(begins & ~pl.col("why").is_in(needless)).select(keys_of(new))


def _grown(
    known: pl.DataFrame | None, found: pl.DataFrame, descending: Sequence[int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The set with the rows that were found, and what is new: rows, and that children of known rows are followed."""
    keys = keys_of(found)
    # Sorted, because Polars takes much more memory to find distinct rows by their hashes.
    found = found.with_columns(down=pl.col("why").is_in(descending)).sort(
        *keys, "down", "why", descending=[*(False for _ in keys), True, False]
    )
    is_first = pl.any_horizontal(pl.col(key) != pl.col(key).shift() for key in keys).fill_null(value=True)
    found = found.filter(is_first)
    if known is None:
        return found, found.with_columns(is_new=True)
    # The smaller side is hashed: this does not cost more with each round.
    met = known.join(found.select(*keys, now=pl.col("down")), on=keys)
    fresh, raised = found.join(met, on=keys, how="anti"), met.filter(pl.col("now") & ~pl.col("down"))
    if not raised.is_empty():
        marks = known.join(raised.select(*keys, "now"), on=keys, how="left", maintain_order="left")
        known = known.with_columns(down=pl.col("down") | marks["now"].fill_null(value=False))
    new = pl.concat([fresh.with_columns(is_new=True), raised.with_columns(down=True, is_new=False).drop("now")])
    everything = known.vstack(fresh)
    return everything if everything.n_chunks() < _MOST_CHUNKS else everything.rechunk(), new
