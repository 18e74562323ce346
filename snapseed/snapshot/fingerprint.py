"""The order-independent digest of rows, made of PostgreSQL's own record hash; from Arrow it is bit for bit the same.

A row is the hash of its record hash (`row_hashes`); a set of rows is their number and the sum of their hashes mod 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.snapshot.buffers import data_of, offsets_of
from snapseed.snapshot.fields import Field, hash_field
from snapseed.snapshot.types import ColumnType

UInt32s = npt.NDArray[np.uint32]
UInt64s = npt.NDArray[np.uint64]

# Any fixed non-zero number would do; it stands in every manifest's fingerprints, so it never changes.
SEED = 0x736E617073656564  # "snapseed" in ASCII
# hash_bytes_extended's initial state, before the length is added (PostgreSQL, src/common/hashfn.c).
_INITIAL = 0x9E3779B9 + 3923095
_BLOCK = 12
# Rows hashed together: enough that NumPy's cost per call fades, few enough that one cache line a row stays in the
# second-level cache while the blocks of a wide row are read one after the other. 4,096 to 16,384 measured alike.
_SLAB = 8192
# The bits of a partial block of 0 to 11 bytes, as its three words.
_TAIL_BITS = (np.uint8(255) * np.tri(_BLOCK, k=-1, dtype=np.uint8)).view("<u4")
# Columns in which this sample repeats itself by half are hashed once per distinct value: measured to pay from there.
_SAMPLE = 512


class Fingerprint(msgspec.Struct, frozen=True, order=True):
    """How many rows, and the sum of their hashes mod 2^64. Fingerprints of disjoint sets of rows add up."""

    rows: int
    total: int

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(self.rows + other.rows, (self.total + other.total) % 2**64)

    def __str__(self) -> str:
        return f"{self.total:016x}"

    @classmethod
    def parse(cls, rows: int, text: str) -> Fingerprint:
        """The inverse of `str`, for the 16 hexadecimal digits that stand in a manifest."""
        return cls(rows, int(text, 16))


EMPTY = Fingerprint(0, 0)


def combined(fingerprints: Iterable[Fingerprint]) -> Fingerprint:
    """The fingerprint of all the rows together."""
    return sum(fingerprints, EMPTY)


def fingerprint(columns: Sequence[pa.Array], types: Sequence[ColumnType]) -> Fingerprint:
    """The fingerprint of the rows that `columns` hold side by side, in the order of the manifest's columns."""
    hashes = row_hashes(columns, types)
    return Fingerprint(len(hashes), int(hashes.sum(dtype=np.uint64)))


def row_hashes(columns: Sequence[pa.Array], types: Sequence[ColumnType]) -> UInt64s:
    """The hash of each row: of the bytes of `hash_record_extended(ROW(columns), SEED)`, once more the same hash.

    The record hash alone is linear in the hashes of its fields (31 times what came before, plus the field; PostgreSQL's
    `rowtypes.c`), so a sum of them would not see two rows that have swapped a value.
    """
    record = np.zeros(len(columns[0]), dtype=np.uint64)
    for column, kind in zip(columns, types, strict=True):
        record *= np.uint64(31)
        record += _column_hashes(column, kind)
    return hash_bytes_fixed(record.astype(">u8").view(np.uint8).reshape(-1, 8))


def _column_hashes(column: pa.Array, kind: ColumnType) -> UInt64s:
    if pa.types.is_string(column.type) and _repeats_itself(column):
        encoded = column.dictionary_encode()
        distinct = _column_hashes_of_field(hash_field(encoded.dictionary, kind))
        codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = distinct[codes] if len(distinct) else np.zeros(len(column), dtype=np.uint64)
        if column.null_count:
            hashes[column.is_null().to_numpy(zero_copy_only=False)] = 0
        return hashes
    return _column_hashes_of_field(hash_field(column, kind))


def _repeats_itself(column: pa.Array) -> bool:
    return len(column) > _SAMPLE and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() <= _SAMPLE // 2


def _column_hashes_of_field(field: Field) -> UInt64s:
    hashes = hash_bytes_fixed(field.fixed) if field.fixed is not None else hash_bytes_variable(field.variable)
    if field.valid is not None:
        hashes[~field.valid] = 0
    return hashes


def hash_bytes_fixed(values: npt.NDArray[np.uint8], seed: int = SEED) -> UInt64s:
    """`hash_bytes_extended` of each row of `values` (shape rows x width)."""
    hashes = np.empty(len(values), dtype=np.uint64)
    for start in range(0, len(values), _SLAB):
        hashes[start : start + _SLAB] = _hash_slab(values[start : start + _SLAB], seed)
    return hashes


