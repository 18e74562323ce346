"""Upsert: rows go into a temporary table, and from there in one statement into the table that holds others too."""

from __future__ import annotations

import hashlib

from psycopg import sql

from snapseed.load.plan import TablePlan
from snapseed.postgres.connect import Connection
from snapseed.postgres.rowhash import key_list, row_hash


def stage_table(connection: Connection, table: TablePlan) -> sql.Identifier:
    """Make the temporary table for the rows of `table`, with its columns and no constraint; gone at the commit."""
    query = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
    connection.execute(query.format(stage_of(table), _columns(table), table.table.identifier()))
    return stage_of(table)


def merge_rows(connection: Connection, table: TablePlan) -> int:
    """Insert the staged rows, or change those of the same key where anything differs; returns how many that were.

    Rows are compared by their hashes, since some types (json, point) have no equality.
    """
    columns = table.entity.columns
    others = [sql.Identifier(column.name) for column in columns if column not in table.entity.key_columns]
    action: sql.Composable = sql.SQL("NOTHING")
    if others:
        assignments = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in others)
        action = sql.SQL("UPDATE SET {} WHERE {} <> {}").format(
            assignments, row_hash(columns, "held"), row_hash(columns, "excluded")
        )
    query = sql.SQL(
        "INSERT INTO {} AS held ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ON CONFLICT ({}) DO {}"
    ).format(
        table.table.identifier(),
        _columns(table),
        _columns(table),
        stage_of(table),
        key_list(table.entity),
        action,
    )
    return connection.execute(query).rowcount


def staged_keys(table: TablePlan) -> sql.Composed:
    """The condition that holds for the rows of `table` that were upserted."""
    keys = key_list(table.entity)
    return sql.SQL("({}) IN (SELECT {} FROM {})").format(keys, keys, stage_of(table))


def stage_of(table: TablePlan) -> sql.Identifier:
    """The name of the temporary table: short, whatever the entity's, since PostgreSQL cuts names at 63 bytes."""
    digest = hashlib.sha256(table.entity.name.encode()).hexdigest()[:16]
    return sql.Identifier("pg_temp", f"snapseed_{digest}")


def _columns(table: TablePlan) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
