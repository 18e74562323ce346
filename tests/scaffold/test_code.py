"""The code of modules: laid out as ruff does, with names and strings that mean what they should."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapseed.scaffold.draws import quoted
from snapseed.scaffold.layout import laid_out
from snapseed.scaffold.naming import identifier, short_type, singular, words_of
from snapseed.scaffold.sampling import examples_of, pieces_of
from snapseed.scaffold.vocabulary import CODES, LOOKUPS, WORDS
from snapseed.snapshot.types import parse_type

LONG = "a_name_that_is_long_enough_to_matter"
STATEMENTS = (
    f'rows.choice("{LONG}", {LONG.upper()}_OPTIONS_FOR_IT)',
    f'rows.choice("{LONG}", ["one", "two", "three", "four", "five", "six", "seven", "eight"])',
    f'rows.timestamps("{LONG}", rows.now - timedelta(days=730)).dt.truncate("1h")',
    f'rows.timestamps("{LONG}", rows.now - timedelta(days=730)).dt.truncate("1s").dt.time()',
    f'"https://example.com/" + rows.choice("{LONG}", WORDS) + "-" + number',
    f'"https://example.com/" + rows.integers("{LONG}", 1_000_000, 9_999_999).cast(pl.String)',
    f'rows.integers("{LONG}", 1_000_000, 9_999_999, 123_456).cast(pl.String)',
    '(rows.integers("weight_of_the_parcel", 1_000_000, 9_999_999) / 1_000).cast(pl.Float32)',
    f'rows.or_null("{LONG} missing", rows.choice("{LONG}", WORDS), 0.1)',
    f'rows.or_null("{LONG} missing", first + "." + last_and_some_more_letters + number + "@example.com", 0.1)',
    f'items.lists(items.integers("{LONG}", 10**15, 10**16 - 1).cast(pl.String).str.zfill(32).str.decode("hex"))',
    f"pl.select(pl.when(rows.positions > 0).then(rows.{LONG}().shift())).to_series()",
)


@pytest.mark.parametrize("code", STATEMENTS)
@pytest.mark.parametrize("name", ["x", "of_some_length", "a_variable_with_a_long_name"])
def test_statements_are_laid_out_as_ruff_does(code: str, name: str) -> None:
    """Whatever fits, and whatever does not."""
    text = "\n".join(["def function():", *laid_out(f"{name} = ", code, "", 4)]) + "\n"
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    assert subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout == text


@given(st.text(max_size=30))
@example("it's")
@example('"')
@example("\\")
@example("a\n'\"")
def test_a_quoted_text_is_the_text(text: str) -> None:
    """Python reads the code back as what was quoted, on one line."""
    assert ast.literal_eval(quoted(text)) == text
    assert len(quoted(text).splitlines()) == 1


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
    "pattern", [r"^[a-z]{2}_[A-Z]{2}$", r"^\d{3}-\d{4}$", r"^(EUR|USD)$", r"^https?://[a-z]+\.[a-z]{2}", r"^[^@]+@x$"],
)  # fmt: skip
def test_examples_match_their_pattern(pattern: str) -> None:
    """All of them, and there are several where the pattern leaves a choice."""
    pieces = pieces_of(pattern)
    assert pieces is not None
    found = examples_of(pieces)
    assert all(re.search(pattern, text) for text in found)
    assert len(found) > 1


@pytest.mark.parametrize("pattern", [r"^(?!a)b$", r"^(a(b|c))+$", "a|b", r"^\p{L}$"])
def test_other_patterns_have_no_examples(pattern: str) -> None:
    """They are left to whoever writes the generator."""
    assert pieces_of(pattern) is None


def test_the_vocabulary_is_usable() -> None:
    """No word comes twice in its list; lookups have eight names each; codes ascend, as keys must."""
    for name, words in WORDS.items():
        assert len(set(words)) == len(words), name
    for name, words in LOOKUPS.items():
        assert len(set(words)) == 8, name
    assert list(CODES) == sorted(set(CODES))
    assert list(LOOKUPS["currency"]) == sorted(LOOKUPS["currency"])
