"""Read the facts about tables from the catalogs of PostgreSQL 14 to 18: one query, in a file of its own, per fact.

The columns that a query returns are named like the fields of its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from psycopg import sql
from psycopg.rows import dict_row

from snapseed.postgres.catalog.facts import (
    ColumnFacts,
    ForeignKeyFacts,
    IndexFacts,
    ReferenceFacts,
    RuleFacts,
    SequenceFacts,
    ServerFacts,
    TableFacts,
    TableName,
    TriggerFacts,
)
from snapseed.postgres.connect import Connection

_QUERIES = {path.stem: path.read_bytes() for path in Path(__file__).parent.glob("*.sql")}
_Facts = TypeVar("_Facts")


def read_server(connection: Connection) -> ServerFacts:
    """What the server offers, and what this role may do in the database."""
    (row,) = _rows(connection, "server")
    return ServerFacts(**row)


def read_tables(connection: Connection, names: Sequence[TableName]) -> dict[TableName, TableFacts]:
    """The facts about those of `names` that exist."""
    found = {}
    for name in names:
        for row in _rows(connection, "tables", schema=name.schema, table=name.table):
            found[name] = _read_table(connection, **row)
    return found


def _read_table(connection: Connection, *, has_publications: bool, **row: Any) -> TableFacts:  # noqa: ANN401 - any fact
    oid, name = row["oid"], TableName(row["schema"], row["table"], alone=row["kind"] == "r")
    # With row-level security we cannot look. Such a table is not loaded into anyway.
    may_look = not row["row_security"] and {"USAGE", "SELECT"} <= set(row["privileges"])

    def facts(kind: type[_Facts], query: str) -> tuple[_Facts, ...]:
        return tuple(kind(**found) for found in _rows(connection, query, oid=oid))

    return TableFacts(
        **{**row, "privileges": frozenset(row["privileges"])},
        has_rows=not may_look or _has_rows(connection, name),
        columns=facts(ColumnFacts, "columns"),
        indexes=facts(IndexFacts, "indexes"),
        foreign_keys=facts(ForeignKeyFacts, "foreign_keys"),
        triggers=facts(TriggerFacts, "triggers"),
        rules=facts(RuleFacts, "rules"),
        sequences=facts(SequenceFacts, "sequences"),
        referenced_by=tuple(
            _read_reference(connection, **found) for found in _rows(connection, "referenced_by", oid=oid)
        ),
        refuses=tuple(found["command"] for found in _rows(connection, "refused", oid=oid)) if has_publications else (),
    )


def _read_reference(
    connection: Connection,
    *,
    columns: Sequence[str],
    may_look: bool,
    alone: bool,
    **row: Any,  # noqa: ANN401 - any fact
) -> ReferenceFacts:
    name = TableName(row["schema"], row["table"], alone=alone)
    return ReferenceFacts(**row, has_rows=_has_rows(connection, name, columns) if may_look else None)


def _rows(connection: Connection, query: str, **parameters: object) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES[query], parameters).fetchall()
    return [{name: _frozen(value) for name, value in row.items()} for row in rows]


def _has_rows(connection: Connection, table: TableName, filled: Sequence[str] = ()) -> bool:
    """Whether the table has a row in which none of the columns `filled` is NULL."""
    conditions = [sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in filled]
    where = sql.SQL(" AND ").join([sql.SQL("true"), *conditions])
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(table.rows(), where)
    return connection.execute(query).fetchone() == (True,)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
