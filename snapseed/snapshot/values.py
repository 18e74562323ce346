"""Arrow columns as the bytes of PostgreSQL's binary COPY, without the length words.

Both the COPY stream and the fingerprint use these `Field`s, so what is verified is what was sent. The forms are those
of the `*send` functions in PostgreSQL's `src/backend/utils/adt`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.snapshot.arrow import Bytes, binary_array, data_of, offsets_of, running_offsets, sizes_and_elements
from snapseed.snapshot.numeric import encode_numeric
from snapseed.snapshot.types import REAL_OID, TEXT_OID, ColumnType, Family

Mask = npt.NDArray[np.bool_]

# PostgreSQL counts from 2000-01-01, Arrow from 1970-01-01.
_EPOCH_DAYS = 10_957
_EPOCH_MICROSECONDS = _EPOCH_DAYS * 86_400_000_000
JSONB_VERSION = b"\x01"
# Rows transposed at a time. All at once takes twice as long.
_STRIP = 64


@dataclass(frozen=True)
class Field:
    """The binary values of one column for `rows` rows; a row is NULL where `valid` is False.

    Exactly one of `fixed` (shape rows x width) and `variable` (a binary array without nulls, empty where NULL) is set.
    """

    rows: int
    fixed: Bytes | None = None
    variable: pa.BinaryArray | None = None
    valid: Mask | None = None

    def lengths(self) -> npt.NDArray[np.int32]:
        """Bytes per row, -1 where NULL: the length words of binary COPY."""
        if self.fixed is not None:
            lengths = np.full(self.rows, self.fixed.shape[1], dtype=np.int32)
        else:
            lengths = np.diff(offsets_of(self.variable)).astype(np.int32)
        if self.valid is not None:
            lengths[~self.valid] = -1
        return lengths

    def as_variable(self) -> pa.BinaryArray:
        """The values as a binary array without nulls, empty where NULL."""
        if self.fixed is None:
            return self.variable
        if self.valid is None:
            return binary_array(self.fixed, np.arange(self.rows + 1, dtype=np.int64) * self.fixed.shape[1])
        return binary_array(self.fixed[self.valid], running_offsets(self.valid * self.fixed.shape[1]))


def copy_field(column: pa.Array, kind: ColumnType, element_oid: int | None = None) -> Field:
    """The bytes that `COPY FROM (FORMAT binary)` takes for `column`.

    `element_oid` is the identifier of an array's element type in the target database, for types that are not built in.
    Raises `ValueError` for a vector with a NULL element, which pgvector does not allow, for an array of several
    dimensions that is not a box, and for a date before 4713 BC.
    """
    element = kind.element
    if element is None:
        return _scalar_field(column, kind)
    oid = element.oid if element_oid is None else element_oid
    return _array_field(column, lambda values: _scalar_field(values, element), oid, kind.dimensions)


def hash_field(column: pa.Array, kind: ColumnType) -> Field:
    """The bytes of `column` that are hashed: those of `copy_field`, except where these differ between databases.

    Arrays of varchar and of types that are not built in are hashed as `text[]`, `char(n)` without its padding, also in
    arrays. A `vector` is hashed as `real[]`: see `vector_words`.
    """
    element = kind.element
    if element is not None:
        oid = TEXT_OID if is_hashed_as_text_array(kind) else element.oid
        return _array_field(column, lambda values: hash_field(values, element), oid, kind.dimensions)
    if kind.family is Family.CHARACTER:
        return text_field(pc.utf8_rtrim(column, characters=" "))
    return _scalar_field(column, kind)


def is_hashed_as_text_array(kind: ColumnType) -> bool:
    """Whether arrays of this type are cast to `text[]` before they are hashed."""
    return kind.is_array and (kind.family in {Family.TEXT, Family.CHARACTER, Family.TEXT_FORM})


def validity(column: pa.Array) -> Mask | None:
    """True for each row that is not null; None if there are no nulls."""
    if column.null_count == 0:
        return None
    valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _values(column: pa.Array, dtype: str) -> npt.NDArray[Any]:
    """The primitive values of `column` as NumPy `dtype` of the same width, bit for bit; arbitrary where null."""
    buffer = column.buffers()[1]
    item = np.dtype(dtype)
    return np.frombuffer(buffer, dtype=item, count=len(column), offset=column.offset * item.itemsize)


def _big_endian(values: npt.NDArray[Any], width: int) -> Bytes:
    return values.astype(f">u{width}").view(np.uint8).reshape(-1, width)


def _fixed(column: pa.Array, width: int) -> Field:
    """Values of `width` bytes each, in big-endian order."""
    return Field(len(column), fixed=_big_endian(_values(column, f"u{width}"), width), valid=validity(column))


def _scalar_field(column: pa.Array, kind: ColumnType) -> Field:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return _ENCODERS[kind.family](column)


def _boolean_field(column: pa.Array) -> Field:
    values = column.cast(pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False)
    return Field(len(column), fixed=values.reshape(-1, 1), valid=validity(column))


def _float_field(column: pa.Array, width: int) -> Field:
    return Field(len(column), fixed=_big_endian(_float_bits(column, width), width), valid=validity(column))


def _float_bits(column: pa.Array, width: int) -> npt.NDArray[np.generic]:
    """The bits of floats of `width` bytes. Every NaN becomes the NaN that PostgreSQL reads from text.

    The sign and payload of a NaN depend on the processor that computed it, and no query shows them.
    """
    floats = (
        _values(column, "f2").astype(np.float32) if pa.types.is_float16(column.type) else _values(column, f"f{width}")
    )
    bits = floats.view(f"u{width}")
    nan = np.isnan(floats)
    return np.where(nan, np.full(1, np.nan, floats.dtype).view(bits.dtype), bits) if nan.any() else bits


def _date_field(column: pa.Array) -> Field:
    return _since_2000(column, "i4", _EPOCH_DAYS)


def _timestamp_field(column: pa.Array) -> Field:
    return _since_2000(column, "i8", _EPOCH_MICROSECONDS)


def _since_2000(column: pa.Array, dtype: str, epoch: int) -> Field:
    """Days or microseconds since 2000; the smallest and the largest value are -infinity and infinity."""
    values = _values(column, dtype)
    limits = np.iinfo(values.dtype)
    infinite = (values == limits.min) | (values == limits.max)
    valid = validity(column)
    # These would wrap around to the far future, and PostgreSQL would accept them.
    too_early = (values <= limits.min + epoch) & ~infinite
    if np.any(too_early if valid is None else too_early & valid):
        raise ValueError("a date or timestamp is before 4713 BC, where PostgreSQL's calendar begins")
    shifted = np.where(infinite, values, values - values.dtype.type(epoch))
    width = values.dtype.itemsize
    return Field(len(column), fixed=_big_endian(shifted.view(f"u{width}"), width), valid=valid)


def _uuid_field(column: pa.Array) -> Field:
    buffer = column.buffers()[1]
    data = np.frombuffer(buffer, dtype=np.uint8, count=16 * len(column), offset=16 * column.offset)
    return Field(len(column), fixed=data.reshape(-1, 16), valid=validity(column))


def text_field(column: pa.Array) -> Field:
    """The bytes of a text or binary column, as they are."""
    valid = validity(column)
    offsets = offsets_of(column)
    if valid is not None and np.any(np.diff(offsets)[~valid]):
        # A null may have bytes of its own. Rebuild the column without them.
        column = column.cast(pa.binary()).fill_null(b"")
        offsets = offsets_of(column)
    data = column.buffers()[2] or pa.py_buffer(b"")
    variable = pa.Array.from_buffers(pa.binary(), len(column), [None, pa.py_buffer(offsets), data])
    return Field(len(column), variable=variable, valid=valid)


def _jsonb_field(column: pa.Array) -> Field:
    text = text_field(column)
    version: pa.Scalar | pa.Array = pa.scalar(JSONB_VERSION, pa.binary())
    if text.valid is not None:
        version = pc.if_else(pa.array(text.valid), version, pa.scalar(b"", pa.binary()))
    prefixed = pc.binary_join_element_wise(version, text.variable, b"")
    return Field(len(column), variable=prefixed, valid=text.valid)


def _numeric_field(column: pa.Array) -> Field:
    values, lengths = encode_numeric(column)
    return Field(len(column), variable=binary_array(values, running_offsets(lengths)), valid=validity(column))


def _vector_elements(column: pa.FixedSizeListArray) -> pa.Array:
    """All elements in one array, as they are stored; arbitrary where the vector is null."""
    dimensions = column.type.list_size
    # flatten leaves out the elements of a NULL vector, which may be NULL or anything.
    if column.flatten().null_count:
        raise ValueError("a vector has a NULL element")
    return column.values.slice(column.offset * dimensions, len(column) * dimensions)


def _vector_field(column: pa.FixedSizeListArray) -> Field:
    """Pgvector's vector_send: int16 dimensions, int16 zero, the elements."""
    rows, dimensions = len(column), column.type.list_size
    words = np.empty((rows, 1 + dimensions), dtype=np.uint32)
    words[:, 0] = _big_endian_word(dimensions << 16)
    elements = _float_bits(_vector_elements(column), 4).astype(np.uint32)
    words[:, 1:] = elements.byteswap(inplace=True).reshape(-1, dimensions)
    return Field(rows, fixed=words.view(np.uint8), valid=validity(column))


