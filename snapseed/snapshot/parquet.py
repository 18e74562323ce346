"""Read the Parquet files of a snapshot. What a chunk takes in memory is known, and limited, before it is decoded.

A few kilobytes of Parquet can stand for gigabytes: pages are compressed, and a value of a dictionary is stored once and
repeated as often as the file likes. The footer may lie about both, so the sizes are taken from the pages themselves,
which is what Arrow allocates memory by.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.core import Int64s, longest_value, thrift_items
from snapseed.errors import SnapseedError, SnapshotError
from snapseed.snapshot.manifest import RESTORE, Column, PartFile, StoredFile
from snapseed.snapshot.store_stream import WholeReader

# The most memory that a chunk may take, and about how much is decoded at a time.
MOST_BYTES = 1 << 30
_BATCH_BYTES = 1 << 25
# A page header has two statistics of at most 4 KiB, and is small otherwise.
_HEADER_BYTES = 1 << 14
# No footer is longer: this is room for thousands of chunks.
_FOOTER_BYTES = 1 << 24
# parquet.thrift: the paths in a footer of a row group, a column of it, and fields of ColumnMetaData; the last are the
# numbers of values by level, in its SizeStatistics. A list adds FF to a path.
_GROUP, _COLUMN = 0x04FF, 0x04FF_01FF
_TYPE, _CODEC, _LENGTH, _DATA_OFFSET, _DICTIONARY_OFFSET = (_COLUMN << 16 | 0x0300 | n for n in (1, 4, 7, 9, 11))
_LEVELS = _COLUMN << 32 | 0x03_10_03_FF
_NEEDED = [_GROUP, _COLUMN, _TYPE, _CODEC, _LENGTH, _DATA_OFFSET, _DICTIONARY_OFFSET, _LEVELS]
# The same of PageHeader, and of what it says about a data page and a dictionary page.
_PAGE_KIND, _PAGE_BYTES, _PAGE_STORED, _PAGE_VALUES, _PAGE_ENCODING = 1, 2, 3, 0x0501, 0x0502
_DICTIONARY_VALUES, _DICTIONARY_ENCODING = 0x0701, 0x0702
# Type: what a value takes in Arrow, for a text (6) in addition to its characters. Integers (1, 2) may be decimals.
_BYTE_ARRAY = 6
_WIDTHS = {0: 1, 1: 16, 2: 16, 4: 4, 5: 8, _BYTE_ARRAY: 4, 7: 16}
# CompressionCodec, PageType, and the values of Encoding that our writer uses.
_CODECS = {0: None, 1: "snappy", 6: "zstd"}
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _DICTIONARY_CODES, _DIFFERENCES, _SPLIT = 0, {2, 8}, 5, 9

_Fields = dict[int, Any]


@dataclass(frozen=True)
class Part:
    """An open Parquet file of an entity, with the chunks and columns of the manifest. `path` is for messages."""

    path: str
    file: PartFile
    stream: BinaryIO
    parquet: pq.ParquetFile
    # By chunk, as `_columns_of` takes them.
    described: list[Int64s]

    def null_count(self, name: str) -> int:
        """How many values of this column are NULL, as far as the footer says; for a list, it does not."""
        with readable(self.path):
            (index,) = _leaves(self.parquet.schema, {name})
            if self.parquet.schema.column(index).max_repetition_level:
                return 0
            # How many values there are of each level: those of level 0 are NULL.
            levels = (_columns_of(chunk)[index].get(_LEVELS, []) for chunk in self.described)
            return sum(counts[0] for counts in levels if len(counts) > 1)

    def batches(self, number: int, names: Sequence[str], *, utf8: bool = True) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk, with the columns `names` in this order, in batches that take a limited amount of memory.

        Raises `SnapshotError` for damaged data and for a chunk that would take more memory than one may; with `utf8`
        also for a text that is not UTF-8.
        """
        with readable(self.path):
            if isinstance(self.stream, WholeReader):
                self.stream.drop_before(min(map(_begin, _columns_of(self.described[number]))))
            step = self._rows_at_once(number, names)
            rows = 0
            for batch in self.parquet.iter_batches(step, row_groups=[number], columns=list(names), use_threads=False):
                chosen = batch.select(names)
                for column in chosen.columns:
                    _validated(column).validate(full=utf8)
                rows += len(chosen)
                yield chosen
                # Free these rows before the next are decoded.
                del batch, chosen
            if rows != (expected := self.file.chunks[number].rows):
                raise ValueError(f"chunk {number} has {rows:,} rows, expected {expected:,}")

    def require_memory(self, names: Sequence[str]) -> None:
        """Raise `SnapshotError` for a chunk that would take more memory than one may."""
        with readable(self.path):
            for number in range(len(self.file.chunks)):
                self._rows_at_once(number, names)

    def _rows_at_once(self, number: int, names: Sequence[str]) -> int:
        """How many rows of a chunk may be decoded at a time. Raises `ValueError` if it is too large altogether."""
        schema, rows = self.parquet.schema, self.file.chunks[number].rows
        total = per_row = 0.0
        columns = _columns_of(self.described[number])
        for index in _leaves(schema, set(names)):
            values, size, per_value = _memory(self.stream, columns[index])
            total += size
            if total > MOST_BYTES:
                raise ValueError(f"chunk {number} would take more than {MOST_BYTES / 1e6:,.0f} MB of memory")
            flat = schema.column(index).max_repetition_level == 0
            if flat and values != rows:
                raise ValueError(f"chunk {number} has {rows:,} rows, but a column of {values:,} values")
            per_row += per_value if flat else size / rows
        return rows if total <= _BATCH_BYTES else max(1, int(_BATCH_BYTES / per_row))


