"""Which of the proposed draws meet the checks of a table: the connected server tries examples of their values.

It evaluates the checks on constant rows, which reads no table and changes nothing. At last, whole rows go into a copy
of the table, which is temporary and has the table's own constraints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product
from math import prod

import psycopg
from psycopg import sql

from snapseed.postgres.connect import Connection
from snapseed.scaffold.columns import Proposal
from snapseed.scaffold.combinations import NULL
from snapseed.scaffold.conditions import Rule

# How many combinations of values are tried on a rule over several columns.
_MOST = 4_096
_DOMAIN_VALUE = "value"


@dataclass(frozen=True)
class Candidates:
    """A column to try: the type that its checks see, and the examples of each of its draws, as JSON.

    No draws: the column has a value that is not known. `may_be_null`: NULL is tried as well. `is_reference`: the values
    are those of another table, which meet what this column asks for.
    """

    name: str
    type: str
    draws: tuple[tuple[str, ...], ...]
    may_be_null: bool
    is_reference: bool = False


@dataclass(frozen=True)
class CandidateRows:
    """Whole rows of a table to try: its columns with their types, and for each row their values as JSON.

    `absent` columns need a value, and have none that is known before the rows are made.
    """

    schema: str
    table: str
    columns: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Verdict:
    """The server's answer: the first draw of each column that meets the column's own rules, None if none does.

    `combinations` has each rule with the values tried, and whether they meet it: none if the server could not tell.
    """

    first: Mapping[str, int | None]
    combinations: Mapping[Rule, Mapping[tuple[str, ...], bool]]

    @property
    def untried(self) -> frozenset[Rule]:
        """The rules that the server could not evaluate."""
        return frozenset(rule for rule, met in self.combinations.items() if not met)

    @property
    def refuse_null(self) -> frozenset[str]:
        """The columns whose own rules do not take NULL."""
        rules = self.combinations.items()
        return frozenset(rule.columns[0] for rule, met in rules if not met.get((NULL,), True))


def question_of(proposal: Proposal) -> tuple[tuple[Rule, ...], tuple[Candidates, ...]]:
    """The rules of a table, and the columns that they are about, for the server to try."""
    table = proposal.sources.table
    rules = tuple(rule for rule in proposal.sources.conditions.rules if rule.columns)
    columns = []
    for name in dict.fromkeys(name for rule in rules for name in rule.columns):
        column = table.column(name)
        known = [draw.examples for draw in proposal.draws.get(name, ())]
        if name in proposal.null:
            default = proposal.sources.conditions.defaults.get(name)
            known = [(default,)] if default is not None or not column.has_default else []
        may_be_null = name in proposal.draws and name in proposal.sources.nullable
        examples = tuple(tuple(map(encoded, values)) for values in known)
        columns.append(Candidates(name, column.full_type, examples, may_be_null, name in proposal.sources.foreign))
    return rules, tuple(columns)


def encoded(value: object) -> str:
    """A value as JSON, from which PostgreSQL makes a value of any type."""
    return json.dumps(value, default=str, ensure_ascii=False)


def answer(connection: Connection, rules: Iterable[Rule], columns: Iterable[Candidates]) -> Verdict:
    """Try each draw's examples on the rules of its column, then those of the first that fits on all other rules."""
    known = {column.name: column for column in columns}
    tried: dict[str, list[str]] = {}
    first: dict[str, int | None] = {}
    met: dict[Rule, dict[tuple[str, ...], bool]] = {}
    for name, column in known.items():
        rows = [(value,) for value in dict.fromkeys(chain.from_iterable(column.draws))]
        rows += [(NULL,)] * column.may_be_null
        alone = [rule for rule in rules if rule.columns == (name,)]
        met |= {rule: _tried(connection, rule, [column], rows) for rule in alone}
        refusing = [] if column.is_reference else alone
        refused = {value for rule in refusing for (value,), is_met in met[rule].items() if not is_met}
        fitting = (place for place, examples in enumerate(column.draws) if not refused & set(examples))
        place = first[name] = next(fitting, None)
        examples = () if place is None else column.draws[place]
        is_known = examples or (column.draws and place is None)
        tried[name] = list(dict.fromkeys((*examples, NULL) if column.may_be_null and is_known else examples))
    for rule in rules:
        if len(rule.columns) > 1:
            combined = list(islice(product(*_few([tried[name] for name in rule.columns])), _MOST))
            met[rule] = _tried(connection, rule, [known[name] for name in rule.columns], combined)
    return Verdict(first, met)


