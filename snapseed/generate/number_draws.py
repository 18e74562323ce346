"""Draws of numbers and times for rows and items, one value each.

Every draw has a name, its first argument. A value depends on the seed, the entity, this name and the row, and on
nothing else: not on other draws, the order of calls, the scale, the machine or the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import TypeVar, cast

import polars as pl

from snapseed.generate.draws import choices, numbers, times
from snapseed.generate.draws.bits import UInt64s, column_bits
from snapseed.generate.draws.numbers import Number, Numbers, int64s
from snapseed.generate.draws.times import Rhythm
from snapseed.generate.entity import Entity
from snapseed.generate.pools import Pools

_Method = TypeVar("_Method", bound=Callable[..., object])


def named_draw(method: _Method) -> _Method:
    """Start the errors of a method with what was to be drawn: `integers('stars'): a maximum is …`."""

    @wraps(method)
    def named(self: NumberDraws, column: str, *arguments: object, **options: object) -> object:
        """Call the method, and put what was to be drawn before the text of an error."""
        try:
            return method(self, column, *arguments, **options)
        except (TypeError, ValueError) as exc:
            kind = TypeError if isinstance(exc, TypeError) else ValueError
            raise kind(f"{method.__name__}({column!r}): {exc}") from exc

    return cast("_Method", named)


@dataclass(frozen=True)
class Settings:
    """What all rows of a part have in common: the seed, the project's pinned time, and its pools."""

    seed: int
    now: datetime
    pools: Pools