def vector_words(column: pa.FixedSizeListArray) -> tuple[Iterator[npt.NDArray[np.uint32] | np.uint32], int]:
    """The hashed form of vectors, array_send of real[]: its 32-bit words as they are in memory, and its size in bytes.

    A word that is the same for all vectors is one number; otherwise it is an array, arbitrary where a vector is null.
    """
    dimensions = column.type.list_size
    header = (1, 0, REAL_OID, dimensions, 1)
    elements = _vector_elements(column)
    return _vector_words(elements, header), 4 * (len(header) + 2 * dimensions)


def _vector_words(elements: pa.Array, header: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint32] | np.uint32]:
    yield from map(_big_endian_word, header)
    length, dimensions = _big_endian_word(4), header[3]
    if pa.types.is_float16(elements.type):
        for halves in _transposed(_values(elements, "u2").reshape(-1, dimensions)):
            yield length
            yield np.take(_half_words(), halves, mode="clip")  # clips nothing, but skips the bounds check
    else:
        for singles in _transposed(_float_bits(elements, 4).reshape(-1, dimensions)):
            yield length
            yield singles.byteswap()


@cache
def _half_words() -> npt.NDArray[np.uint32]:
    """The big-endian float4 of each of the 65,536 float16."""
    halves = pa.array(np.arange(2**16, dtype=np.uint16).view(np.float16))
    return _float_bits(halves, 4).astype(np.uint32).byteswap()


