"""Arrow columns as the bytes that PostgreSQL has for their values: described to the compiled core, which makes them.

The COPY stream and the fingerprint are both made from these descriptions, so what is verified is what was sent.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.core import ColumnBuffers, Kind, library, reason
from snapseed.snapshot.types import REAL_OID, TEXT_OID, ColumnType, Family

KINDS = {
    Family.BOOLEAN: Kind.BOOLEAN,
    Family.SMALLINT: Kind.SWAPPED2,
    Family.INTEGER: Kind.SWAPPED4,
    Family.BIGINT: Kind.SWAPPED8,
    Family.REAL: Kind.REAL,
    Family.DOUBLE: Kind.DOUBLE,
    Family.NUMERIC: Kind.DECIMAL,
    Family.TEXT: Kind.TEXT,
    Family.CHARACTER: Kind.TEXT,
    Family.BYTEA: Kind.TEXT,
    Family.UUID: Kind.BYTES,
    Family.DATE: Kind.DATE,
    Family.TIME: Kind.SWAPPED8,
    Family.TIMESTAMP: Kind.TIMESTAMP,
    Family.TIMESTAMPTZ: Kind.TIMESTAMP,
    Family.JSON: Kind.TEXT,
    Family.JSONB: Kind.JSONB,
    Family.VECTOR: Kind.VECTOR,
    Family.TEXT_FORM: Kind.TEXT,
}
UUID_BYTES = 16
_TEXTS = {Kind.TEXT, Kind.TRIMMED, Kind.JSONB}


@dataclass(frozen=True)
class Described:
    """Columns side by side as the core takes them. Their addresses are valid as long as this object lives."""

    records: ctypes.Array[ColumnBuffers]
    rows: int
    columns: tuple[pa.Array, ...]

    def most_bytes(self) -> int:
        """The most bytes that `encoded` takes. Raises `ValueError` for a value that PostgreSQL does not have."""
        row = ctypes.c_int64()
        size = library().snapseed_bound(self.records, len(self.records), 0, self.rows, ctypes.byref(row))
        return self._required(size, row.value)

    def encoded(self) -> pa.Buffer:
        """The rows as a binary COPY stream without header and trailer. Raises `ValueError` that names the row."""
        buffer, row = pa.allocate_buffer(self.most_bytes()), ctypes.c_int64()
        size = library().snapseed_encode(
            self.records, len(self.records), 0, self.rows, buffer.address, buffer.size, ctypes.byref(row)
        )
        return buffer.slice(0, self._required(size, row.value))

    def hashes(self, seed: int) -> npt.NDArray[np.uint64]:
        """The hash of each row. Raises `ValueError` that names the row."""
        hashes, row = np.empty(self.rows, dtype=np.uint64), ctypes.c_int64()
        failed = library().snapseed_hash_rows(
            self.records, len(self.records), 0, self.rows, seed, hashes.ctypes.data, ctypes.byref(row)
        )
        self._required(failed, row.value)
        return hashes

    def _required(self, result: int, row: int) -> int:
        """What the core has returned. Raises `ValueError` for a failure, with its row."""
        if result < 0:
            raise ValueError(f"{reason(result)} (row {row:,} of {self.rows:,})")
        return result


def for_copy(
    columns: Sequence[pa.Array], kinds: Sequence[ColumnType], element_oids: Sequence[int | None] = ()
) -> Described:
    """Columns as `COPY FROM (FORMAT binary)` takes them.

    `element_oids` has, for arrays of a type that is not built in, the identifier of that type in the target database.
    """
    oids = element_oids or [None] * len(columns)
    return _side_by_side(
        columns, [_record(column, kind, oid or None) for column, kind, oid in zip(columns, kinds, oids, strict=True)]
    )


def for_hash(columns: Sequence[pa.Array], kinds: Sequence[ColumnType]) -> Described:
    """Columns as they are hashed: as `for_copy` has them, but the same for every database.

    An array of a type that is not built in, or of varchar, is hashed as `text[]`, and `char(n)` without its padding,
    in arrays too. A `vector` is hashed as `real[]`.
    """
    records = [
        _list(column, 1, REAL_OID, _scalar(column.values, Kind.REAL))
        if kind.family is Family.VECTOR and not kind.is_array
        else _record(column, kind, TEXT_OID if is_hashed_as_text_array(kind) else None, trim=True)
        for column, kind in zip(columns, kinds, strict=True)
    ]
    return _side_by_side(columns, records)


def array_elements(column: pa.Array, kind: ColumnType) -> pa.Array:
    """The elements of all arrays of a column, one after the other.

    PostgreSQL's arrays are boxes. Raises `ValueError` for inner lists that differ in length, are NULL or empty.
    """
    for_copy([column], [kind]).most_bytes()
    if kind.family is Family.UUID:
        # Arrow cannot flatten lists of an extension type that have values under a NULL.
        storage = pa.binary(UUID_BYTES)
        for _ in range(kind.dimensions):
            storage = pa.list_(storage)
        column = column.cast(storage)
    for _ in range(kind.dimensions):
        column = column.flatten()
    return column


def is_hashed_as_text_array(kind: ColumnType) -> bool:
    """Whether the fingerprint of this array type is computed over its cast to `text[]`."""
    return kind.is_array and (kind.family in {Family.TEXT, Family.CHARACTER, Family.TEXT_FORM})


def _side_by_side(columns: Sequence[pa.Array], records: list[ColumnBuffers]) -> Described:
    """Columns of a table, each with its record."""
    for column in columns:
        # Of a file or another library: no buffer may be shorter than its array.
        column.validate()
    return Described((ColumnBuffers * len(records))(*records), len(columns[0]) if columns else 0, tuple(columns))


def _record(column: pa.Array, kind: ColumnType, element_oid: int | None, *, trim: bool = False) -> ColumnBuffers:
    """A column of this type. `trim` leaves out the padding of `char(n)`."""
    scalar = kind.element or kind
    form = Kind.TRIMMED if trim and scalar.family is Family.CHARACTER else KINDS[scalar.family]
    if kind.element is None:
        return _scalar(column, form)
    levels = [column]
    for _ in range(kind.dimensions - 1):
        levels.append(levels[-1].values)
    record = _scalar(levels[-1].values, form)
    for dimensions, level in enumerate(reversed(levels), start=1):
        record = _list(level, dimensions, scalar.oid if element_oid is None else element_oid, record)
    return record


def _scalar(column: pa.Array, form: Kind) -> ColumnBuffers:
    """A column of values that are no arrays."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if form is Kind.REAL and pa.types.is_float16(column.type):
        form = Kind.HALF
    record = described(column, form)
    if form is Kind.VECTOR:
        record.width = column.type.list_size
        record.child = ctypes.pointer(_scalar(column.values, Kind.REAL))
    elif form is Kind.DECIMAL:
        record.width = column.type.scale
    elif form is Kind.BYTES:
        record.width = UUID_BYTES
    return record


def _list(column: pa.Array, dimensions: int, element_oid: int, child: ColumnBuffers) -> ColumnBuffers:
    """A column of arrays, whose elements `child` describes."""
    record = described(column, Kind.LIST)
    record.width = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
    record.dimensions, record.element_oid = dimensions, element_oid
    record.child = ctypes.pointer(child)
    return record


def described(column: pa.Array, form: Kind) -> ColumnBuffers:
    """The buffers of one array, without those of its elements. Keep the array as long as the record."""
    buffers = column.buffers()
    has_offsets = form in _TEXTS or (form is Kind.LIST and not pa.types.is_fixed_size_list(column.type))
    data = None if form in {Kind.LIST, Kind.VECTOR} else buffers[2 if has_offsets else 1]
    return ColumnBuffers(
        kind=form,
        offset=column.offset,
        length=len(column),
        validity=buffers[0].address if column.null_count and buffers[0] else None,
        offsets=buffers[1].address if has_offsets and buffers[1] else None,
        data=data.address if data else None,
        data_bytes=data.size if data else 0,
    )
