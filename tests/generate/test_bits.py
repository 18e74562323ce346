"""Hashes as random numbers: exact, uniform, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.generate.draws.bits import below, categories, column_bits, identity_hashes, mixed, name_hash, thresholds
from tests.generate.making import correlation, make_rows
from tests.generate.statistics import chi_square

_64_BITS = st.integers(0, 2**64 - 1)

# Values of the first version. They never change.
GOLDEN_KEY = 0x6255D8733A5A217E
GOLDEN_HASHES = [0x28ECC01C5A9DC737, 0x14435BD591056F62, 0x3C055166FCE875DE]
GOLDEN_BITS = [0x137364D719894FFE, 0x9122F42E99A56DE7, 0x54D49189C1F06F94]
GOLDEN = {
    "integers": [3, 1, 5, -5],
    "chance": [False, True, False, True],
    "choice": ["a", "a", "c", "c"],
    "weights": ["b", "b", "b", "b"],
    "timestamps": [1625016997942498, 1708824080512052, 1755213978225202, 1643840725758795],
    "items": [9186923182321992260, 3614538778137634915, 2334192475061975110, 1980559940270708181, 10857475116729174680],
}


def test_hashes_are_the_same_as_in_every_earlier_version() -> None:
    """Golden values: all rows of all snapshots depend on these numbers."""
    assert int(name_hash("column", "name")) == GOLDEN_KEY
    hashes = identity_hashes(42, "users", np.arange(3, dtype=np.uint64), np.zeros(3, dtype=np.uint64))
    assert [int(value) for value in hashes] == GOLDEN_HASHES
    assert [int(value) for value in column_bits(hashes, "name")] == GOLDEN_BITS


def test_draws_are_the_same_as_in_every_earlier_version() -> None:
    """Golden values of each kind of draw, for rows 0 to 3 with seed 42."""
    rows = make_rows(4)
    assert rows.integers("n", -5, 5).to_list() == GOLDEN["integers"]
    assert rows.chance("c", 0.5).to_list() == GOLDEN["chance"]
    assert rows.choice("o", ["a", "b", "c"]).to_list() == GOLDEN["choice"]
    assert rows.choice("w", ["a", "b", "c"], [1, 8, 1]).to_list() == GOLDEN["weights"]
    assert rows.timestamps("t", rows.now.replace(year=2020)).dt.epoch("us").to_list() == GOLDEN["timestamps"]
    assert rows.items("i", rows.integers("n", 0, 2)).bits("x").tolist() == GOLDEN["items"]


def test_hashes_of_names_depend_on_where_each_name_ends() -> None:
    """Where one name ends and the next begins matters."""
    assert (
        len({int(name_hash(*parts)) for parts in [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), (1, 2), (12,)]}) == 6
    )


@given(_64_BITS, st.integers(1, 2**64 - 1))
def test_below_is_the_upper_half_of_the_exact_product(bits: int, limit: int) -> None:
    """As in Python's integers, for every limit up to 2^64 - 1."""
    assert int(below(np.array([bits], dtype=np.uint64), np.array([limit], dtype=np.uint64))[0]) == bits * limit >> 64


@given(_64_BITS)
def test_mixing_is_a_bijection(value: int) -> None:
    """`mixed` is a bijection: its inverse gives the value back."""
    mask = 2**64 - 1
    found = int(mixed(np.array([value], dtype=np.uint64))[0])
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        found ^= found >> shift ^ found >> 2 * shift
        found = found * pow(factor, -1, 2**64) & mask
    assert found == value


def test_every_bit_is_set_half_of_the_time() -> None:
    """Over neighboring rows, for all 64 bits."""
    bits = make_rows(20_000).bits("b")
    shares = np.unpackbits(bits.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert abs(shares - 0.5).max() < 0.02


def test_small_limits_are_uniform() -> None:
    """100 buckets are filled evenly."""
    drawn = below(make_rows(100_000).bits("b"), 100)
    assert chi_square(np.bincount(drawn.astype(int), minlength=100), [1] * 100) < 1


@pytest.mark.parametrize("weights", [[1, 1], [62, 17, 12, 9], [1, 0, 3, 0, 6], [1, 999], [5]])
def test_weights_set_the_proportions(weights: list[int]) -> None:
    """Categories are as frequent as their weights; those without weight never occur."""
    drawn = categories(make_rows(50_000).bits("b"), thresholds(weights))
    counts = np.bincount(drawn, minlength=len(weights)).tolist()
    assert [count for count, weight in zip(counts, weights, strict=True) if not weight] == [0] * weights.count(0)
    assert chi_square(counts, weights) < 1


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [3, -1]])
def test_impossible_weights_are_refused(weights: list[int]) -> None:
    """No weight at all, and a negative one, are errors."""
    with pytest.raises(ValueError, match="weights must not be negative"):
        thresholds(weights)


def test_the_extreme_draw_falls_to_a_category_with_weight() -> None:
    """The largest bits fall to the last category with weight."""
    extreme = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert categories(extreme, thresholds([1, 1])).tolist() == [0, 1]
    assert categories(extreme, thresholds([0, 1, 0])).tolist() == [1, 1]


def test_columns_rows_and_seeds_are_independent() -> None:
    """Two columns, neighboring rows, two seeds and a column's items do not correlate."""
    rows = make_rows(20_000)
    first = rows.integers("first", 0, 10**6)
    pairs = {
        "columns": (first, rows.integers("second", 0, 10**6)),
        "column and its items": (first, rows.items("first", first * 0 + 1).integers("first", 0, 10**6)),
        "neighbors": (first[1:], first[:-1]),
        "seeds": (first, make_rows(20_000, seed=43).integers("first", 0, 10**6)),
        "row number": (first, rows.number()),
    }
    # Five standard deviations of the correlation of 20,000 independent pairs.
    assert {name: value for name, pair in pairs.items() if abs(value := correlation(*pair)) > 5 / 20_000**0.5} == {}
