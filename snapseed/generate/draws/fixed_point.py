"""Logarithms, powers of two and the normal distribution in whole numbers: the same bits on every machine.

Each function interpolates linearly in a table, so it is monotone and has no gaps; the error is below one in ten
thousand of a distribution's density. The tables are computed with far more digits than they keep.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache

import numpy as np

from snapseed.generate.draws.bits import Int64s, UInt64s, below

# Logarithms are multiples of 2^-48, values of the normal distribution multiples of 2^-56. Both leave a few of 64 bits.
LOG_BITS = 48
NORMAL_BITS = 56

# Table entries (log2 of their number) for each doubling. Converting a whole number below 2^53 to float64 is exact
# everywhere; the upper bits of the float are the doubling and the entry.
_LOG_STEPS = 11
_TAIL_STEPS = 5
_FLOAT_FRACTION = 52
_FLOAT_BIAS = 1023
# A tail of the normal distribution is an odd multiple of 2^-54, at most one half.
_TAIL_BITS = 54
# The tables are computed with this many digits, by a library that rounds correctly; their own values have up to 20.
_DIGITS = 30
# The density is integrated with this many intervals per unit, out to this distance, where nothing is left of it.
_INTERVALS = 128
_NOTHING = 12


def log2(values: Int64s) -> Int64s:
    """Logarithms to base 2 of numbers from 1 to 2^63 - 1, in steps of 2^-48."""
    base, widths = _logarithms()
    floats = values.astype(np.float64).view(np.int64)
    rest = _FLOAT_FRACTION - _LOG_STEPS
    entry = (floats >> rest) & (2**_LOG_STEPS - 1)
    within = (floats.view(np.uint64) << np.uint64(64 - rest)) & ~np.uint64(2 ** (64 - rest) - 1)
    whole = ((floats >> _FLOAT_FRACTION) - _FLOAT_BIAS) << LOG_BITS
    logarithms: Int64s = whole + base[entry] + below(within, widths[entry]).view(np.int64)
    return logarithms


def exp2(exponents: Int64s) -> Int64s:
    """2 to the power of `exponents`, which are steps of 2^-48 from 0 to 63 (excluded); rounded down."""
    base, widths = _powers()
    rest = LOG_BITS - _LOG_STEPS
    entry = (exponents >> rest) & (2**_LOG_STEPS - 1)
    within = exponents.view(np.uint64) << np.uint64(64 - rest)
    power = base[entry] + below(within, widths[entry])
    shifted: Int64s = (power >> (63 - (exponents >> LOG_BITS)).view(np.uint64)).view(np.int64)
    return shifted


def normal(bits: UInt64s) -> Int64s:
    """The quantile of the normal distribution at `bits` / 2^64, in steps of 2^-56; within ±8.3."""
    base, widths = _quantiles()
    upper = bits.view(np.int64) >> 63  # all bits set where the value is positive
    tail = ((bits ^ upper.view(np.uint64)) >> np.uint64(11)).view(np.int64) << 1 | 1
    floats = tail.astype(np.float64).view(np.int64)
    rest = _FLOAT_FRACTION - _TAIL_STEPS
    entry = (floats >> rest) - (_FLOAT_BIAS << _TAIL_STEPS)
    within = floats.view(np.uint64) << np.uint64(64 - rest)
    size = base[entry] - below(within, widths[entry]).view(np.int64)
    values: Int64s = (size ^ ~upper) - ~upper
    return values


def normal_bits(values: Int64s) -> UInt64s:
    """The inverse of `normal`: the `bits` that give these values, accurate to about one in 2^24 of the tail."""
    base, widths = _quantiles()
    sizes = np.minimum(np.abs(values), base[0])
    entry = np.maximum(np.searchsorted(-base, -sizes, side="right") - 1, 0)
    entry = np.minimum(entry, len(widths) - 1)
    into = np.minimum(((base[entry] - sizes) << 8) // (widths[entry].view(np.int64) >> 16), 2**24 - 1)
    step = (entry >> _TAIL_STEPS).astype(np.uint64) + np.uint64(64 - _TAIL_BITS - _TAIL_STEPS)
    start = ((entry & (2**_TAIL_STEPS - 1)) + 2**_TAIL_STEPS).astype(np.uint64) << step
    tail = start + below(into.view(np.uint64) << np.uint64(40), np.uint64(1) << step)
    tail = np.minimum(tail, np.uint64(2**63))
    bits: UInt64s = np.where(values < 0, tail, ~tail)
    return bits


@cache
def _logarithms() -> tuple[Int64s, UInt64s]:
    """Logarithms to base 2 of the numbers from 1 to 2, and the differences between neighbors."""
    entries = 2**_LOG_STEPS
    with localcontext(prec=_DIGITS):
        running = [Decimal(0)]
        for number in range(entries, 2 * entries):
            # ln((n + 1) / n) / 2 = 1/m + 1/3m^3 + 1/5m^5 + … with m = 2n + 1; ten times as fast as Decimal.ln()
            small = 1 / Decimal(2 * number + 1)
            running.append(running[-1] + small + small**3 / 3 + small**5 / 5)
        ends = np.array([int(value / running[-1] * 2**LOG_BITS) for value in running])
    return ends[:-1], np.diff(ends).astype(np.uint64)


@cache
def _powers() -> tuple[UInt64s, UInt64s]:
    """2^x for x from 0 to 1, in steps of 2^-63, and the differences between neighbors."""
    entries = 2**_LOG_STEPS
    with localcontext(prec=_DIGITS):
        step = Decimal(2) ** (1 / Decimal(entries))
        values = np.array([min(int(2**63 * step**entry), 2**64 - 1) for entry in range(entries + 1)], dtype=np.uint64)
    return values[:-1], np.diff(values)


@cache
def _quantiles() -> tuple[Int64s, UInt64s]:
    """Quantiles of the normal distribution by the size of their tail, and the differences between neighbors.

    The density is integrated by Simpson's rule from far out; between two points of it, the inverse function's Taylor
    series around the nearer end gives the quantile.
    """
    steps = 2**_TAIL_STEPS
    tails = [mantissa << place for place in range(_TAIL_BITS - 1) for mantissa in range(steps, 2 * steps)]
    with localcontext(prec=_DIGITS):
        heights = _heights()
        areas = [heights[end] + 4 * heights[end + 1] + heights[end + 2] for end in range(0, len(heights) - 2, 2)]
        unit = sum(areas) / 2 ** (_TAIL_BITS + _TAIL_STEPS - 1)
        found, tail = [], Decimal(0)
        for size in tails:
            while tail + areas[-1] < unit * size:
                tail += areas.pop()
            value = Decimal(len(areas)) / _INTERVALS
            distance = (unit * size - tail) / (6 * _INTERVALS * heights[2 * len(areas)])
            moved = distance - value * distance**2 / 2 + (2 * value**2 + 1) * distance**3 / 6
            found.append(int((value - moved) * 2**NORMAL_BITS))
    ends = np.array([*found, 0], dtype=np.int64)
    return ends, -np.diff(ends).view(np.uint64)


def _heights() -> list[Decimal]:
    """exp(-x² / 2) at every half interval from 0: each is the one before times a factor, which shrinks evenly."""
    # exp(-(k + 1)² / 2s²) = exp(-k² / 2s²) · exp(-(2k + 1) / 2s²); the factor falls by exp(-1 / s²) each time
    fall = (-1 / Decimal(2 * _INTERVALS) ** 2).exp()
    factor, heights = fall.sqrt(), [Decimal(1)]
    for _ in range(2 * _INTERVALS * _NOTHING):
        heights.append(heights[-1] * factor)
        factor *= fall
    return heights
