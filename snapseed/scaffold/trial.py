"""Ask the connected server whether drawn values meet the checks of a table. It reads nothing and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import LiteralString, cast

import psycopg
from psycopg import sql

from snapseed.postgres.connect import Connection
from snapseed.scaffold.checks import Rule

# Combinations of values that are tried on a rule over several columns.
_MOST = 4_096
NULL = "null"
_DOMAIN_VALUE = "value"


@dataclass(frozen=True)
class Candidates:
    """A column to try: the type that its checks see, and the examples of each of its draws, as JSON.

    No draws: the column has a value that is not known. `may_be_null`: NULL is tried as well.
    """

    name: str
    type: str
    draws: tuple[tuple[str, ...], ...]
    may_be_null: bool


@dataclass(frozen=True)
class Question:
    """The question which draws of a table's columns meet its rules."""

    rules: tuple[Rule, ...]
    columns: tuple[Candidates, ...]


@dataclass(frozen=True)
class Verdict:
    """The server's answer: the first draw of each column that meets the column's own rules, None if none does.

    `refuse_null` are the columns whose own rules do not take NULL. `combinations` has the rules over several columns
    with the values tried, and whether they meet the rule. `untried` are rules that the server could not evaluate.
    """

    first: Mapping[str, int | None]
    refuse_null: frozenset[str]
    combinations: Mapping[Rule, Mapping[tuple[str, ...], bool]]
    untried: frozenset[Rule]


def encoded(value: object) -> str:
    """A value as JSON, of which PostgreSQL makes a value of any type."""
    return json.dumps(value, default=str, ensure_ascii=False)


def answer(connection: Connection, question: Question) -> Verdict:
    """Try the examples of all draws on the rules of their column, and those of the first that fit on the others."""
    columns = {column.name: column for column in question.columns}
    first: dict[str, int | None] = {}
    refuse_null: set[str] = set()
    untried: set[Rule] = set()
    for column in question.columns:
        values = list(dict.fromkeys(value for examples in column.draws for value in examples))
        values += [NULL] * column.may_be_null
        refused: set[str] = set()
        for rule in question.rules if values else ():
            if rule.columns == (column.name,):
                met = _tried(connection, rule, [column], [(value,) for value in values])
                untried |= {rule} if met is None else set()
                refused |= {value for value, is_met in zip(values, met or (), strict=False) if not is_met}
        fitting = (place for place, examples in enumerate(column.draws) if not refused & set(examples))
        first[column.name] = next(fitting, None)
        refuse_null |= {column.name} if NULL in refused else set()
    combinations: dict[Rule, Mapping[tuple[str, ...], bool]] = {}
    for rule in question.rules:
        if len(rule.columns) < 2 or not set(rule.columns) <= columns.keys():  # noqa: PLR2004 - several
            continue
        involved = [columns[name] for name in rule.columns]
        rows = list(islice(product(*(_values(column, first[column.name]) for column in involved)), _MOST))
        met = _tried(connection, rule, involved, rows) if rows else None
        if met is None:
            untried.add(rule)
        else:
            combinations[rule] = dict(zip(rows, met, strict=True))
    return Verdict(first, frozenset(refuse_null), combinations, frozenset(untried))


def _values(column: Candidates, draw: int | None) -> Iterable[str]:
    examples = () if draw is None else column.draws[draw]
    return dict.fromkeys((*examples, NULL) if column.may_be_null and examples else examples)


def _tried(
    connection: Connection, rule: Rule, columns: Sequence[Candidates], rows: Sequence[tuple[str, ...]]
) -> list[bool] | None:
    """Whether each row meets a rule, as it does if the rule gives NULL. None if the server cannot evaluate the rule.

    A value that its type or the rule fails on does not meet the rule.
    """
    names = [_DOMAIN_VALUE if rule.check.of_domain else column.name for column in columns]
    fields = [json.dumps(name, ensure_ascii=False) for name in names]
    document = "[" + ",".join("{" + ",".join(map(":".join, zip(fields, row, strict=True))) + "}" for row in rows) + "]"
    query = sql.SQL("SELECT ({}) IS NOT FALSE FROM jsonb_to_recordset(%s) AS t ({})").format(
        _as_sql(rule.sql),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), _as_sql(column.type))
            for name, column in zip(names, columns, strict=True)
        ),
    )
    try:
        with connection.transaction():
            return [bool(met) for (met,) in connection.execute(query, [document])]
    except (psycopg.DataError, psycopg.IntegrityError):
        middle = len(rows) // 2
        if not middle:
            return [False]
        halves = [_tried(connection, rule, columns, half) for half in (rows[:middle], rows[middle:])]
        return None if None in halves else [met for half in halves for met in half or ()]
    except psycopg.Error:
        return None


def _as_sql(text: str) -> sql.SQL:
    """SQL that the server itself has printed."""
    return sql.SQL(cast("LiteralString", text).replace("%", "%%"))
