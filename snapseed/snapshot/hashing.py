"""The order-independent digest of rows: PostgreSQL's own record hash, computed from Arrow bit for bit the same.

A row's hash is the hash of its record hash (`row_hashes`). A set of rows has their number and the sum of their hashes
mod 2^64 (`Fingerprint`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.core import Kind, library, reason
from snapseed.snapshot.types import ColumnType
from snapseed.snapshot.values import described, for_hash

UInt64s = npt.NDArray[np.uint64]

# Any fixed number except 0 would do. It is part of every fingerprint in every manifest, so it never changes.
SEED = 0x736E617073656564  # "snapseed" in ASCII


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
    """The hash of each row: `hash_record_extended(ROW(columns), SEED)`, hashed once more.

    The record hash alone is linear in the hashes of its fields (31 times the hash so far, plus the field; PostgreSQL's
    `rowtypes.c`), so a sum of record hashes would miss two rows that have swapped a value.
    Raises `ValueError` for a value that PostgreSQL does not have, such as a vector with a NULL element.
    """
    return for_hash(columns, types).hashes(SEED)


def hash_bytes(values: pa.Array, seed: int) -> UInt64s:
    """PostgreSQL's `hash_bytes_extended` of each value of a binary or string array without nulls."""
    hashes, row = np.empty(len(values), dtype=np.uint64), ctypes.c_int64()
    values.validate()
    failed = library().snapseed_hash_values(described(values, Kind.TEXT), seed, hashes.ctypes.data, ctypes.byref(row))
    if failed:
        raise ValueError(f"{reason(failed)} (value {row.value:,})")
    return hashes
