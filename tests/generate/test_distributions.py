"""Draws have the distribution that they promise, and are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from snapseed import Rhythm, Rows
from tests.generate.making import NOW, make_rows, things
from tests.generate.statistics import chi_square, dependence

COUNT = 200_000
ROWS = make_rows(COUNT)
START = datetime(2021, 3, 3, 12, tzinfo=UTC)
OFFICE = Rhythm(hours=[0] * 8 + [1, 3, 4, 4, 2, 3, 4, 4, 3, 1] + [0] * 6, days=[5, 5, 5, 5, 4, 0, 0])


def counted(values: pl.Series, ends: list[float]) -> list[int]:
    """How many values are below the first end, how many below the next, …; none is beyond the last."""
    places = np.searchsorted(np.array(ends), values.to_numpy(), side="right")
    assert places.max() < len(ends)
    return list(np.bincount(places, minlength=len(ends)))


def test_integers_are_uniform_over_ranges_of_any_width() -> None:
    """A few numbers, all 64-bit numbers, and bounds by row."""
    assert chi_square(counted(ROWS.integers("few", 0, 6), [1, 2, 3, 4, 5, 6, 7]), [1] * 7) < 1
    wide = ROWS.integers("wide", -(2**63), 2**63 - 1)
    assert chi_square(np.bincount((wide.to_numpy() >> 57) + 64, minlength=128), [1] * 128) < 1
    own = ROWS.integers("own", 0, ROWS.number()) * 100 // (ROWS.number() + 1)
    assert chi_square(np.bincount(own[1000:].to_numpy(), minlength=100), [1] * 100) < 1


def test_days_and_moments_are_uniform() -> None:
    """Without growth or rhythm they are uniform."""
    days = ROWS.dates("day", datetime(2025, 1, 1, tzinfo=UTC).date(), datetime(2025, 4, 10, tzinfo=UTC).date())
    assert chi_square(days.value_counts()["count"].to_numpy(), [1] * 100) < 1
    share = (ROWS.timestamps("at", START) - START) / (NOW - START)
    assert chi_square(np.bincount((share * 50).cast(pl.Int64).to_numpy(), minlength=50), [1] * 50) < 1


def test_quantiles_have_as_many_values_in_each_piece() -> None:
    """They are uniform within it, and a bound that is repeated has its share."""
    drawn = ROWS.quantiles("size", [0, 10, 10, 30, 130])
    found = [drawn.is_between(low, high).to_numpy().sum() for low, high in ((0, 9), (11, 29), (31, 130))]
    assert chi_square(found, [10 / 11, 19 / 21, 100 / 101]) < 9
    assert abs((drawn == 10).to_numpy().sum() / COUNT - 0.25 - 0.25 / 11 - 0.25 / 21) < 0.005
    assert chi_square(np.bincount((drawn.filter(drawn > 30).to_numpy() - 31) // 10, minlength=10), [1] * 10) < 1


def test_quantiles_of_one_name_have_the_same_rank() -> None:
    """What has later bounds everywhere is later in every row, and shares nothing with a draw of another name."""
    opened = ROWS.quantiles("opened", ["2020-01-01", "2020-06-01", "2020-06-01", "2024-01-01"])
    closed = ROWS.quantiles("opened", ["2020-01-02", "2020-06-01", "2021-01-01", "2024-01-01"])
    assert (opened <= closed).all()
    assert (opened < closed).to_numpy().sum() > 0.9 * COUNT
    other = ROWS.quantiles("other", ["2020-01-02", "2020-06-01", "2021-01-01", "2024-01-01"])
    assert (opened > other).to_numpy().sum() > 0.3 * COUNT


def test_quantiles_below_the_minimum_of_a_row_are_drawn_again_above_it() -> None:
    """Others stay, those drawn again are distributed like what is above; beyond the end, all are the minimum."""
    bounds = [0, 100, 150, 1_000]
    free, bound = ROWS.quantiles("size", bounds), ROWS.quantiles("size", bounds, minimum=100)
    assert (bound >= 100).all()
    assert (bound == free).filter(free >= 100).all()
    again = bound.filter(free < 100)
    assert chi_square([(again < 150).to_numpy().sum(), (again > 150).to_numpy().sum()], [1, 1]) < 9
    assert (ROWS.quantiles("size", bounds, minimum=ROWS.number() + 1_000) == ROWS.number() + 1_000).all()


@pytest.mark.parametrize("bounds", [[], [1], [1, 3, 2], ["2020-01-01", "2019-01-01"], ["soon", "later"]])
def test_bounds_that_are_none_are_refused(bounds: list[int] | list[str]) -> None:
    """Fewer than two, not in order, or no moments."""
    with pytest.raises(ValueError, match=r"quantiles\('a'\)"):
        ROWS.quantiles("a", bounds)


def test_each_row_can_have_its_own_probability() -> None:
    """Rows with the same probability meet it; zero is never true, one always."""
    chance = ROWS.choice("group", [0.0, 0.1, 0.5, 0.99, 1.0])
    drawn = (
        pl.DataFrame({"chance": chance, "is": ROWS.chance("is", chance)})
        .group_by("chance")
        .agg(pl.col("is").sum(), count=pl.len())
    )
    for chance_, found, count in drawn.iter_rows():
        assert abs(found - chance_ * count) <= 4 * (count * chance_ * (1 - chance_)) ** 0.5


@pytest.mark.parametrize("exponent", [0.1, 0.5, 0.99, 1, 1.01, 1.5, 2, 5])
@pytest.mark.parametrize("size", [2, 100, 10**9, 2**56 - 1])
def test_ranks_fall_as_their_exponent_says(size: int, exponent: float) -> None:
    """Rank k is as frequent as the integral of 1 / x^exponent from k to k + 1."""

    def below(rank: float) -> float:
        return math.log(rank) if exponent == 1 else (rank ** (1 - exponent) - 1) / (1 - exponent)

    drawn = ROWS.zipf("rank", size, exponent)
    ends = sorted({*range(2, 30), *(int(1.3**power) for power in range(13, 160))})
    ends = [end for end in ends if end < size + 1] + [size + 1]
    weights = np.diff([0.0, *(below(end) for end in ends)])
    assert chi_square(counted(drawn, [float(end) for end in ends]), weights.tolist()) < 1


def test_each_row_can_have_its_own_number_of_ranks() -> None:
    """Each row's rank is between 1 and its size, and the same as if all rows had this size."""
    sizes = ROWS.choice("size", [1, 7, 1000])
    for exponent in (0.6, 1, 1.7):
        drawn = ROWS.zipf("rank", sizes, exponent)
        assert (drawn >= 1).all()
        assert (drawn <= sizes).all()
        for size in (1, 7, 1000):
            same = ROWS.zipf("rank", size, exponent)
            assert drawn.filter(sizes == size).equals(same.filter(sizes == size))


