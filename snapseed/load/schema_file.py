"""Apply the project's schema file inside the load's transaction."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql

from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.postgres.connect import Connection, apply_session_settings
from snapseed.postgres.failures import translate


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
