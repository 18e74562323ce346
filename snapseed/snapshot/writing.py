"""Write the Parquet files of a snapshot, chunk by chunk. The same rows give the same bytes, however they come in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.keys import key_at
from snapseed.snapshot.manifest import Chunk, Column, FirstKey, PartFile
from snapseed.snapshot.store_folder import describe, writing_to

# Rows per chunk. Many enough to make the cost of a chunk (page headers, a step of the loader) negligible, few enough to
# keep a chunk of wide rows near 15 MB and to make a failed verification point at few rows. The manifest records it.
CHUNK_ROWS = 8_192
# Parquet writes decimals of up to this many digits as 64-bit integers, if asked.
_INTEGER_DIGITS = 18


@dataclass(frozen=True)
class WrittenFile:
    """A file as the manifest describes it, and its last key."""

    file: PartFile
    last_key: FirstKey


class PartWriter:
    """Writes rows with these columns, sorted by `key`, into one file at `path` below `folder`, in chunks.

    A `captured` file has statistics for its key alone, and floating-point numbers byte by byte: that takes less time
    and fewer bytes. The files of generated snapshots keep the bytes that they have had since format 1.

    `waiting` are the rows that do not fill a chunk yet, and `last_key` is the key of the last of all.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        key: Sequence[Column],
        folder: Path,
        path: str,
        chunk_rows: int,
        *,
        captured: bool = False,
    ) -> None:
        self.waiting: list[pa.Table] = []
        self.last_key: FirstKey | None = None
        self._columns, self._key = columns, key
        self._kinds = [column.kind() for column in columns]
        self._folder, self._path = folder, folder / path
        self._chunk_rows, self._captured = chunk_rows, captured
        self._chunks: list[Chunk] = []
        self._file: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> None:
        """Take the next rows, at least one. They wait until they fill a chunk.

        Raises `SnapshotError` if they cannot be written.
        """
        self.last_key = key_at(rows, self._key, len(rows) - 1)
        self.waiting.append(rows)
        while sum(map(len, self.waiting)) >= self._chunk_rows:
            self._write_chunk()

    def close(self, *, flush: bool = False) -> WrittenFile | None:
        """Write the rows that are left, with `flush` to the disk, and describe the file; None if there were no rows."""
        if sum(map(len, self.waiting)):
            self._write_chunk()
        if self._file is None or self.last_key is None:
            return None
        with writing_to(self._path):
            self._file.close()
            if flush:
                with self._path.open("rb") as stream:
                    os.fsync(stream.fileno())
            path, size, sha256 = describe(self._path, self._folder)
        rows = sum(chunk.rows for chunk in self._chunks)
        file = PartFile(path=path, rows=rows, bytes=size, sha256=sha256, chunks=tuple(self._chunks))
        return WrittenFile(file, self.last_key)

    def abandon(self) -> None:
        """Close the file without finishing it, because the part failed."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            # Where that cannot write to the file, it leaves it open.
            with contextlib.suppress(OSError):
                self._file.file_handle.close()

    def _write_chunk(self) -> None:
        """Write the rows of one chunk, and keep those after it."""
        table = pa.concat_tables(self.waiting)
        chunk, self.waiting = table.slice(0, self._chunk_rows).combine_chunks(), [table.slice(self._chunk_rows)]
        # Free the tables before the chunk, which is a copy of them, is encoded.
        del table
        with writing_to(self._path):
            self._file = self._file or self._open(chunk.schema)
            self._file.write_table(chunk, row_group_size=self._chunk_rows)
        digest = fingerprint([column.chunk(0) for column in chunk.columns], self._kinds)
        self._chunks.append(Chunk(len(chunk), key_at(chunk, self._key, 0), str(digest)))

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        """A writer with every option fixed, so that the bytes do not depend on defaults."""
        self._path.parent.mkdir(exist_ok=True)
        return pq.ParquetWriter(
            self._path,
            schema,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            # Level 1 takes half the time of level 3, for a few percent more bytes.
            compression_level=1,
            # A dictionary for every 8,192 rows takes more time than zstd saves on it, and more bytes.
            use_dictionary=False,
            column_encoding=dict(
                _encoding(column.name, kind.arrow, captured=self._captured)
                for column, kind in zip(self._columns, self._kinds, strict=True)
            ),
            store_decimal_as_integer=True,
            # Lists, whose elements have longer paths, go without: a vector's took two fifths of the time to write it.
            write_statistics=[column.name for column in (self._key if self._captured else self._columns)],
            data_page_size=1 << 20,
            write_batch_size=1024,
            store_schema=True,
            write_page_index=False,
            use_byte_stream_split=False,
        )


def _encoding(path: str, arrow: pa.DataType, *, captured: bool) -> tuple[str, str]:
    """A column of Parquet, which for lists is that of their elements, and the encoding of its values.

    Whole numbers, also those that stand for days, moments and decimals, are packed as differences: half the time to
    write and to read, a fifth less space.
    """
    if pa.types.is_list(arrow) or pa.types.is_fixed_size_list(arrow):
        return _encoding(f"{path}.list.element", arrow.value_type, captured=captured)
    # Decoders other than Arrow's have this one for these two types.
    if captured and (pa.types.is_float32(arrow) or pa.types.is_float64(arrow)):
        return path, "BYTE_STREAM_SPLIT"
    is_decimal = pa.types.is_decimal(arrow) and arrow.precision <= _INTEGER_DIGITS
    is_whole = is_decimal or pa.types.is_integer(arrow) or pa.types.is_temporal(arrow)
    return path, "DELTA_BINARY_PACKED" if is_whole else "PLAIN"
