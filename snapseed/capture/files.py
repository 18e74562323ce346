"""Write the rows of one table into files. Where a file ends depends on the rows alone, not on how they come in."""

from __future__ import annotations

from bisect import bisect_right
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from snapseed.capture.request import Sizes
from snapseed.snapshot.arrow import offsets_of
from snapseed.snapshot.manifest import Column, PartFile
from snapseed.snapshot.store import Staging, part_path
from snapseed.snapshot.writing import PartWriter, WrittenFile


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
                # The next file is written meanwhile.
                self.end_file(flush=True)
            rows = rows.slice(len(piece))

    @property
    def files(self) -> list[PartFile]:
        """The files that have ended. Raises `SnapshotError` if one could not be written."""
        return [written.file for ended in self._ended if (written := ended.result())]

    def end_file(self, *, flush: bool = False) -> None:
        """End the file at hand, if there is one. Raises `SnapshotError` if the one before could not be written."""
        if self._writer:
            if self._ended:
                self._ended[-1].result()
            self._ended.append(self.finisher.submit(self._writer.close, flush=flush))
        self._writer, self._file_rows = None, 0

    def abandon(self) -> None:
        """Close the file at hand without finishing it."""
        if self._writer:
            self._writer.abandon()

    def _write(self, piece: pa.RecordBatch) -> None:
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
