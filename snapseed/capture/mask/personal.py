"""Which columns look personal and have no rule: by name, type and a sample of values.

To teach the gate a new name, add a line to `personal.toml`. Values are looked at by the server; only counts leave it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from snapseed.capture.mask.facts import Facts, MaskableColumn, Place
from snapseed.capture.mask.rules import MOMENTS, NUMBERS, followed
from snapseed.config.settings import MaskRule
from snapseed.generate.words import folded, words_of
from snapseed.postgres import listed, query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection

_DATA: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_NAMES, _TYPES, _VALUES = _DATA["names"], _DATA["types"], _DATA["values"]
# What values look like, any of it, for PostgreSQL.
PERSONAL_VALUES = "|".join(f"({pattern})" for pattern in _VALUES.values())
_RULES = {"an e-mail address": "email", "a telephone number": "phone", "an IP address": "ip"}
# Types whose values are no texts. All others, such as hstore or a composite type, may hold anything.
_PLAIN = NUMBERS | MOMENTS | {"boolean", "interval", "money", "oid", "uuid"}
# How many rows of a table are looked at, how many characters of a value, and which share must look personal.
_ROWS, _CHARACTERS, _ONE_IN = 1_000, 2_000, 100


@dataclass(frozen=True)
class Personal:
    """A column that looks personal: why, and the line of `[mask]` that would give it a rule."""

    column: str
    reason: str
    line: str


def personal_columns(
    facts: Facts,
    places: Iterable[Place],
    reasons: Mapping[Place, tuple[str, str]],
    problems_with: Callable[[Mapping[str, MaskRule]], Collection[str]],
) -> tuple[Personal, ...]:
    """Those of `places` that look personal, in order, each with a rule that fits it.

    They do by their name or type, or for `reasons`: what a sample of values says, with the rule for it.
    `problems_with` rules, each of which begins with the name of its column, are a reason to propose another one.
    """
    found = {}
    for place in places:
        own = facts.columns[place]
        by_name = looks_personal(own.table, (own.name, *own.parts), own.base, is_enum=own.is_enum)
        if looks := by_name or reasons.get(place):
            found[place] = looks
    # What refers to one of them gets its rule from there, unless both refer to each other.
    referring = {own for own, target in facts.references if own != target and target in found}
    covered = followed({place: MaskRule("keep") for place in found.keys() - referring}, facts)
    found = {place: looks for place, looks in found.items() if place not in referring & covered.keys()}
    options = {facts.columns[place].shown: _proposals(facts.columns[place], rule) for place, (_, rule) in found.items()}
    while options:
        # All of them at once; those that do not fit get their next proposal.
        wrong = {
            problem.partition(":")[0] for problem in problems_with({name: own[0] for name, own in options.items()})
        }
        if not (unfit := {name: own[1:] for name, own in options.items() if name in wrong and len(own) > 1}):
            break
        options |= unfit
    lines = []
    for place, (reason, _) in found.items():
        name, rule = facts.columns[place].shown, options[facts.columns[place].shown][0]
        if rule.rule == "keep":
            reason += "; no other rule fits it"  # noqa: PLW2901
        text = f'"{rule.rule}"' if rule.noise is None else f'{{ rule = "{rule.rule}", noise = {rule.noise} }}'
        # Keys of TOML have the escapes of JSON.
        lines.append(Personal(name, reason, f"{json.dumps(name, ensure_ascii=False)} = {text}  # {reason}"))
    return tuple(lines)


def sampled_reasons(connection: Connection, facts: Facts, places: Iterable[Place]) -> dict[Place, tuple[str, str]]:
    """What the first rows of each table say about its texts and documents: the reason, and a rule."""
    tables: dict[int, list[MaskableColumn]] = {}
    for place in places:
        column = facts.columns[place]
        if _may_have_texts(column.base, is_enum=column.is_enum) and column.base != "bytea" and column.may_select:
            tables.setdefault(place[0], []).append(column)
    reasons = {}
    for oid, columns in tables.items():
        for column, (filled, *hits) in zip(columns, _counted(connection, columns), strict=True):
            looks = [(hit, what) for hit, what in zip(hits, _VALUES, strict=True) if hit and hit * _ONE_IN >= filled]
            for hit, what in looks[:1]:
                rule = _RULES.get(what, "text")
                reasons[oid, column.name] = f"{hit:,} of {filled:,} values look like {what}", rule
    return reasons


def values_in_schema(connection: Connection) -> list[str]:
    """Comments, defaults, checks and labels that look as if they had personal values, without these."""
    found = query("schema_values", Path(__file__).parent / "queries")
    return [row["place"] for row in read_rows(connection, found, pattern=PERSONAL_VALUES)]


def looks_personal(table: str, names: Iterable[str], base: str, *, is_enum: bool = False) -> tuple[str, str] | None:
    """Why a column looks personal, and the rule for it: by its type `base`, or its names in a table; None if not.

    Several names are those inside of a composite type.
    """
    if base in _TYPES:
        return f"by its type, {base}", _TYPES[base]
    words = _words(names)
    patterns = _NAMES["number"] if base in NUMBERS else _NAMES["moment"] if base in MOMENTS else []
    if _may_have_texts(base, is_enum=is_enum):
        patterns = _NAMES["text"]
        if re.search(_NAMES["people"], f"_{words_of(table)}_"):
            patterns = [*patterns, *_NAMES["of_people"]]
    rule = next((rule for pattern, rule in patterns if any(re.search(pattern, name) for name in words)), None)
    return None if rule is None else ("by its name", rule)


def may_be_personal(table: str, names: Collection[str], base: str, *, is_enum: bool = False) -> bool:
    """Whether a column looks personal, or has a name of a person's role or of a secret: of doubtful ones, yes."""
    has_texts = _may_have_texts(base, is_enum=is_enum)
    # No list knows the words of all languages.
    is_foreign = has_texts and not all(folded(name).isascii() for name in names)
    if is_foreign or looks_personal(table, names, base, is_enum=is_enum) is not None:
        return True
    patterns = [_NAMES["secrets"]] * (has_texts or base in NUMBERS) + [_NAMES["roles"]] * has_texts
    return any(re.search(pattern, name) for pattern in patterns for name in _words(names))


