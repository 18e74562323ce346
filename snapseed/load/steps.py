"""The steps of a load inside its transaction, each one thing done to the database as the plan says."""

from __future__ import annotations

from psycopg import sql

from snapseed.load.plan import EmptiedTable, Emptying, LoadPlan, TablePlan
from snapseed.postgres.connect import Connection

# PostgreSQL 15 brought pg_stat_force_next_flush.
_FLUSHES = 150_000


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
