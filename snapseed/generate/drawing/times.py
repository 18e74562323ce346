"""Draws of moments and days: evenly spread, growing, or in the rhythm of people's weeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property

import numpy as np
import polars as pl

from snapseed.generate import draws
from snapseed.generate.drawing.crowded import Number, fraction, logarithm
from snapseed.generate.drawing.fixed_point import LOG_BITS, log2
from snapseed.generate.drawing.identity import Int64s, Numbers, between, int64s
from snapseed.generate.drawing.numbers import NumberDraws

_HOUR = 3_600_000_000  # microseconds
_WEEK = 7 * 24 * _HOUR
# The first Monday after the epoch, 1970-01-05.
_MONDAY = 4 * 24 * _HOUR
# Of the weights of a week's hours. What passes of a rhythm in three centuries then stays within 64 bits.
_LARGEST_SUM = 100_000
_YEARS = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
# A growth is drawn as a whole number between 2^47 and 10,000 times as much.
_GROWTH_BITS = 47
_LARGEST_GROWTH = Fraction(10_000)


@dataclass(frozen=True)
class Rhythm:
    """How busy the hours of a day are, from midnight on, and the days of a week, from Monday: 24 and 7 weights.

    Without arguments people's spare time: quiet at night, busiest in the evening, more at weekends. Weights are whole
    numbers; one of zero keeps that hour or day free. Raises `ValueError` for others, or when all of them are zero.
    """

    hours: Sequence[int] = (4, 2, 1, 1, 1, 2, 5, 9, 11, 11, 11, 12, 14, 13, 12, 12, 13, 15, 18, 21, 23, 22, 17, 9)
    days: Sequence[int] = (9, 9, 9, 9, 10, 12, 13)

    def __post_init__(self) -> None:
        for weights, count in ((self.hours, 24), (self.days, 7)):
            if len(weights) != count or min(weights) < 0 or not any(weights):
                raise ValueError(f"a rhythm has {count} weights, none negative and not all zero; got {list(weights)}")

    @cached_property
    def weights(self) -> Int64s:
        """The weight of each hour of a week; brought down where all together pass the largest sum."""
        given = [day * hour for day in self.days for hour in self.hours]
        total = sum(given)
        if total > _LARGEST_SUM:
            given = [weight and max(1, weight * _LARGEST_SUM // total) for weight in given]
        return np.array(given, dtype=np.int64)

    @cached_property
    def ends(self) -> Int64s:
        """What has passed by the end of each hour of a week, in weights times microseconds."""
        return np.cumsum(self.weights * _HOUR)

    def range(self, first: Int64s, last: Int64s, what: str) -> tuple[Int64s, Int64s]:
        """What has passed by these moments. Raises `ValueError` that begins with `what` for years too far away."""
        start, end = (round(year.timestamp()) * 10**6 for year in _YEARS)
        if np.any(first < start) or np.any(last >= end):
            raise ValueError(f"{what}: a rhythm is known for the years 1900 to 2199")
        return self.passed(first), self.passed(last)

    def passed(self, moments: Int64s) -> Int64s:
        """What has passed of the rhythm by these moments (microseconds since the epoch), as `ends` counts."""
        weeks, into = np.divmod(moments - _MONDAY, _WEEK)
        hours, rest = np.divmod(into, _HOUR)
        passed: Int64s = weeks * self.ends[-1] + self.ends[hours] - self.weights[hours] * (_HOUR - rest)
        return passed

    def moments(self, passed: Int64s) -> Int64s:
        """The inverse of `passed`; where nothing happens for a while, the end of that time."""
        weeks, into = np.divmod(passed, self.ends[-1])
        hours = np.searchsorted(self.ends, into, side="right")
        rest = (into - self.ends[hours]) // self.weights[hours]
        moments: Int64s = weeks * _WEEK + (hours + 1) * _HOUR + rest + _MONDAY
        return moments


class TimeDraws(NumberDraws):
    """Timestamps and dates."""

    def timestamps(
        self,
        column: str,
        start: datetime | pl.Series,
        end: datetime | pl.Series | None = None,
        *,
        growth: Number = 1,
        rhythm: Rhythm | None = None,
        ahead: timedelta | pl.Series | None = None,
    ) -> pl.Series:
        """Moments from `start` to `end` (default: the project's `now`), both included (Datetime, microseconds, UTC).

        With `growth=4` they come four times as often at the end as at the start, with 0.25 the other way round; with a
        `Rhythm` at its hours and days, which are those of a clock that is `ahead` of UTC (a series of durations where
        rows have clocks of their own). Raises `ValueError` where a start lies behind its end, for nulls, for a growth
        outside 0.0001 to 10,000, and for a rhythm outside the years 1900 to 2199.

        >>> monday = rows.now.replace(2025, 6, 2)
        >>> paid_at = rows.timestamps("paid at", monday, monday.replace(day=6), rhythm=Rhythm())
        >>> paid_at.dt.to_string("%a %H:%M").to_list()
        ['Tue 08:00', 'Mon 19:34', 'Wed 22:51', 'Thu 08:41']
        """
        low, high = (_microseconds(bound) for bound in (start, self.now if end is None else end))
        if rhythm is None and growth == 1:
            return self.integers(column, low, high).cast(pl.Datetime("us", "UTC"))
        what, factor = f"timestamps({column!r})", fraction(growth)
        if not 1 / _LARGEST_GROWTH <= factor <= _LARGEST_GROWTH:
            raise ValueError(f"{what}: growth lies between 0.0001 and 10,000, got {growth}")
        first, last = int64s(low, what), int64s(high, what)
        if rhythm is None:
            drawn = _growing(self.bits(column), first, last, factor, what)
        else:
            clock = _clock(ahead, what)
            drawn = _growing(self.bits(column), *rhythm.range(first + clock, last + clock, what), factor, what)
            drawn = np.clip(rhythm.moments(drawn) - clock, first, last)
        return pl.Series(drawn).cast(pl.Datetime("us", "UTC"))

    def dates(self, column: str, start: date | pl.Series, end: date | pl.Series | None = None) -> pl.Series:
        """Days from `start` to `end` (default: the day of the project's `now`), both included, equally likely (Date).

        For days with a rhythm or a growth take the dates of `timestamps`: `….dt.date()`. Raises `ValueError` where a
        start lies behind its end, and for nulls.

        >>> rows.dates("born on", rows.now.date().replace(1950), rows.now.date().replace(2007)).cast(str).to_list()
        ['1982-11-13', '1972-01-25', '1959-12-25', '1985-12-08']
        """
        what = f"dates({column!r})"
        low, high = (int64s(_days(bound), what) for bound in (start, self.now.date() if end is None else end))
        return pl.Series(between(self.bits(column), low, high, what)).cast(pl.Int32).cast(pl.Date)


def _growing(bits: draws.UInt64s, low: Int64s, high: Int64s, growth: Fraction, what: str) -> Int64s:
    """Whole numbers from `low` to `high`, `growth` times as dense at the end as at the start: density growth^x."""
    if growth == 1:
        return between(bits, low, high, what)
    if growth < 1:
        return low + high - _growing(bits, low, high, 1 / growth, what)
    if np.any(high < low):
        raise ValueError(f"{what}: an end lies before its start")
    one, whole = 1 << _GROWTH_BITS, logarithm(growth)
    # The inverse of the integral: log(1 + bits · (growth - 1)) / log(growth), first as a part of 2^places.
    drawn = draws.below(bits, int(growth * one) - one) + np.uint64(one)
    passed = np.clip(log2(drawn.view(np.int64)) - (_GROWTH_BITS << LOG_BITS), 0, whole - 1)
    places = (whole - 1).bit_length()
    part = passed.view(np.uint64) << np.uint64(64 - places)
    part += draws.below(part, ((1 << places) - whole) * 2**64 // whole)
    return low + draws.below(part, (high - low + 1).astype(np.uint64)).view(np.int64)


def _clock(ahead: timedelta | pl.Series | None, what: str) -> Int64s:
    if isinstance(ahead, pl.Series):
        return int64s(ahead.cast(pl.Duration("us")).cast(pl.Int64), what)
    return np.asarray((ahead or timedelta()) // timedelta(microseconds=1), dtype=np.int64)


def _days(bound: date | pl.Series) -> pl.Series:
    series = bound if isinstance(bound, pl.Series) else pl.Series([bound])
    return series.cast(pl.Date).cast(pl.Int32)


def _microseconds(moment: datetime | pl.Series) -> Numbers:
    if isinstance(moment, pl.Series):
        return moment.cast(pl.Datetime("us", "UTC")).cast(pl.Int64)
    return int(pl.Series([moment]).cast(pl.Datetime("us", "UTC")).cast(pl.Int64)[0])
