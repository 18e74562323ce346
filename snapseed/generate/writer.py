"""Write one Parquet file, its rows handed over a batch at a time. The same rows give the same bytes in any batches."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.errors import GeneratorError
from snapseed.generate.table import Key, described_key, first_key, key_of
from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.manifest import Chunk, PartFile
from snapseed.snapshot.store import describe, writing_to
from snapseed.snapshot.types import Family

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity


class PartWriter:
    """One file of one entity. Rows wait until they fill a chunk; `close` writes those that are left."""

    def __init__(self, entity: Entity, path: Path, folder: Path, chunk_rows: int) -> None:
        self.first_key: Key | None = None
        self.last_key: Key | None = None
        self._entity = entity
        self._path = path
        self._folder = folder
        self._chunk_rows = chunk_rows
        self._kinds = list(entity.columns.values())
        self._waiting: list[pa.Table] = []
        self._chunks: list[Chunk] = []
        self._file: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Take the next rows, at least one, checked already by `checked_table`.

        Raises `GeneratorError` where they do not fit the rows before, `SnapshotError` where they cannot be written.
        """
        first = key_of(self._entity, table, 0)
        if self.last_key is not None and first <= self.last_key:  # type: ignore[operator]
            raise keys_do_not_ascend(self._entity, self._path.relative_to(self._folder).as_posix())
        if self._waiting and table.schema != self._waiting[0].schema:
            raise GeneratorError(
                f"the generator of {self._entity.name!r} returned other types than for the rows before",
                where=f"entity {self._entity.name!r}",
                observed=str(table.schema).replace("\n", ", "),
                expected=str(self._waiting[0].schema).replace("\n", ", "),
            )
        self.first_key = first if self.first_key is None else self.first_key
        self.last_key = key_of(self._entity, table, len(table) - 1)
        self._waiting.append(table)
        while sum(map(len, self._waiting)) >= self._chunk_rows:
            self._write_chunk()

    def close(self) -> PartFile:
        """Write what waits, and describe the file."""
        if sum(map(len, self._waiting)):
            self._write_chunk()
        assert self._file is not None
        with writing_to(self._path):
            self._file.close()
            path, size, sha256 = describe(self._path, self._folder)
        rows = sum(chunk.rows for chunk in self._chunks)
        return PartFile(path=path, rows=rows, bytes=size, sha256=sha256, chunks=tuple(self._chunks))

    def abandon(self) -> None:
        """Let go of the file, which is of no use any more: a part before it failed."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _write_chunk(self) -> None:
        # The batches are let go before the chunk, which is a copy of them, is encoded.
        chunk, self._waiting = self._taken()
        with writing_to(self._path):
            self._file = self._file or self._open(chunk.schema)
            self._file.write_table(chunk, row_group_size=self._chunk_rows)
        # Give back what is left behind (malloc_trim) before the fingerprint, which takes most. Once a chunk: 30 MB less
        # at the peak; after every call of a generator, the system would be busy a third of the time with it.
        pa.system_memory_pool().release_unused()
        digest = fingerprint([column.chunk(0) for column in chunk.columns], self._kinds)
        self._chunks.append(Chunk(len(chunk), first_key(self._entity, chunk), str(digest)))

    def _taken(self) -> tuple[pa.Table, list[pa.Table]]:
        """A chunk of the waiting rows in one piece, and the rest."""
        table = pa.concat_tables(self._waiting)
        return table.slice(0, self._chunk_rows).combine_chunks(), [table.slice(self._chunk_rows)]

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        """A writer with every option fixed."""
        self._path.parent.mkdir(exist_ok=True)
        return pq.ParquetWriter(
            self._path,
            schema,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            # Level 1 halves the time of level 3 for a few per cent more bytes on text and vectors alike.
            compression_level=1,
            use_dictionary=self._dictionary_columns(),
            write_statistics=self._statistics_columns(),
            data_page_size=1 << 20,
            write_batch_size=1024,
            dictionary_pagesize_limit=1 << 20,
            store_schema=True,
            write_page_index=False,
            use_byte_stream_split=False,
        )

    def _statistics_columns(self) -> list[str]:
        """Every column but vectors, whose least and largest numbers say nothing and cost two fifths of writing them."""
        return [
            name + kind.dimensions * ".list.element"
            for name, kind in self._entity.columns.items()
            if kind.family is not Family.VECTOR
        ]

    def _dictionary_columns(self) -> list[str]:
        """Columns whose values may repeat. Keys of one column and floats do not, and trying costs time."""
        never = {Family.REAL, Family.DOUBLE, Family.VECTOR}
        return [
            name for name, kind in self._entity.columns.items() if name != self._entity.key and kind.family not in never
        ]


def keys_do_not_ascend(entity: Entity, path: str) -> GeneratorError:
    """The error for keys that are in order among the rows of one call, but not from one call to the next."""
    return GeneratorError(
        f"the keys of {entity.name!r} do not ascend from one range of root rows to the next",
        where=f"entity {entity.name!r}, {described_key(entity)}",
        observed=f"{path} holds a key that is smaller than, or the same as, one of earlier root rows",
        expected="keys that are unique and ascend with the root row; "
        + ("rows.key() makes such keys" if isinstance(entity.key, str) else "so does the parent's key"),
    )
