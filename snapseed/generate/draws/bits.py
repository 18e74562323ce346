"""Random bits without a generator: every draw is a hash of what it is for, so the order of calls does not matter.

All arithmetic is on 64-bit integers and wraps; nothing here depends on a CPU, a library version or a locale.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

# 2^64 / golden ratio: steps of it spread neighboring numbers over the whole range (Knuth, TAOCP 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def name_hash(*names: object) -> np.uint64:
    """A 64-bit hash of what `names` identify: (seed, entity), a column, … Where one name ends matters."""
    text = "\x1f".join(map(str, names)).encode()
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def mixed(values: UInt64s) -> UInt64s:
    """A bijection in which every input bit flips about half of the output bits (David Stafford's variant 13)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def identity_hashes(seed: int, entity: str, roots: UInt64s, ordinals: UInt64s) -> UInt64s:
    """One hash for each row of an entity, which its root row and its ordinal identify."""
    return numbered(mixed(roots ^ name_hash(seed, entity)), ordinals)


def column_bits(hashes: UInt64s, column: str) -> UInt64s:
    """64 uniform bits for each row, independent of those of every other column."""
    return mixed(hashes ^ name_hash("column", column))


def numbered(hashes: UInt64s, numbers: UInt64s) -> UInt64s:
    """A new hash for each pair of hash and number: the ordinal of a descendant, the position of an item."""
    return mixed(hashes + (numbers + np.uint64(1)) * _GOLDEN)


def below(bits: UInt64s, limit: UInt64s | int) -> UInt64s:
    """Turn `bits` into a number from 0 to limit - 1: the upper half of the 128-bit product (Lemire, 2019).

    Unlike rejection, it takes exactly one draw; the bias is below limit / 2^64.
    """
    limit = np.asarray(limit, dtype=np.uint64)
    if limit.size and int(limit.max()) <= int(_LOW_32):
        # A limit of 32 bits: its product with the lower half of the bits can only carry.
        carried = bits & _LOW_32
        carried *= limit
        carried >>= _32
        short: UInt64s = (bits >> _32) * limit
        short += carried
        short >>= _32
        return short
    bits_high, bits_low = bits >> _32, bits & _LOW_32
    limit_high, limit_low = limit >> _32, limit & _LOW_32
    middle = bits_high * limit_low + ((bits_low * limit_low) >> _32)
    high = bits_high * limit_high
    crossed = bits_low * limit_high + (middle & _LOW_32)
    result: UInt64s = high + (middle >> _32) + (crossed >> _32)
    return result


def thresholds(weights: Sequence[int]) -> UInt64s:
    """The upper ends of the ranges of 64 bits that belong to each weight but the last, for `categories`.

    Raises `ValueError` if a weight is negative or all are zero.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights must not be negative, and one must be positive: {list(weights)}")
    # Nothing can be drawn after the last positive weight.
    ends = [running * 2**64 // total for running in accumulate(weights[:-1]) if running < total]
    return np.array(ends, dtype=np.uint64)


def skewed_weights(mean: float, maximum: int) -> list[int]:
    """Weights 1 / (number + shift)^2 in integers. The mean grows with the shift, so bisection finds it."""

    def weights(shift: int) -> list[int]:
        """The weights of 0 to the maximum with this shift."""
        return [2**120 // (number * 2**16 + shift) ** 2 for number in range(maximum + 1)]

    def reaches_mean(shift: int) -> bool:
        """Whether weights with this shift have at least the mean."""
        found = weights(shift)
        return sum(number * weight for number, weight in enumerate(found)) * 10**6 >= round(mean * 10**6) * sum(found)

    return weights(bisect_left(range(2**40), x=True, lo=1, key=reaches_mean))


def categories(bits: UInt64s, ends: UInt64s) -> npt.NDArray[np.intp]:
    """The index of the weight that each draw falls to."""
    return np.searchsorted(ends, bits, side="right")