@contextmanager
def read_part(stream: BinaryIO, path: str, columns: Sequence[Column], file: PartFile) -> Iterator[Part]:
    """The part in `stream`. Raises `SnapshotError` if it lacks these columns, or has other chunks than the manifest."""
    with readable(path):
        # Read on demand: a memory map or a read-ahead buffer took a tenth more time and counted as our memory.
        parquet = pq.ParquetFile(stream, pre_buffer=False)
        schema = parquet.schema_arrow
        for column in columns:
            index, kind = schema.get_field_index(column.name), column.kind()
            if index < 0 or not kind.stores(schema.field(index).type):
                observed = "no such column" if index < 0 else str(schema.field(index).type)
                raise ValueError(f"column {column.name!r}: {observed}, expected {kind.arrow}")
        expected = [chunk.rows for chunk in file.chunks]
        found = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
        if found != expected:
            raise ValueError(f"chunks of {_listed(found)} rows, expected {_listed(expected)}")
        described = _described_chunks(stream)
    with parquet:
        yield Part(path, file, stream, parquet, described)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn whatever fails while the file is read, which damaged data can cause, into a `SnapshotError`."""
    try:
        yield
    except SnapseedError:
        raise
    except Exception as exc:
        observed = getattr(exc, "strerror", None) or str(exc)
        raise SnapshotError(
            "a file of the snapshot cannot be read", where=path, observed=observed, next_step=RESTORE
        ) from exc


def require_loadable(path: Path, file: StoredFile) -> None:
    """Raise `SnapshotError` for a part that was just written and that no reader would accept."""
    if isinstance(file, PartFile):
        with path.open("rb", buffering=0) as stream, read_part(cast("BinaryIO", stream), str(path), (), file) as part:
            try:
                part.require_memory(part.parquet.schema_arrow.names)
            except SnapshotError as exc:
                raise SnapshotError(
                    "the rows are too large for a snapshot; the one before stays",
                    where=file.path,
                    observed=exc.observed,
                    next_step="make the values smaller",
                ) from exc


def _validated(column: pa.Array) -> pa.Array:
    """The column as Arrow can validate it: 24:00 is a time in PostgreSQL, but not in Arrow."""
    inner, lists = column.type, 0
    while pa.types.is_list(inner):
        inner, lists = inner.value_type, lists + 1
    if not pa.types.is_time(inner):
        return column
    whole: pa.DataType = pa.int64()
    for _ in range(lists):
        whole = pa.list_(whole)
    return column.cast(whole)


def _leaves(schema: pq.ParquetSchema, names: set[str]) -> list[int]:
    """The columns of the file that Arrow reads for these of a table; for a list, that of its elements."""
    paths = [schema.column(index).path.split(".") for index in range(len(schema))]
    return [
        index
        for index, path in enumerate(paths)
        if not names.isdisjoint(".".join(path[:length]) for length in range(1, len(path) + 1))
    ]


def _listed(rows: list[int]) -> str:
    """The first ten numbers of rows."""
    return ", ".join(map(str, rows[:10])) + (", …" if len(rows) > 10 else "")  # noqa: PLR2004 - enough to see it


# ── Sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Page(NamedTuple):
    """A page by its header: `bytes` when decompressed, of which the file has `stored` from `offset` on."""

    kind: int
    bytes: int
    stored: int
    offset: int
    values: int
    encoding: int


def _described_chunks(stream: BinaryIO) -> list[Int64s]:
    """What the footer says of each chunk, as `_columns_of` takes it.

    It is read here, because pyarrow ends the process for some damaged records of columns when it is asked for them.
    """
    end = stream.seek(-8, io.SEEK_END)
    length = int.from_bytes(stream.read(4), "little")
    if length > min(end, _FOOTER_BYTES):
        raise ValueError(f"a footer of {length:,} bytes")
    stream.seek(end - length)
    try:
        items, _ = thrift_items(stream.read(length))
    except ValueError as exc:
        raise ValueError("the footer is damaged") from exc
    needed = items[np.isin(items[:, 0], _NEEDED)]
    return np.split(needed, np.flatnonzero(needed[:, 0] == _GROUP))[1:]


def _columns_of(chunk: Int64s) -> list[_Fields]:
    """What the footer says of each column of a chunk: ColumnMetaData of parquet.thrift."""
    columns: list[_Fields] = []
    for path, value in chunk[chunk[:, 0] != _GROUP].tolist():
        if path == _COLUMN:
            columns.append({})
        else:
            columns[-1][path] = [*columns[-1].get(path, ()), value] if path == _LEVELS else value
    return columns


def _memory(stream: BinaryIO, column: _Fields) -> tuple[int, int, float]:
    """The number of values of a column of a chunk, the memory that it takes, and the memory that a large value takes.

    It stops where the memory exceeds `MOST_BYTES`.
    """
    width = _WIDTHS[column[_TYPE]]
    values = total = longest = 0
    per_value = 0.0
    for page in _pages(stream, column):
        total += page.bytes
        if total > MOST_BYTES:
            break
        if page.kind == _DICTIONARY_PAGE:
            longest = longest_value(_decompressed(stream, column, page)) if column[_TYPE] == _BYTE_ARRAY else 0
            continue
        is_coded = page.encoding in _DICTIONARY_CODES
        values += page.values
        total += page.values * (width + longest * is_coded)
        per_value = max(per_value, width + (longest if is_coded else page.bytes / page.values))
    return values, total, per_value


def _decompressed(stream: BinaryIO, column: _Fields, page: _Page) -> bytes:
    """The contents of a page."""
    stream.seek(page.offset)
    data, codec = stream.read(page.stored), _CODECS[column[_CODEC]]
    return data if codec is None else pa.decompress(data, page.bytes, codec, asbytes=True)


def _pages(stream: BinaryIO, column: _Fields) -> Iterator[_Page]:
    """The pages of a column of a chunk, in the order and up to the end that Arrow reads them."""
    offset = _begin(column)
    end = offset + column[_LENGTH]
    while offset < end:
        stream.seek(offset)
        page = _page(stream.read(min(_HEADER_BYTES, end - offset)), offset)
        yield page
        offset = page.offset + page.stored
    if offset != end:
        raise ValueError("the pages of a column do not end where it ends")


def _begin(column: _Fields) -> int:
    """Where the first page of a column is: that of the dictionary, if it has one."""
    data, dictionary = column[_DATA_OFFSET], column.get(_DICTIONARY_OFFSET, 0)
    return int(dictionary if 0 < dictionary < data else data)


def _page(data: bytes, offset: int) -> _Page:
    """A page by its header. Raises `ValueError` for one that our writer would not have written."""
    try:
        items, end = thrift_items(data)
        fields = dict(items.tolist())
        kind, size, stored = fields[_PAGE_KIND], fields[_PAGE_BYTES], fields[_PAGE_STORED]
        is_dictionary = kind == _DICTIONARY_PAGE
        values = fields[_DICTIONARY_VALUES if is_dictionary else _PAGE_VALUES]
        encoding = fields[_DICTIONARY_ENCODING if is_dictionary else _PAGE_ENCODING]
    except (LookupError, ValueError) as exc:
        raise ValueError("the header of a page is damaged") from exc
    if kind not in {_DATA_PAGE, _DICTIONARY_PAGE} or encoding not in {_PLAIN, *_DICTIONARY_CODES, _DIFFERENCES, _SPLIT}:
        raise ValueError(f"a page of type {kind} and encoding {encoding}, which snapseed does not write")
    if not (0 <= size < 2**31 and 0 <= stored < 2**31 and (values > 0 or kind == _DICTIONARY_PAGE)):
        raise ValueError("the header of a page has sizes out of range")
    return _Page(kind, size, stored, offset + end, values, encoding)
