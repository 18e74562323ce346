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
from snapseed.snapshot.store import writing_to

# Rows that are sorted at a time take about so many bytes. Every so many of them, a row is remembered.
_RUN_BYTES, _EVERY = 48 << 20, 1_024
# Of the columns by which rows are sorted, in front of a number. No column of a table has a name like that.
_PLACE = "\0place"


@dataclass
class MaskedOrder:
    """Takes rows in any order, and gives them in that of their key; without a key, in the order of their hashes.

    Memory does not grow with the rows, apart from one key of every thousand. No file has an unmasked value.
    """

    columns: Sequence[Column]
    key: Sequence[Column]
    file: Path
    run_bytes: int = _RUN_BYTES
    _waiting: list[pa.RecordBatch] = field(default_factory=list)
    _runs: list[Path] = field(default_factory=list)
    _known: list[tuple[object, ...]] = field(default_factory=list)

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the next rows. Raises `SnapshotError` if they cannot be written."""
        self._waiting.append(self._with_places(rows))
        if sum(batch.nbytes for batch in self._waiting) > self.run_bytes:
            run, path = _sorted(self._waiting), self.file.with_name(f"{self.file.name}-{len(self._runs)}.arrow")
            with writing_to(path.parent):
                path.parent.mkdir(exist_ok=True)
                with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, run.schema) as writer:
                    writer.write_table(run, max_chunksize=_EVERY)
            self._runs.append(path)
            self._known += [_key(run, row) for row in range(0, len(run), _EVERY)]
            self._waiting = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order. Removes the files."""
        runs = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in self._runs]
        if self._waiting:
            runs.append(_sorted(self._waiting))
        for pieces in self._ranges(runs):
            rows = _sorted([batch for piece in pieces for batch in piece.to_batches()])
            yield from rows.select([column.name for column in self.columns]).to_batches()
        for path in self._runs:
            path.unlink()

    def _ranges(self, runs: Sequence[pa.Table]) -> Iterator[list[pa.Table]]:
        """The rows of all runs between one key and another, so many at a time as a run has."""
        known = sorted(self._known)
        bounds = known[:: -(-len(known) // len(runs))][1:] if known else []
        ends = [
            [0, *(bisect_left(range(len(run)), key, key=partial(_key, run)) for key in bounds), len(run)]
            for run in runs
        ]
        for between in zip(*map(pairwise, ends), strict=True):
            if pieces := [run.slice(begin, end - begin) for run, (begin, end) in zip(runs, between, strict=True)]:
                yield pieces

    def _with_places(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with columns by which they are sorted."""
        if self.key:
            places = [sortable(rows.column(column.name)) for column in self.key]
        else:
            places = [pa.array(row_hashes(rows.columns, [column.kind() for column in self.columns]))]
        for number, place in enumerate(places):
            rows = rows.append_column(f"{_PLACE}{number}", place)
        return rows


def sortable(values: pa.Array) -> pa.Array:
    """Values in a type that Arrow sorts and Python compares as PostgreSQL does."""
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_temporal(values.type):
        return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())  # noqa: PLR2004
    return values


def _sorted(rows: Sequence[pa.RecordBatch]) -> pa.Table:
    table = pa.Table.from_batches(rows)
    places = [name for name in table.schema.names if name.startswith(_PLACE)]
    return table.sort_by([(name, "ascending") for name in places]).combine_chunks()


def _key(run: pa.Table, row: int) -> tuple[object, ...]:
    return tuple(run.column(name)[row].as_py() for name in run.schema.names if name.startswith(_PLACE))
