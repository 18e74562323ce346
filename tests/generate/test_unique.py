"""Values that are unique by construction: permutations, codes, numbered texts."""

from __future__ import annotations

import uuid

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.generate.draws.bits import below, mixed
from snapseed.generate.draws.unique import permuted, shuffled_within_digits
from tests.generate.making import make_rows
from tests.generate.statistics import chi_square

_KEYS = st.integers(0, 2**64 - 1).map(np.uint64)


@given(st.integers(1, 60), st.integers(1, 60), _KEYS)
def test_a_permutation_uses_every_place_once(left: int, right: int, key: np.uint64) -> None:
    """For any two sides, even of length one."""
    high, low = permuted(np.arange(left * right, dtype=np.uint64), key, left, right)
    assert sorted((high * np.uint64(right) + low).tolist()) == list(range(left * right))


def test_a_permutation_of_a_trillion_places_has_no_collisions() -> None:
    """A million numbers from the start and a million from far out get two million places."""
    runs = [np.arange(first, first + 10**6, dtype=np.uint64) for first in (0, 999_000_000_000)]
    high, low = permuted(np.concatenate(runs), np.uint64(7), 10**6, 10**6)
    places = np.sort(high * np.uint64(10**6) + low)
    assert (np.diff(places) > 0).all()
    assert places[-1] < 10**12


def test_a_permutation_can_be_undone() -> None:
    """Running its rounds backwards leads from each place to its number, so no two share a place."""
    key, left, right = np.uint64(99), np.array(36**5, dtype=np.uint64), np.array(36**4, dtype=np.uint64)
    numbers = below(make_rows(1000).bits("n"), left * right)
    high, low = permuted(numbers, key, left, right)
    for number in reversed(range(4)):
        round_key = mixed(key + np.array([number], dtype=np.uint64))
        low = (low + right - below(mixed(high ^ ~round_key), right)) % right
        high = (high + left - below(mixed(low ^ round_key), left)) % left
    assert (high * right + low).tolist() == numbers.tolist()


def test_numbers_are_permuted_among_those_with_as_many_digits() -> None:
    """All numbers up to a million, each with as many digits as before, and few in their old place."""
    numbers = np.arange(1, 1_000_000)
    shuffled = shuffled_within_digits(numbers, np.uint64(5)).astype(np.int64)
    assert np.array_equal(np.sort(shuffled), numbers)
    assert np.array_equal(np.char.str_len(shuffled.astype(str)), np.char.str_len(numbers.astype(str)))
    assert (shuffled == numbers).sum() < 20
    assert abs(np.corrcoef(numbers[99_999:], shuffled[99_999:])[0, 1]) < 0.005


@given(st.integers(1, 2**63 - 10), _KEYS)
def test_numbers_of_any_size_can_be_shuffled(first: int, key: np.uint64) -> None:
    """The number of digits stays, and none occurs twice."""
    numbers = np.arange(first, first + 9)
    shuffled = shuffled_within_digits(numbers, key).tolist()
    assert len(set(shuffled)) == 9
    assert [len(str(number)) for number in shuffled] == [len(str(number)) for number in numbers.tolist()]


@pytest.mark.parametrize(
    ("alphabet", "length"), [("01", 18), ("0123456789", 6), ("abcdefghijklmnopqrstuvwxyz", 4), ("ACGT", 40)]
)
def test_codes_are_unique_and_use_their_alphabet_uniformly(alphabet: str, length: int) -> None:
    """All characters are equally frequent at every place, for lengths within 64 bits and beyond."""
    count = 200_000
    codes = make_rows(count).code("code", length, alphabet)
    assert codes.n_unique() == count
    assert codes.str.len_bytes().unique().to_list() == [length]
    for place in range(length):
        found = codes.str.slice(place, 1).value_counts(sort=True)
        assert set(found.to_series(0)) == set(alphabet)
        assert chi_square(found["count"].to_numpy(), [1] * len(alphabet)) < 1


def test_a_code_may_use_up_all_texts() -> None:
    """With as many rows as texts, each text is used; one more row is an error."""
    assert sorted(make_rows(1000).code("pin", 3, "0123456789")) == [f"{number:03}" for number in range(1000)]
    with pytest.raises(ValueError, match=r"'pin'.*more rows than 10\^3 texts"):
        make_rows(1, first=1000).code("pin", 3, "0123456789")


