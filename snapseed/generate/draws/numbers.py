"""Numbers from bits: uniform, as decimals, as ranks, and by the normal and log-normal distributions.

Bounds and parameters are single numbers or series with one value per row.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snapseed.generate.draws.bits import Int64s, UInt64s, below, mixed
from snapseed.generate.draws.fixed_point import LOG_BITS, NORMAL_BITS, exp2, log2, normal, normal_bits

Booleans = npt.NDArray[np.bool]
Numbers = int | pl.Series
# A parameter that may have decimals; "0.1" and 0.1 both mean one tenth exactly.
Number = int | float | Decimal | str

# Numbers stay below this, so that no step on the way to them overflows 64 bits.
_LARGEST = 2**56
# Exponents of ranks are multiples of 0.01, from 0.1 to 5, for the same reason.
_STEPS = 100
_EXPONENTS = range(_STEPS // 10, 5 * _STEPS + 1)
# Logarithms of results stay below this; `exp2` takes at most one more.
_HIGHEST = 62 << LOG_BITS
_LARGEST_SPREAD = 1000


def int64s(value: Numbers) -> Int64s:
    """A number, or one per row, as a NumPy array.

    Raises `ValueError` for a null, `TypeError` for anything but a whole number or a series.
    """
    if isinstance(value, (int, np.integer)):
        return np.asarray(value, dtype=np.int64)
    if not isinstance(value, pl.Series):
        raise TypeError(f"expected a whole number or a series of whole numbers, got {value!r}")
    if value.null_count():
        raise ValueError(f"{value.null_count()} of {len(value)} values are null")
    return value.cast(pl.Int64).to_numpy()


def fraction(number: Number) -> Fraction:
    """The number as it is written, to a billionth: 0.1 is one tenth, not the float next to it."""
    return Fraction(str(number)).limit_denominator(10**9)


def logarithm(number: Fraction) -> int:
    """The logarithm to base 2 of a positive number, in steps of 2^-48."""
    above, under = log2(np.array(number.as_integer_ratio(), dtype=np.int64)).tolist()
    return int(above - under)


def between(bits: UInt64s, low: Int64s, high: Int64s) -> Int64s:
    """Whole numbers from `low` to `high`, both included, all equally likely; any width up to 64 bits.

    Raises `ValueError` if a maximum is below its minimum.
    """
    if np.any(high < low):
        raise ValueError("a maximum is smaller than its minimum")
    low, high = np.asarray(low), np.asarray(high)  # NumPy warns when a scalar wraps, which is intended here
    widest = high.astype(np.uint64) - low.astype(np.uint64)  # one less than there are numbers to choose from; wraps
    all_bits = np.uint64(2**64 - 1)
    drawn = np.where(widest == all_bits, bits, below(bits, widest + (widest != all_bits)))
    return (drawn + low.astype(np.uint64)).astype(np.int64)


def along(bits: UInt64s, bounds: Int64s, minimum: Int64s | None = None) -> Int64s:
    """Whole numbers between each bound and the next with the same probability; what `Rows.quantiles` documents.

    Raises `ValueError` for fewer than two bounds, or if they do not ascend.
    """
    pieces = len(bounds) - 1
    if pieces < 1 or np.any(np.diff(bounds) < 0):
        raise ValueError("needs at least two bounds, in ascending order")
    place = below(bits, pieces).astype(np.int64)
    # The lower half of the product is uniform within the piece, and as far into it for any other bounds.
    drawn = between(bits * np.uint64(pieces), bounds[place], bounds[place + 1])
    if minimum is None or not np.any(early := drawn < minimum):
        return drawn
    least = np.broadcast_to(minimum, drawn.shape)[early]
    start = np.clip(np.searchsorted(bounds, least, side="right") - 1, 0, pieces - 1)
    width = np.maximum(bounds[start + 1] - bounds[start], 1)
    passed = (start + np.clip((least - bounds[start]) / width, 0, 1)) / pieces
    first = (np.minimum(passed, 1 - 2**-53) * 2.0**64).astype(np.uint64)
    again = first + below(mixed(bits[early]), ~first)
    drawn[early] = np.maximum(along(again, bounds), least)
    return drawn


def decimals(bits: UInt64s, minimum: Decimal | str, maximum: Decimal | str, digits: int) -> pl.Series:
    """What `Rows.decimals` documents: multiples of 10^-digits within the bounds."""
    low, high = math.ceil(Decimal(minimum).scaleb(digits)), math.floor(Decimal(maximum).scaleb(digits))
    return as_decimals(pl.Series(between(bits, int64s(low), int64s(high))), digits)


def as_decimals(units: pl.Series, digits: int) -> pl.Series:
    """Whole numbers of 10^-digits as exact decimals: 1999 cents are 19.99.

    >>> as_decimals(pl.Series([1999, -5]), 2).to_list()
    [Decimal('19.99'), Decimal('-0.05')]
    """
    numbers = int64s(units.fill_null(0))
    words = np.stack([numbers, numbers >> 63], axis=1)  # a decimal is stored as a whole number of 128 bits
    decimals = pa.Array.from_buffers(pa.decimal128(19, digits), len(numbers), [None, pa.py_buffer(words)])
    return pl.Series(decimals).set(units.is_null(), None) if units.null_count() else pl.Series(decimals)


def chances(bits: UInt64s, probability: float | pl.Series) -> Booleans:
    """True with this probability. Raises `ValueError` for one that is null or not between 0 and 1."""
    given = (probability if isinstance(probability, pl.Series) else pl.Series([probability])).cast(pl.Float64)
    if given.null_count() or not given.is_between(0, 1).all():
        raise ValueError("a probability must be between 0 and 1, and not null")
    exact = given.to_numpy()
    # Multiplying by a power of two is exact; 1 itself would not fit into 64 bits.
    limits = (np.minimum(exact, 1 - 2**-53) * 2.0**64).astype(np.uint64)
    chosen: Booleans = (bits < limits) | (exact == 1)
    return chosen


def ranks(bits: UInt64s, sizes: Int64s, exponent: Number) -> Int64s:
    """What `Rows.zipf` documents.

    The integral of 1 / x^s from 1 to x is a logarithm for s = 1 and a power otherwise; this inverts it.
    """
    steps = fraction(exponent) * _STEPS
    if np.any(sizes < 1) or np.any(sizes >= _LARGEST) or steps.denominator != 1 or int(steps) not in _EXPONENTS:
        raise ValueError("sizes must be from 1 to 2^56, and the exponent from 0.1 to 5 in steps of 0.01")
    ends, slope = log2(sizes + 1), int(steps) - _STEPS
    if not slope:
        exponents = below(bits, ends.view(np.uint64)).view(np.int64)
    elif slope < 0:
        end = ends * -slope // _STEPS
        places = 61 - (end >> LOG_BITS)
        one = np.left_shift(1, places)
        drawn = one + below(bits, (exp2(end + (places << LOG_BITS)) - one).view(np.uint64)).view(np.int64)
        exponents = (log2(drawn) - (places << LOG_BITS)) * _STEPS // -slope
    else:
        rest = exp2(np.maximum(_HIGHEST - ends * slope // _STEPS, 0))
        drawn = 2**62 - below(bits, (2**62 - rest).view(np.uint64)).view(np.int64)
        exponents = (_HIGHEST - log2(drawn)) * _STEPS // slope
    found: Int64s = np.clip(exp2(np.clip(exponents, 0, _HIGHEST)), 1, sizes)
    return found


def normals(
    bits: UInt64s, mean: Numbers, deviation: Numbers, minimum: Numbers | None, maximum: Numbers | None
) -> Int64s:
    """What `Rows.normal` documents."""
    middle, width = int64s(mean), int64s(deviation)
    low, high = _bounds(minimum, maximum, -_LARGEST)
    if np.any(width < 0) or np.any(width >= _LARGEST) or np.any(np.clip(middle, 1 - _LARGEST, _LARGEST - 1) != middle):
        raise ValueError("means must be within ±2^56, and deviations from 0 to 2^56")
    if minimum is None and maximum is None:
        return middle + _spread(bits, width)
    ends = (_deviations(2 * (low - middle) - 1, width), _deviations(2 * (high - middle) + 1, width))
    found: Int64s = np.clip(middle + _spread(_within(bits, *ends), width), low, high)
    return found


def log_normals(
    bits: UInt64s, median: Numbers, spread: Number, minimum: Numbers | None, maximum: Numbers | None
) -> Int64s:
    """What `Rows.log_normal` documents. Draws twice the value and halves it, which rounds instead of truncating."""
    middle, factor = int64s(median), fraction(spread)
    low, high = _bounds(minimum, maximum, 0)
    if np.any(middle < 1) or np.any(middle >= _LARGEST) or not 1 < factor < _LARGEST_SPREAD:
        raise ValueError(f"medians must be from 1 to 2^56, and the spread above 1 and below {_LARGEST_SPREAD}")
    center, width = log2(2 * middle), np.asarray(logarithm(factor))
    ends = [_deviations((log2(np.maximum(end, 1)) - center) * 2, width) for end in (2 * low - 1, 2 * high + 1)]
    exponents = np.minimum(center + _spread(_within(bits, *ends), width), _HIGHEST)
    drawn = np.where(exponents < 0, 0, (exp2(np.maximum(exponents, 0)) + 1) >> 1)
    found: Int64s = np.clip(drawn, low, high)
    return found


def _bounds(minimum: Numbers | None, maximum: Numbers | None, lowest: int) -> tuple[Int64s, Int64s]:
    """Both bounds; where one is missing, the farthest that there can be. Raises `ValueError` for others."""
    low = int64s(lowest if minimum is None else minimum)
    high = int64s(_LARGEST if maximum is None else maximum)
    if np.any(high < low) or np.any(low < lowest) or np.any(high > _LARGEST):
        raise ValueError(f"bounds must be from {'-2^56' if lowest else 0} to 2^56, the maximum not below the minimum")
    return low, high


def _deviations(twice: Int64s, width: Int64s) -> Int64s:
    """Half of `twice` in units of `width`, as `normal` counts. A single division, which IEEE 754 rounds exactly."""
    return (np.clip(twice / np.maximum(2 * width, 1), -9, 9) * 2.0**NORMAL_BITS).astype(np.int64)


def _within(bits: UInt64s, low: Int64s, high: Int64s) -> UInt64s:
    """`bits` scaled to the part of the normal distribution between these two values."""
    first = normal_bits(low)
    return first + below(bits, np.maximum(normal_bits(high) - first, np.uint64(1)))


def _spread(bits: UInt64s, width: Int64s) -> Int64s:
    """A value of the normal distribution times `width`, rounded."""
    value = normal(bits)
    # A size / 2^64 is a sixteenth of the value, so the upper half of its product with 32 · width is twice the result.
    sizes = np.abs(value).view(np.uint64) << np.uint64(60 - NORMAL_BITS)
    rounded = (below(sizes, 32 * width.astype(np.uint64)).view(np.int64) + 1) >> 1
    return np.where(value < 0, -rounded, rounded)
