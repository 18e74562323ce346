"""Write the rows of one table into files, sorted again if their key was masked.

Where a file ends depends on the rows alone, not on how they come in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa

from snapseed.capture.request import Sizes
from snapseed.snapshot.arrow import offsets_of
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import Column, PartFile
from snapseed.snapshot.store import Staging, part_path
from snapseed.snapshot.store_folder import writing_to
from snapseed.snapshot.writing import PartWriter, WrittenFile

# About how many bytes of rows are sorted at a time, and how many rows are written at a time.
_RUN_BYTES, _STEP = 16 << 20, 512
# The names of the columns that rows are sorted by begin with this. No column of a table has such a name.
_PLACE = "\0place"
_Key = tuple[object, ...]


@dataclass
class FileSeries:
    """The files of a range of rows. They have names of their own until `placed` knows their numbers.

    The `finisher`, which has one thread, ends a file while the next one is written.

    A file ends after every `part_rows` rows of the range, where another range could begin as well, and before a chunk
    would get too large.
    """

    folder: Path
    sizes: Sizes
    name: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    finisher: Executor
    _ended: list[Future[WrittenFile | None]] = field(default_factory=list)
    _writer: PartWriter | None = None
    _file_rows: int = 0
    _part_rows: int = 0
    _chunk_bytes: int = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take the next rows. Raises `SnapshotError` if they cannot be written."""
        sizes = self.sizes
        while len(rows):
            in_chunk = self._file_rows % sizes.chunk_rows
            piece = rows.slice(0, min(sizes.chunk_rows - in_chunk, sizes.part_rows - self._part_rows))
            left = sizes.chunk_bytes - (self._chunk_bytes if in_chunk else 0)
            ends = (size := _bytes(piece)) > left
            if ends:
                count = bisect_right(range(1, len(piece) + 1), left, key=lambda rows: _bytes(piece.slice(0, rows)))
                # A row that is too large for any chunk has one to itself.
                piece = piece.slice(0, max(count, 0 if in_chunk else 1))
                size = _bytes(piece)
            if len(piece):
                self._write(piece)
                self._chunk_bytes = size + (self._chunk_bytes if in_chunk else 0)
            self._part_rows = (self._part_rows + len(piece)) % sizes.part_rows
            if ends or not self._part_rows:
                # Its end is written while the next file begins.
                self.end_file(flush=True)
            rows = rows.slice(len(piece))

    @property
    def files(self) -> list[PartFile]:
        """The files that have ended. Raises `SnapshotError` if one could not be written."""
        return [written.file for ended in self._ended if (written := ended.result())]

    def end_file(self, *, flush: bool = False) -> None:
        """End the current file, if there is one. Raises `SnapshotError` if the one before could not be written."""
        if self._writer:
            if self._ended:
                self._ended[-1].result()
            self._ended.append(self.finisher.submit(self._writer.close, flush=flush))
        self._writer, self._file_rows = None, 0

    def abandon(self) -> None:
        """Close the current file without finishing it."""
        if self._writer:
            self._writer.abandon()

    def _write(self, piece: pa.RecordBatch) -> None:
        """Write rows into the current file, or into a new one."""
        if self._writer is None:
            path = f"{self.name}-{len(self._ended)}.parquet"
            self._writer = PartWriter(self.columns, self.key, self.folder, path, self.sizes.chunk_rows, captured=True)
        self._writer.add(pa.Table.from_batches([piece]))
        self._file_rows += len(piece)


def placed(staging: Staging, entity: str, files: list[PartFile]) -> tuple[PartFile, ...]:
    """The files of an entity, in key order, put where the snapshot has them."""
    found = []
    for number, file in enumerate(files):
        place = msgspec.structs.replace(file, path=part_path(entity, None if len(files) == 1 else number))
        staging.place(file, place)
        found.append(place)
    with suppress(OSError):
        # Of a single file, it is empty.
        (staging.folder / entity).rmdir()
    return tuple(found)


def _bytes(rows: pa.RecordBatch) -> int:
    """What the values of all columns take in Arrow."""
    return sum(map(_value_bytes, rows.columns))


def _value_bytes(array: pa.Array) -> int:
    """What the values take in Arrow, without the bits that say which are NULL."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        offsets = offsets_of(array)
        return 4 * len(array) + int(offsets[-1] - offsets[0])
    if pa.types.is_list(array.type):
        return 4 * len(array) + _value_bytes(array.flatten())
    if pa.types.is_fixed_size_list(array.type):
        return len(array) * int(array.type.list_size) * int(array.type.value_type.bit_width) // 8
    return len(array) * int(array.type.bit_width) // 8


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
        """Sort the rows that wait, and write them into a file."""
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
    """The rows in the order of their places."""
    table = pa.Table.from_batches(rows)
    places = [name for name in table.schema.names if name.startswith(_PLACE)]
    return table.sort_by([(name, "ascending") for name in places])


def _read(path: Path, number: int) -> pa.RecordBatch:
    """One batch of a file of sorted rows."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        return reader.get_batch(number)


def _key(rows: pa.Table | pa.RecordBatch, row: int) -> _Key:
    """The place of a row."""
    return tuple(rows.column(name)[row].as_py() for name in rows.schema.names if name.startswith(_PLACE))
