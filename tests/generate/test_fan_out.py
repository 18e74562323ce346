"""How many children a row has: the requested mean, and never more than the maximum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import FanOut, Rows, counted, entity, exactly, fan_out, scale, spread
from tests.generate.making import correlation, make_rows, things

NOTHING = pl.DataFrame()


def counts(plan: FanOut, rows: Rows, frame: pl.DataFrame = NOTHING, child: str = "child") -> npt.NDArray[np.int64]:
    """How many children these rows have, as when a part is made."""
    return plan.counts(rows.entity, rows.roots, rows.bits(f"number of {child}"), frame)


@entity(key="id", rows=scale(0.1), columns={"id": "bigint"})
def slow(rows: Rows) -> pl.DataFrame:
    """One row for every ten."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", rows=2, columns={"id": "bigint"})
def two(rows: Rows) -> pl.DataFrame:
    """Two rows at every scale."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", parent=two, per_parent=1, columns={"id": "bigint"})
def below(rows: Rows) -> pl.DataFrame:
    """Not a root entity."""
    return pl.DataFrame({"id": rows.key()})


@pytest.mark.parametrize(("mean", "maximum"), [(5, 200), (3, 40), (0.5, 10), (1, 3), (12.5, 1000), (20, 41)])
def test_the_mean_is_met_within_one_percent(mean: float, maximum: int) -> None:
    """Over many parents. None has more than the maximum, some have none, and some come near the maximum."""
    count = 1_000_000
    drawn = counts(fan_out(mean=mean, maximum=maximum), make_rows(count))
    spread = drawn.std() / count**0.5
    assert abs(drawn.mean() - mean) < mean / 100 + 3 * spread
    assert drawn.min() == 0
    assert 0.9 * maximum <= drawn.max() <= maximum


@given(st.integers(3, 300), st.floats(0.01, 0.49))
def test_the_weights_have_the_requested_mean(maximum: int, share: float) -> None:
    """Within a hundredth for any mean and maximum, and they fall from one number to the next."""
    from snapseed.generate.draws.bits import skewed_weights

    weights = skewed_weights(maximum * share, maximum)
    mean = sum(number * weight for number, weight in enumerate(weights)) / sum(weights)
    assert abs(mean - maximum * share) < maximum * share / 100
    assert all(first >= second > 0 for first, second in pairwise(weights))


def test_few_parents_have_most_children() -> None:
    """The top tenth has more than half of the children, and most parents have fewer than the mean."""
    drawn = np.sort(counts(fan_out(mean=5, maximum=200), make_rows(100_000)))
    assert drawn[-10_000:].sum() > 0.5 * drawn.sum()
    assert np.median(drawn) < 5


def test_numbers_of_children_of_two_entities_are_independent() -> None:
    """A parent with many children of one entity need not have many of another."""
    rows, plan = make_rows(50_000), fan_out(mean=5, maximum=20)
    one, other = (pl.Series(counts(plan, rows, child=child)) for child in ("one", "other"))
    assert abs(correlation(one, other)) < 0.025


@pytest.mark.parametrize(("mean", "maximum"), [(0, 10), (-1, 10), (5, 10), (6, 10), (float("nan"), 10)])
def test_a_mean_without_room_is_refused(mean: float, maximum: int) -> None:
    """It must be above zero and below half the maximum."""
    with pytest.raises(ValueError, match="0 < mean < maximum / 2"):
        fan_out(mean=mean, maximum=maximum)


def test_a_mean_for_each_value_of_a_column_is_met() -> None:
    """Each value of the column has its own mean, null too."""
    plans = pl.Series(["free", "team", None, "free"] * 50_000)
    frame = pl.DataFrame({"plan": plans})
    drawn = counts(fan_out({"free": 2, "team": 12, None: 0.5}, maximum=60, by="plan"), make_rows(len(plans)), frame)
    for plan, mean in (("free", 2), ("team", 12), (None, 0.5)):
        found = drawn[plans.eq_missing(plan).to_numpy()]
        assert abs(found.mean() - mean) < mean / 100 + 3 * found.std() / len(found) ** 0.5


def test_a_value_without_a_mean_is_named() -> None:
    """Together with the values that have one. A mapping needs a column, and a column a mapping."""
    frame = pl.DataFrame({"plan": ["free", "gold"]})
    with pytest.raises(ValueError, match=r"no mean for plan = 'gold', only for \['free'\]"):
        counts(fan_out({"free": 2}, maximum=9, by="plan"), make_rows(2), frame)
    with pytest.raises(ValueError, match="`by`"):
        fan_out({"free": 2}, maximum=9)
    with pytest.raises(ValueError, match="`by`"):
        fan_out(2, maximum=9, by="plan")


def test_exactly_is_exact() -> None:
    """The same for every parent; zero is allowed, less is not."""
    assert counts(exactly(3), make_rows(2)).tolist() == [3, 3]
    assert counts(exactly(0), make_rows(2)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="cannot have -1 children"):
        exactly(-1)


def test_no_parent_has_more_children_than_there_are_rows_to_choose_from() -> None:
    """A root entity that grows limits them to the rows that exist with the parent, a fixed one to all its rows."""
    parents = make_rows(1_000)
    wanted = fan_out(mean=4, maximum=12)
    found = counts(fan_out(mean=4, maximum=12, among=slow), parents)
    existing = np.maximum(1, (np.arange(1_000) + 1) // 10)
    assert (found == np.minimum(counts(wanted, parents), existing)).all()
    assert (found[:9] <= 1).all()
    assert fan_out(mean=4, maximum=12, among=slow).maximum == 12
    assert counts(exactly(3, among=two), make_rows(2)).tolist() == [2, 2]
    assert counts(exactly(3, among=things), make_rows(5)).tolist() == [0, 1, 2, 3, 3]
    frame = pl.DataFrame({"plan": ["free", "team"] * 500})
    of_both = {"mean": {"free": 1, "team": 4}, "maximum": 12, "by": "plan"}
    found = counts(fan_out(**of_both, among=slow), parents, frame)  # type: ignore[arg-type]
    assert (found == np.minimum(counts(fan_out(**of_both), parents, frame), existing)).all()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="among: below is not a root entity"):
        exactly(1, among=below)


def test_a_distribution_of_your_own_gets_bits_and_the_parents_frame() -> None:
    """And is limited by `among` like the others."""
    frame = pl.DataFrame({"size": [5, 0, 7, 9]})
    plan = FanOut(9, lambda bits, parents: np.where(bits >= 0, parents["size"].to_numpy(), -1), among=things)
    assert counts(plan, make_rows(4), frame).tolist() == [0, 0, 2, 3]


def test_counted_takes_numbers_and_booleans_from_the_parent() -> None:
    """A boolean counts as 0 or 1."""
    frame = pl.DataFrame({"size": [0, 2, 5], "on": [True, False, True]})
    rows = make_rows(3)
    assert counts(counted(pl.col("size"), maximum=5), rows, frame).tolist() == [0, 2, 5]
    assert counts(counted(pl.col("on"), maximum=1), rows, frame).tolist() == [1, 0, 1]


@pytest.mark.parametrize("sizes", [[0, 6], [0, -1], [1, None], [None, None]])
def test_counted_refuses_nulls_and_numbers_out_of_range(sizes: list[int | None]) -> None:
    """Keys depend on the maximum."""
    frame = pl.DataFrame({"size": pl.Series(sizes, dtype=pl.Int64)})
    with pytest.raises(ValueError, match=r"expected 0 to 5|nulls"):
        counts(counted(pl.col("size"), maximum=5), make_rows(2), frame)


def test_a_spread_gives_equally_many_parents_what_is_between_two_bounds() -> None:
    """A quarter has none, a quarter one or two, half of them three; nobody has more."""
    plan = spread([0, 0, 2, 3, 3])
    drawn = counts(plan, make_rows(100_000))
    assert plan.maximum == drawn.max() == 3
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    assert np.allclose(shares, [1 / 4 + 1 / 12, 1 / 12, 1 / 12 + 1 / 8, 1 / 8 + 1 / 4], atol=0.01)
    with pytest.raises(ValueError, match="ascending"):
        spread([2, 1])