def _transposed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A transposed copy of `values`, made in strips that stay in the cache."""
    rows, columns = values.shape
    turned = np.empty((columns, rows), dtype=values.dtype)
    for start in range(0, rows, _STRIP):
        turned[:, start : start + _STRIP] = values[start : start + _STRIP].T
    return turned


def _big_endian_word(value: int) -> np.uint32:
    """A uint32 whose bytes in memory are those of `value` in network order."""
    return np.uint32(int.from_bytes(value.to_bytes(4, "big"), sys.byteorder))


def _array_field(
    column: pa.ListArray, encoder: Callable[[pa.Array], Field], element_oid: int, dimensions: int
) -> Field:
    """array_send: dimensions, null flag, element type; length and lower bound of each; elements with length words."""
    valid = validity(column)
    sizes, elements = sizes_and_elements(column, dimensions)
    counts = sizes.prod(axis=1)
    inner = encoder(elements)
    starts = running_offsets(counts)
    body = length_prefixed(inner)
    body = binary_array(data_of(body), offsets_of(body)[starts].astype(np.int64))
    nulls_before = running_offsets(
        np.zeros(inner.rows, np.int64) if inner.valid is None else (~inner.valid).astype(np.int64)
    )
    header = np.ones((len(counts), 3 + 2 * dimensions), dtype=">u4")
    header[:, 0] = np.where(counts > 0, dimensions, 0)
    header[:, 1] = (nulls_before[starts[1:]] - nulls_before[starts[:-1]]) > 0
    header[:, 2] = element_oid
    header[:, 3::2] = sizes
    # An empty array has no dimensions, so its header ends after the element type. A NULL has no header.
    width = 4 * header.shape[1]
    header_bytes = np.where(counts > 0, width, 12)
    if valid is not None:
        header_bytes = np.where(valid, header_bytes, 0)
    kept = np.arange(width) < header_bytes[:, None]
    headers = binary_array(header.view(np.uint8).reshape(-1, width)[kept], running_offsets(header_bytes))
    return Field(len(counts), variable=pc.binary_join_element_wise(headers, body, b""), valid=valid)


def length_prefixed(field: Field) -> pa.BinaryArray:
    """Each value after its int32 length word, -1 for NULL: the form of values in binary COPY and in arrays."""
    words = binary_array(field.lengths().astype(">i4").view(np.uint8), np.arange(field.rows + 1, dtype=np.int64) * 4)
    return pc.binary_join_element_wise(words, field.as_variable(), b"")


_ENCODERS: dict[Family, Callable[[pa.Array], Field]] = {
    Family.BOOLEAN: _boolean_field,
    Family.SMALLINT: lambda column: _fixed(column, 2),
    Family.INTEGER: lambda column: _fixed(column, 4),
    Family.BIGINT: lambda column: _fixed(column, 8),
    Family.REAL: lambda column: _float_field(column, 4),
    Family.DOUBLE: lambda column: _float_field(column, 8),
    Family.NUMERIC: _numeric_field,
    Family.TEXT: text_field,
    Family.CHARACTER: text_field,
    Family.BYTEA: text_field,
    Family.UUID: _uuid_field,
    Family.DATE: _date_field,
    Family.TIME: lambda column: _fixed(column, 8),
    Family.TIMESTAMP: _timestamp_field,
    Family.TIMESTAMPTZ: _timestamp_field,
    Family.JSON: text_field,
    Family.JSONB: _jsonb_field,
    Family.VECTOR: _vector_field,
    Family.TEXT_FORM: text_field,
}
