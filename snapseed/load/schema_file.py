"""Run the project's schema file inside the load's transaction, also one that pg_dump wrote."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
from psycopg import errors, sql

from snapseed.config.settings import decoded
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.postgres.connect import Session, role_search_path
from snapseed.postgres.failures import translate

# What pg_dump writes and we do without: commands of psql, and limits, which our session has not, and of which an older
# server does not know all.
_LEFT_OUT = re.compile(r"^(?:\\(?:un)?restrict .*|SET \w+_timeout = 0;)\r?$", re.MULTILINE)
_ROWS = re.compile(r"^COPY .* FROM stdin\b.*;\r?$", re.MULTILINE | re.IGNORECASE)
_NAME = re.compile('"(.+)"')
# What the file may have changed of the session, beyond what a load pins.
_RESTORE = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL"


def apply_schema(connection: Session, schema: Path) -> None:
    """Run the file, and restore the session's settings.

    It runs inside PL/pgSQL's EXECUTE, where the server refuses COMMIT before it commits anything. Raises
    `ConfigurationError` for that, for rows and commands of psql, and for a file that cannot be read; `LoadError` with
    the line for any other failure.
    """
    try:
        text = decoded(schema.read_bytes())
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise ConfigurationError("the schema file cannot be read", where=str(schema), observed=reason) from exc
    if rows := _ROWS.search(text):
        raise ConfigurationError(
            "the schema file holds rows",
            where=_place(schema, text, rows.start()),
            observed=rows[0],
            expected="the tables alone: their rows are in the snapshot",
            next_step="write the file by pg_dump --schema-only",
        )
    text = _LEFT_OUT.sub("", text)
    body = sql.SQL("BEGIN EXECUTE {}; END").format(sql.Literal(text)).as_string(connection)
    try:
        with role_search_path(connection):
            connection.execute(sql.SQL("DO LANGUAGE plpgsql {}").format(sql.Literal(body)))
    except psycopg.Error as exc:
        raise _error(exc, schema, text) from exc
    connection.execute(_RESTORE)
    connection.pin_settings()


def _error(exc: psycopg.Error, schema: Path, text: str) -> SnapseedError:
    message = exc.diag.message_primary or ""
    if isinstance(exc, errors.FeatureNotSupported) and "transaction" in message:
        return ConfigurationError(
            "the schema file begins or ends a transaction",
            where=str(schema),
            observed=message,
            expected="a schema without BEGIN, COMMIT and ROLLBACK, so that a load changes everything or nothing",
        )
    # The file and the line, in place of the context, which would repeat the whole file.
    place = int(exc.diag.internal_position or 0) - 1 if exc.diag.internal_query == text else -1
    if text.startswith("\\", max(place, 0)):
        return ConfigurationError(
            "the schema file has a command of psql, but the server runs it",
            where=_place(schema, text, place),
            observed=text[place:].partition("\n")[0],
            expected="SQL alone",
            next_step="remove the line, or write out what it does in SQL",
        )
    error = translate(exc, "applying the schema", str(schema))
    # The server's functions that look up a role: the message is in the server's language.
    if (exc.diag.source_function or "").startswith(("get_role", "check_can_set_role")):
        name = _NAME.search(message)
        place = text.find(name[1]) if name else place
        error.next_step = "create the role, or write the file by pg_dump --no-owner --no-privileges"
    error.where = _place(schema, text, place)
    return error


def _place(schema: Path, text: str, position: int) -> str:
    """The file, and the line of a position in its text; without a line for a position that is not known, below 0."""
    return str(schema) if position < 0 else f"{schema}, line {text.count(chr(10), 0, position) + 1}"