@dataclass(frozen=True)
class NumberDraws:
    """What can be drawn without other rows or pools: one value for each row or item, as a `polars.Series`.

    A root row (`roots`) and an ordinal among its descendants (`ordinals`) identify a row; `hashes` has 64 bits for each
    row or item. `positions` counts siblings from 0: the children of one parent, the items of one row.
    """

    entity: Entity
    settings: Settings
    roots: UInt64s
    ordinals: UInt64s
    positions: pl.Series
    hashes: UInt64s

    def __len__(self) -> int:
        return len(self.roots)

    @property
    def now(self) -> datetime:
        """The project's pinned time; a generator never asks the clock."""
        return self.settings.now

    def bits(self, column: str) -> UInt64s:
        """64 uniform bits (NumPy uint64), for a draw that has no method.

        >>> (rows.bits("flags") >> 60).tolist()
        [15, 15, 9, 2]
        """
        return column_bits(self.hashes, column)

    @named_draw
    def integers(self, column: str, minimum: Numbers, maximum: Numbers) -> pl.Series:
        """Whole numbers from `minimum` to `maximum`, both included, all equally likely (Int64).

        The bounds are numbers, or series with one value per row. Raises `ValueError` for null bounds and for a maximum
        below its minimum.

        >>> rows.integers("stars", 1, 5).to_list()
        [2, 1, 3, 4]
        """
        low, high = int64s(minimum), int64s(maximum)
        return pl.Series(numbers.between(self.bits(column), low, high))

    @named_draw
    def decimals(self, column: str, minimum: Decimal | str, maximum: Decimal | str, digits: int = 2) -> pl.Series:
        """Exact decimals in steps of 10^-digits, all equally likely; a bound that is a step is included (Decimal).

        Raises `ValueError` if there is no step between the bounds.

        >>> rows.decimals("price", "0.99", "19.99").cast(str).to_list()
        ['16.61', '13.64', '4.53', '18.84']
        """
        return numbers.decimals(self.bits(column), minimum, maximum, digits)

    @named_draw
    def chance(self, column: str, probability: float | pl.Series) -> pl.Series:
        """True with this probability, between 0 and 1: one for all, or a series with one per row (Boolean).

        Raises `ValueError` for a probability that is out of range or null.

        >>> rows.chance("is paid", 0.8).to_list()
        [False, True, True, True]
        """
        return pl.Series(numbers.chances(self.bits(column), probability))

    def or_null(self, column: str, values: pl.Series, probability: float | pl.Series) -> pl.Series:
        """The values, replaced by null with this probability.

        >>> rows.or_null("no phone", rows.integers("phone", 100, 999), 0.5).to_list()
        [644, 856, None, None]
        """
        nulls = pl.Series([None], dtype=values.dtype).new_from_index(0, len(self))
        return nulls.zip_with(self.chance(column, probability), values).alias(column)

    @named_draw
    def zipf(self, column: str, size: Numbers, exponent: Number = 1) -> pl.Series:
        """Ranks from 1 to `size`: the probability of rank k is about 1 / k^exponent, so few are common (Int64).

        Words and popularity have an exponent of about 1; with 2, most numbers are small and very few are large.
        Exactly, k is as likely as the integral of 1 / x^exponent from k to k + 1 says. Raises `ValueError` unless
        `size`, one number or one per row, is from 1 to 2^56, and the exponent one of 0.10, 0.11, … 5.

        >>> rows.zipf("popularity", 1_000_000).to_list()
        [4795, 617842, 4407, 41]
        """
        return pl.Series(numbers.ranks(self.bits(column), int64s(size), exponent))

    @named_draw
    def normal(
        self,
        column: str,
        mean: Numbers,
        deviation: Numbers,
        minimum: Numbers | None = None,
        maximum: Numbers | None = None,
    ) -> pl.Series:
        """Whole numbers around `mean`: two thirds within one `deviation` of it, 95 % within two (Int64).

        Bounds, both included, cut the normal distribution off; values do not pile up there. Without bounds, all values
        are within 8.3 deviations. Every parameter is a number or a series with one value per row. Raises `ValueError`
        for nulls, for means and bounds beyond ±2^56, for a negative deviation, and for a maximum below its minimum.

        >>> rows.normal("age", mean=38, deviation=14, minimum=18).to_list()
        [29, 34, 43, 28]
        """
        return pl.Series(numbers.normals(self.bits(column), mean, deviation, minimum, maximum))

    @named_draw
    def log_normal(
        self,
        column: str,
        median: Numbers,
        spread: Number,
        minimum: Numbers | None = None,
        maximum: Numbers | None = None,
    ) -> pl.Series:
        """Whole numbers with a long tail: half below `median`, two thirds from median / `spread` to median · spread.

        Sizes, prices, lengths and durations are like this; 2 is a usual spread. Bounds, both included, cut the
        distribution off (Int64). Raises `ValueError` for nulls, for medians and bounds outside 1 (a minimum: 0) to
        2^56, for a spread that is not above 1 and below 1000, and for a maximum below its minimum.

        >>> rows.log_normal("bytes", median=20_000, spread=3).to_list()
        [25253, 23488, 90995, 42383]
        """
        return pl.Series(numbers.log_normals(self.bits(column), median, spread, minimum, maximum))

    @named_draw
    def quantiles(
        self,
        column: str,
        bounds: Sequence[int] | Sequence[str],
        minimum: Numbers | datetime | None = None,
        *,
        ascending: bool = False,
    ) -> pl.Series:
        """Values that are between each bound and the next equally often: any shape, by its quantiles.

        Bounds are whole numbers (Int64) or moments in ISO 8601, in UTC unless they say otherwise (Datetime,
        microseconds, UTC); one that is repeated is a value that is frequent. A row whose value would be below its
        `minimum`, one for all or a series with one per row, gets one above it. Draws of one name with other bounds
        give the same rank: what ends later everywhere also ends later in each row. `ascending` sorts the ranks among
        siblings, as `Rows.ascending` does. Raises `ValueError` for fewer than two bounds, and if they do not ascend.

        >>> rows.quantiles("age", [18, 25, 31, 44, 90]).to_list()
        [24, 27, 37, 23]
        """
        bits = self.bits(column)
        if ascending:
            bits = choices.ascending(pl.Series(bits), self._siblings()).to_numpy()
        whole = [bound for bound in bounds if isinstance(bound, int)]
        if len(whole) == len(bounds) and not isinstance(minimum, datetime):
            ends = int64s(pl.Series(whole, dtype=pl.Int64))
            return pl.Series(numbers.along(bits, ends, None if minimum is None else int64s(minimum)))
        if isinstance(minimum, int):
            raise ValueError("the minimum of moments is a number")  # noqa: TRY004
        return times.quantiles(bits, [str(bound) for bound in bounds], minimum)

    @named_draw
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
        """Moments from `start` to `end` (default: `now`), both included (Datetime, microseconds, UTC).

        With `growth=4` they are four times as dense at the end as at the start, with 0.25 the reverse. With a `Rhythm`
        they follow hours and weekdays, on a clock `ahead` of UTC by this duration, or by one per row. Raises
        `ValueError` for nulls, for an end before its start, for a growth outside 0.0001 to 10,000, and for a rhythm
        outside the years 1900 to 2199.

        >>> monday = rows.now.replace(2025, 6, 2)
        >>> paid_at = rows.timestamps("paid at", monday, monday.replace(day=6), rhythm=Rhythm())
        >>> paid_at.dt.to_string("%a %H:%M").to_list()
        ['Tue 08:00', 'Mon 19:34', 'Wed 22:51', 'Thu 08:41']
        """
        end = self.now if end is None else end
        return times.timestamps(self.bits(column), start, end, growth, rhythm, ahead)

    @named_draw
    def dates(self, column: str, start: date | pl.Series, end: date | pl.Series | None = None) -> pl.Series:
        """Days from `start` to `end` (default: the day of `now`), both included, all equally likely (Date).

        For days with growth or a rhythm, take the dates of timestamps: `rows.timestamps(…).dt.date()`. Raises
        `ValueError` for nulls and for an end before its start.

        >>> rows.dates("born on", rows.now.date().replace(1950), rows.now.date().replace(2007)).cast(str).to_list()
        ['1982-11-13', '1972-01-25', '1959-12-25', '1985-12-08']
        """
        end = self.now.date() if end is None else end
        return times.dates(self.bits(column), start, end)

    def _siblings(self) -> pl.Series:
        """The position of each row or item among its siblings."""
        return self.positions
