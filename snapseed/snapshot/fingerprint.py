"""The order-independent digest of rows, made of PostgreSQL's own record hash; from Arrow it is bit for bit the same.

A row is the hash of its record hash (`row_hashes`); a set of rows is their number and the sum of their hashes mod 2^64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.snapshot.fields import JSONB_VERSION, hash_field, text_field, validity, vector_words
from snapseed.snapshot.lookup3 import SLAB, Values, hash_bytes_fixed, hash_together, hash_words
from snapseed.snapshot.types import ColumnType, Family

UInt64s = npt.NDArray[np.uint64]

# Any fixed non-zero number would do; it stands in every manifest's fingerprints, so it never changes.
SEED = 0x736E617073656564  # "snapseed" in ASCII
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
    """A column on the way to its hashes: those of values of one width, or values of others, which are hashed together.

    With `codes` both are those of the distinct values, and row i has number `codes[i]`. NULLs are where not `valid`.
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
        if kind.family is Family.JSONB and not kind.is_array:  # as hash_field has it, but for a copy of all texts
            field, prefix = text_field(column), JSONB_VERSION[0]
        else:
            field = hash_field(column, kind)
        valid = field.valid if codes is None else valid
        if field.fixed is not None:
            return cls(hashes=hash_bytes_fixed(field.fixed, SEED), valid=valid)
        return cls(texts=Values(field.variable, prefix), valid=valid, codes=codes)

    def of_rows(self, hashes: UInt64s) -> UInt64s:
        """One hash for each row, 0 where NULL, from those of the values."""
        if self.codes is not None:
            hashes = hashes[self.codes] if len(hashes) else np.zeros(len(self.codes), dtype=np.uint64)
        if self.valid is not None:
            hashes[~self.valid] = 0
        return hashes


def _repeats_itself(column: pa.Array) -> bool:
    return len(column) > _SAMPLE and pc.count_distinct(column.slice(0, _SAMPLE)).as_py() <= _SAMPLE // 2


def _vector_hashes(column: pa.FixedSizeListArray) -> UInt64s:
    """The hashes of vectors as `real[]`, a slab at a time: the words of one take eight bytes for each element."""
    hashes = np.empty(len(column), dtype=np.uint64)
    for start in range(0, len(column), SLAB):
        words, width = vector_words(column.slice(start, SLAB))
        hashes[start : start + SLAB] = hash_words(words, width, min(SLAB, len(column) - start), SEED)
    return hashes
