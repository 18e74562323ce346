"""Buffers that the compiled core decodes rows into, and the Arrow arrays that are made of them without a copy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import pyarrow as pa

from snapseed.core import Kind, Sink
from snapseed.snapshot.arrow import data_of
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import ColumnType
from snapseed.snapshot.values import KINDS

# Room to begin with. It is doubled until the first batch fits; each later batch begins with what the last one needed.
_FIRST_ROWS, _FIRST_BYTES = 1024, 16_384


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The names of the columns, and the Arrow types that hold their values."""
    return pa.schema([(column.name, column.kind().arrow) for column in columns])


class Receiver:
    """The buffers of rows that are on their way. `sinks` is what the core takes."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._schema = arrow_schema(columns)
        self.sinks = (Sink * len(columns))(*[_sink(column.kind()) for column in columns])
        self._buffers = [_Buffers(sink, field.type) for sink, field in zip(self.sinks, self._schema, strict=True)]

    def grow(self, column: int) -> None:
        """Make room for the row that a column had no room for. If it lacks room for rows, all columns grow together."""
        sink = self.sinks[column]
        for buffers in self._buffers if sink.needed > sink.room else [self._buffers[column]]:
            buffers.grow(sink.needed)

    def batch(self, rows: int) -> pa.RecordBatch:
        """The rows that have arrived; the next ones get buffers of their own.

        Raises `ValueError` for a text that is not UTF-8.
        """
        arrays = []
        for name, buffers in zip(self._schema.names, self._buffers, strict=True):
            try:
                arrays.append(buffers.array(rows))
            except pa.ArrowInvalid as exc:
                raise ValueError(f"column {name}: {exc}") from exc
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


class _Buffers:
    """The buffers of one array, which grow while the core fills them, and those of its elements."""

    def __init__(self, sink: Sink, arrow: pa.DataType) -> None:
        self._sink, self._type = sink, arrow
        self._child = _Buffers(sink.child.contents, arrow.value_type) if sink.kind == Kind.LIST else None
        self._has_texts = sink.kind in {Kind.TEXT, Kind.JSONB}
        self._usual = _FIRST_ROWS, _FIRST_BYTES
        self._begin()

    def _begin(self) -> None:
        """Begin with empty buffers."""
        self._validity, self._offsets, self._data = (pa.allocate_buffer(0, resizable=True) for _ in range(3))
        sink = self._sink
        sink.validity = sink.offsets = None
        sink.room = sink.room_bytes = sink.needed = sink.needed_bytes = sink.has_null = 0

    def grow(self, needed: int = 0) -> None:
        """Make room for `needed` rows, and for what the core asks for."""
        sink = self._sink
        sink.room = _grown(sink.room or self._usual[0], max(needed, sink.needed))
        bits = -(-sink.room // 8)
        if sink.has_null:
            known = self._validity.size
            self._validity.resize(bits)
            ctypes.memset(self._validity.address + known, 0xFF, bits - known)
            sink.validity = self._validity.address
        if self._has_texts or self._child is not None:
            self._offsets.resize(4 * (sink.room + 1))
            if not sink.offsets:
                ctypes.memset(self._offsets.address, 0, 4)
            sink.offsets = self._offsets.address
        if self._has_texts:
            sink.room_bytes = _grown(sink.room_bytes or self._usual[1], sink.needed_bytes)
        self._data.resize(sink.room_bytes or sink.room * sink.stride or bits)
        sink.data = self._data.address
        if self._child is not None:
            self._child.grow()

    def array(self, rows: int) -> pa.Array:
        """What has arrived, in buffers that are as large as it is. The next rows begin with a little more room."""
        sink, arrow = self._sink, self._type
        end = ctypes.c_int32.from_address(sink.offsets + 4 * rows).value if sink.offsets else 0
        self._usual = rows + rows // 8 + 1, end + end // 8 + 1
        bits = -(-rows // 8)
        for buffer, size in (
            (self._validity, bits),
            (self._offsets, 4 * (rows + 1)),
            (self._data, end if self._has_texts else rows * sink.stride or bits),
        ):
            buffer.resize(size, shrink_to_fit=True)
        buffers, children = [self._validity if sink.has_null else None], []
        if self._child is not None:
            buffers, children = [*buffers, self._offsets], [self._child.array(end)]
        elif sink.kind == Kind.VECTOR:
            children = [pa.Array.from_buffers(arrow.value_type, rows * arrow.list_size, [None, self._data])]
        else:
            buffers += [self._offsets, self._data] if self._has_texts else [self._data]
        self._begin()
        storage = arrow.storage_type if isinstance(arrow, pa.BaseExtensionType) else arrow
        array = pa.Array.from_buffers(storage, rows, buffers, children=children)
        # Bytes below 128 are characters of their own: seeing that all are takes a tenth of the time to check each text.
        if pa.types.is_string(storage) and data_of(array).max(initial=0) >= 128:  # noqa: PLR2004 - of ASCII
            array.validate(full=True)
        return array if storage is arrow else pa.ExtensionArray.from_storage(arrow, array)


def _grown(room: int, needed: int) -> int:
    """The room that is needed, at least double what there is if that is too little."""
    return room if needed <= room else max(needed, 2 * room)


def _sink(kind: ColumnType) -> Sink:
    """What the core is told about a column of this type."""
    if kind.element is not None:
        sink = _sink(kind.element)
        for dimensions in range(1, kind.dimensions + 1):
            sink = Sink(kind=Kind.LIST, dimensions=dimensions, child=ctypes.pointer(sink))
        return sink
    sink, arrow = Sink(kind=KINDS[kind.family]), kind.arrow
    if sink.kind == Kind.VECTOR:
        sink.stride = 4 * arrow.list_size
    elif sink.kind not in {Kind.TEXT, Kind.JSONB}:
        sink.stride = arrow.bit_width // 8
    if sink.kind == Kind.DECIMAL:
        sink.precision, sink.scale = arrow.precision, arrow.scale
    return sink
