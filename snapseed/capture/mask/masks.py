"""Masks: all rules of a capture, ready to replace values in rows, and to sort rows anew whose key they change.

`prepare.py` makes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING

import pyarrow as pa

from snapseed.errors import SnapshotError
from snapseed.generate.draws.bits import mixed
from snapseed.postgres.facts import TableName
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.store_folder import writing_to
from snapseed.snapshot.types import ColumnType

if TYPE_CHECKING:
    from snapseed.capture.mask.values import BoundRule

# Rows that are sorted at a time take about so many bytes. They are written so many at a time.
_RUN_BYTES, _STEP = 16 << 20, 512
# Of the columns by which rows are sorted, in front of a number. No column of a table has a name like that.
_PLACE = "\0place"
_Key = tuple[object, ...]


@dataclass(frozen=True)
class MaskedColumn:
    """A column whose values are replaced. `by` are the columns that say how far the dates of a row move.

    `shown` is the name of the column in the configuration and the manifest.
    """

    name: str
    shown: str
    kind: ColumnType
    bound: BoundRule
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Masks:
    """The columns of each table whose values are replaced."""

    tables: Mapping[TableName, tuple[MaskedColumn, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """The masked columns, as the manifest lists them."""
        return tuple(sorted(column.shown for found in self.tables.values() for column in found))

    @property
    def functions(self) -> tuple[str, ...]:
        """The columns that have a function of the user's."""
        return tuple(
            column.shown
            for found in self.tables.values()
            for column in found
            if any(each and each.function for each in (column.bound, column.bound.other, *column.bound.paths.values()))
        )

    def names_in(self, table: TableName) -> frozenset[str]:
        """The masked columns of a table."""
        return frozenset(column.name for column in self.tables.get(table, ()))

    def reorders(self, table: TableName, key: Sequence[Column]) -> bool:
        """Whether the order of a table's rows changes: that of its key, or of the whole rows if it has none."""
        masked = self.names_in(table)
        return any(column.name in masked for column in key) if key else bool(masked)

    def apply(self, table: TableName, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with all rules applied.

        Raises `SnapshotError` for a rule that fails. It does not say why: the reason may quote a value.
        """
        for column in self.tables.get(table, ()):
            place = batch.schema.get_field_index(column.name)
            if place < 0:
                continue
            try:
                made = _replaced(column, batch)
            except Exception as exc:  # noqa: BLE001 - whatever it is, its text may quote a value
                raise _failed(f"{table}, column {column.name}", column.bound, exc) from None
            batch = batch.set_column(place, batch.schema.field(place), made)
        return batch


NO_MASKS = Masks({})


def _replaced(column: MaskedColumn, batch: pa.RecordBatch) -> pa.Array:
    # Not needed without masks.
    from snapseed.capture.mask.values import RuleError, replaced, shifted

    values, kind = batch.column(column.name), column.kind
    # A value somewhere in the column does not fit its own type, so that all of them are stored as text.
    is_text_form = pa.types.is_string(values.type) and not pa.types.is_string(kind.arrow)
    fitting = {"null"} if kind.is_array else {"null", "number", "date"}
    if is_text_form and column.bound.rule.rule not in fitting:
        raise RuleError(
            f"{kind.name} is stored as text, because of a value that Arrow cannot hold; use {' or '.join(fitting)}"
        )
    if column.bound.rule.rule == "date":
        bits = [column.bound.key.bits(batch.column(name))[0] for name in column.by]
        return shifted(column.bound, values, reduce(lambda word, more: mixed(word) ^ more, bits))
    if column.bound.other is not None:
        from snapseed.capture.mask.documents import replaced_documents

        return replaced_documents(values, column.bound.paths, column.bound.other)
    return replaced(column.bound, values, kind).cast(values.type)


def _failed(where: str, bound: BoundRule, exc: Exception) -> SnapshotError:
    from snapseed.capture.mask.values import RuleError

    observed = str(exc)
    if not isinstance(exc, RuleError):
        *_, (frame, line) = walk_tb(exc.__traceback__)
        place = f"{frame.f_code.co_filename}, line {line}"
        observed = f"{type(exc).__name__} in {place}; its text may quote a value, so it is not shown"
    return SnapshotError(
        f"the rule {bound.rule.rule} failed",
        where=where,
        observed=observed,
        next_step="fix the function" if bound.function else "use another rule",
    )


# ── Rows in the order of a masked key ────────────────────────────────────────────────────────────────────────────────


@dataclass
class MaskedOrder:
    """Takes rows in any order, and gives them in that of their key; without a key, in the order of their hashes.

    Memory does not grow with the rows, apart from one key of every 512. No file has an unmasked value.
    """

    columns: Sequence[Column]
    key: Sequence[Column]
    file: Path
    run_bytes: int = _RUN_BYTES
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    # Files of sorted rows; and of each of their batches the first key, the file and the number in it.
    _runs: list[Path] = field(default_factory=list)
    _written: list[tuple[_Key, Path, int]] = field(default_factory=list)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the next rows. Raises `SnapshotError` if they cannot be written."""
        self._waiting.append(self._with_places(rows))
        if sum(batch.nbytes for batch in self._waiting) > self.run_bytes:
            self._write()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order. Removes the files."""
        names = [column.name for column in self.columns]
        if self._runs and self._waiting:
            self._write()
        order, step, rest = sorted(self._written), max(1, len(self._runs)), self._waiting
        for begin in range(0, len(order), step):
            rows = _sorted([*rest, *(_read(path, number) for _, path, number in order[begin : begin + step])])
            # What is smaller than all keys of the batches that have not been read.
            end, following = len(rows), order[begin + step : begin + step + 1]
            for first, _, _ in following:
                end = bisect_left(range(len(rows)), first, key=partial(_key, rows))
            yield from rows.slice(0, end).select(names).to_batches()
            rest = rows.slice(end).to_batches()
        if rest:
            yield from _sorted(rest).select(names).to_batches()
        for path in self._runs:
            path.unlink()

    def _write(self) -> None:
        path, rows = self.file.with_name(f"{self.file.name}-{len(self._runs)}.arrow"), _sorted(self._waiting)
        self._waiting = []
        with writing_to(path.parent):
            path.parent.mkdir(exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows, max_chunksize=_STEP)
        self._runs.append(path)
        self._written += [(_key(rows, row), path, row // _STEP) for row in range(0, len(rows), _STEP)]

    def _with_places(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with columns by which they are sorted."""
        if self.key:
            places = [_sortable(rows.column(column.name)) for column in self.key]
        else:
            places = [pa.array(row_hashes(rows.columns, [column.kind() for column in self.columns]))]
        for number, place in enumerate(places):
            rows = rows.append_column(f"{_PLACE}{number}", place)
        return rows


def _sortable(values: pa.Array) -> pa.Array:
    """Values in a type that Arrow sorts and Python compares as PostgreSQL does."""
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_temporal(values.type):
        return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())  # noqa: PLR2004
    return values


def _sorted(rows: Sequence[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(rows)
    places = [name for name in table.schema.names if name.startswith(_PLACE)]
    return table.sort_by([(name, "ascending") for name in places])


def _read(path: Path, number: int) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        return reader.get_batch(number)


def _key(rows: pa.Table | pa.RecordBatch, row: int) -> _Key:
    return tuple(rows.column(name)[row].as_py() for name in rows.schema.names if name.startswith(_PLACE))
