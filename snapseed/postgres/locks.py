"""Locks that keep other loads and writers out, and how long we wait for them."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from snapseed.config import Environment
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection

# One load at a time in a database; any number that others are unlikely to use. It spells "snapseed".
_ADVISORY_LOCK = 0x736E617073656564


def set_limits(connection: Connection, environment: Environment, *, for_transaction: bool = True) -> None:
    """Bound how long the load waits for locks and for single statements: until the commit, or for the whole session."""
    for name in ("lock_timeout", "statement_timeout"):
        value = getattr(environment, name)
        connection.execute("SELECT set_config(%s, %s, %s)", (name, value, for_transaction))


def lock(connection: Connection) -> None:
    """Wait until no other load works in this database, at most for `lock_timeout`."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))


def lock_tables(connection: Connection, tables: Sequence[TableName], *, exclusive: bool) -> None:
    """Wait for everybody who writes into these tables, and keep them out until the end; `exclusive`: readers as well.

    Those that do not exist, and those that this role may not lock so, are passed by.
    """
    locked = []
    for name in tables:
        found = connection.execute(_LOCKABLE, {"schema": name.schema, "table": name.table}).fetchone()
        if found is not None:
            locked.append(TableName(str(found[0]), str(found[1]), alone=bool(found[2])).rows())
    if locked:
        # The locks that TRUNCATE and ALTER TABLE would take later, or the weakest that keeps writers out.
        mode = sql.SQL("ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE")
        connection.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.SQL(", ").join(locked), mode))


_LOCKABLE = """
SELECT n.nspname, c.relname, c.relkind = 'r'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
   AND c.oid = CASE WHEN %(schema)s::text IS NULL THEN to_regclass(quote_ident(%(table)s))
                    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                           WHERE o.relname = %(table)s AND s.nspname = %(schema)s) END
"""
