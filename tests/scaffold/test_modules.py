"""The code of modules: names and strings that mean what they should, laid out as Python reads it."""

from __future__ import annotations

import ast
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapseed.generate.words import WORDS, words_of
from snapseed.scaffold.draws import in_parentheses, quoted, texts_matching
from snapseed.scaffold.modules import laid_out
from snapseed.scaffold.names import CODED_LOOKUPS, LOOKUPS, PLACES, hints, identifier, short_type, singular
from snapseed.snapshot.types import parse_type

LONG = "a_name_that_is_long_enough_to_matter"
EXPRESSIONS = (
    f'rows.choice("{LONG}", ["one", "two", "three, four", "five six", "seven eight nine", "ten eleven twelve"])',
    f'rows.timestamps("{LONG}", rows.now - timedelta(days=730), rows.now).dt.truncate("1h").dt.time()',
    f'"https://example.com/" + rows.choice("{LONG}", WORDS) + "-" + number + "ü" + rows.choice("{LONG}", WORDS)',
    f'(rows.integers("{LONG}", 1_000_000, 9_999_999) / 1_000 + rows.integers("{LONG}", 1, 9)).cast(pl.Float32)',
    f'rows.or_null("{LONG} missing", first + "." + last_and_some_more_letters + number + "@example.com", 0.1)',
    f"pl.select(pl.when(rows.positions > 0).then(rows.{LONG}().shift())).to_series()",
    f'(rows.timestamps("{LONG}", {LONG}) + rows.number().cast(pl.Duration("us"))).dt.replace_time_zone(None)',
    f'(rows.choice("{LONG}", WORDS_THAT_ARE_LISTED_ELSEWHERE)).str.replace_all("{LONG}", "something else entirely")',
    '"it\'s (a) [text], a long one that has brackets in it: ((((" + number + "]]]], which were never opened"',
)


@pytest.mark.parametrize("code", EXPRESSIONS)
def test_long_code_is_laid_out_on_several_lines(code: str) -> None:
    """Python reads the same expression from the lines, and the lines are shorter."""
    lines = laid_out("name = ", code, "", 0)
    assert ast.dump(ast.parse("\n".join(lines))) == ast.dump(ast.parse(f"name = {code}"))
    assert len(lines) > 1
    assert laid_out("", "f(x)", ",", 4) == ["    f(x),"]


@given(st.text(max_size=30))
@example("it's")
@example('"')
@example("\\")
@example("a\n'\"")
def test_a_quoted_text_is_the_text(text: str) -> None:
    """Python reads the code back as what was quoted, on one line."""
    assert ast.literal_eval(quoted(text)) == text
    assert len(quoted(text).splitlines()) == 1


def test_only_operations_need_parentheses() -> None:
    """Operators inside of brackets and strings do not count."""
    codes = {'rows.choice("a + b", f(1 + 2))': False, "a + b": True, "rows.number() / 1_000": True, "{own:a}": False}
    assert {code: in_parentheses(code).startswith("(") for code in codes} == codes


@given(st.text(max_size=70), st.sets(st.text(max_size=5)))
@example("class", set())
@example("rows", set())
@example("Ünïcode", set())
@example("1st", {"t_1st"})
def test_any_name_has_an_identifier(name: str, taken: set[str]) -> None:
    """One that Python takes for a variable, that a file can have, and that nothing else has."""
    found = identifier(name, taken)
    assert re.fullmatch(r"[a-z_][a-z0-9_]{0,59}", found)
    assert found not in taken
    ast.parse(f"{found} = 1")


def test_names_are_words() -> None:
    """Camel case, blanks and capitals; plurals in the singular."""
    names = {"OrderDetails": "order_details", "Order Details": "order_details", "ID": "id", "HTTPPort": "http_port"}
    assert {name: words_of(name) for name in names} == names
    plurals = {"categories": "category", "boxes": "box", "orders": "order", "address": "address", "statuses": "status"}
    assert {name: singular(name) for name in plurals} == plurals


@pytest.mark.parametrize(
    "name",
    [
        "timestamp with time zone", "timestamp(3) without time zone", "time without time zone", "character varying(40)",
        "character(2)[]", "timestamp with time zone[]", "numeric(10,2)", "time(0) with time zone", '"Mood"',
    ],
)  # fmt: skip
def test_a_short_type_is_the_same_type(name: str) -> None:
    """As people write it, and no other."""
    assert parse_type(short_type(name)) == parse_type(name)
    assert "without" not in short_type(name)


@pytest.mark.parametrize(
    "pattern", [r"^[a-z]{2}_[A-Z]{2}$", r"^\d{3}-\d{4}$", r"^(EUR|USD)$", r"^https?://[a-z]+\.[a-z]{2}$", r"^[^@]+@x$"],
)  # fmt: skip
def test_texts_match_their_pattern(pattern: str) -> None:
    """There are several if the pattern leaves a choice, and they are the same in every run."""
    found = texts_matching(pattern)
    assert all(re.search(pattern, text) for text in found)
    assert len(found) > 1
    assert texts_matching(pattern) == found
    assert texts_matching(r"^\d{3}-\d{2}$")[:2] == ("017-31", "034-25")


@pytest.mark.parametrize("pattern", [r"(", r"^\m", r"[[:alpha:]", r"*"])
def test_a_pattern_that_is_not_understood_has_no_texts(pattern: str) -> None:
    """PostgreSQL's own syntax, or none at all: then nothing is drawn after it."""
    assert texts_matching(pattern) == ()


def test_names_and_words_are_usable() -> None:
    """No word comes twice, except in lists that go with others; lookups have eight rows or more; codes ascend."""
    for name, words in WORDS.items():
        assert name.startswith(("CITY_", "HONORIFICS")) or len(set(words)) == len(words), name
    assert {len(words) for name, words in WORDS.items() if name.startswith(("CITIES", "CITY_"))} == {27}
    assert len(WORDS["HONORIFICS"]) == len(WORDS["FIRST_NAMES"])
    assert len(WORDS["STATES"]) == len(WORDS["CODES_OF_STATES"])
    assert all(len(place) == 6 and all(place.values()) for places in PLACES.values() for place in places)
    for name, words in LOOKUPS.items():
        assert len(set(words)) == len(words) >= 8, name
    for rows in CODED_LOOKUPS.values():
        assert all(len(set(values)) == len(rows) for values in zip(*rows, strict=True))
    assert list(LOOKUPS["currency"]) == sorted(LOOKUPS["currency"])
    assert next(hints("text", "ContactEmail")) == "{first_name}.{last_name}{number}@example.com"
    assert next(hints("text", "billing_country", ["billing_city"])) == "{CITY_COUNTRIES by billing place}"
    assert next(hints("number", "release_year")) == "1990..2025"
    assert not list(hints("number", "email"))
