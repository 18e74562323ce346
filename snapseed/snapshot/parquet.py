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
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.core import longest_value
from snapseed.errors import SnapseedError, SnapshotError
from snapseed.snapshot.manifest import RESTORE, EntityRecord, PartFile

# The most memory that a chunk may take, and about how much is decoded at a time.
MOST_BYTES = 1 << 30
_BATCH_BYTES = 1 << 25
# A page header has two statistics of at most 4 KiB, and is small otherwise.
_HEADER_BYTES = 1 << 14
# What a value takes in Arrow, for a text beside its characters.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8, "FIXED_LEN_BYTE_ARRAY": 16, "BYTE_ARRAY": 4}
# parquet.thrift: PageType, and the values of Encoding that our writer uses.
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _DICTIONARY_CODES, _DIFFERENCES = 0, {2, 8}, 5


@dataclass(frozen=True)
class Part:
    """An open Parquet file of an entity, with the chunks and columns of the manifest. `path` is for messages."""

    path: str
    file: PartFile
    stream: BinaryIO
    parquet: pq.ParquetFile

    def batches(self, number: int, names: Sequence[str], *, utf8: bool = True) -> Iterator[pa.RecordBatch]:
        """The rows of a chunk, with the columns `names` in this order, in batches that take a limited amount of memory.

        Raises `SnapshotError` for damaged data and for a chunk that would take more memory than one may; with `utf8`
        also for a text that is not UTF-8.
        """
        with readable(self.path):
            step = self.rows_at_once(number, names)
            rows = 0
            for batch in self.parquet.iter_batches(step, row_groups=[number], columns=list(names), use_threads=False):
                chosen = batch.select(names)
                chosen.validate(full=utf8)
                rows += len(chosen)
                yield chosen
                # Free these rows before the next are decoded.
                del batch, chosen
            if rows != (expected := self.file.chunks[number].rows):
                raise ValueError(f"chunk {number} has {rows:,} rows, expected {expected:,}")

    def rows_at_once(self, number: int, names: Sequence[str]) -> int:
        """How many rows of a chunk may be decoded at a time. Raises `ValueError` if it is too large altogether."""
        group, schema = self.parquet.metadata.row_group(number), self.parquet.schema
        rows = group.num_rows
        total = per_row = 0.0
        for index in _leaves(schema, set(names)):
            values, size, per_value = _memory(self.stream, group.column(index))
            total += size
            if total > MOST_BYTES:
                raise ValueError(f"chunk {number} would take more than {MOST_BYTES / 1e6:,.0f} MB of memory")
            flat = schema.column(index).max_repetition_level == 0
            if flat and values != rows:
                raise ValueError(f"chunk {number} has {rows:,} rows, but a column of {values:,} values")
            per_row += per_value if flat else size / rows
        return rows if total <= _BATCH_BYTES else max(1, int(_BATCH_BYTES / per_row))


