"""How many children a row has: the mean that was asked for, never more than the maximum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import FanOut, Rows, counted, entity, exactly, fan_out, scale
from tests.generate.making import correlation, make_rows, things

NOTHING = pl.DataFrame()


def counts(plan: FanOut, rows: Rows, frame: pl.DataFrame = NOTHING, child: str = "child") -> npt.NDArray[np.int64]:
    """How many children these rows have, as when a part is made."""
    return plan.counts(rows.entity, rows.roots, rows.bits(f"number of {child}"), frame)


@entity(key="id", rows=scale(0.1), columns={"id": "bigint"})
def slow(rows: Rows) -> pl.DataFrame:
    """One row for ten."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", rows=2, columns={"id": "bigint"})
def two(rows: Rows) -> pl.DataFrame:
    """Two rows at every scale."""
    return pl.DataFrame({"id": rows.key()})


@entity(key="id", parent=two, per_parent=1, columns={"id": "bigint"})
def below(rows: Rows) -> pl.DataFrame:
    """No root entity."""
    return pl.DataFrame({"id": rows.key()})


@pytest.mark.parametrize(("mean", "maximum"), [(5, 200), (3, 40), (0.5, 10), (1, 3), (12.5, 1000), (20, 41)])
def test_the_mean_is_met_to_within_a_hundredth(mean: float, maximum: int) -> None:
    """Over many parents; none has more than the maximum, some have none, some come near the maximum."""
    count = 1_000_000
    drawn = counts(fan_out(mean=mean, maximum=maximum), make_rows(count))
    spread = drawn.std() / count**0.5
    assert abs(drawn.mean() - mean) < mean / 100 + 3 * spread
    assert drawn.min() == 0
    assert 0.9 * maximum <= drawn.max() <= maximum


@given(st.integers(3, 300), st.floats(0.01, 0.49))
def test_the_weights_have_the_mean_that_was_asked_for(maximum: int, share: float) -> None:
    """To within a hundredth, whatever mean and maximum; and they fall from one number to the next."""
    from snapseed.generate.entity import skewed_weights

    weights = skewed_weights(maximum * share, maximum)
    mean = sum(number * weight for number, weight in enumerate(weights)) / sum(weights)
    assert abs(mean - maximum * share) < maximum * share / 100
    assert all(first >= second > 0 for first, second in pairwise(weights))


def test_few_parents_have_most_children() -> None:
    """Skewed: the top tenth has far more than a tenth, and most have fewer than the mean."""
    drawn = np.sort(counts(fan_out(mean=5, maximum=200), make_rows(100_000)))
    assert drawn[-10_000:].sum() > 0.5 * drawn.sum()
    assert np.median(drawn) < 5


def test_two_children_of_one_parent_are_counted_apart() -> None:
    """Who has many of one entity need not have many of another."""
    rows, plan = make_rows(50_000), fan_out(mean=5, maximum=20)
    one, other = (pl.Series(counts(plan, rows, child=child)) for child in ("one", "other"))
    assert abs(correlation(one, other)) < 0.025


@pytest.mark.parametrize(("mean", "maximum"), [(0, 10), (-1, 10), (5, 10), (6, 10), (float("nan"), 10)])
def test_a_mean_without_room_is_refused(mean: float, maximum: int) -> None:
    """It lies above zero and below half the maximum."""
    with pytest.raises(ValueError, match="0 < mean < maximum / 2"):
        fan_out(mean=mean, maximum=maximum)


def test_a_mean_for_each_value_of_a_column_is_met() -> None:
    """Who has one value has so many, who has another so many, null among them."""
    plans = pl.Series(["free", "team", None, "free"] * 50_000)
    frame = pl.DataFrame({"plan": plans})
    drawn = counts(fan_out({"free": 2, "team": 12, None: 0.5}, maximum=60, by="plan"), make_rows(len(plans)), frame)
    for plan, mean in (("free", 2), ("team", 12), (None, 0.5)):
        found = drawn[plans.eq_missing(plan).to_numpy()]
        assert abs(found.mean() - mean) < mean / 100 + 3 * found.std() / len(found) ** 0.5


def test_a_value_without_a_mean_is_named() -> None:
    """With the values that have one; and a mapping needs the column, a column a mapping."""
    frame = pl.DataFrame({"plan": ["free", "gold"]})
    with pytest.raises(ValueError, match=r"no mean for plan = 'gold', only for \['free'\]"):
        counts(fan_out({"free": 2}, maximum=9, by="plan"), make_rows(2), frame)
    with pytest.raises(ValueError, match="`by`"):
        fan_out({"free": 2}, maximum=9)
    with pytest.raises(ValueError, match="`by`"):
        fan_out(2, maximum=9, by="plan")


def test_exactly_is_exact() -> None:
    """The same for every parent, zero included; less is refused."""
    assert counts(exactly(3), make_rows(2)).tolist() == [3, 3]
    assert counts(exactly(0), make_rows(2)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="cannot have -1 children"):
        exactly(-1)


def test_no_parent_has_more_children_than_there_are_rows_to_choose_from() -> None:
    """Of a root entity that grows, as many as exist with the parent; of a fixed one all; others are not cut."""
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


def test_counted_takes_numbers_and_booleans_from_the_parent() -> None:
    """A boolean counts as 0 or 1."""
    frame = pl.DataFrame({"size": [0, 2, 5], "on": [True, False, True]})
    rows = make_rows(3)
    assert counts(counted(pl.col("size"), maximum=5), rows, frame).tolist() == [0, 2, 5]
    assert counts(counted(pl.col("on"), maximum=1), rows, frame).tolist() == [1, 0, 1]


@pytest.mark.parametrize("sizes", [[0, 6], [0, -1], [1, None], [None, None]])
def test_counted_refuses_nulls_and_numbers_out_of_range(sizes: list[int | None]) -> None:
    """The maximum is a promise that keys rest on."""
    frame = pl.DataFrame({"size": pl.Series(sizes, dtype=pl.Int64)})
    with pytest.raises(ValueError, match=r"counted\(\).* expected 0 to 5"):
        counts(counted(pl.col("size"), maximum=5), make_rows(2), frame)