@pytest.mark.parametrize(
    ("mean", "deviation", "minimum", "maximum"),
    [
        (0, 10**9, None, None),
        (-7, 3, None, None),
        (100, 15, 100, None),
        (38, 14, 18, 99),
        (0, 10, 25, 40),
        (1000, 100, None, 1000),
        (0, 10**15, -(10**15), 10**12),
    ],
)
def test_normal_values_have_their_mean_and_deviation_and_are_cut_off_at_their_bounds(
    mean: int, deviation: int, minimum: int | None, maximum: int | None
) -> None:
    """Whole numbers are as frequent as the normal distribution says; they do not pile up at the bounds."""
    bell = NormalDist(mean, deviation)
    low, high = (minimum or 0) - 0.5, (maximum or 0) + 0.5
    drawn = ROWS.normal("bell", mean, deviation, minimum, maximum)
    ends = [round(bell.inv_cdf(share / 200)) + 0.5 for share in range(1, 200)]
    ends = sorted({end for end in ends if (minimum is None or end > low) and (maximum is None or end < high)})
    ends.append(high if maximum is not None else math.inf)
    first = bell.cdf(low) if minimum is not None else 0.0
    weights = np.diff([first, *(bell.cdf(end) for end in ends)])
    assert chi_square(counted(drawn, ends), weights.tolist()) < 1
    assert minimum is None or (drawn >= minimum).all()


