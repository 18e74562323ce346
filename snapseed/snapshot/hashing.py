"""The fingerprint of rows, computed from Arrow: bit for bit what PostgreSQL's record hash gives in the server.

A row is the hash of its record hash (`row_hashes`). A set of rows is their number and the sum of their hashes modulo
2^64, so their order does not matter. Below that is `hash_bytes_extended` of PostgreSQL (Bob Jenkins' lookup3;
`src/common/hashfn.c`) for many values at a time, in 32-bit arithmetic that wraps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.snapshot.arrow import data_of, offsets_of
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import JSONB_VERSION, hash_field, text_field, validity, vector_words

UInt32s = npt.NDArray[np.uint32]
UInt64s = npt.NDArray[np.uint64]
State = tuple[UInt32s, UInt32s, UInt32s]

# Any fixed non-zero number would do. Every manifest's fingerprints depend on it, so it never changes.
SEED = 0x736E617073656564  # "snapseed" in ASCII
# A text column is hashed once per distinct value if at most half of its first values are distinct: measured to pay.
_SAMPLE = 512
# hash_bytes_extended's initial state, before the length is added.
_INITIAL = 0x9E3779B9 + 3923095
_BLOCK = 12
_BLOCK_WORDS = 3
# Blocks of a value that are fetched at a time: two cache lines.
_FETCHED = 10
# Columns up to this many bytes are copied and hashed together. Larger ones are as fast one by one, in less memory.
_TOGETHER = 8_000_000
# Rows hashed together: enough to make NumPy's cost per call small (5 ns per block of a row with 4,096 rows, 3 ns with
# 8,192, 2.7 ns with 16,384), few enough that the state stays in the second-level cache.
SLAB = 8192
# The bits of a partial block of 0 to 11 bytes, as its three words.
_TAIL_BITS = (np.uint8(255) * np.tri(_BLOCK, k=-1, dtype=np.uint8)).view("<u4")
# mix: x -= z; x ^= rot(z, bits); z += y. final: x ^= z; x -= rot(z, bits). The numbers are arrays, because NumPy would
# turn a plain number into one at each use.
_MIX = tuple(
    (x, z, np.array(bits, np.uint32), np.array(32 - bits, np.uint32), y)
    for x, z, bits, y in ((0, 2, 4, 1), (1, 0, 6, 2), (2, 1, 8, 0), (0, 2, 16, 1), (1, 0, 19, 2), (2, 1, 4, 0))
)
_FINAL = tuple(
    (x, z, np.array(bits, np.uint32), np.array(32 - bits, np.uint32))
    for x, z, bits in ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))
)
_EIGHT = np.array(8, np.uint32)


class Fingerprint(msgspec.Struct, frozen=True, order=True):
    """The number of rows, and the sum of their hashes modulo 2^64. Fingerprints of disjoint sets of rows add up."""

    rows: int
    total: int

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(self.rows + other.rows, (self.total + other.total) % 2**64)

    def __str__(self) -> str:
        return f"{self.total:016x}"

    @classmethod
    def parse(cls, rows: int, text: str) -> Fingerprint:
        """The inverse of `str`, for the 16 hexadecimal digits in a manifest."""
        return cls(rows, int(text, 16))


EMPTY = Fingerprint(0, 0)


def combined(fingerprints: Iterable[Fingerprint]) -> Fingerprint:
    """The fingerprint of all rows together."""
    return sum(fingerprints, EMPTY)


def fingerprint(columns: Sequence[pa.Array], types: Sequence[ColumnType]) -> Fingerprint:
    """The fingerprint of the rows in `columns`, which are in the order of the manifest."""
    hashes = row_hashes(columns, types)
    return Fingerprint(len(hashes), int(hashes.sum(dtype=np.uint64)))


def row_hashes(columns: Sequence[pa.Array], types: Sequence[ColumnType]) -> UInt64s:
    """The hash of each row: `hash_record_extended(ROW(columns), SEED)`, whose eight bytes are then hashed again.

    The record hash alone is linear in the hashes of its fields (31 times what came before, plus the field; PostgreSQL's
    `rowtypes.c`), so a sum of record hashes would not notice two rows that swapped a value.
    """
    rows = len(columns[0])
    fields = [_Hashed.of(column, kind) for column, kind in zip(columns, types, strict=True)]
    texts = [field.texts for field in fields if field.texts is not None]
    hashed = iter(hash_together(texts, SEED) if texts else ())
    record = np.zeros(rows, dtype=np.uint64)
    for field in fields:
        record *= np.uint64(31)
        record += field.of_rows(field.hashes if field.hashes is not None else next(hashed))
    return hash_words(list(record.astype(">u8").view("<u4").reshape(-1, 2).T.copy()), 8, rows, SEED)


@dataclass(frozen=True)
class _Hashed:
    """A column, half hashed: either the `hashes` of its values, or `texts` that are hashed together with other columns.

    With `codes`, both have an item for each distinct value, and row i has the item `codes[i]`. A row is NULL where
    `valid` is False.
    """

    hashes: UInt64s | None = None
    texts: Values | None = None
    valid: npt.NDArray[np.bool_] | None = None
    codes: npt.NDArray[np.integer] | None = None

    @classmethod
    def of(cls, column: pa.Array, kind: ColumnType) -> _Hashed:
        if kind.family is Family.VECTOR:
            return cls(hashes=_vector_hashes(column), valid=validity(column))
        codes, valid, prefix = None, None, None
        if pa.types.is_string(column.type) and _repeats_itself(column):
            encoded = column.dictionary_encode()
            valid, column = validity(column), encoded.dictionary
            codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        if kind.family is Family.JSONB and not kind.is_array:  # what hash_field does, without copying all texts
            field, prefix = text_field(column), JSONB_VERSION[0]
        else:
            field = hash_field(column, kind)
        valid = field.valid if codes is None else valid
        if field.fixed is not None:
            return cls(hashes=hash_bytes_fixed(field.fixed, SEED), valid=valid)
        return cls(texts=Values(field.variable, prefix), valid=valid, codes=codes)

    def of_rows(self, hashes: UInt64s) -> UInt64s:
        """The hash of each row, 0 where NULL, from the hashes of the values."""
        if self.codes is not None:
            hashes = hashes[self.codes] if len(hashes) else np.zeros(len(self.codes), dtype=np.uint64)
        if self.valid is not None:
            hashes[~self.valid] = 0
        return hashes


def _repeats_itself(column: pa.Array) -> bool:
    return len(column) > _SAMPLE and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() <= _SAMPLE // 2


def _vector_hashes(column: pa.FixedSizeListArray) -> UInt64s:
    """The hashes of vectors as `real[]`, a slab at a time: a vector's words take eight bytes for each element."""
    hashes = np.empty(len(column), dtype=np.uint64)
    for start in range(0, len(column), SLAB):
        words, width = vector_words(column.slice(start, SLAB))
        hashes[start : start + SLAB] = hash_words(words, width, min(SLAB, len(column) - start), SEED)
    return hashes