@contextmanager
def read_part(stream: BinaryIO, path: str, entity: EntityRecord, file: PartFile) -> Iterator[Part]:
    """The part in `stream`. Raises `SnapshotError` if it does not have the columns and chunks of the manifest."""
    with readable(path):
        # Read on demand: a memory map or a read-ahead buffer took a tenth more time and counted as our memory.
        parquet = pq.ParquetFile(stream, pre_buffer=False)
        _check_columns(parquet.schema_arrow, entity)
        expected = [chunk.rows for chunk in file.chunks]
        found = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
        if found != expected:
            raise ValueError(f"chunks of {_listed(found)} rows, expected {_listed(expected)}")
    with parquet:
        yield Part(path, file, stream, parquet)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn whatever fails while the file is read, which damaged data can cause, into a `SnapshotError`."""
    try:
        yield
    except SnapseedError:
        raise
    except Exception as exc:
        observed = getattr(exc, "strerror", None) or str(exc)
        raise SnapshotError("a part cannot be read", where=path, observed=observed, next_step=RESTORE) from exc


def _check_columns(schema: pa.Schema, entity: EntityRecord) -> None:
    for column in entity.columns:
        index, kind = schema.get_field_index(column.name), column.kind()
        if index < 0 or not kind.stores(schema.field(index).type):
            observed = "no such column" if index < 0 else str(schema.field(index).type)
            raise ValueError(f"column {column.name!r}: {observed}, expected {kind.arrow}")


def _leaves(schema: pq.ParquetSchema, names: set[str]) -> list[int]:
    """The columns of the file that Arrow reads for these of a table; for a list, that of its elements."""
    paths = [schema.column(index).path.split(".") for index in range(len(schema))]
    return [
        index
        for index, path in enumerate(paths)
        if not names.isdisjoint(".".join(path[:length]) for length in range(1, len(path) + 1))
    ]


def _listed(rows: list[int]) -> str:
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


def _memory(stream: BinaryIO, column: pq.ColumnChunkMetaData) -> tuple[int, int, float]:
    """The number of values of a column of a chunk, the memory that it takes, and the memory that a large value takes.

    It stops where the memory exceeds `MOST_BYTES`.
    """
    width = _WIDTHS[column.physical_type]
    values = total = longest = 0
    per_value = 0.0
    for page in _pages(stream, column):
        total += page.bytes
        if total > MOST_BYTES:
            break
        if page.kind == _DICTIONARY_PAGE:
            longest = longest_value(_decompressed(stream, column, page)) if column.physical_type == "BYTE_ARRAY" else 0
            continue
        is_coded = page.encoding in _DICTIONARY_CODES
        values += page.values
        total += page.values * (width + longest * is_coded)
        per_value = max(per_value, width + (longest if is_coded else page.bytes / page.values))
    return values, total, per_value


def _decompressed(stream: BinaryIO, column: pq.ColumnChunkMetaData, page: _Page) -> bytes:
    stream.seek(page.offset)
    data, codec = stream.read(page.stored), column.compression.lower()
    return data if codec == "uncompressed" else pa.decompress(data, page.bytes, codec, asbytes=True)


def _pages(stream: BinaryIO, column: pq.ColumnChunkMetaData) -> Iterator[_Page]:
    """The pages of a column of a chunk, in the order and up to the end that Arrow reads them."""
    offset = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < offset:
        offset = column.dictionary_page_offset
    end = offset + column.total_compressed_size
    while offset < end:
        stream.seek(offset)
        page = _page(stream.read(min(_HEADER_BYTES, end - offset)), offset)
        yield page
        offset = page.offset + page.stored
    if offset != end:
        raise ValueError("the pages of a column do not end where it ends")


def _page(data: bytes, offset: int) -> _Page:
    header = io.BytesIO(data)
    try:
        fields = _struct(header)
        kind, size, stored = (fields[number] for number in (1, 2, 3))
        details = fields[7 if kind == _DICTIONARY_PAGE else 5]
        values, encoding = details[1], details[2]
    except (LookupError, TypeError, RecursionError) as exc:
        raise ValueError("the header of a page is damaged") from exc
    if kind not in {_DATA_PAGE, _DICTIONARY_PAGE} or encoding not in {_PLAIN, *_DICTIONARY_CODES, _DIFFERENCES}:
        raise ValueError(f"a page of type {kind} and encoding {encoding}, which snapseed does not write")
    if not (0 <= size < 2**31 and 0 <= stored < 2**31 and (values > 0 or kind == _DICTIONARY_PAGE)):
        raise ValueError("the header of a page has sizes out of range")
    return _Page(kind, size, stored, offset + header.tell(), values, encoding)


def _struct(data: io.BytesIO) -> dict[int, Any]:
    """The fields of a structure in Thrift's compact protocol, by their numbers; texts are passed over.

    No field may be there twice, because readers differ in which one counts. Raises `LookupError` for what cannot be
    read, and for types that no page header has.
    """
    fields: dict[int, Any] = {}
    number = 0
    while kind := data.read(1)[0]:
        number = number + (kind >> 4) if kind >> 4 else _integer(data)
        if number in fields:
            raise LookupError(number)
        match kind & 15:
            case 1 | 2:
                fields[number] = None  # a Boolean
            case 5 | 6:
                fields[number] = _integer(data)
            case 8:
                fields[number] = data.seek(_varint(data), io.SEEK_CUR)
            case 12:
                fields[number] = _struct(data)
            case other:
                raise LookupError(other)
    return fields


def _integer(data: io.BytesIO) -> int:
    number = _varint(data)
    return (number >> 1) ^ -(number & 1)


def _varint(data: io.BytesIO) -> int:
    result = 0
    for shift in range(0, 64, 7):
        byte = data.read(1)[0]
        result |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the highest bit says that more bytes follow
            return result
    raise LookupError(result)
