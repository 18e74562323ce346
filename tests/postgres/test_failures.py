"""The driver's errors become ours, and we know which ones a retry may fix."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from snapseed.errors import ConfigurationError, LoadError, RefusedError, SchemaError, ServerError, VerificationError
from snapseed.postgres.failures import may_pass, not_connected, translate, translated
from tests.conftest import Connection

# By SQLSTATE (PostgreSQL manual, appendix A).
PASSING = {
    "08000": "connection_exception",
    "08001": "sqlclient_unable_to_establish_sqlconnection",
    "08003": "connection_does_not_exist",
    "08004": "sqlserver_rejected_establishment_of_sqlconnection",
    "08006": "connection_failure",
    "08P01": "protocol_violation, which poolers say for a server that they cannot reach",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "53300": "too_many_connections",
    "55P03": "lock_not_available",
    "57P01": "admin_shutdown",
    "57P02": "crash_shutdown",
    "57P03": "cannot_connect_now",
    "57P05": "idle_session_timeout",
}
LASTING = {
    "22P02": "invalid_text_representation",
    "23505": "unique_violation",
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "28P01": "invalid_password",
    "3D000": "invalid_catalog_name",
    "42501": "insufficient_privilege",
    "42P01": "undefined_table",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "54000": "program_limit_exceeded",
    "55000": "object_not_in_prerequisite_state",
    "57014": "query_canceled, by somebody or by statement_timeout",
    "57P04": "database_dropped",
    "58030": "io_error",
    "XX000": "internal_error",
    "XX001": "data_corrupted",
}


@pytest.mark.parametrize("state", [*PASSING, *LASTING])
def test_what_may_pass_is_decided_by_sqlstate(state: str) -> None:
    """Our own error for it says the same."""
    try:
        error = errors.lookup(state)("no")
    except KeyError:
        error = psycopg.OperationalError("no")
        error.sqlstate = state
    assert may_pass(error) == (state in PASSING)
    with pytest.raises((ServerError, LoadError)) as caught, translated("trying", "somewhere"):
        raise error
    assert may_pass(caught.value) == (state in PASSING)


FATAL = 'connection to server at "127.0.0.1", port 5432 failed: FATAL:  '
# What libpq says of a connection that did not come about.
MESSAGES = {
    'connection to server at "127.0.0.1", port 1 failed: Connection refused': True,
    'connection to server on socket "/tmp/.s.PGSQL.5432" failed: No such file or directory': True,
    "[Errno -2] Name or service not known": True,
    "connection timeout expired": True,
    "server closed the connection unexpectedly": True,
    FATAL + "the database system is starting up": True,
    FATAL + "the database system is shutting down": True,
    FATAL + "the database system is in recovery mode": True,
    FATAL + "sorry, too many clients already": True,
    FATAL + "remaining connection slots are reserved for roles with the SUPERUSER attribute": True,
    FATAL + "das Datenbanksystem startet": True,
    FATAL + 'password authentication failed for user "app"': False,
    FATAL + 'Peer authentication failed for user "app"': False,
    FATAL + 'no pg_hba.conf entry for host "127.0.0.1", user "app", database "app", no encryption': False,
    FATAL + 'database "app" does not exist': False,
    FATAL + 'role "app" does not exist': False,
    FATAL + 'role "app" is not permitted to log in': False,
    FATAL + 'permission denied for database "app"': False,
    'connection to server at "127.0.0.1", port 5432 failed: fe_sendauth: no password supplied': False,
    'connection to server at "127.0.0.1", port 5432 failed: server does not support SSL, but SSL was required': False,
    # Two servers: one refuses, the other is still to come; then both refuse.
    f'{FATAL}database "app" does not exist\n{FATAL}the database system is starting up': True,
    f'{FATAL}database "app" does not exist\n{FATAL}role "app" does not exist': False,
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_refused_connection_is_told_from_one_that_may_come_about(message: str) -> None:
    """By the text of the server or the client. An unknown text may pass."""
    error = psycopg.OperationalError(f"connection failed: {message}")
    assert may_pass(error) == MESSAGES[message]
    assert isinstance(not_connected(error, "somewhere"), ServerError if MESSAGES[message] else ConfigurationError)


def test_a_server_that_is_full_is_no_server_that_is_down() -> None:
    """The advice is about connections."""
    full = not_connected(psycopg.OperationalError(f"{FATAL}sorry, too many clients already"), "somewhere")
    assert "--connections" in str(full.next_step)


def test_errors_that_come_from_no_server_do_not_pass() -> None:
    """A wrong schema, wrong rows or a refusal do not change by trying again."""
    for kind in (SchemaError, LoadError, RefusedError, VerificationError, ConfigurationError, ServerError):
        assert not may_pass(kind("no"))
    assert not may_pass(ValueError("no"))
    assert not may_pass(KeyboardInterrupt())


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("SELECT 1 / 0", LoadError, ("division by zero", "22012")),
        ("CREATE TEMP TABLE t (a int CONSTRAINT odd CHECK (a > 1)); INSERT INTO t VALUES (1)", LoadError, ("'odd'",)),
        ("CREATE TEMP TABLE u (a int UNIQUE); INSERT INTO u VALUES (1), (1)", LoadError, ("u_a_key", "Key (a)=(1)")),
        ("SELECT nonsense", LoadError, ("nonsense", "42703")),
        ("SET statement_timeout = 10; SELECT pg_sleep(5)", ServerError, ("statement timeout", "57014")),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ServerError, ("terminating connection",)),
        ("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$", ServerError, ("again", "40001")),
        ("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$", ServerError, ("full", "53100")),
    ],
)  # fmt: skip
def test_errors_of_the_server_are_translated(
    connection: Connection, statement: str, kind: type[Exception], words: tuple[str, ...]
) -> None:
    """A failure of the server is a `ServerError`, everything else a `LoadError`; details are kept."""
    with pytest.raises((LoadError, ServerError)) as caught, translated("trying", "somewhere"):
        connection.execute(statement.encode())
    assert type(caught.value) is kind
    assert "trying" in caught.value.summary
    for word in ("somewhere", *words):
        assert word in str(caught.value)
    assert isinstance(caught.value.__cause__, psycopg.Error)


def test_an_error_without_a_state_is_a_lost_connection() -> None:
    """The driver's own errors have no SQLSTATE: the connection was lost."""
    error = translate(psycopg.OperationalError("server closed the connection unexpectedly"), "copying users", "here")
    assert isinstance(error, ServerError)
    assert error.summary == "the connection was lost while copying users"
