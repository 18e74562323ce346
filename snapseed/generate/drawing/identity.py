"""`Identities`: which rows are drawn for, and the bits that each of them has for a column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.generate import draws
from snapseed.generate.pools import Pools

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity

Booleans = npt.NDArray[np.bool]
Int64s = npt.NDArray[np.int64]
Numbers = int | pl.Series


@dataclass(frozen=True)
class Identities:
    """What every kind of draw starts from; `Rows` says what the fields are."""

    entity: Entity
    seed: int
    now: datetime
    pools: Pools
    roots: draws.UInt64s
    ordinals: draws.UInt64s
    positions: pl.Series
    hashes: draws.UInt64s
    are_items: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.roots)

    def bits(self, column: str) -> draws.UInt64s:
        """64 uniform bits per row (numpy uint64), for draws that have no method of their own.

        >>> (rows.bits("flags") >> 60).tolist()
        [15, 15, 9, 2]
        """
        return draws.column_bits(self.hashes, column)


def int64s(value: Numbers, what: str) -> Int64s:
    """A number, or one for each row, as NumPy has it.

    Raises errors that begin with `what`: `ValueError` for a null, `TypeError` for what is no whole number.
    """
    if isinstance(value, (int, np.integer)):
        return np.asarray(value, dtype=np.int64)
    if not isinstance(value, pl.Series):
        raise TypeError(f"{what}: needs a whole number, or a series of them, got {value!r}")
    if value.null_count():
        raise ValueError(f"{what}: {value.null_count()} of {len(value)} values are null")
    return value.cast(pl.Int64).to_numpy()


def between(bits: draws.UInt64s, low: Int64s, high: Int64s, what: str) -> Int64s:
    """Whole numbers from `low` to `high`, both included, each equally likely.

    Raises `ValueError` that begins with `what` where `high` is smaller.
    """
    if np.any(high < low):
        raise ValueError(f"{what}: a maximum is smaller than its minimum")
    low, high = np.asarray(low), np.asarray(high)  # a scalar would warn of what wraps on purpose
    widest = high.astype(np.uint64) - low.astype(np.uint64)  # one less than the numbers to choose from; wraps
    all_bits = np.uint64(2**64 - 1)
    drawn = np.where(widest == all_bits, bits, draws.below(bits, widest + (widest != all_bits)))
    return (drawn + low.astype(np.uint64)).astype(np.int64)
