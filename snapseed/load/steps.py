"""The steps of a load inside its transaction, each one thing done to the database as the plan says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from snapseed.database.catalog import SequenceFacts, TableName
from snapseed.database.connect import Connection, apply_session_settings, translate
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER
from snapseed.load.plan import LoadPlan, TablePlan
from snapseed.load.stream import encoded
from snapseed.snapshot.store import Snapshot

# One load at a time in a database; any number that others are unlikely to use. It spells "snapseed".
_ADVISORY_LOCK = 0x736E617073656564


@dataclass(frozen=True)
class EntityLoad:
    """The COPY of one entity, in seconds: `read` and `encode` on the encoding thread, `send` on the socket."""

    entity: str
    table: str
    rows: int
    bytes: int
    seconds: float
    read: float
    encode: float
    send: float


def set_limits(connection: Connection, lock_timeout: str, statement_timeout: str) -> None:
    """Bound how long the load waits for locks and for single statements; for this transaction alone."""
    for name, value in (("lock_timeout", lock_timeout), ("statement_timeout", statement_timeout)):
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def lock(connection: Connection) -> None:
    """Wait until no other load works in this database, at most for `lock_timeout`."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))


def apply_schema(connection: Connection, schema: Path) -> None:
    """Run the project's schema file; the session's settings are afterwards as they were before.

    It runs inside PL/pgSQL's EXECUTE, where the server itself refuses COMMIT before it commits anything. Raises
    `ConfigurationError` for that and for a file that cannot be read, `LoadError` with the line for any other failure.
    """
    try:
        text = schema.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise ConfigurationError("the schema file cannot be read", where=str(schema), observed=reason) from exc
    body = sql.SQL("BEGIN EXECUTE {}; END").format(sql.Literal(text)).as_string(connection)
    search_path = connection.execute("SHOW search_path").fetchone()
    try:
        connection.execute(sql.SQL("DO LANGUAGE plpgsql {}").format(sql.Literal(body)))
    except psycopg.errors.FeatureNotSupported as exc:
        if "transaction" not in (exc.diag.message_primary or ""):
            raise _schema_error(exc, schema, text) from exc
        raise ConfigurationError(
            "the schema file begins or ends a transaction",
            where=str(schema),
            observed=exc.diag.message_primary,
            expected="a schema without BEGIN, COMMIT and ROLLBACK, so that a load changes everything or nothing",
        ) from exc
    except psycopg.Error as exc:
        raise _schema_error(exc, schema, text) from exc
    apply_session_settings(connection)
    connection.execute("SELECT set_config('search_path', %s, false)", search_path)


def _schema_error(exc: psycopg.Error, schema: Path, text: str) -> SnapseedError:
    """The driver's error with file and line instead of the context, which would repeat the whole file."""
    error = translate(exc, "applying the schema", str(schema))
    error.where = str(schema)
    if exc.diag.internal_query == text and exc.diag.internal_position:
        error.where += f", line {text.count(chr(10), 0, int(exc.diag.internal_position) - 1) + 1}"
    return error


def empty(connection: Connection, plan: LoadPlan) -> None:
    """Empty the tables: those that can be truncated in one statement, then the others by DELETE, children first."""
    # What is truncated may refer to what is deleted, never the other way round.
    truncated = [table.table.identifier() for table in plan.tables if table.empty_by == "truncate"]
    if truncated:
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(truncated)))
    for table in reversed(plan.tables):
        if table.empty_by == "delete":
            connection.execute(sql.SQL("DELETE FROM {}").format(table.table.identifier()))


def drop(connection: Connection, plan: LoadPlan) -> None:
    """Take away what slows a bulk load; `rebuild` brings it back."""
    for table in plan.tables:
        for foreign_key in table.drop_foreign_keys:
            _alter(connection, table, "DROP CONSTRAINT {}", sql.Identifier(foreign_key.name))
        for index in table.drop_indexes:
            connection.execute(sql.SQL("DROP INDEX {}").format(_beside(table, index.name)))
        for trigger in table.disable_triggers:
            _alter(connection, table, "DISABLE TRIGGER {}", sql.Identifier(trigger.name))