def _hash_slab(values: npt.NDArray[np.uint8], seed: int) -> UInt64s:
    rows, width = values.shape
    blocks = width // _BLOCK
    tail = np.zeros((rows, _BLOCK), dtype=np.uint8)
    tail[:, : width - blocks * _BLOCK] = values[:, blocks * _BLOCK :]
    state = _initial_state(np.full(rows, width, dtype=np.uint32), seed)
    if blocks:
        words = np.ascontiguousarray(values[:, : blocks * _BLOCK]).view("<u4")
        for block in range(0, 3 * blocks, 3):
            _add_block(state, words[:, block], words[:, block + 1], words[:, block + 2])
    last = tail.view("<u4")
    return _finish(state, last[:, 0], last[:, 1], last[:, 2])


def hash_bytes_variable(values: pa.BinaryArray, seed: int = SEED) -> UInt64s:
    """`hash_bytes_extended` of each value of a binary array without nulls.

    Rows are taken from the longest to the shortest, so that round i works on the rows that still have a block i:
    one vectorised step for each 12 bytes of the longest value.
    """
    offsets = offsets_of(values)
    if len(offsets) == 1:
        return np.zeros(0, dtype=np.uint64)
    lengths = np.diff(offsets).astype(np.uint32)
    order = _longest_first(lengths // _BLOCK)
    lengths = lengths[order]
    full_blocks = (lengths // _BLOCK).astype(np.int64)
    starts = (offsets[:-1] - offsets[0])[order].astype(np.int64)
    blocks = _blocks_anywhere(data_of(values)[offsets[0] : offsets[-1]])
    state = _initial_state(lengths, seed)
    # active[i] rows have more than i full blocks.
    active = len(lengths) - np.searchsorted(full_blocks[::-1], np.arange(full_blocks[0]), side="right")
    for block, count in enumerate(active):
        words = _words(blocks[starts[:count] + _BLOCK * block])
        _add_block([part[:count] for part in state], words[:, 0], words[:, 1], words[:, 2])
    tail = _words(blocks[starts + _BLOCK * full_blocks])
    tail &= _TAIL_BITS[lengths % _BLOCK]
    hashes = np.empty(len(lengths), dtype=np.uint64)
    hashes[order] = _finish(state, tail[:, 0], tail[:, 1], tail[:, 2])
    return hashes


def _longest_first(full_blocks: UInt32s) -> npt.NDArray[np.intp]:
    """The order from the most blocks to the fewest. NumPy sorts 16-bit numbers by radix, ten times as fast."""
    longest = full_blocks.max()
    return np.argsort((longest - full_blocks).astype(np.uint16 if longest < 2**16 else np.uint32), kind="stable")


def _blocks_anywhere(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """The block that begins at each byte of `data`, and an empty one at its end: a view that overlaps itself."""
    padded = np.concatenate([data, np.zeros(_BLOCK, dtype=np.uint8)])
    return np.ndarray(len(data) + 1, dtype=f"V{_BLOCK}", buffer=padded, strides=(1,))


def _words(blocks: npt.NDArray[np.void]) -> UInt32s:
    return blocks.view("<u4").reshape(-1, 3)


def _initial_state(lengths: UInt32s, seed: int) -> list[UInt32s]:
    start = lengths + np.uint32(_INITIAL & 0xFFFFFFFF)
    state = [start.copy(), start.copy(), start]
    if seed:
        state[0] += np.uint32(seed >> 32)
        state[1] += np.uint32(seed & 0xFFFFFFFF)
        _mix(state)
    return state


def _add_block(state: list[UInt32s], a: UInt32s, b: UInt32s, c: UInt32s) -> None:
    state[0] += a
    state[1] += b
    state[2] += c
    _mix(state)


def _finish(state: list[UInt32s], a: UInt32s, b: UInt32s, c: UInt32s) -> UInt64s:
    """Add the last, partial block and stir; the lowest byte of c belongs to the length, so its bytes move up by one."""
    state[0] += a
    state[1] += b
    state[2] += c << np.uint32(8)
    _final(state)
    return (state[1].astype(np.uint64) << np.uint64(32)) | state[2]


# Bob Jenkins' lookup3 as in hashfn.c. mix: x -= z; x ^= rot(z, bits); z += y. final: x ^= z; x -= rot(z, bits).
_MIX = ((0, 2, 4, 1), (1, 0, 6, 2), (2, 1, 8, 0), (0, 2, 16, 1), (1, 0, 19, 2), (2, 1, 4, 0))
_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def _rotated(value: UInt32s, bits: int) -> UInt32s:
    result = value << np.uint32(bits)
    result |= value >> np.uint32(32 - bits)
    return result


def _mix(state: list[UInt32s]) -> None:
    for x, z, bits, y in _MIX:
        state[x] -= state[z]
        state[x] ^= _rotated(state[z], bits)
        state[z] += state[y]


def _final(state: list[UInt32s]) -> None:
    for x, z, bits in _FINAL:
        state[x] ^= state[z]
        state[x] -= _rotated(state[z], bits)
