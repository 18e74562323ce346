"""Which values meet the rules of a table: the connected server tries examples of them.

It evaluates a rule on constant rows, which reads no table and changes nothing. At last, whole rows go into a copy of
the table, which is temporary and has the table's own constraints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod

import psycopg
from psycopg import sql

from snapseed.postgres.connect import Connection
from snapseed.scaffold.conditions import Rule
from snapseed.scaffold.decide.combinations import Row, Truths

# How many combinations of values are tried on a rule over several columns.
_MOST = 4_096


@dataclass(frozen=True)
class CandidateRows:
    """Whole rows of a table to try: its columns with their types, and for each row their values as JSON.

    `absent` columns need a value, and have none that is known before the rows are made.
    """

    schema: str
    table: str
    columns: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    rows: tuple[Row, ...]


def encoded(value: object) -> str:
    """A value as JSON, from which PostgreSQL makes a value of any type."""
    return json.dumps(value, default=str, ensure_ascii=False)


def rows_of(values: Sequence[Sequence[str]]) -> tuple[Row, ...]:
    """All combinations of the values of some columns; of very many values, only those at the ends of each list."""
    lists = list(values)
    while prod(map(len, lists)) > _MOST and max(map(len, lists)) > 2:  # noqa: PLR2004 - one and NULL
        longest = max(range(len(lists)), key=lambda place: len(lists[place]))
        middle = len(lists[longest]) // 2
        lists[longest] = [*lists[longest][:middle], *lists[longest][middle + 1 :]]
    return tuple(islice(product(*lists), _MOST))


def answer(connection: Connection, rule: Rule, types: Sequence[str], rows: Sequence[Row]) -> Truths:
    """Whether each row of values of these types meets a rule: it does if the rule gives true or NULL, not an error.

    Empty if the server cannot evaluate the rule at all.
    """
    names = ["value"] if rule.check.of_domain else rule.columns
    query = sql.SQL("SELECT ({}) IS NOT FALSE FROM {}").format(sql.SQL(rule.sql), _recordset(names, types, rows))
    try:
        with connection.transaction():
            return {row: bool(met) for row, (met,) in zip(rows, connection.execute(query), strict=True)}
    except (psycopg.DataError, psycopg.IntegrityError):
        if len(rows) <= 1:
            return dict.fromkeys(rows, False)
        middle = len(rows) // 2
        first, second = (answer(connection, rule, types, half) for half in (rows[:middle], rows[middle:]))
        return {**first, **second} if first and second else {}
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
    names, types = [name for name, _ in tried.columns], [kind for _, kind in tried.columns]
    insert = sql.SQL("INSERT INTO {} ({}) SELECT * FROM {}").format(
        copy, sql.SQL(", ").join(map(sql.Identifier, names)), _recordset(names, types, tried.rows)
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


def _recordset(names: Sequence[str], types: Sequence[str], rows: Iterable[Row]) -> sql.Composed:
    """Rows of values in JSON, as a table with columns of these names, and types that the server has spelled."""
    fields = [json.dumps(name, ensure_ascii=False) for name in names]
    document = "[" + ",".join("{" + ",".join(map(":".join, zip(fields, row, strict=True))) + "}" for row in rows) + "]"
    columns = (
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in zip(names, types, strict=True)
    )
    return sql.SQL("jsonb_to_recordset({}::jsonb) AS t ({})").format(sql.Literal(document), sql.SQL(", ").join(columns))
