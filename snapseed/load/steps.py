"""The steps of a load inside its transaction, each one thing done to the database as the plan says."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from snapseed.config import Environment
from snapseed.database.catalog import TableName
from snapseed.database.connect import Connection
from snapseed.load.plan import EmptiedTable, Emptying, LoadPlan, TablePlan

# One load at a time in a database; any number that others are unlikely to use. It spells "snapseed".
_ADVISORY_LOCK = 0x736E617073656564
# PostgreSQL 15 brought pg_stat_force_next_flush.
_FLUSHES = 150_000


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


def apply_settings(connection: Connection, plan: LoadPlan) -> None:
    """The settings that the plan chose, for this transaction alone."""
    for setting in plan.settings:
        _set(connection, setting.name, setting.value)


def drop(connection: Connection, plan: LoadPlan) -> None:
    """Take away what slows a bulk load or acts on its rows; `build_indexes` and `build_foreign_keys` bring it back."""
    for table in plan.tables:
        for foreign_key in table.drop_foreign_keys:
            _alter(connection, table, "DROP CONSTRAINT {}", foreign_key.name)
    for table in plan.tables:
        for index in table.drop_indexes:
            if index.constraint:
                _alter(connection, table, "DROP CONSTRAINT {}", index.name)
            else:
                connection.execute(sql.SQL("DROP INDEX {}").format(_beside(table, index.name)))
    _switch_triggers(connection, plan, on=False)
    if any(table.defers for table in plan.tables):
        connection.execute("SET CONSTRAINTS ALL DEFERRED")


def empty(connection: Connection, plan: LoadPlan) -> dict[str, int]:
    """Empty the tables: those that can be truncated in one statement, then the others by DELETE, children first.

    Returns how many rows were deleted from each, by the table's name.
    """
    # What is truncated may refer to what is deleted, never the other way round.
    every = _every(plan)
    truncated = [table.table.rows() for table in every if table.empty_by is Emptying.TRUNCATE]
    if truncated:
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(truncated)))
    deleted = {
        str(table.table): connection.execute(sql.SQL("DELETE FROM {}").format(table.table.rows())).rowcount
        for table in every
        if table.empty_by is Emptying.DELETE
    }
    # A logged table may not refer to an unlogged one, so children come first here too.
    for planned in reversed(plan.tables):
        if planned.make_unlogged:
            _alter(connection, planned, "SET UNLOGGED")
    return deleted


def build_indexes(connection: Connection, plan: LoadPlan) -> None:
    """Make the dropped indexes again, with the constraints on them, each as it was."""
    # Deferred checks run now: ALTER TABLE is refused while any are pending.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    tablespace = connection.execute("SHOW default_tablespace").fetchone()
    for table in plan.tables:
        for index in table.drop_indexes:
            # Where it is empty, the database's own default decides, as it did for an index without a tablespace.
            _set(connection, "default_tablespace", index.tablespace)
            for statement in (index.definition, *index.restore):
                connection.execute(statement.encode())
    _set(connection, "default_tablespace", str(tablespace[0]) if tablespace else "")


def build_foreign_keys(connection: Connection, plan: LoadPlan) -> None:
    """Make the dropped foreign keys again, which checks every row; then triggers and rules are on again."""
    for table in plan.tables:
        for foreign_key in table.drop_foreign_keys:
            name, definition = sql.Identifier(foreign_key.name), foreign_key.definition.encode()
            statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(table.table.identifier(), name)
            connection.execute(statement.as_bytes(connection) + definition)
            for restore in foreign_key.restore:
                connection.execute(restore.encode())
    _switch_triggers(connection, plan, on=True)


def analyze(connection: Connection, plan: LoadPlan) -> None:
    """Give the planner statistics about the new rows."""
    for table in plan.tables:
        connection.execute(sql.SQL("ANALYZE {}").format(table.table.identifier()))
    if connection.info.server_version >= _FLUSHES:
        # What `--if-changed` compares is counted now, not some time after this session has ended.
        connection.execute("SELECT pg_stat_force_next_flush()")


_LOCKABLE = """
SELECT n.nspname, c.relname, c.relkind = 'r'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
   AND c.oid = CASE WHEN %(schema)s::text IS NULL THEN to_regclass(quote_ident(%(table)s))
                    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                           WHERE o.relname = %(table)s AND s.nspname = %(schema)s) END
"""


def _switch_triggers(connection: Connection, plan: LoadPlan, *, on: bool) -> None:
    """Triggers and rules off, or on again in the state that each was in."""
    for table in _every(plan):
        for trigger in table.disable_triggers:
            action = (
                ("ENABLE ALWAYS TRIGGER {}" if trigger.always else "ENABLE TRIGGER {}") if on else "DISABLE TRIGGER {}"
            )
            # ONLY: each partition's triggers are in the plan by themselves.
            statement = sql.SQL("ALTER TABLE ONLY {} ").format(sql.Identifier(trigger.schema, trigger.table))
            connection.execute(statement + sql.SQL(action).format(sql.Identifier(trigger.name)))
        for rule in table.disable_rules:
            action = ("ENABLE ALWAYS RULE {}" if rule.always else "ENABLE RULE {}") if on else "DISABLE RULE {}"
            _alter(connection, table, action, rule.name)


def _every(plan: LoadPlan) -> list[EmptiedTable | TablePlan]:
    """All tables of the plan, those that refer to others before these."""
    return [*plan.children, *reversed(plan.tables)]


def _alter(connection: Connection, table: EmptiedTable | TablePlan, action: str, *names: str) -> None:
    parts = sql.SQL(action).format(*map(sql.Identifier, names))
    connection.execute(sql.SQL("ALTER TABLE {} ").format(table.table.identifier()) + parts)


def _set(connection: Connection, name: str, value: str) -> None:
    connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def _beside(table: TablePlan, name: str) -> sql.Identifier:
    """An index lies in the schema of its table."""
    return sql.Identifier(table.table.schema, name) if table.table.schema else sql.Identifier(name)