@dataclass(frozen=True)
class Values:
    """A binary array without nulls, and a byte that is hashed before each of its values, if there is one."""

    array: pa.BinaryArray
    prefix: int | None = None


def hash_bytes_fixed(values: npt.NDArray[np.uint8], seed: int) -> UInt64s:
    """The hash of each row of `values` (shape rows x width)."""
    rows, width = values.shape
    hashes = np.empty(rows, dtype=np.uint64)
    for start in range(0, rows, SLAB):
        slab = values[start : start + SLAB]
        padded = np.zeros((len(slab), -(-max(width, 1) // 4) * 4), dtype=np.uint8)
        padded[:, :width] = slab
        hashes[start : start + SLAB] = hash_words(list(padded.view("<u4").T.copy()), width, len(slab), seed)
    return hashes


def hash_words(words: Iterable[UInt32s | np.uint32], width: int, rows: int, seed: int) -> UInt64s:
    """The hash of `rows` values of `width` bytes each, given as little-endian words.

    A word is an array with an item for each row, or one number for all rows. The last word is padded with zeros.
    """
    a, b, c = (np.full(rows, part, dtype=np.uint32) for part in _initial_state(np.array([width], np.uint32), seed))
    state = a, b, c
    scratch = np.empty(rows, dtype=np.uint32)
    left = iter(words)
    for _ in range(width // _BLOCK):
        for part in state:
            np.add(part, next(left), out=part)
        _mix(state, scratch)
    tail = [*left, *[np.uint32(0)] * _BLOCK_WORDS][:_BLOCK_WORDS]
    return _finish(state, tail, scratch)


def hash_bytes_variable(values: pa.BinaryArray, seed: int) -> UInt64s:
    """The hash of each value of a binary array without nulls."""
    return hash_together([Values(values)], seed)[0]


def hash_together(columns: Sequence[Values], seed: int) -> list[UInt64s]:
    """The hashes of each column's values.

    The cost is the number of rounds, one for each 12 bytes of the longest value, so hash short columns together. Values
    are sorted from the longest to the shortest: round i works on those that still have a block i.
    """
    offsets = [offsets_of(column.array).astype(np.int64) for column in columns]
    sizes = [int(own[-1] - own[0]) for own in offsets]
    if len(columns) > 1 and sum(sizes) > _TOGETHER:
        return [hash_together([column], seed)[0] for column in columns]
    # Fetching reads beyond the end of a value, also of the last one. A prefix replaces the byte before a value.
    data = np.zeros(1 + sum(sizes) + _FETCHED * _BLOCK, dtype=np.uint8)
    base, all_starts, all_lengths, all_prefixes = 1, [], [], []
    for column, own, size in zip(columns, offsets, sizes, strict=True):
        data[base : base + size] = data_of(column.array)[own[0] : own[-1]]
        prefixed = column.prefix is not None
        all_starts.append(own[:-1] + (base - own[0] - prefixed))
        all_lengths.append(np.diff(own) + prefixed)
        all_prefixes.append(np.full(len(column.array), -1 if column.prefix is None else column.prefix, dtype=np.int16))
        base += size
    places = np.concatenate(all_starts), np.concatenate(all_lengths).astype(np.uint32), np.concatenate(all_prefixes)
    ends = np.cumsum([len(column.array) for column in columns])
    return np.split(_hash_at(data, *places, seed), ends[:-1])


def _hash_at(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: UInt32s,
    prefixes: npt.NDArray[np.int16],
    seed: int,
) -> UInt64s:
    """The hashes of the bytes at `starts` with these lengths; a prefix that is not -1 replaces the first byte.

    `data` continues after the last value for as many bytes as are fetched at a time.
    """
    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    order = _longest_first(lengths // _BLOCK)
    starts, lengths, prefixes = starts[order], lengths[order], prefixes[order]
    blocks = (lengths // _BLOCK).astype(np.int64)
    state, scratch = _initial_state(lengths, seed), np.empty(len(lengths), dtype=np.uint32)
    # active[i] values have more than i full blocks.
    active = len(lengths) - np.searchsorted(blocks[::-1], np.arange(blocks[0]), side="right")
    fetched = np.empty(_FETCHED * _BLOCK_WORDS * int(active[0]) if len(active) else 0, dtype=np.uint32)
    anywhere = _anywhere(data, _FETCHED * _BLOCK)
    for first in range(0, len(active), _FETCHED):
        now = active[first : first + _FETCHED]
        count, depth = int(now[0]), len(now) * _BLOCK_WORDS
        words = fetched[: depth * count].reshape(depth, count)
        words[...] = anywhere[starts[:count] + _BLOCK * first].view("<u4").reshape(count, -1)[:, :depth].T
        if not first:
            _put_prefixes(words[0], prefixes[:count])
        for block, still in enumerate(now.tolist()):
            live = (state[0][:still], state[1][:still], state[2][:still])
            for number, part in enumerate(live):
                np.add(part, words[_BLOCK_WORDS * block + number, :still], out=part)
            _mix(live, scratch[:still])
    tail = _anywhere(data, _BLOCK)[starts + _BLOCK * blocks].view("<u4").reshape(-1, _BLOCK_WORDS)
    tail &= _TAIL_BITS[lengths % _BLOCK]
    _put_prefixes(tail[:, 0], np.where(blocks, np.int16(-1), prefixes))
    hashes = np.empty(len(lengths), dtype=np.uint64)
    hashes[order] = _finish(state, list(tail.T), scratch)
    return hashes


def _put_prefixes(first_words: UInt32s, prefixes: npt.NDArray[np.int16]) -> None:
    rows = np.flatnonzero(prefixes >= 0)
    first_words[rows] = (first_words[rows] & np.uint32(0xFFFFFF00)) | prefixes[rows].astype(np.uint32)


def _longest_first(blocks: UInt32s) -> npt.NDArray[np.intp]:
    """The order from the most blocks to the fewest. NumPy sorts 16-bit numbers by radix, ten times faster."""
    longest = blocks.max()
    return np.argsort((longest - blocks).astype(np.uint16 if longest < 2**16 else np.uint32), kind="stable")


def _anywhere(data: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.void]:
    """The `size` bytes starting at each byte of `data`: a view whose items overlap."""
    return np.ndarray(len(data) - size + 1, dtype=f"V{size}", buffer=data, strides=(1,))


def _initial_state(lengths: UInt32s, seed: int) -> State:
    start = lengths + np.uint32(_INITIAL & 0xFFFFFFFF)
    state = (start.copy(), start.copy(), start)
    if seed:
        np.add(state[0], np.uint32(seed >> 32), out=state[0])
        np.add(state[1], np.uint32(seed & 0xFFFFFFFF), out=state[1])
        _mix(state, np.empty_like(start))
    return state


def _finish(state: State, tail: Sequence[UInt32s | np.uint32], scratch: UInt32s) -> UInt64s:
    """Add the last, partial block and mix. The lowest byte of c is the length's, so its bytes move up by one."""
    np.add(state[0], tail[0], out=state[0])
    np.add(state[1], tail[1], out=state[1])
    np.add(state[2], np.left_shift(tail[2], _EIGHT), out=state[2])
    _final(state, scratch)
    hashes: UInt64s = state[1].astype(np.uint64)
    hashes <<= np.uint64(32)
    hashes |= state[2]
    return hashes


def _mix(state: State, scratch: UInt32s) -> None:
    for x, z, left, right, y in _MIX:
        target, source = state[x], state[z]
        np.subtract(target, source, out=target)
        np.left_shift(source, left, out=scratch)
        np.bitwise_xor(target, scratch, out=target)
        np.right_shift(source, right, out=scratch)
        np.bitwise_xor(target, scratch, out=target)
        np.add(source, state[y], out=source)


def _final(state: State, scratch: UInt32s) -> None:
    rest = np.empty_like(scratch)
    for x, z, left, right in _FINAL:
        target, source = state[x], state[z]
        np.bitwise_xor(target, source, out=target)
        np.left_shift(source, left, out=scratch)
        np.right_shift(source, right, out=rest)
        np.bitwise_or(scratch, rest, out=scratch)
        np.subtract(target, scratch, out=target)
