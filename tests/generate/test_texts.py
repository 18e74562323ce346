"""Templates and slugs."""

from __future__ import annotations

import re
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import filled, slug


def test_each_row_has_its_template_and_its_values() -> None:
    """Names in any order and number; a single text applies to all rows."""
    templates = pl.Series(["{a} and {b}", "only {b}", "{a}{a}{c}", "nothing", "", "{b}: {a}"])
    made = filled(templates, a=pl.Series(range(6)), b=pl.Series(list("uvwxyz")), c="!")
    assert made.to_list() == ["0 and u", "only v", "22!", "nothing", "", "z: 5"]


_PARTS = st.lists(st.sampled_from(["{a}", "{b}", "text", "{{", "}}", " ", "é"]), max_size=6).map("".join)


@given(st.lists(st.tuples(_PARTS, st.text(max_size=3), st.integers()), min_size=1, max_size=8))
def test_templates_are_filled_as_python_does(rows: list[tuple[str, str, int]]) -> None:
    """The result is that of `str.format` for each row."""
    templates, texts, numbers = (list(column) for column in zip(*rows, strict=True))
    numbers = [number % 2**31 for number in numbers]
    made = filled(pl.Series(templates), a=pl.Series(texts, dtype=pl.String), b=pl.Series(numbers))
    assert made.to_list() == [
        template.format(a=a, b=b) for template, a, b in zip(templates, texts, numbers, strict=True)
    ]


def test_a_null_gives_null_only_where_it_is_asked_for() -> None:
    """The template itself, or a value that the row's template uses."""
    made = filled(pl.Series(["{a}", "{b}", None]), a=pl.Series([None, None, "x"]), b=pl.Series(["x", "y", "z"]))
    assert made.to_list() == [None, "y", None]


def test_nothing_to_fill_is_no_special_case() -> None:
    """No rows, and templates without names."""
    assert filled(pl.Series([], dtype=pl.String), a="x").to_list() == []
    assert filled(pl.Series(["a", "b"])).to_list() == ["a", "b"]


def test_decimals_keep_their_digits() -> None:
    """As PostgreSQL prints them."""
    assert filled(pl.Series(["{x} EUR"]), x=pl.Series([Decimal("5.10")])).to_list() == ["5.10 EUR"]


REFUSED = {
    "{c}": "{c} in '{c}'",
    "{}": "{} in '{}'",
    "{a:>5}": "{a} in '{a:>5}'",
    "{a!r}": "{a} in '{a!r}'",
    "{a": "'{a'",
    "a}": "'a}'",
}


@pytest.mark.parametrize("template", REFUSED)
def test_an_invalid_template_is_an_error(template: str) -> None:
    """Unknown names, formats and open braces; the message shows the template."""
    with pytest.raises(ValueError, match=re.escape(REFUSED[template])):
        filled(pl.Series([template]), a="x")


def test_floats_and_other_lengths_are_refused() -> None:
    """The text of a float is not the same everywhere; there must be one value per row."""
    with pytest.raises(TypeError, match="a is a float"):
        filled(pl.Series(["{a}"]), a=pl.Series([0.5]))
    with pytest.raises(ValueError, match=r"2 templates.* 1 values for a"):
        filled(pl.Series(["{a}", "{a}"]), a=pl.Series(["x"]))


SLUGS = {
    "Crème brûlée": "creme-brulee",
    "Straße, Œuvre & Ærø": "strasse-oeuvre-aero",
    "\u0130stanbul I\u011fd\u0131r": "istanbul-igdir",
    "don't O’Neil": "dont-oneil",
    "  --a__b--  ": "a-b",
    "Łódź Đà Nẵng": "lodz-da-nang",
    "ﬁve Ⅳ": "five-iv",
    "寿司 2": "2",
    "": "",
}


@pytest.mark.parametrize("text", SLUGS)
def test_a_slug_is_what_a_reader_would_type(text: str) -> None:
    """Accents are dropped, letters with a usual spelling get it, everything else separates words."""
    assert slug(pl.Series([text])).to_list() == [SLUGS[text]]


@given(st.lists(st.text(max_size=20), max_size=5), st.sampled_from(["-", ".", "_", ""]))
def test_a_slug_has_nothing_but_small_letters_and_digits(texts: list[str], separator: str) -> None:
    """For any text; no separator at an end, and never two in a row."""
    for made in slug(pl.Series(texts, dtype=pl.String), separator):
        assert re.fullmatch(rf"([a-z0-9]+({re.escape(separator)}[a-z0-9]+)*)?", made)


def test_a_slug_of_null_is_null() -> None:
    """Null stays null."""
    assert slug(pl.Series([None, "A"])).to_list() == [None, "a"]
