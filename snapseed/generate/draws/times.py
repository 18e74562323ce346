"""Moments and days from bits: uniform, growing over time, or following a weekly rhythm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property

import numpy as np
import polars as pl

from snapseed.generate.draws.bits import Int64s, UInt64s, below
from snapseed.generate.draws.fixed_point import LOG_BITS, log2
from snapseed.generate.draws.numbers import Number, along, between, fraction, int64s, logarithm

_MOMENT = pl.Datetime("us", "UTC")
_HOUR = 3_600_000_000  # microseconds
_WEEK = 7 * 24 * _HOUR
# The first Monday after the epoch, 1970-01-05.
_MONDAY = 4 * 24 * _HOUR
# The sum of a week's weights is at most this, so that what passes of a rhythm in three centuries fits into 64 bits.
_LARGEST_SUM = 100_000
_YEARS = range(*(round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 10**6 for year in (1900, 2200)))
# A growth is drawn as a whole number between 2^47 and 10,000 times as much.
_GROWTH_BITS = 47
_LARGEST_GROWTH = Fraction(10_000)


@dataclass(frozen=True)
class Rhythm:
    """How busy each hour of the day (24 weights, from midnight) and each day of the week (7, from Monday) is.

    The default is people's spare time: quiet at night, busiest in the evening, busier at weekends. Weights are whole
    numbers; a weight of zero keeps that hour or day free. Raises `ValueError` for any other number of weights, for
    negative ones, and if all are zero.
    """

    hours: Sequence[int] = (4, 2, 1, 1, 1, 2, 5, 9, 11, 11, 11, 12, 14, 13, 12, 12, 13, 15, 18, 21, 23, 22, 17, 9)
    days: Sequence[int] = (9, 9, 9, 9, 10, 12, 13)

    def __post_init__(self) -> None:
        for weights, count in ((self.hours, 24), (self.days, 7)):
            if len(weights) != count or min(weights) < 0 or not any(weights):
                raise ValueError(f"a rhythm needs {count} weights, none negative, not all zero; got {list(weights)}")

    @cached_property
    def weights(self) -> Int64s:
        """The weight of each hour of a week, scaled down if their sum is too large."""
        given = [day * hour for day in self.days for hour in self.hours]
        total = sum(given)
        if total > _LARGEST_SUM:
            given = [weight and max(1, weight * _LARGEST_SUM // total) for weight in given]
        return np.array(given, dtype=np.int64)

    @cached_property
    def ends(self) -> Int64s:
        """The weight that has passed by the end of each hour of a week, times microseconds."""
        return np.cumsum(self.weights * _HOUR)

    def passed(self, moments: Int64s) -> Int64s:
        """The weight that has passed by these moments (microseconds since the epoch), as `ends` counts."""
        weeks, into = np.divmod(moments - _MONDAY, _WEEK)
        hours, rest = np.divmod(into, _HOUR)
        passed: Int64s = weeks * self.ends[-1] + self.ends[hours] - self.weights[hours] * (_HOUR - rest)
        return passed

    def moments(self, passed: Int64s) -> Int64s:
        """The inverse of `passed`. A stretch without weight is skipped."""
        weeks, into = np.divmod(passed, self.ends[-1])
        hours = np.searchsorted(self.ends, into, side="right")
        rest = (into - self.ends[hours]) // self.weights[hours]
        moments: Int64s = weeks * _WEEK + (hours + 1) * _HOUR + rest + _MONDAY
        return moments


def timestamps(
    bits: UInt64s,
    start: datetime | pl.Series,
    end: datetime | pl.Series,
    growth: Number,
    rhythm: Rhythm | None,
    ahead: timedelta | pl.Series | None,
) -> pl.Series:
    """What `Rows.timestamps` documents."""
    if not 1 / _LARGEST_GROWTH <= fraction(growth) <= _LARGEST_GROWTH:
        raise ValueError(f"the growth must be between 0.0001 and 10,000, got {growth}")
    first, last = _ordered(start, end, _MOMENT)
    if rhythm is None:
        drawn = _growing(bits, first, last, fraction(growth))
    else:
        clock = _whole(timedelta() if ahead is None else ahead, pl.Duration("us"))
        low, high = first + clock, last + clock
        if np.any(low < _YEARS.start) or np.any(high >= _YEARS.stop):
            raise ValueError("a rhythm covers the years 1900 to 2199")
        drawn = _growing(bits, rhythm.passed(low), rhythm.passed(high), fraction(growth))
        drawn = np.clip(rhythm.moments(drawn) - clock, first, last)
    return pl.Series(drawn).cast(_MOMENT)


def dates(bits: UInt64s, start: date | pl.Series, end: date | pl.Series) -> pl.Series:
    """What `Rows.dates` documents."""
    first, last = _ordered(start, end, pl.Date())
    return pl.Series(between(bits, first, last)).cast(pl.Int32).cast(pl.Date)


def quantiles(bits: UInt64s, bounds: Sequence[str], minimum: datetime | pl.Series | None) -> pl.Series:
    """What `Rows.quantiles` documents, for moments."""
    moments = (datetime.fromisoformat(bound) for bound in bounds)
    ends = _whole(pl.Series([moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in moments]), _MOMENT)
    return pl.Series(along(bits, ends, None if minimum is None else _whole(minimum, _MOMENT))).cast(_MOMENT)


def _whole(given: date | timedelta | pl.Series, kind: pl.DataType) -> Int64s:
    """Moments and durations in microseconds, dates in days."""
    series = given if isinstance(given, pl.Series) else pl.Series([given])
    return int64s(series.cast(kind))


def _ordered(start: date | pl.Series, end: date | pl.Series, kind: pl.DataType) -> tuple[Int64s, Int64s]:
    """Both bounds, counted from the epoch. Raises `ValueError` if an end is before its start."""
    first, last = _whole(start, kind), _whole(end, kind)
    if np.any(last < first):
        raise ValueError("an end is before its start")
    return first, last


def _growing(bits: UInt64s, low: Int64s, high: Int64s, growth: Fraction) -> Int64s:
    """Whole numbers from `low` to `high`, `growth` times as dense at the end as at the start: density growth^x."""
    if growth == 1:
        return between(bits, low, high)
    if growth < 1:
        return low + high - _growing(bits, low, high, 1 / growth)
    one, whole = 1 << _GROWTH_BITS, logarithm(growth)
    # The inverse of the integral: log(1 + bits · (growth - 1)) / log(growth), first as a fraction of 2^places.
    drawn = below(bits, int(growth * one) - one) + np.uint64(one)
    passed = np.clip(log2(drawn.view(np.int64)) - (_GROWTH_BITS << LOG_BITS), 0, whole - 1)
    places = (whole - 1).bit_length()
    part = passed.view(np.uint64) << np.uint64(64 - places)
    part += below(part, ((1 << places) - whole) * 2**64 // whole)
    return low + below(part, (high - low + 1).astype(np.uint64)).view(np.int64)