def test_each_row_can_have_its_own_normal_distribution() -> None:
    """Means, deviations and bounds may be series; a deviation of zero gives the mean."""
    mean, deviation = ROWS.choice("mean", [0, 50]), ROWS.choice("deviation", [0, 5])
    drawn = ROWS.normal("bell", mean, deviation, mean - 3, 53)
    for one, other in ((0, 0), (0, 5), (50, 0), (50, 5)):
        same = ROWS.normal("bell", one, other, one - 3, 53)
        where = (mean == one) & (deviation == other)
        assert drawn.filter(where).equals(same.filter(where))
    assert drawn.filter(deviation == 0).equals(mean.filter(deviation == 0))


def test_bounds_far_from_the_mean_give_the_nearer_bound() -> None:
    """That far out, nothing is left of the distribution."""
    assert set(ROWS.normal("bell", 0, 1, 100, 200)) == {100}
    assert set(ROWS.normal("bell", 0, 1, -200, -100)) == {-100}
    assert set(ROWS.log_normal("size", 10, 1.5, 10**6, 10**7)) == {10**6}


@pytest.mark.parametrize(
    ("median", "spread", "minimum", "maximum"),
    [(20_000, 3, None, None), (10**12, "1.2", None, None), (5, 2, None, None), (300, 2.5, 20, 3000), (1, 4, 1, None)],
)
def test_log_normal_values_have_their_median_and_spread(
    median: int, spread: float | str, minimum: int | None, maximum: int | None
) -> None:
    """Whole numbers are as frequent as the log-normal distribution says."""
    bell = NormalDist(math.log(median), math.log(float(spread)))
    drawn = ROWS.log_normal("size", median, spread, minimum, maximum)
    low, high = (minimum or 0) - 0.5, (maximum or 0) + 0.5
    ends = sorted({round(math.exp(bell.inv_cdf(share / 200))) + 0.5 for share in range(1, 200)})
    ends = [end for end in ends if end > low and (maximum is None or end < high)]
    ends.append(high if maximum is not None else math.inf)
    first = bell.cdf(math.log(low)) if minimum else 0.0
    weights = np.diff([first, *(bell.cdf(math.log(end)) if end < math.inf else 1.0 for end in ends)])
    assert chi_square(counted(drawn, ends), weights.tolist()) < 1


@pytest.mark.parametrize("growth", [0.01, 0.5, 1.02, 4, 10_000])
def test_growth_is_how_much_denser_the_end_is_than_the_start(growth: float) -> None:
    """The density is growth^x."""
    drawn = ROWS.timestamps("at", START, growth=growth)
    share = ((drawn - START) / (NOW - START)).to_numpy()
    bounds = growth ** (np.arange(41) / 40)
    weights = np.abs(np.diff(bounds)).tolist()
    assert chi_square(np.bincount((share * 40).astype(np.int64).clip(0, 39), minlength=40), weights) < 1


@pytest.mark.parametrize("rhythm", [Rhythm(), OFFICE, Rhythm(days=[1000] * 7, hours=[1000] * 23 + [1])])
def test_a_rhythm_sets_the_hours_of_the_week(rhythm: Rhythm) -> None:
    """Every hour of every weekday is as frequent as its weight; without weight it never occurs."""
    start = datetime(2020, 1, 6, tzinfo=UTC)
    drawn = ROWS.timestamps("at", start, start + timedelta(days=7 * 200, microseconds=-1), rhythm=rhythm)
    hours = (drawn.dt.weekday().cast(pl.Int64) - 1) * 24 + drawn.dt.hour().cast(pl.Int64)
    weights = [day * hour for day in rhythm.days for hour in rhythm.hours]
    found = np.bincount(hours.to_numpy(), minlength=168)
    assert chi_square(found, weights) < 1
    assert [int(count) for count, weight in zip(found, weights, strict=True) if not weight] == [0] * weights.count(0)
    within = drawn.dt.epoch("us") % 3_600_000_000 * 60 // 3_600_000_000
    assert chi_square(np.bincount(within.to_numpy(), minlength=60), [1] * 60) < 1


