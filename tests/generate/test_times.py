"""Bounds, clocks and rhythms of moments and days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import Rhythm
from tests.generate.making import NOW, make_rows

OFFICE = Rhythm(hours=[0] * 9 + [1] * 8 + [0] * 7, days=[1, 1, 1, 1, 1, 0, 0])
_MOMENTS = st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as they ask


@given(st.tuples(_MOMENTS, _MOMENTS).map(sorted), st.sampled_from([0.0001, 0.5, 1, 3, 10_000]), st.booleans())
def test_moments_stay_within_their_bounds(bounds: list[datetime], growth: float, rhythmic: bool) -> None:  # noqa: FBT001
    """For any growth, rhythm and range, even an empty one."""
    rhythm = OFFICE if rhythmic else None
    for start, end in (bounds, [bounds[0], bounds[0]]):
        drawn = make_rows(50).timestamps("t", start, end, growth=growth, rhythm=rhythm)
        assert drawn.min() >= start  # type: ignore[operator]
        assert drawn.max() <= end  # type: ignore[operator]
        assert drawn.dtype == pl.Datetime("us", "UTC")


@pytest.mark.parametrize("options", [{"growth": 3}, {"growth": 0.3}, {"rhythm": Rhythm()}])
def test_both_bounds_are_reached(options: dict[str, Any]) -> None:
    """Both are included, to the microsecond."""
    start = NOW - timedelta(microseconds=2)
    drawn = make_rows(2000).timestamps("t", start, **options)
    assert sorted(drawn.unique()) == [start, start + timedelta(microseconds=1), NOW]


def test_bounds_by_row_hold_for_growth_and_rhythm_too() -> None:
    """A series of starts, and one of ends."""
    rows = make_rows(5000)
    start = rows.timestamps("start", NOW - timedelta(days=900))
    end = rows.timestamps("end", start)
    for options in ({"growth": 5}, {"rhythm": Rhythm()}, {"growth": 0.2, "rhythm": OFFICE}):
        drawn = rows.timestamps("t", start, end, **options)
        assert ((drawn >= start) & (drawn <= end)).all()


def test_a_rhythm_is_that_of_the_row_s_own_clock() -> None:
    """`ahead` is its distance from UTC, for all rows or one per row."""
    rows = make_rows(4000)
    ahead = rows.choice("ahead", [timedelta(hours=-8), timedelta(0), timedelta(hours=5, minutes=30)])
    start = NOW - timedelta(days=700)
    local = rows.timestamps("t", start, rhythm=OFFICE, ahead=ahead) + ahead
    assert set(local.dt.hour()) == set(range(9, 17))
    assert set(local.dt.weekday()) == {1, 2, 3, 4, 5}
    tokyo = rows.timestamps("t", start, rhythm=OFFICE, ahead=timedelta(hours=9)) + timedelta(hours=9)
    assert set(tokyo.dt.hour()) == set(range(9, 17))


def test_a_span_without_a_busy_hour_gives_its_end() -> None:
    """There is no busy moment to draw, and the bounds still hold."""
    saturday = datetime(2025, 6, 7, tzinfo=UTC)
    drawn = make_rows(20).timestamps("t", saturday, saturday + timedelta(days=1), rhythm=OFFICE)
    assert set(drawn) == {saturday + timedelta(days=1)}


@given(st.integers(-(2**40), 2**40))
def test_moments_of_a_rhythm_invert_what_has_passed(second: int) -> None:
    """To the microsecond, where the weight is not zero."""
    moment = np.array([second * 1_000_000 // 128 + 7])
    assert Rhythm().moments(Rhythm().passed(moment)).tolist() == moment.tolist()


def test_large_weights_are_scaled_down() -> None:
    """They are scaled down to fit into 64 bits over three centuries; a small weight stays above zero."""
    huge = Rhythm(hours=[10**9] * 24, days=[1, 1, 1, 1, 1, 1, 0])
    assert set(huge.weights.tolist()) == {100_000 // 144, 0}
    assert Rhythm(hours=[1] + [10**9] * 23).weights.min() == 1


@given(st.tuples(st.dates(), st.dates()).map(sorted))
def test_days_stay_within_their_bounds(bounds: list[date]) -> None:
    """Both included, for any dates."""
    drawn = make_rows(30).dates("d", *bounds)
    assert drawn.dtype == pl.Date
    assert drawn.min() >= bounds[0]  # type: ignore[operator]
    assert drawn.max() <= bounds[1]  # type: ignore[operator]
    assert (bounds[1] - bounds[0]).days > 2 or set(drawn) <= {bounds[0] + timedelta(days=day) for day in range(3)}


def test_days_take_bounds_by_row_and_end_today() -> None:
    """`now` is the project's."""
    rows = make_rows(500)
    born = rows.dates("born", date(1950, 1, 1), date(2000, 1, 1))
    hired = rows.dates("hired", born)
    assert (hired >= born).all()
    assert hired.max() <= NOW.date()  # type: ignore[operator]
