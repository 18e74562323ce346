"""Draws of numbers: evenly spread, or crowded as popularity, sizes and lengths of real things are."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.generate.drawing import crowded
from snapseed.generate.drawing.crowded import LARGEST, Number
from snapseed.generate.drawing.identity import Booleans, Identities, Int64s, Numbers, between, int64s

_LARGEST_SPREAD = 1000


class NumberDraws(Identities):
    """Whole numbers, decimals and chances."""

    def integers(self, column: str, minimum: Numbers, maximum: Numbers) -> pl.Series:
        """Whole numbers from `minimum` to `maximum`, both included, each equally likely (Int64).

        The bounds are numbers or series with one value per row. Raises `ValueError` where a maximum is smaller, and
        for a bound that is null.

        >>> rows.integers("stars", 1, 5).to_list()
        [2, 1, 3, 4]
        """
        what = f"integers({column!r})"
        return pl.Series(between(self.bits(column), int64s(minimum, what), int64s(maximum, what), what))

    def decimals(self, column: str, minimum: Decimal | str, maximum: Decimal | str, digits: int = 2) -> pl.Series:
        """Exact decimals between the bounds, both included where they are steps of 10^-digits (Decimal).

        >>> rows.decimals("price", "0.99", "19.99").cast(str).to_list()
        ['16.61', '13.64', '4.53', '18.84']
        """
        low, high = (Decimal(bound).scaleb(digits) for bound in (minimum, maximum))
        return as_decimals(self.integers(column, math.ceil(low), math.floor(high)), digits)

    def chance(self, column: str, probability: float | pl.Series) -> pl.Series:
        """True with this probability, from 0.0 to 1.0, one for all or a series with one per row (Boolean).

        >>> rows.chance("is paid", 0.8).to_list()
        [False, True, True, True]
        """
        if isinstance(probability, pl.Series):
            return pl.Series(self._chances(column, probability))
        if not 0 <= probability <= 1:
            raise ValueError(f"chance({column!r}): a probability lies between 0 and 1, got {probability}")
        if probability == 1:
            return pl.Series(np.ones(len(self), dtype=bool))
        return pl.Series(self.bits(column) < np.uint64(int(probability * 2**64)))

    def or_null(self, column: str, values: pl.Series, probability: float | pl.Series) -> pl.Series:
        """`values`, but null with this probability.

        >>> rows.or_null("no phone", rows.integers("phone", 100, 999), 0.5).to_list()
        [644, 856, None, None]
        """
        nulls = pl.repeat(None, len(self), dtype=values.dtype, eager=True)
        return nulls.zip_with(self.chance(column, probability), values).alias(column)

    def zipf(self, column: str, size: Numbers, exponent: Number = 1) -> pl.Series:
        """Ranks from 1 to `size`, k about as often as 1 / k^exponent says: few are common, most are rare (Int64).

        Words and what is popular have the exponent 1; with 2 most numbers are small and very few large.
        Exactly: k comes in proportion to the integral of 1 / x^exponent from k to k + 1. `size` is below 2^56, one
        number or one per row; the exponent is 0.10, 0.11, … 5. Raises `ValueError` for others.

        >>> rows.zipf("popularity", 1_000_000).to_list()
        [4795, 617842, 4407, 41]
        """
        what = f"zipf({column!r})"
        return pl.Series(crowded.ranks(self.bits(column), int64s(size, what), exponent, what))

    def normal(
        self,
        column: str,
        mean: Numbers,
        deviation: Numbers,
        minimum: Numbers | None = None,
        maximum: Numbers | None = None,
    ) -> pl.Series:
        """Whole numbers that crowd around `mean`: two thirds lie within one `deviation` of it, 95 % within two (Int64).

        With bounds, both included, the distribution is cut off there; nothing piles up at its ends, unless it has
        nothing between them. Without, nothing is further out than 8.3 deviations. All are numbers or series with one
        value per row, within ±2^56. Raises `ValueError` for others, for nulls, for a negative deviation, and for
        bounds that are out of order.

        >>> rows.normal("age", mean=38, deviation=14, minimum=18).to_list()
        [29, 34, 43, 28]
        """
        what = f"normal({column!r})"
        middle, width = int64s(mean, what), int64s(deviation, what)
        low, high = _bounds(minimum, maximum, -LARGEST, what)
        if np.any(width < 0) or np.any(width >= LARGEST) or np.any(np.clip(middle, 1 - LARGEST, LARGEST - 1) != middle):
            raise ValueError(f"{what}: needs means within ±2^56, and deviations from 0 to 2^56")
        whole = minimum is None and maximum is None
        return pl.Series(crowded.normals(self.bits(column), middle, width, None if whole else (low, high)))

    def log_normal(
        self,
        column: str,
        median: Numbers,
        spread: Number,
        minimum: Numbers | None = None,
        maximum: Numbers | None = None,
    ) -> pl.Series:
        """Whole numbers, half of them below `median`, with a long tail: two thirds lie between median / `spread` and
        median · spread (Int64).

        As sizes, prices, lengths and durations are distributed; 2 is a usual spread. With bounds, both included, the
        distribution is cut off there. Raises `ValueError` for medians and bounds outside 1 (a minimum: 0) to 2^56, for
        nulls, and for a spread that is not above 1 and below 1000.

        >>> rows.log_normal("bytes", median=20_000, spread=3).to_list()
        [25253, 23488, 90995, 42383]
        """  # noqa: D205 - its first sentence takes two lines
        what = f"log_normal({column!r})"
        middle, factor = int64s(median, what), crowded.fraction(spread)
        low, high = _bounds(minimum, maximum, 0, what)
        if np.any(middle < 1) or np.any(middle >= LARGEST) or not 1 < factor < _LARGEST_SPREAD:
            raise ValueError(f"{what}: needs medians from 1 to 2^56, and a spread above 1 and below {_LARGEST_SPREAD}")
        return pl.Series(crowded.log_normals(self.bits(column), middle, factor, low, high))

    def _chances(self, column: str, probability: pl.Series) -> Booleans:
        if probability.null_count() or not probability.is_between(0, 1).all():
            raise ValueError(f"chance({column!r}): a probability lies between 0 and 1, and is not null")
        exact = probability.cast(pl.Float64).to_numpy()
        below_one = np.minimum(exact, 1 - 2**-53)  # times a power of two: exact
        chosen: Booleans = (self.bits(column) < (below_one * 2**64).astype(np.uint64)) | (exact == 1)
        return chosen


def as_decimals(units: pl.Series, digits: int) -> pl.Series:
    """Whole numbers of 10^-digits as decimals. Exact, no float on the way.

    >>> as_decimals(pl.Series([1999, -5]), 2).to_list()
    [Decimal('19.99'), Decimal('-0.05')]
    """
    low = units.cast(pl.Int64).to_numpy()
    words = np.stack([low, low >> 63], axis=1)  # a decimal128 is an integer of two words, the upper one the sign here
    array = pa.Array.from_buffers(
        pa.decimal128(19, digits), len(low), [None, pa.py_buffer(np.ascontiguousarray(words))]
    )
    result = pl.from_arrow(array)
    assert isinstance(result, pl.Series)
    return result


def _bounds(minimum: Numbers | None, maximum: Numbers | None, lowest: int, what: str) -> tuple[Int64s, Int64s]:
    low = int64s(lowest if minimum is None else minimum, what)
    high = int64s(LARGEST if maximum is None else maximum, what)
    if np.any(high < low) or np.any(low < lowest) or np.any(high > LARGEST):
        raise ValueError(f"{what}: bounds lie between {lowest} and 2^56, a maximum not below its minimum")
    return low, high
