"""A binary COPY stream as Arrow columns, by the compiled core. The inverse of `load.encode`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from snapseed.core import Kind, Sink, library, reason
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import KINDS, UUID_BYTES

# Offsets of Arrow's arrays have 32 bits, and a column has no more bytes than the stream.
MOST_BYTES = 2**31 - 1
_WIDTHS = {
    Kind.SWAPPED2: 2,
    Kind.SWAPPED4: 4,
    Kind.REAL: 4,
    Kind.DATE: 4,
    Kind.SWAPPED8: 8,
    Kind.DOUBLE: 8,
    Kind.TIMESTAMP: 8,
    Kind.BYTES: 16,
    Kind.DECIMAL: 16,
}


@dataclass(frozen=True)
class Decoded:
    """Rows of a stream as columns side by side, and how many bytes of it they are. `ended`: the trailer was reached."""

    columns: list[pa.Array]
    rows: int
    consumed: int
    ended: bool


def header_bytes(data: pa.Buffer, size: int) -> int:
    """The bytes of the stream's header, 0 if more of it must arrive. Raises `ValueError` for another format."""
    return _checked(library().snapseed_stream_header(data.address, size), (0, 0), [])


def decode(data: pa.Buffer, start: int, end: int, kinds: Sequence[ColumnType], most: int = 2**31) -> Decoded:
    """The whole rows between two places of a stream, at most so many.

    Raises `ValueError` that names column and row for a value that Arrow's type cannot hold, and for whatever is no
    stream of these columns.
    """
    if end - start > MOST_BYTES or end > data.size:
        raise ValueError(f"{end - start:,} bytes of a stream cannot be decoded at once")
    sinks = (Sink * len(kinds))(*[_sink(kind) for kind in kinds])
    told = (ctypes.c_int64 * 3)()
    arguments = (data.address + start, end - start, sinks, len(kinds))
    consumed = _checked(library().snapseed_decode(*arguments, most, 0, told), (told[0], told[1]), kinds)
    rows, ended = told[0], bool(told[2])
    makers = [_Maker.of(sink, kind) for sink, kind in zip(sinks, kinds, strict=True)]
    _checked(library().snapseed_decode(*arguments, rows, 1, told), (told[0], told[1]), kinds)
    return Decoded([maker.array() for maker in makers], rows, consumed, ended)


def _checked(result: int, place: tuple[int, int], kinds: Sequence[ColumnType]) -> int:
    if result < 0:
        row, column = place
        where = f"row {row}, column {column} ({kinds[column].name}): " if column < len(kinds) else ""
        raise ValueError(where + reason(result))
    return int(result)


def _sink(kind: ColumnType) -> Sink:
    if kind.element is not None:
        sink = _sink(kind.element)
        for dimensions in range(1, kind.dimensions + 1):
            sink = Sink(kind=Kind.LIST, dimensions=dimensions, child=ctypes.pointer(sink))
        return sink
    if kind.family is Family.VECTOR:
        return Sink(kind=Kind.VECTOR, width=kind.modifiers[0])
    if kind.family is Family.NUMERIC:
        return Sink(kind=Kind.DECIMAL, precision=kind.arrow.precision, width=kind.arrow.scale)
    return Sink(kind=KINDS[kind.family], width=UUID_BYTES if kind.family is Family.UUID else 0)


@dataclass(frozen=True)
class _Maker:
    """The buffers of one array, which the core fills, and of the elements below it."""

    type: pa.DataType
    rows: int
    nulls: int
    buffers: list[np.ndarray | None]
    child: _Maker | None

    @classmethod
    def of(cls, sink: Sink, kind: ColumnType) -> _Maker:
        return cls._of(sink, kind.arrow)

    @classmethod
    def _of(cls, sink: Sink, arrow: pa.DataType) -> _Maker:
        rows = sink.rows
        validity = np.zeros(-(-rows // 8), np.uint8) if sink.nulls else None
        offsets = data = child = None
        if sink.kind == Kind.LIST:
            offsets = np.zeros(rows + 1, np.int32)
            child = cls._of(sink.child.contents, arrow.value_type)
        elif sink.kind in {Kind.TEXT, Kind.JSONB}:
            offsets, data = np.zeros(rows + 1, np.int32), np.empty(sink.bytes, np.uint8)
        elif sink.kind == Kind.BOOLEAN:
            data = np.zeros(-(-rows // 8), np.uint8)
        else:
            data = np.zeros(rows * (4 * sink.width if sink.kind == Kind.VECTOR else _WIDTHS[Kind(sink.kind)]), np.uint8)
        made = cls(arrow, rows, sink.nulls, [validity, offsets, data], child)
        sink.validity, sink.offsets, sink.data = (
            None if buffer is None else buffer.ctypes.data for buffer in made.buffers
        )
        sink.rows = sink.bytes = sink.nulls = 0
        return made

    def array(self) -> pa.Array:
        validity, offsets, data = (None if buffer is None else pa.py_buffer(buffer) for buffer in self.buffers)
        storage = self.type.storage_type if isinstance(self.type, pa.BaseExtensionType) else self.type
        if self.child is not None:
            return pa.Array.from_buffers(
                storage, self.rows, [validity, offsets], null_count=self.nulls, children=[self.child.array()]
            )
        if pa.types.is_fixed_size_list(storage):
            elements = pa.Array.from_buffers(storage.value_type, self.rows * storage.list_size, [None, data])
            return pa.Array.from_buffers(storage, self.rows, [validity], null_count=self.nulls, children=[elements])
        buffers = [validity, data] if offsets is None else [validity, offsets, data]
        array = pa.Array.from_buffers(storage, self.rows, buffers, null_count=self.nulls)
        if pa.types.is_string(storage):
            array.validate(full=True)
        return array if storage is self.type else pa.ExtensionArray.from_storage(self.type, array)
