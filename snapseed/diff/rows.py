"""Which rows differ between two streams of rows: by key in the order of the key, or as multisets without one.

Rows that both sides have are dropped, by their hashes, as soon as both are there. So no more stays in memory than what
the streams are apart; without a key, also the rows that differ.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.core import Int64s
from snapseed.diff.tables import HashedRows
from snapseed.errors import UsageError
from snapseed.snapshot.arrow import in_one_piece, of_numbers, pc
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column, FirstKey
from snapseed.snapshot.types import INTEGERS, Family

_WHOLE = INTEGERS | {Family.TIME, Family.TIMESTAMP, Family.TIMESTAMPTZ}
_NUMBERED = pl.int_range(pl.len())


@dataclass(frozen=True)
class Difference:
    """Rows that only one side has, and rows whose key both have: as they were before on the left, and are after."""

    removed: pa.Table
    added: pa.Table
    before: pa.Table
    after: pa.Table


def differences(
    streams: Sequence[Iterator[HashedRows]], columns: Sequence[Column], key: Sequence[Column], at_once: int = 8_192
) -> Iterator[Difference]:
    """The rows that differ between two streams in the order of the key; without a key, no row counts as changed.

    If a side has a key several times, its rows are paired in their order. Rows are compared once `at_once` of them wait
    and twice as many as last time were left over, and at the end: the time grows with the rows that differ.
    """
    schema = arrow_schema(columns)
    # Arrow makes no other array of arrays of UUIDs from nothing.
    nothing = HashedRows(pa.table([pa.nulls(0, kind) for kind in schema.types], schema=schema), np.empty(0, np.uint64))
    waiting, last, due, enough = [nothing, nothing], dict[int, pa.Table](), [0, 1], at_once
    while due:
        found = {side: rows for side in due if (rows := next(streams[side], None))}
        last = {side: end for side, end in last.items() if side not in due}
        last |= {side: rows.table.slice(len(rows.hashes) - 1) for side, rows in found.items()}
        more = _without_equal_places(*(found.get(side, nothing) for side in (0, 1)))
        waiting = [each + rows for each, rows in zip(waiting, more, strict=True)]
        due = list(found)
        if due and sum(len(each.hashes) for each in waiting) < enough:
            continue
        only = _matched(*(pl.DataFrame({"hash": each.hashes}) for each in waiting))[:2]
        waiting = [each.at(places) for each, places in zip(waiting, only, strict=True)]
        ready, due = waiting, list(last)
        if last and key:
            ends = {side: _keys(end, key) for side, end in last.items()}
            bound = pl.concat(ends.values()).sort(pl.all()).head(1)
            due = [side for side, end in ends.items() if end.equals(bound)]
            is_before = _is_beyond(bound, "before")
            ready, waiting = (
                [each.at(_places(each.table, key, where)) for each in waiting] for where in (is_before, ~is_before)
            )
        enough = max(at_once, 2 * sum(len(each.hashes) for each in waiting))
        if (key or not last) and any(len(each.hashes) for each in ready):
            yield _paired(ready[0].table, ready[1].table, key)


def with_keys(rows: pa.Table, key: Sequence[Column], wanted: Sequence[str]) -> pa.Table:
    """The rows with these keys: `KEY`, `FIRST..LAST`, `FIRST..` or `..LAST`; all rows if none are wanted.

    Raises `UsageError` for a text that is no key, or a range that ends before it begins.
    """
    if not wanted:
        return rows
    condition = pl.lit(value=False)
    for first, last in _bounds(wanted, key):
        is_inside = pl.lit(value=True) if first is None else ~_is_beyond(first, "before")
        condition |= is_inside if last is None else is_inside & ~_is_beyond(last, "after")
    return rows.take(of_numbers(_places(rows, key, condition), pa.int64()))


def require_keys(wanted: Sequence[str], keys: Sequence[Sequence[Column]]) -> None:
    """Raises `UsageError` for a text that is no key of any of the entities with these keys."""
    for text in wanted:
        for number, key in enumerate(keys, 1):
            try:
                _bounds([text], key)
            except UsageError:
                if number == len(keys):
                    raise
            else:
                break


def overlapping(bounds: Sequence[FirstKey], key: Sequence[Column], wanted: Sequence[str]) -> range:
    """The ranges that may have rows `with_keys`: range 0 ends before the first of the bounds, the last one has no end.

    All of them if none are wanted, or if Arrow cannot read a bound, such as a moment before our era. A text that is no
    key matters only to an entity whose rows differ.
    """
    everything = range(len(bounds) + 1)
    if not (bounds and wanted):
        return everything
    columns = zip(*(bound if isinstance(bound, tuple) else (bound,) for bound in bounds), strict=True)
    try:
        asked, begins = _bounds(wanted, key), _frame([list(map(str, values)) for values in columns], key)
    except (UsageError, ValueError, pa.ArrowException):
        return everything

    def place(found: pl.DataFrame) -> int:
        """The number of the range that this key is in."""
        return begins.filter(~_is_beyond(found, "after")).height

    first = min(0 if found is None else place(found) for found, _ in asked)
    return range(first, 1 + max(len(bounds) if found is None else place(found) for _, found in asked))


def _bounds(wanted: Sequence[str], key: Sequence[Column]) -> list[tuple[pl.DataFrame | None, pl.DataFrame | None]]:
    """The first and the last key of each range that was asked for, None where it has no bound."""
    asked = [(first, last if dots else first) for first, dots, last in (text.partition("..") for text in wanted)]
    bounds = [(_bound(first, key) if first else None, _bound(last, key) if last else None) for first, last in asked]
    for text, (begin, end) in zip(wanted, bounds, strict=True):
        if begin is not None and end is not None and not end.filter(_is_beyond(begin, "before")).is_empty():
            raise UsageError("a range of keys ends before it begins", observed=text, next_step="exchange its ends")
    return bounds


def _bound(text: str, key: Sequence[Column]) -> pl.DataFrame:
    """A key that was given as text, as a frame of one row."""
    values = text.split(",") if len(key) > 1 else [text]
    try:
        # Raises `ValueError` for too few values, or too many.
        return _frame([[value.strip()] for value in values], key)
    except (ValueError, pa.ArrowException) as exc:
        raise UsageError(
            "not a key",
            observed=f"{text!r}: {exc}",
            expected=", ".join(f"{column.name} ({column.type})" for column in key) or "nothing: there is no common key",
            next_step="give a value for each column, with commas between them; --only names the entity whose key it is",
        ) from exc


def _frame(texts: Sequence[Sequence[str]], key: Sequence[Column]) -> pl.DataFrame:
    """Keys as a frame, from the texts of each of their columns."""
    return _comparable_keys([_parsed(values, column) for values, column in zip(texts, key, strict=True)], key)


def _parsed(texts: Sequence[str], column: Column) -> pa.Array:
    kind = column.kind()
    if kind.family is Family.UUID:
        storage = pa.array([uuid.UUID(text).bytes for text in texts], pa.binary(16))
        return pa.ExtensionArray.from_storage(kind.arrow, storage)
    if kind.family is Family.BYTEA:
        return pa.array([bytes.fromhex(text.removeprefix("\\x")) for text in texts], pa.binary())
    return pa.array(texts, pa.string()).cast(kind.arrow)


def _keys(rows: pa.Table, key: Sequence[Column]) -> pl.DataFrame:
    """The keys of rows, as a frame."""
    return _comparable_keys([in_one_piece(rows.column(column.name)) for column in key], key)


def _comparable_keys(columns: Sequence[pa.Array], key: Sequence[Column]) -> pl.DataFrame:
    """Keys as polars orders them as PostgreSQL does. It lacks the first and last years of PostgreSQL."""
    arrays = map(_comparable, columns, (column.kind().family for column in key))
    return pl.DataFrame(pa.table({f"key {number}": values for number, values in enumerate(arrays)}))


def _comparable(values: pa.Array, family: Family) -> pa.Array:
    """The values of a column of a key."""
    if family is Family.UUID:
        return values.storage.cast(pa.binary())
    if family is Family.CHARACTER:
        return pc.utf8_rtrim(values, " ")
    if family is Family.DATE:
        return values.cast(pa.int32())
    return values.cast(pa.int64()) if family in _WHOLE else values


def _is_beyond(bound: pl.DataFrame, where: Literal["before", "after"]) -> pl.Expr:
    """Whether a key comes before or after another: the first column in which they differ decides."""
    found = pl.lit(value=False)
    for name in reversed(bound.columns):
        column, value = pl.col(name), pl.lit(bound[name])
        found = (column < value if where == "before" else column > value) | ((column == value) & found)
    return found


def _places(rows: pa.Table, key: Sequence[Column], condition: pl.Expr) -> Int64s:
    """Where the rows are whose keys meet the condition."""
    return _keys(rows, key).select(_NUMBERED.filter(condition)).to_series().to_numpy()


def _without_equal_places(left: HashedRows, right: HashedRows) -> list[HashedRows]:
    """The rows that the other side does not have at the same place, where most rows have their counterpart."""
    if len(left.hashes) != len(right.hashes):
        return [left, right]
    places = np.flatnonzero(left.hashes != right.hashes)
    return [left.at(places), right.at(places)]


def _paired(left: pa.Table, right: pa.Table, key: Sequence[Column]) -> Difference:
    """Rows as removed and added, or as changed if both sides have their key."""
    if not key:
        return Difference(left, right, left.slice(0, 0), right.slice(0, 0))
    places = _matched(_keys(left, key), _keys(right, key))
    tables = (left, right, left, right)
    return Difference(*(rows.take(of_numbers(at, pa.int64())) for rows, at in zip(tables, places, strict=True)))


def _matched(left: pl.DataFrame, right: pl.DataFrame) -> list[Int64s]:
    """The places of the rows that only the left has, that only the right has, and that both have, left and right.

    Each row stands for one row of the other side. If equal ones repeat, they stand for each other in their order.
    """
    mine, yours = (
        each.with_columns(_NUMBERED.alias("place"), _NUMBERED.over(each.columns).alias("time"))
        for each in (left, right)
    )
    found = mine.join(yours, on=[*left.columns, "time"], how="full", maintain_order="left_right")
    here, there = found["place"], found["place_right"]
    both = here.is_not_null() & there.is_not_null()
    chosen = here.filter(there.is_null()), there.filter(here.is_null()), here.filter(both), there.filter(both)
    return [places.to_numpy() for places in chosen]
