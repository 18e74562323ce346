"""Arrow columns described to the compiled core: where their buffers are, and which bytes PostgreSQL has for their values."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from snapseed.core import Column, Kind
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
    Family.TEXT_FORM: Kind.TEXT,
}


@dataclass(frozen=True)
class Described:
    """Columns side by side as the core takes them. The addresses are valid as long as this object lives."""

    records: ctypes.Array[Column]
    rows: int
    keeping: tuple[object, ...]


def for_copy(columns: Sequence[pa.Array], kinds: Sequence[ColumnType], element_oids: Sequence[int | None]) -> Described:
    """For `COPY FROM (FORMAT binary)`. `element_oids` has the element types of arrays that are not built in."""
    describer = _Describer()
    return describer.side_by_side(
        [describer.copied(*parts) for parts in zip(columns, kinds, element_oids, strict=True)], columns
    )


def for_hash(columns: Sequence[pa.Array], kinds: Sequence[ColumnType]) -> Described:
    describer = _Describer()
    return describer.side_by_side(
        [describer.hashed(column, kind) for column, kind in zip(columns, kinds, strict=True)], columns
    )


class _Describer:
    def __init__(self) -> None:
        self.keeping: list[object] = []

    def side_by_side(self, records: list[Column], columns: Sequence[pa.Array]) -> Described:
        array = (Column * len(records))(*records)
        return Described(array, len(columns[0]) if columns else 0, (*self.keeping, *columns, array))

    def copied(self, column: pa.Array, kind: ColumnType, element_oid: int | None) -> Column:
        element = kind.element
        if element is None:
            return self.scalar(column, kind)
        return self.array(column, kind, lambda values: self.scalar(values, element), element_oid or element.oid)

    def hashed(self, column: pa.Array, kind: ColumnType) -> Column:
        element = kind.element
        if kind.family is Family.VECTOR and element is None:
            return self.fixed_list(column, REAL_OID)
        if element is None:
            return self.scalar(column, kind, trim=True)
        oid = TEXT_OID if stands_as_text_array(kind) else element.oid
        return self.array(column, kind, lambda values: self.scalar(values, element, trim=True), oid)

    def scalar(self, column: pa.Array, kind: ColumnType, *, trim: bool = False) -> Column:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if kind.family is Family.VECTOR:
            record = self.record(column, Kind.VECTOR, width=column.type.list_size)
            return self.with_child(record, self.floats(column.values))
        if kind.family in {Family.REAL}:
            return self.floats(column)
        record = self.record(column, KINDS[kind.family])
        if kind.family is Family.UUID:
            record.width = 16
        elif kind.family is Family.NUMERIC:
            record.width = column.type.scale
        elif kind.family is Family.CHARACTER and trim:
            record.kind = Kind.TRIMMED
        return record

    def floats(self, column: pa.Array) -> Column:
        return self.record(column, Kind.HALF if pa.types.is_float16(column.type) else Kind.REAL)

    def fixed_list(self, column: pa.Array, element_oid: int) -> Column:
        record = self.record(column, Kind.LIST, width=column.type.list_size, element_oid=element_oid, dimensions=1)
        return self.with_child(record, self.floats(column.values))

    def array(
        self, column: pa.Array, kind: ColumnType, describe: Callable[[pa.Array], Column], element_oid: int
    ) -> Column:
        if pa.types.is_fixed_size_list(column.type):
            return self.fixed_list(column, element_oid)
        levels = [column]
        for _ in range(kind.dimensions - 1):
            levels.append(levels[-1].values)
        record = describe(levels[-1].values)
        for number, level in enumerate(reversed(levels)):
            outer = self.record(level, Kind.LIST, element_oid=element_oid, dimensions=number + 1)
            record = self.with_child(outer, record)
        return record

    def with_child(self, record: Column, child: Column) -> Column:
        self.keeping.append(child)
        record.child = ctypes.pointer(child)
        return record

    def record(
        self, column: pa.Array, kind: Kind, *, width: int = 0, element_oid: int = 0, dimensions: int = 0
    ) -> Column:
        buffers = column.buffers()
        validity = buffers[0] if column.null_count else None
        variable = kind in {Kind.TEXT, Kind.JSONB, Kind.TRIMMED}
        offsets = buffers[1] if variable or (kind is Kind.LIST and not width) else None
        data = buffers[2] if variable else None if kind in {Kind.LIST, Kind.VECTOR} else buffers[1]
        return Column(
            kind=kind,
            width=width,
            element_oid=element_oid,
            dimensions=dimensions,
            offset=column.offset,
            length=len(column),
            validity=validity.address if validity else None,
            offsets=offsets.address if offsets else None,
            data=data.address if data else None,
            data_bytes=data.size if data else 0,
        )


def stands_as_text_array(kind: ColumnType) -> bool:
    """Whether the fingerprint of this array type is taken over its cast to `text[]`."""
    return kind.is_array and (kind.family in {Family.TEXT, Family.CHARACTER, Family.TEXT_FORM})
