"""The buffers and lists of Arrow arrays as NumPy arrays, without copies, and the functions that compute with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes = npt.NDArray[np.uint8]


class _Functions:
    """`pyarrow.compute`, imported when the first of its functions is called: that takes 25 ms."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
        import pyarrow.compute  # noqa: PLC0415 - see above

        return getattr(pyarrow.compute, name)


pc = _Functions()


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """The values as one array. A single piece is returned as it is; `combine_chunks` would copy it."""
    if column.num_chunks == 0:
        # Of no pieces, Arrow makes no array of arrays of UUIDs.
        return pa.nulls(0, column.type)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def offsets_of(array: pa.Array) -> npt.NDArray[np.int32]:
    """The offsets of a binary or string array, or of a slice of one."""
    raw = np.frombuffer(array.buffers()[1], dtype=np.int32) if array.buffers()[1] else np.zeros(1, dtype=np.int32)
    return raw[array.offset : array.offset + len(array) + 1]


def data_of(array: pa.Array) -> Bytes:
    """All data bytes of a binary or string array; `offsets_of` says where each value is."""
    buffer = array.buffers()[2]
    return np.frombuffer(buffer, dtype=np.uint8) if buffer else np.zeros(0, dtype=np.uint8)


def numbers_of(array: pa.Array) -> npt.NDArray[Any]:
    """The values of an array of 8 to 64 bits each, as whole or floating-point numbers; any number for NULL."""
    kind: Any = f"{'f' if pa.types.is_floating(array.type) else 'i'}{array.type.bit_width // 8}"
    raw = np.frombuffer(array.buffers()[1], kind) if array.buffers()[1] else np.zeros(0, kind)
    return raw[array.offset : array.offset + len(array)]


# What follows makes arrays as `pa.array` does, which imports pandas, where that is installed: 0.3 s.


def of_numbers(numbers: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    """An array of this type with these numbers, which are as wide as its values."""
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])


def of_characters(characters: npt.NDArray[Any], width: int) -> pa.Array:
    """Texts of `width` bytes each."""
    offsets = np.arange(characters.nbytes // width + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(characters)])


def of_texts(texts: Sequence[str]) -> pa.Array:
    """An array of these texts."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)