def copy(connection: Connection, snapshot: Snapshot, table: TablePlan, advance: Callable[[int], None]) -> EntityLoad:
    """Stream the entity through COPY; `advance` gets the rows sent so far."""
    options = [sql.SQL("FORMAT binary" if table.binary else "FORMAT text")]
    if table.freeze:
        options.append(sql.SQL("FREEZE"))
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(
        table.table.identifier(),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
        sql.SQL(", ").join(options),
    )
    rows = size = 0
    sending = 0.0
    started = time.monotonic()
    with (
        encoded(snapshot, table) as stream,
        connection.cursor() as cursor,
        cursor.copy(statement) as target,
    ):
        if table.binary:
            target.write(BINARY_HEADER)
        for batch in stream:
            before = time.monotonic()
            target.write(memoryview(batch.data))
            sending += time.monotonic() - before
            rows += batch.rows
            size += batch.data.size
            advance(rows)
        if table.binary:
            target.write(BINARY_TRAILER)
    return EntityLoad(
        entity=table.entity.name,
        table=str(table.table),
        rows=rows,
        bytes=size,
        seconds=time.monotonic() - started,
        read=stream.times.read,
        encode=stream.times.encode,
        send=sending,
    )


def rebuild(connection: Connection, plan: LoadPlan) -> None:
    """Bring back indexes, then foreign keys, then triggers, each as it was."""
    # Deferred checks run now: ALTER TABLE is refused while any are pending.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in plan.tables:
        for index in table.drop_indexes:
            connection.execute(index.definition.encode())
    for table in plan.tables:
        for foreign_key in table.drop_foreign_keys:
            name, definition = sql.Identifier(foreign_key.name), foreign_key.definition.encode()
            statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(table.table.identifier(), name)
            connection.execute(statement.as_bytes(connection) + definition)
        for trigger in table.disable_triggers:
            how = "ENABLE ALWAYS TRIGGER {}" if trigger.always else "ENABLE TRIGGER {}"
            _alter(connection, table, how, sql.Identifier(trigger.name))


def set_sequences(connection: Connection, plan: LoadPlan) -> None:
    """Let the tables' own sequences go on behind the loaded keys.

    By ALTER SEQUENCE, which a rollback undoes; setval it would not (PostgreSQL manual, "ALTER SEQUENCE", Notes).
    """
    users: dict[tuple[str, str], list[tuple[TableName, SequenceFacts]]] = {}
    for table in plan.tables:
        for sequence in table.sequences:
            users.setdefault((sequence.schema, sequence.name), []).append((table.table, sequence))
    for (schema, name), columns in users.items():
        identifier, first = sql.Identifier(schema, name), columns[0][1]
        furthest = max if first.increment > 0 else min
        keys = [key for table, sequence in columns for key in _furthest_key(connection, table, sequence)]
        if not any(sequence.owned for _, sequence in columns):
            # Others may draw from it as well, so it never goes back.
            keys += _last_value(connection, identifier)
        elif not keys:
            connection.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(identifier))
        if keys:
            following = min(max(furthest(keys) + first.increment, first.minimum), first.maximum)
            restart = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}").format(identifier, sql.Literal(following))
            connection.execute(restart)


def _furthest_key(connection: Connection, table: TableName, sequence: SequenceFacts) -> list[int]:
    query = sql.SQL("SELECT {}({}) FROM {}").format(
        sql.SQL("max" if sequence.increment > 0 else "min"), sql.Identifier(sequence.column), table.identifier()
    )
    row = connection.execute(query).fetchone()
    return [] if row is None or row[0] is None else [int(str(row[0]))]


def _last_value(connection: Connection, sequence: sql.Identifier) -> list[int]:
    row = connection.execute(sql.SQL("SELECT last_value FROM {} WHERE is_called").format(sequence)).fetchone()
    return [] if row is None else [int(str(row[0]))]


def analyze(connection: Connection, plan: LoadPlan) -> None:
    """Give the planner statistics about the new rows."""
    for table in plan.tables:
        connection.execute(sql.SQL("ANALYZE {}").format(table.table.identifier()))


def _alter(connection: Connection, table: TablePlan, action: str, name: sql.Identifier) -> None:
    connection.execute(sql.SQL("ALTER TABLE {} {}").format(table.table.identifier(), sql.SQL(action).format(name)))


def _beside(table: TablePlan, name: str) -> sql.Identifier:
    """An index lies in the schema of its table."""
    return sql.Identifier(table.table.schema, name) if table.table.schema else sql.Identifier(name)
