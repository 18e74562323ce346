"""Numbers that are not spread evenly: ranks, the normal and the log-normal distribution, each by inverting it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

from snapseed.generate import draws
from snapseed.generate.drawing.fixed_point import LOG_BITS, NORMAL_BITS, exp2, log2, normal, normal_bits
from snapseed.generate.drawing.identity import Int64s

Number = int | float | Decimal | str

# Numbers stay below this, so that no step on the way to them passes 64 bits.
LARGEST = 2**56
# Exponents of ranks count in steps of this, from 0.1 to 5; so they, too, fit.
_STEPS = 100
_EXPONENTS = range(_STEPS // 10, 5 * _STEPS + 1)
# Logarithms of what is drawn stay below this; the largest that `exp2` takes is one more.
_HIGHEST = 62 << LOG_BITS


def ranks(bits: draws.UInt64s, sizes: Int64s, exponent: Number, what: str) -> Int64s:
    """What `Rows.zipf` says, for these bits; errors begin with `what`.

    The integral of 1 / x^s from 1 to x is a logarithm for s = 1, else a power; either is inverted.
    """
    steps = fraction(exponent) * _STEPS
    if np.any(sizes < 1) or np.any(sizes >= LARGEST) or steps.denominator != 1 or int(steps) not in _EXPONENTS:
        raise ValueError(f"{what}: needs sizes from 1 to 2^56, and an exponent from 0.1 to 5 in steps of 0.01")
    ends, slope = log2(sizes + 1), int(steps) - _STEPS
    if not slope:
        exponents = draws.below(bits, ends.view(np.uint64)).view(np.int64)
    elif slope < 0:
        end = ends * -slope // _STEPS
        places = 61 - (end >> LOG_BITS)
        one = np.left_shift(1, places)
        drawn = one + draws.below(bits, (exp2(end + (places << LOG_BITS)) - one).view(np.uint64)).view(np.int64)
        exponents = (log2(drawn) - (places << LOG_BITS)) * _STEPS // -slope
    else:
        rest = exp2(np.maximum(_HIGHEST - ends * slope // _STEPS, 0))
        drawn = 2**62 - draws.below(bits, (2**62 - rest).view(np.uint64)).view(np.int64)
        exponents = (_HIGHEST - log2(drawn)) * _STEPS // slope
    found: Int64s = np.clip(exp2(np.clip(exponents, 0, _HIGHEST)), 1, sizes)
    return found


def normals(bits: draws.UInt64s, mean: Int64s, deviation: Int64s, bounds: tuple[Int64s, Int64s] | None) -> Int64s:
    """What `Rows.normal` says, for these bits; cut off at the bounds, where there are any."""
    if bounds is None:
        return mean + _spread(bits, deviation)
    low, high = bounds
    ends = (_deviations(2 * (low - mean) - 1, deviation), _deviations(2 * (high - mean) + 1, deviation))
    found: Int64s = np.clip(mean + _spread(_within(bits, *ends), deviation), low, high)
    return found


def log_normals(bits: draws.UInt64s, median: Int64s, spread: Fraction, low: Int64s, high: Int64s) -> Int64s:
    """What `Rows.log_normal` says, for these bits. Twice the value is drawn and halved: so it is rounded, not cut."""
    center, width = log2(2 * median), np.asarray(logarithm(spread))
    ends = [_deviations((log2(np.maximum(end, 1)) - center) * 2, width) for end in (2 * low - 1, 2 * high + 1)]
    exponents = np.minimum(center + _spread(_within(bits, *ends), width), _HIGHEST)
    drawn = np.where(exponents < 0, 0, (exp2(np.maximum(exponents, 0)) + 1) >> 1)
    found: Int64s = np.clip(drawn, low, high)
    return found


def fraction(number: Number) -> Fraction:
    """What is written, to a billionth: 0.1 is a tenth, not the float next to it."""
    return Fraction(str(number)).limit_denominator(10**9)


def logarithm(number: Fraction) -> int:
    """The logarithm to base 2 of a number above zero, in steps of 2^-48."""
    above, below = log2(np.array(number.as_integer_ratio(), dtype=np.int64)).tolist()
    return int(above - below)


def _deviations(twice: Int64s, width: Int64s) -> Int64s:
    """How many times `width` half of `twice` is, as `normal` counts: a division of single values, which is exact."""
    return (np.clip(twice / np.maximum(2 * width, 1), -9, 9) * 2.0**NORMAL_BITS).astype(np.int64)


def _within(bits: draws.UInt64s, low: Int64s, high: Int64s) -> draws.UInt64s:
    """`bits` moved to where the normal distribution lies between these values."""
    first = normal_bits(low)
    return first + draws.below(bits, np.maximum(normal_bits(high) - first, np.uint64(1)))


def _spread(bits: draws.UInt64s, width: Int64s) -> Int64s:
    """A value of the normal distribution times `width`, rounded."""
    value = normal(bits)
    # The upper half of the product with 32 · width is twice the value: sizes are parts of 16 there.
    sizes = np.abs(value).view(np.uint64) << np.uint64(60 - NORMAL_BITS)
    rounded = (draws.below(sizes, 32 * width.astype(np.uint64)).view(np.int64) + 1) >> 1
    return np.where(value < 0, -rounded, rounded)
