"""Which names of columns look personal: all that the lists say, and none that says something about such a column."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser
from typing import Any

import pytest

from snapseed.capture.mask import personal
from snapseed.capture.mask.personal import looks_personal, may_be_personal

NAMES = tomllib.loads(Path(str(personal.__file__)).with_suffix(".toml").read_text(encoding="utf-8"))["names"]
PATTERNS = [
    *((kind, pattern) for kind in ("text", "number", "moment", "of_people") for pattern, _ in NAMES[kind]),
    *((kind, NAMES[kind]) for kind in ("roles", "secrets")),
]
TYPES = {"number": "bigint", "moment": "date"}


def spelled(parts: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    """A name for each alternative of a parsed pattern, and for what is optional one with it and one without."""
    options: list[list[str]] = []
    for code, value in parts:
        if code is codes.LITERAL:
            options.append([chr(value)])
        elif code is codes.BRANCH:
            options.append([name for branch in value[1] for name in spelled(branch)])
        elif code is codes.SUBPATTERN:
            options.append([*spelled(value[3])])
        elif code is codes.MAX_REPEAT:
            options.append([*([""] if value[0] == 0 else []), *spelled(value[2])])
        elif code is codes.IN:
            options.append(["4" if inner is codes.CATEGORY else chr(first) for inner, first in value])
        else:
            assert code in {codes.AT, codes.ASSERT_NOT}
    yield from ("".join(name) for name in product(*options))


@pytest.mark.parametrize(("kind", "pattern"), PATTERNS)
def test_every_name_that_a_pattern_spells_looks_personal(kind: str, pattern: str) -> None:
    """None is lost to what is harmless: `marital_status` ends as `order_status` does."""
    base, table = TYPES.get(kind, "text"), "people" if kind == "of_people" else "things"
    names = [*spelled(parser.parse(pattern))]
    assert names
    looks = may_be_personal if kind in {"roles", "secrets"} else looks_personal
    assert [name for name in names if not looks(table, [name.strip("_")], base)] == []


@pytest.mark.parametrize("word", re.findall(r"[a-z]+", NAMES["harmless"].partition(")_id_$")[2].partition(")_")[0]))
def test_a_state_of_health_or_of_a_person_is_personal_whatever_its_name(word: str) -> None:
    """Its kind, its status and the id that stands for it too: for a capture, or in a table of people."""
    for end in ("id", "kind", "status", "type"):
        assert looks_personal("patients", [f"{word}_{end}"], "text"), (word, end)


@pytest.mark.parametrize(
    "name",
    [
        "email_status",
        "phone_type",
        "address_id",
        "device_type",
        "login_count",
        "first",
        "last",
        "session_id",
        "tax_type",
    ],
)
def test_what_is_about_such_a_column_is_harmless(name: str) -> None:
    """A capture asks for no rule, and numbers such as a counter are never one."""
    assert looks_personal("things", [name], "text") is None
    assert not may_be_personal("people", [name], "integer")
    assert not may_be_personal("people", ["passport_id"], "integer")
