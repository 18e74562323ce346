"""Which rows differ between two streams of rows: by key in the order of the key, or as multisets without one.

Rows that both sides have are dropped, by their hashes, as soon as both are there. So no more stays in memory than what
the streams are apart; without a key, also the rows that differ.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.diff.tables import Rows
from snapseed.errors import UsageError
from snapseed.snapshot.arrow import in_one_piece, pc
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.manifest import Column, FirstKey
from snapseed.snapshot.types import INTEGERS, Family

_HASH, _PLACE, _TIME = "hash", "place", "time"
_NUMBERED = pl.int_range(pl.len())


@dataclass(frozen=True)
class Difference:
    """Rows that only one side has, and rows whose key both have: as they were before on the left, and are after."""

    removed: pa.Table
    added: pa.Table
    before: pa.Table
    after: pa.Table


@dataclass(frozen=True)
class _Waiting:
    """Rows of one side whose counterparts may still come. The index has their keys and hashes."""

    rows: pa.Table
    index: pl.DataFrame

    def at(self, places: pl.Series) -> _Waiting:
        """The rows at these places."""
        return (
            self if len(places) == len(self.index) else _Waiting(self.rows.take(places.to_arrow()), self.index[places])
        )


def differences(
    left: Iterator[Rows], right: Iterator[Rows], columns: Sequence[Column], key: Sequence[Column]
) -> Iterator[Difference]:
    """The rows that differ between two streams in the order of the key; without a key, no row counts as changed.

    If a side has a key several times, its rows are paired in their order.
    """
    streams, keys = (left, right), [f"key {number}" for number in range(len(key))]
    schema = arrow_schema(columns)
    # Arrow makes no other array of arrays of UUIDs from nothing.
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
    waiting = [_indexed(Rows(nothing, np.empty(0, np.uint64)), key)] * 2
    last: dict[int, pl.DataFrame] = {}
    due = [0, 1]
    while due:
        for side in due:
            last.pop(side, None)
            if found := next(streams[side], None):
                more = _indexed(found, key)
                last[side] = more.index.tail(1)
                waiting[side] = _Waiting(
                    pa.concat_tables([waiting[side].rows, more.rows]), pl.concat([waiting[side].index, more.index])
                )
        waiting = _without_equal(*waiting)
        due = list(last)
        ready = waiting
        if last and key:
            bound = pl.concat(last.values()).sort(keys).select(keys).head(1)
            due = [side for side, index in last.items() if index.select(keys).equals(bound)]
            before = [_places(each, _is_beyond(bound, "before")) for each in waiting]
            ready = [each.at(places) for each, places in zip(waiting, before, strict=True)]
            after = [_places(each, ~_is_beyond(bound, "before")) for each in waiting]
            waiting = [each.at(places) for each, places in zip(waiting, after, strict=True)]
        if (key or not last) and any(each.rows.num_rows for each in ready):
            yield _paired(ready[0], ready[1], keys)


def with_keys(rows: pa.Table, key: Sequence[Column], wanted: Sequence[str]) -> pa.Table:
    """The rows with these keys: `KEY`, `FIRST..LAST`, `FIRST..` or `..LAST`; all rows if none are wanted.

    Raises `UsageError` for a text that is no key.
    """
    if not wanted:
        return rows
    condition = pl.lit(value=False)
    for first, last in _bounds(wanted, key):
        is_inside = pl.lit(value=True) if first is None else ~_is_beyond(first, "before")
        condition |= is_inside if last is None else is_inside & ~_is_beyond(last, "after")
    columns = {name: in_one_piece(rows.column(name)) for name in (column.name for column in key)}
    index = pl.DataFrame(pa.table(_key_columns(columns, key)))
    return rows.take(index.select(_NUMBERED.filter(condition).alias(_PLACE))[_PLACE].to_arrow())


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
        return begins.filter(~_is_beyond(found, "after")).height

    first = min(0 if found is None else place(found) for found, _ in asked)
    return range(first, 1 + max(len(bounds) if found is None else place(found) for _, found in asked))


def _bounds(wanted: Sequence[str], key: Sequence[Column]) -> list[tuple[pl.DataFrame | None, pl.DataFrame | None]]:
    """The first and the last key of each range that was asked for, None where it has no bound."""
    ranges = [text.partition("..") for text in wanted]
    asked = [(first, last if dots else first) for first, dots, last in ranges]
    return [(_bound(first, key) if first else None, _bound(last, key) if last else None) for first, last in asked]


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
    parsed = {column.name: _parsed(values, column) for column, values in zip(key, texts, strict=True)}
    return pl.DataFrame(pa.table(_key_columns(parsed, key)))


def _parsed(texts: Sequence[str], column: Column) -> pa.Array:
    kind = column.kind()
    if kind.family is Family.UUID:
        storage = pa.array([uuid.UUID(text).bytes for text in texts], pa.binary(16))
        return pa.ExtensionArray.from_storage(kind.arrow, storage)
    if kind.family is Family.BYTEA:
        return pa.array([bytes.fromhex(text.removeprefix("\\x")) for text in texts], pa.binary())
    return pa.array(texts, pa.string()).cast(kind.arrow)


def _indexed(found: Rows, key: Sequence[Column]) -> _Waiting:
    columns = _key_columns({column.name: found.batch.column(column.name) for column in key}, key)
    hashes = pa.array(found.hashes.view(np.int64))
    return _Waiting(pa.Table.from_batches([found.batch]), pl.DataFrame(pa.table({**columns, _HASH: hashes})))


def _key_columns(columns: Mapping[str, pa.Array], key: Sequence[Column]) -> dict[str, pa.Array]:
    return {f"key {number}": _comparable(columns[column.name], column) for number, column in enumerate(key)}


def _comparable(values: pa.Array, column: Column) -> pa.Array:
    """Values of a key as polars orders them as PostgreSQL does. It lacks the first and last years of PostgreSQL."""
    kind = column.kind()
    match kind.family:
        case Family.UUID:
            return values.storage.cast(pa.binary())
        case Family.CHARACTER:
            return pc.utf8_rtrim(values, " ")
        case Family.DATE:
            return values.cast(pa.int32()).cast(pa.int64())
        case Family.TIME | Family.TIMESTAMP | Family.TIMESTAMPTZ:
            return values.cast(pa.int64())
        case family:
            return values.cast(pa.int64()) if family in INTEGERS else values


def _is_beyond(bound: pl.DataFrame, where: Literal["before", "after"]) -> pl.Expr:
    """Whether a key comes before or after another: the first column in which they differ decides."""
    found = pl.lit(value=False)
    for name in reversed(bound.columns):
        column, value = pl.col(name), pl.lit(bound[name])
        found = (column < value if where == "before" else column > value) | ((column == value) & found)
    return found


def _places(waiting: _Waiting, condition: pl.Expr) -> pl.Series:
    return waiting.index.select(_NUMBERED.filter(condition).alias(_PLACE))[_PLACE]


def _without_equal(left: _Waiting, right: _Waiting) -> list[_Waiting]:
    """The rows that the other side does not have. Each row stands for one of the same hash on the other side."""
    sides = [left, right]
    if len(left.index) == len(right.index):
        # Most rows have their counterpart at the same place.
        places = pl.Series(np.flatnonzero(left.index[_HASH].to_numpy() != right.index[_HASH].to_numpy()))
        sides = [each.at(places) for each in sides]
    if any(each.index.is_empty() for each in sides):
        return sides
    indexes = [each.index.select(_HASH, _NUMBERED.alias(_PLACE), _NUMBERED.over(_HASH).alias(_TIME)) for each in sides]
    return [
        each.at(mine.join(other, on=[_HASH, _TIME], how="anti", maintain_order="left")[_PLACE])
        for each, mine, other in zip(sides, indexes, reversed(indexes), strict=True)
    ]


def _paired(left: _Waiting, right: _Waiting, keys: list[str]) -> Difference:
    if not keys:
        return Difference(left.rows, right.rows, left.rows.slice(0, 0), right.rows.slice(0, 0))
    mine, yours = (
        each.index.select(*keys, _NUMBERED.alias(_PLACE), _NUMBERED.over(keys).alias(_TIME)) for each in (left, right)
    )
    by = [*keys, _TIME]
    both = mine.join(yours, on=by, how="inner", maintain_order="left")
    only = [one.join(other, on=by, how="anti", maintain_order="left") for one, other in ((mine, yours), (yours, mine))]
    places = (only[0][_PLACE], only[1][_PLACE], both[_PLACE], both[f"{_PLACE}_right"])
    tables = (left.rows, right.rows, left.rows, right.rows)
    return Difference(*(rows.take(at.to_arrow()) for rows, at in zip(tables, places, strict=True)))
