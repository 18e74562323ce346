"""Keyed functions over Arrow columns, in the compiled core: bits that depend on a value, and permutations of values.

Without the key, nobody can tell which bits belong to a value, not even for a list of all likely values.
"""

from __future__ import annotations

import ctypes
import hmac
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from snapseed.core import Kind, library, reason
from snapseed.generate.draws.bits import Int64s, UInt64s
from snapseed.snapshot.arrow import offsets_of
from snapseed.snapshot.values import UUID_BYTES, described

_KEY_BYTES = 16
# Where the classes of whole numbers begin that are permuted among themselves: those of the same sign and number of
# digits, split at the ends of each integer type. The same for all columns, so that equal numbers stay equal.
_POWERS = [10**digits for digits in range(19)]
_BEGINS = np.array(
    sorted({-(2**63), -(2**31), -(2**15), 2**15, 2**31, *_POWERS, *(1 - power for power in _POWERS)}), dtype=np.int64
)
_SIZES = np.diff(_BEGINS.view(np.uint64), append=np.uint64(2**63))


@dataclass(frozen=True)
class MaskKey:
    """A key for one rule, made from the secret: HMAC-SHA256 of the rule's name. Never shown."""

    raw: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: str, rule: str) -> MaskKey:
        """The key of the rule with this name and these options."""
        return cls(hmac.digest(secret.encode(), rule.encode(), "sha256")[:_KEY_BYTES])

    def bits(self, values: pa.Array) -> tuple[UInt64s, UInt64s]:
        """128 uniform bits for each value, as two words; 0 for NULL. Equal whole numbers have the same in all types."""
        column = _hashable(values)
        is_fixed = pa.types.is_fixed_size_binary(column.type)
        record = described(column, Kind.BYTES if is_fixed else Kind.TEXT)
        record.width = column.type.byte_width if is_fixed else 0
        tags, row = np.empty((len(column), 2), dtype=np.uint64), ctypes.c_int64()
        _require(library().snapseed_keyed(record, self.raw, tags.ctypes.data, row))
        return tags[:, 0].copy(), tags[:, 1].copy()

    def texts(self, values: pa.Array) -> pa.Array:
        """Each text replaced by another one of the same length and shape. No two texts get the same one."""
        column = values.cast(pa.string())
        record, row = described(column, Kind.TEXT), ctypes.c_int64()
        made = np.zeros(record.data_bytes, dtype=np.uint8)
        _require(library().snapseed_permute_texts(record, self.raw, made.ctypes.data, row))
        offsets = pa.py_buffer(offsets_of(column))
        replaced = pa.Array.from_buffers(pa.string(), len(column), [None, offsets, pa.py_buffer(made)])
        return with_nulls_of(values, replaced)

    def numbers(self, values: Int64s) -> Int64s:
        """Each number replaced by one with the same sign and number of digits. No two numbers get the same one.

        Those that fit into a smaller integer type still do.
        """
        place = np.searchsorted(_BEGINS, values, side="right") - 1
        low, sizes = _BEGINS[place].view(np.uint64), _SIZES[place]
        places = values.view(np.uint64) - low
        _require(library().snapseed_permute_numbers(places.ctypes.data, sizes.ctypes.data, len(places), self.raw))
        return (places + low).view(np.int64)

    def uuids(self, values: pa.Array) -> pa.Array:
        """Each UUID replaced by one of the same version and variant. No two UUIDs get the same one."""
        storage = values.storage if isinstance(values, pa.ExtensionArray) else values
        raw = np.frombuffer(storage.buffers()[1], dtype=np.uint8)
        made = raw[storage.offset * UUID_BYTES :][: len(storage) * UUID_BYTES].copy()
        _require(library().snapseed_permute_uuids(made.ctypes.data, len(storage), self.raw))
        replaced = pa.Array.from_buffers(storage.type, len(storage), [None, pa.py_buffer(made)])
        return with_nulls_of(values, pa.ExtensionArray.from_storage(pa.uuid(), replaced))


def with_nulls_of(values: pa.Array, replaced: pa.Array) -> pa.Array:
    """`replaced`, with NULL where `values` has it."""
    if not values.null_count:
        return replaced
    storage = replaced.storage if isinstance(replaced, pa.ExtensionArray) else replaced
    buffers = storage.buffers()
    bits = values.is_valid().buffers()[1]
    masked = pa.Array.from_buffers(storage.type, len(storage), [bits, *buffers[1:]])
    return pa.ExtensionArray.from_storage(replaced.type, masked) if storage is not replaced else masked


def _hashable(values: pa.Array) -> pa.Array:
    """Values as texts or as bytes of a fixed width. Whole numbers become as wide as the widest type."""
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
        numbers = values.cast(pa.int32()) if pa.types.is_date32(kind) else values
        return numbers.cast(pa.int64()).view(pa.binary(8))
    if pa.types.is_floating(kind):
        return values.cast(pa.float64()).view(pa.binary(8))
    return values if pa.types.is_string(kind) or pa.types.is_binary(kind) else values.cast(pa.string())


def _require(result: int) -> None:
    """Raise `ValueError` if the core could not do what it was asked."""
    if result < 0:
        raise ValueError(reason(result))