@pytest.mark.parametrize(("alphabet", "length"), [("0123456789", 3), ("ABC", 60)])
def test_codes_for_keys_ascend(alphabet: str, length: int) -> None:
    """They count the rows in characters of the alphabet."""
    codes = make_rows(1000).code("pin", length, alphabet, ascending=True)
    assert codes.is_sorted()
    assert codes.n_unique() == 1000
    assert codes[1] == alphabet[0] * (length - 1) + alphabet[1]


def test_codes_of_two_columns_and_two_seeds_differ() -> None:
    """Each has its own order."""
    rows = make_rows(5000)
    one, two, other = rows.code("one", 8), rows.code("two", 8), make_rows(5000, seed=1).code("one", 8)
    assert len({*one, *two, *other}) == 15_000


def test_texts_become_unique_and_stay_readable() -> None:
    """A few texts for many rows; each ends in a number."""
    rows = make_rows(100_000)
    made = rows.unique("username", rows.choice("name", ["anna", "anna1", "bert-", ""]))
    assert made.n_unique() == len(made)
    assert made.str.contains("^(anna|anna1-|bert-|)[1-9][0-9]*$").all()
    assert rows.unique("username", "anna").equals(rows.unique("username", pl.repeat("anna", 100_000, eager=True)))


def test_unique_texts_of_rows_far_apart_differ() -> None:
    """Even a billion rows apart, so large snapshots have no collisions."""
    texts = pl.Series(["a"] * 50_000)
    firsts = [0, 10**9 - 25_000, 10**12]
    made = pl.concat([make_rows(50_000, first=first).unique("slug", texts, separator="-") for first in firsts])
    assert made.n_unique() == 150_000


@given(st.lists(st.text(alphabet="a1-", max_size=4), min_size=1, max_size=40), st.sampled_from(["", "-", ".", "1-"]))
def test_no_texts_collide(texts: list[str], separator: str) -> None:
    """Whatever digits and separators the texts have, and however they are cut."""
    rows = make_rows(len(texts))
    for longest in (None, 4, 6):
        made = rows.unique("u", pl.Series(texts), separator, longest)
        assert made.n_unique() == len(texts)
        assert longest is None or made.str.len_chars().max() <= longest  # type: ignore[operator]


def test_a_null_stays_null_and_characters_are_counted_as_postgresql_does() -> None:
    """varchar(n) counts characters, not bytes; one is reserved for a dash between text and number."""
    made = make_rows(3, first=10).unique("u", pl.Series([None, "ÄÖÜÄÖÜÄÖÜ", "日本語日本語日本語"]), longest=5).to_list()
    assert made[0] is None
    assert [len(text) for text in made[1:]] == [4, 4]


def test_uuids_are_random_and_of_version_4() -> None:
    """Like those of gen_random_uuid()."""
    found = [uuid.UUID(bytes=value) for value in make_rows(5000).uuids("token")]
    assert {(value.version, value.variant) for value in found} == {(4, uuid.RFC_4122)}
    assert len(set(found)) == 5000
    bits = np.array([[int(bit) for bit in f"{value.int:0128b}"] for value in found]).mean(axis=0)
    drawn = np.delete(bits, [48, 49, 50, 51, 64, 65])
    assert abs(drawn - 0.5).max() < 0.05


def test_a_sequence_starts_and_steps_as_asked() -> None:
    """A row's number does not depend on where its slice starts."""
    assert make_rows(3).number(first=10, step=5).to_list() == [10, 15, 20]
    assert make_rows(2, first=1).number(first=10, step=5).to_list() == [15, 20]


@pytest.mark.parametrize("name", ["key", "number", "code", "unique"])
def test_items_offer_no_draw_that_needs_a_number_per_row(name: str) -> None:
    """Items of one row have the same row, so such a draw would repeat."""
    items = make_rows(2).items("i", pl.Series([1, 1]))
    assert hasattr(make_rows(2), name)
    assert not hasattr(items, name)
