"""Rows in the order of a masked key: sorted in memory, and through files of masked rows where they are too many."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.store_folder import writing_to

# Rows that are sorted at a time take about so many bytes. They are written so many at a time.
_RUN_BYTES, _STEP = 16 << 20, 512
# Of the columns by which rows are sorted, in front of a number. No column of a table has a name like that.
_PLACE = "\0place"
_Key = tuple[object, ...]


@dataclass(frozen=True)
class _Run:
    """Sorted rows in a file, in batches. `keys` has the first key of each batch."""

    path: Path
    keys: tuple[_Key, ...]

    def between(self, first: _Key | None, last: _Key | None) -> list[pa.RecordBatch]:
        """The rows from one key on, up to another one."""
        begin = 0 if first is None else max(0, bisect_left(self.keys, first) - 1)
        end = len(self.keys) if last is None else bisect_left(self.keys, last)
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            batches = [reader.get_batch(number) for number in range(begin, end)]
        return [_cut(batch, first, last) for batch in batches]


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
    _runs: list[_Run] = field(default_factory=list)

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
        known = sorted(key for run in self._runs for key in run.keys)
        # As many ranges as there are runs, so that each is about as large.
        bounds = [None, *known[:: -(-len(known) // len(self._runs))][1:], None] if known else []
        for first, last in pairwise(bounds):
            if rows := [batch for run in self._runs for batch in run.between(first, last)]:
                yield from _sorted(rows).select(names).to_batches()
        if self._waiting:
            yield from _sorted(self._waiting).select(names).to_batches()
        for run in self._runs:
            run.path.unlink()

    def _write(self) -> None:
        path, rows = self.file.with_name(f"{self.file.name}-{len(self._runs)}.arrow"), _sorted(self._waiting)
        self._waiting = []
        with writing_to(path.parent):
            path.parent.mkdir(exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows, max_chunksize=_STEP)
        self._runs.append(_Run(path, tuple(_key(rows, row) for row in range(0, len(rows), _STEP))))

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


def _key(rows: pa.Table | pa.RecordBatch, row: int) -> _Key:
    return tuple(rows.column(name)[row].as_py() for name in rows.schema.names if name.startswith(_PLACE))


def _cut(rows: pa.RecordBatch, first: _Key | None, last: _Key | None) -> pa.RecordBatch:
    """The rows from one key on, up to another one."""
    places, key = range(len(rows)), partial(_key, rows)
    begin = 0 if first is None else bisect_left(places, first, key=key)
    end = len(rows) if last is None else bisect_left(places, last, key=key)
    return rows.slice(begin, max(0, end - begin))
