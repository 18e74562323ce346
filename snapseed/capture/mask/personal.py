"""Which columns look personal and have no rule: by name, type and a sample of values.

To teach the gate a new name, add a line to `personal.toml`. Values are looked at by the server; only counts leave it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from snapseed.capture.mask.assign import assign
from snapseed.capture.mask.facts import QUERIES, Facts, MaskableColumn, Place
from snapseed.capture.mask.rules import MOMENTS, NUMBERS, base_of
from snapseed.config import MaskRule
from snapseed.generate.words import words_of
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection

_DATA: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_NAMES, _TYPES, _VALUES = _DATA["names"], _DATA["types"], _DATA["values"]
_DOCUMENTS = frozenset({"json", "jsonb"})
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
    facts: Facts, configured: Mapping[str, MaskRule], places: Iterable[Place], reasons: Mapping[Place, tuple[str, str]]
) -> tuple[Personal, ...]:
    """Those of `places` that look personal, in order, each with a rule that fits it.

    They do by their name or type, or for `reasons`: what a sample of values says, with the rule for it.
    """
    found = {
        place: looks
        for place in places
        if (looks := _by_name_or_type(facts.columns[place]) or reasons.get(place)) is not None
    }
    found = {place: looks for place, looks in found.items() if place not in _followers(facts, found)}
    proposed: dict[Place, MaskRule] = {}
    remaining = {place: _proposals(facts.columns[place], rule) for place, (_, rule) in found.items()}
    while remaining:
        # All of them at once; those that do not fit get their next proposal.
        proposed |= {place: rules[0] for place, rules in remaining.items()}
        trial = assign(facts, {**configured, **{facts.names[place]: rule for place, rule in proposed.items()}})
        wrong = {problem.partition(":")[0] for problem in trial.problems}
        remaining = {
            place: rules[1:] for place, rules in remaining.items() if facts.names[place] in wrong and len(rules) > 1
        }
    found |= {
        place: (f"{found[place][0]}; no rule can change it, since it decides the partition", "keep")
        for place in found.keys() & facts.partitioning
    }
    # Keys of TOML have the escapes of JSON.
    return tuple(
        Personal(name, reason, f"{json.dumps(name, ensure_ascii=False)} = {_written(proposed[place])}  # {reason}")
        for place, (reason, _) in found.items()
        for name in [facts.names[place]]
    )


def _followers(facts: Facts, found: Collection[Place]) -> set[Place]:
    """Those that get the rule of a column that they refer to: it is among them, or refers to one itself."""
    references = [((own.oid, own.name), (own.target, own.target_name)) for own in facts.references]
    referring = {own for own, target in references if own != target and target in found}
    covered, before = set(found) - referring, -1
    while before != len(covered):
        before = len(covered)
        covered |= {own for own, target in references if target in covered}
    return referring & covered


def sampled_reasons(connection: Connection, facts: Facts, places: Iterable[Place]) -> dict[Place, tuple[str, str]]:
    """What the first rows of each table say about its texts and documents: the reason, and a rule."""
    reasons = {}
    tables: dict[int, list[MaskableColumn]] = {}
    for place in places:
        column = facts.columns[place]
        if _may_have_texts(column) and base_of(column) != "bytea" and column.may_select:
            tables.setdefault(place[0], []).append(column)
    for oid, columns in tables.items():
        for column, counts in zip(columns, _counted(connection, columns), strict=True):
            filled, *hits = counts
            for hit, what in zip(hits, _VALUES, strict=True):
                if hit and hit * _ONE_IN >= filled:
                    rule = {"an e-mail address": "email", "a telephone number": "phone", "an IP address": "ip"}.get(
                        what
                    )
                    reasons[oid, column.name] = f"{hit:,} of {filled:,} values look like {what}", rule or "text"
                    break
    return reasons


def values_in_schema(connection: Connection) -> list[str]:
    """Comments, defaults, checks and labels that look as if they had personal values, without these."""
    pattern = "|".join(f"({pattern})" for pattern in _VALUES.values())
    return [row["place"] for row in read_rows(connection, query("schema_values", QUERIES), pattern=pattern)]


def _by_name_or_type(column: MaskableColumn) -> tuple[str, str] | None:
    base = base_of(column)
    if base in _TYPES:
        return f"its type, {base}", _TYPES[base]
    names = [f"_{words_of(name)}_" for name in (column.name, *column.parts)]
    names = [name for name in names if not re.search(_NAMES["harmless"], name)]
    patterns = _NAMES["number"] if base in NUMBERS else _NAMES["moment"] if base in MOMENTS else []
    if _may_have_texts(column):
        patterns = _NAMES["text"]
        if re.search(_NAMES["people"], f"_{words_of(column.table)}_"):
            patterns = [*patterns, *_NAMES["of_people"]]
    rule = next((rule for pattern, rule in patterns if any(re.search(pattern, name) for name in names)), None)
    return None if rule is None else ("its name", rule)


def _may_have_texts(column: MaskableColumn) -> bool:
    return base_of(column) not in _PLAIN and not column.is_enum


def _written(rule: MaskRule) -> str:
    return f'"{rule.rule}"' if rule.noise is None else f'{{ rule = "{rule.rule}", noise = {rule.noise} }}'


def _proposals(column: MaskableColumn, rule: str) -> list[MaskRule]:
    """Rules for a column, the best first. The last one always fits, and leaves it to people to decide."""
    base = base_of(column)
    first = [MaskRule("json")] if base in _DOCUMENTS else [MaskRule(rule)]
    noisy = [MaskRule("number", noise=0.1)] if base in NUMBERS else []
    return [*first, *noisy, *map(MaskRule, ("text", "uuid", "null", "keep"))]


def _counted(connection: Connection, columns: list[MaskableColumn]) -> list[tuple[int, ...]]:
    """For each column the number of values in the first rows, and of those that match each pattern."""
    table = sql.Identifier(columns[0].schema, columns[0].table)
    texts = [
        sql.SQL("pg_catalog.left({}::text, {}) AS {}").format(
            sql.Identifier(column.name), sql.Literal(_CHARACTERS), sql.Identifier(str(place))
        )
        for place, column in enumerate(columns)
    ]
    counts = [
        count
        for place in range(len(columns))
        for count in (
            sql.SQL("count({})").format(sql.Identifier(str(place))),
            *(
                sql.SQL("count(*) FILTER (WHERE {} ~ {})").format(sql.Identifier(str(place)), sql.Literal(pattern))
                for pattern in _VALUES.values()
            ),
        )
    ]
    statement = sql.SQL("SELECT {} FROM (SELECT {} FROM {} LIMIT {}) sample").format(
        sql.SQL(", ").join(counts), sql.SQL(", ").join(texts), table, sql.Literal(_ROWS)
    )
    row = connection.execute(statement).fetchone() or ()
    numbers, width = [int(str(number)) for number in row], 1 + len(_VALUES)
    return [tuple(numbers[place : place + width]) for place in range(0, len(numbers), width)]