def test_a_rhythm_may_grow() -> None:
    """Growth over years and hours of the day are independent."""
    start = datetime(2020, 1, 6, tzinfo=UTC)
    weeks = 100
    end = start + timedelta(days=7 * weeks, microseconds=-1)
    drawn = ROWS.timestamps("at", start, end, growth=9, rhythm=OFFICE)
    found = np.bincount(((drawn - start).dt.total_days() // 7).to_numpy(), minlength=weeks)
    bounds = 9 ** (np.arange(weeks + 1) / weeks)
    assert chi_square(found, np.diff(bounds).tolist()) < 1
    hours = np.bincount(drawn.dt.hour().to_numpy(), minlength=24)
    assert abs(hours / COUNT - np.array(OFFICE.hours) / sum(OFFICE.hours)).max() < 0.01


DRAWS: dict[str, Callable[[Rows, str], pl.Series]] = {
    "integers": lambda rows, name: rows.integers(name, 0, 10**6),
    "decimals": lambda rows, name: rows.decimals(name, "0.00", "999999.00").cast(pl.Float64),
    "zipf": lambda rows, name: rows.zipf(name, 10**12, 0.5),
    "normal": lambda rows, name: rows.normal(name, 0, 10**9),
    "normal, cut": lambda rows, name: rows.normal(name, 0, 10**9, minimum=0),
    "log_normal": lambda rows, name: rows.log_normal(name, 10**9, 2),
    "timestamps": lambda rows, name: rows.timestamps(name, START).dt.epoch("us"),
    "timestamps, growth": lambda rows, name: rows.timestamps(name, START, growth=5).dt.epoch("us"),
    "timestamps, rhythm": lambda rows, name: rows.timestamps(name, START, rhythm=Rhythm()).dt.epoch("us"),
    "reference": lambda rows, name: rows.reference(name, things).fill_null(0) * 10**6 // rows.number(),
    "code": lambda rows, name: rows.code(name, 12, "0123456789").cast(pl.Int64),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_a_draw_is_independent_of_others(kind: str) -> None:
    """Of another column, of rows nearby and a hundred rows away, of another seed, and of the row's number."""
    draw = DRAWS[kind]
    first = draw(ROWS, "first")
    pairs = {
        "another column": (first, draw(ROWS, "second")),
        "the next row": (first[1:], first[:-1]),
        "the row after next": (first[2:], first[:-2]),
        "a hundred rows on": (first[100:], first[:-100]),
        "another seed": (first, draw(make_rows(COUNT, seed=43), "first")),
        "a seed of one bit more": (first, draw(make_rows(COUNT, seed=42 + 2**32), "first")),
        "the row's number": (first, ROWS.number()),
        "far rows": (first, draw(make_rows(COUNT, first=10**9), "first")),
    }
    if kind == "reference":  # it is by way of the number that it is drawn
        del pairs["far rows"]
    assert {name: found for name, pair in pairs.items() if (found := dependence(*pair)) > 1} == {}


def test_children_and_items_are_independent_of_their_row() -> None:
    """Siblings are independent of each other, of their parent and of items with the same name."""
    first = ROWS.integers("a", 0, 10**6)
    items = ROWS.items("a", pl.repeat(2, COUNT, dtype=pl.Int64, eager=True))
    drawn = items.integers("a", 0, 10**6)
    pairs = {
        "first item": (first, drawn.gather_every(2)),
        "second item": (first, drawn.gather_every(2, 1)),
        "each other": (drawn.gather_every(2), drawn.gather_every(2, 1)),
        "the next row's": (drawn.gather_every(2)[1:], drawn.gather_every(2, 1)[:-1]),
    }
    assert {name: found for name, pair in pairs.items() if (found := dependence(*pair)) > 1} == {}