def _few(values: list[list[str]]) -> list[list[str]]:
    """Lists with so few values that not too many can be combined; the ends of each stay."""
    while prod(map(len, values)) > _MOST and max(map(len, values)) > 2:  # noqa: PLR2004 - one and NULL
        longest = max(range(len(values)), key=lambda place: len(values[place]))
        middle = len(values[longest]) // 2
        values[longest] = values[longest][:middle] + values[longest][middle + 1 :]
    return values


def _tried(
    connection: Connection, rule: Rule, columns: Sequence[Candidates], rows: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], bool]:
    """Whether each row meets a rule: it does if the rule gives true or NULL, and does not if the rule raises an error.

    Empty if the server cannot evaluate the rule at all.
    """
    names = [_DOMAIN_VALUE if rule.check.of_domain else column.name for column in columns]
    query = sql.SQL("SELECT ({}) IS NOT FALSE FROM jsonb_to_recordset({}::jsonb) AS t ({})").format(
        _as_sql(rule.sql),
        sql.Literal(_document(names, rows)),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), _as_sql(column.type))
            for name, column in zip(names, columns, strict=True)
        ),
    )
    try:
        with connection.transaction():
            return {row: bool(met) for row, (met,) in zip(rows, connection.execute(query), strict=True)}
    except (psycopg.DataError, psycopg.IntegrityError):
        if len(rows) <= 1:
            return dict.fromkeys(rows, False)
        middle = len(rows) // 2
        first, second = (_tried(connection, rule, columns, half) for half in (rows[:middle], rows[middle:]))
        return first | second if first and second else {}
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return {}


def refusal(connection: Connection, tried: CandidateRows) -> str | None:
    """What the server says against whole rows; None if it takes them, or cannot be asked.

    They go into a temporary copy of the table with its own constraints and generated columns, in a transaction that may
    write nowhere else and is rolled back. A standby, or a role without TEMPORARY, cannot be asked. The copy has no
    defaults, since those of a sequence would count.
    """
    copy, table = sql.Identifier("snapseed_candidates"), sql.Identifier(tried.schema, tried.table)
    like = sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS INCLUDING GENERATED)").format(copy, table)
    may_be_null = [sql.SQL("ALTER {} DROP NOT NULL").format(sql.Identifier(name)) for name in tried.absent]
    names = [sql.Identifier(name) for name, _ in tried.columns]
    insert = sql.SQL("INSERT INTO {} ({}) SELECT * FROM jsonb_to_recordset({}::jsonb) AS t ({})").format(
        copy,
        sql.SQL(", ").join(names),
        sql.Literal(_document([name for name, _ in tried.columns], tried.rows)),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(name, _as_sql(kind)) for name, (_, kind) in zip(names, tried.columns, strict=True)
        ),
    )
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ WRITE")
            connection.execute(like)
            if may_be_null:
                connection.execute(sql.SQL("ALTER TABLE {} {}").format(copy, sql.SQL(", ").join(may_be_null)))
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute(insert)
    except (psycopg.IntegrityError, psycopg.DataError) as exc:
        return (exc.diag.message_primary or str(exc)).replace("snapseed_candidates", tried.table)
    except psycopg.Error:
        return None
    return None


def _document(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of values in JSON as one document."""
    fields = [json.dumps(name, ensure_ascii=False) for name in names]
    return "[" + ",".join("{" + ",".join(map(":".join, zip(fields, row, strict=True))) + "}" for row in rows) + "]"


def _as_sql(text: str) -> sql.SQL:
    """SQL that the server itself has printed."""
    return sql.SQL(text)
