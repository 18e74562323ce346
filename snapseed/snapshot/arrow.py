"""The buffers and lists of Arrow arrays as NumPy arrays, without copies, and the functions that compute with them."""

from __future__ import annotations

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
