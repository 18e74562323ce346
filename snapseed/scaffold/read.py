"""Read the schema of a database: every table that people made, with its keys and checks. Reads catalogs, no rows."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from psycopg.rows import dict_row

from snapseed.postgres.catalog import TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection
from snapseed.scaffold import queries
from snapseed.scaffold.expressions import UnreadError, columns_of, parse_expression
from snapseed.scaffold.facts import Check, Exclusion, ForeignKey, Partition, Partitions, Table

_Rows = dict[int, list[dict[str, Any]]]


def read_schema(connection: Connection) -> tuple[Table, ...]:
    """All tables in the schemas that this role may use: no views, no partitions, nothing that an extension made."""
    found = _all(connection, queries.TABLES)
    oids = [row["oid"] for row in found]
    names = [TableName(row["schema"], row["name"]) for row in found]
    facts = {table.oid: table for table in read_tables(connection, names).values()}
    details = {
        query: _by_table(connection, query, oids)
        for query in (
            queries.FOREIGN_KEYS,
            queries.CHECKS,
            queries.EXCLUSIONS,
            queries.UNIQUE,
            queries.DEFAULTS,
            queries.PARTITIONS,
        )
    }
    return tuple(
        _table(row, facts[row["oid"]], {query: rows[row["oid"]] for query, rows in details.items()})
        for row in found
        if row["oid"] in facts
    )


def _table(row: dict[str, Any], facts: TableFacts, details: dict[str, list[dict[str, Any]]]) -> Table:
    unique = [(unique, _unique_columns(unique)) for unique in details[queries.UNIQUE]]
    required = {column.name for column in facts.columns if column.not_null}
    return Table(
        **row,
        columns=facts.columns,
        primary_key=next((columns for unique, columns in unique if unique["is_primary"]), ()),
        unique=tuple(dict.fromkeys(columns for _, columns in unique if columns)),
        foreign_keys=tuple(
            ForeignKey(
                found["name"],
                tuple(found["columns"]),
                found["target"],
                tuple(found["target_columns"]),
                found["cascades"],
                required >= set(found["columns"]),
            )
            for found in details[queries.FOREIGN_KEYS]
        ),
        checks=tuple(
            Check(found["name"], found["expression"], found["column"], tuple(found["columns"]))
            for found in details[queries.CHECKS]
        ),
        exclusions=tuple(
            Exclusion(found["name"], found["definition"], tuple(found["columns"]))
            for found in details[queries.EXCLUSIONS]
        ),
        defaults={found["name"]: found["expression"] for found in details[queries.DEFAULTS]},
        partitions={
            found["parent"]: Partitions(
                found["strategy"],
                tuple(found["columns"]),
                tuple(
                    Partition(found["parent"], oid, bound)
                    for oid, bound in zip(found["partitions"], found["bounds"], strict=True)
                ),
            )
            for found in details[queries.PARTITIONS]
        },
        serials=frozenset(sequence.column for sequence in facts.sequences),
        has_rows=facts.has_rows,
    )


def _unique_columns(row: dict[str, Any]) -> tuple[str, ...]:
    """The columns that a unique index looks at, those inside its expressions included."""
    columns = list(row["columns"])
    if row["expressions"] is not None:
        try:
            columns += columns_of(parse_expression(f"ROW({row['expressions']})"))
        except UnreadError:
            return ()
    return tuple(dict.fromkeys(columns))


def _by_table(connection: Connection, query: str, oids: list[int]) -> _Rows:
    rows: _Rows = defaultdict(list)
    for row in _all(connection, query, oids=oids):
        rows[row.pop("oid")].append(row)
    return rows


def _all(connection: Connection, query: str, **parameters: object) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), parameters or None).fetchall()