def _words(names: Iterable[str]) -> list[str]:
    """Names as the patterns have them, also without numbers after their words: `surname2` is a surname."""
    spelled = [f"_{words_of(name)}_" for name in names]
    plain = [re.sub(r"_?[0-9]+(?=_)", "", name) for name in spelled]
    return [name for name in (*spelled, *plain) if not re.search(_NAMES["harmless"], name)]


def _may_have_texts(base: str, *, is_enum: bool) -> bool:
    """Whether values of this type can have texts in them that somebody wrote."""
    return base not in _PLAIN and not is_enum


def _proposals(column: MaskableColumn, rule: str) -> list[MaskRule]:
    """Rules for a column, the best first. The last one always fits, and leaves it to people to decide."""
    base = column.base
    first = [MaskRule("json")] if base in {"json", "jsonb"} else [MaskRule(rule)]
    noisy = [MaskRule("number", noise=0.1)] if base in NUMBERS else []
    return [*first, *noisy, *map(MaskRule, ("text", "uuid", "null", "keep"))]


def _counted(connection: Connection, columns: list[MaskableColumn]) -> Iterable[list[int]]:
    """For each column the number of values in the first rows, and of those that match each pattern."""
    texts, counts = [], []
    for number, column in enumerate(columns):
        name, own = sql.Identifier(str(number)), sql.Identifier(column.name)
        hits = [sql.SQL("count(*) FILTER (WHERE {} ~ {})").format(name, pattern) for pattern in _VALUES.values()]
        texts.append(sql.SQL("pg_catalog.left({}::text, {}) AS {}").format(own, _CHARACTERS, name))
        counts.append(sql.SQL("ARRAY[count({}), {}]").format(name, listed(hits)))
    statement = sql.SQL("SELECT {} FROM (SELECT {} FROM {} LIMIT {}) sample").format(
        listed(counts), listed(texts), columns[0].of_table.identifier(), _ROWS
    )
    row: tuple[list[int], ...] = connection.execute(statement).fetchone() or ()  # type: ignore[assignment]
    return row
