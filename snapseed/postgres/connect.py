"""Connect to the database of an environment, always with the same session settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict

from snapseed.errors import ConfigurationError, UsageError
from snapseed.postgres.failures import not_connected, translated
from snapseed.redaction import probable_url, redacted, redacted_quotes

Connection = psycopg.Connection[tuple[object, ...]]
# A running server answers at once. One that is down should not hold up a command for minutes.
_CONNECT_SECONDS = 10
# What a session must not inherit from its role, its database or the server. Settings that an older server does not know
# are skipped. Limits for locks and statements are the environment's: see `locks.set_limits`.
_SESSION = {
    # How values are printed and read as text.
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "array_nulls": "on",
    "xmloption": "content",
    # How the catalogs print types and definitions: "text" in quotes would be a type that we do not know.
    "quote_all_identifiers": "off",
    # A query fails instead of leaving rows out.
    "row_security": "off",
    # What would end a long transaction, or a session that waits for files, jobs or another session.
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
_URL = re.compile(r"postgres(?:ql)?://([^?]*)", re.IGNORECASE)


class EmbeddedServer(Protocol):
    """What this package needs of an embedded server. `snapseed.servers.EmbeddedPostgres` implements it."""

    @property
    def data_directory(self) -> Path:
        """The folder that holds its data."""

    def url(self, database: str) -> str:
        """The libpq URI of one of its databases."""

    def psql(self) -> Path:
        """The `psql` of its own version."""

    def is_running(self) -> bool:
        """Whether it takes queries."""

    def start(self) -> bool:
        """Start it, unless it runs, and wait until it takes queries."""

    def ensure_database(self, name: str) -> bool:
        """Create the database unless it exists."""


@dataclass(frozen=True)
class Target:
    """A database to connect to. `described` is `conninfo` without the password; `source` says where it came from."""

    conninfo: str
    described: str
    source: str
    embedded: EmbeddedServer | None
    database: str


def target_of(url: str, source: str) -> Target:
    """The database of a URL or connection string, which came from `source`.

    Raises `ConfigurationError` for one that cannot be parsed, or that libpq would cut in the middle of a password.
    """
    parts, problem = {}, _ambiguity(url)
    try:
        # An empty string is fine: libpq then takes everything from PG* variables and service files.
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        problem = problem or redacted_quotes(str(exc).strip(), url)
    if problem:  # raised here, without the driver's error as the cause: it may quote a password
        meant = probable_url(url)
        escape = "in a URL, escape user, password and database: / as %2F, @ as %40, % as %25, a space as %20"
        raise ConfigurationError(
            "the database URL cannot be parsed",
            where=source,
            observed=problem,
            expected="postgresql://USER@HOST:PORT/DATABASE, a libpq connection string, or `embedded`",
            next_step=f"did you mean {meant}?" if meant else escape,
        )
    described = redacted(url) or "libpq's defaults (PG* variables, service file)"
    return Target(url, described, source, None, str(parts.get("dbname") or ""))


def _ambiguity(url: str) -> str | None:
    """Why libpq would cut a URL inside the password, and then use and show the rest as host or database."""
    found = _URL.match(url)
    user, at, _ = found[1].rpartition("@") if found else ("", "", "")
    if at and ("/" in user or "@" in user):
        return "an unescaped / or @ before the last @ of user, password, host and database"
    return "white space that is not percent-encoded" if found and re.search(r"\s", url) else None


@contextmanager
def connected(target: Target, *, create: bool = True) -> Iterator[Connection]:
    """An open connection with our session settings, closed at the end. Starts the embedded server if that is meant.

    A database that does not exist on the embedded server is created. With `create=False` it is a `UsageError` instead,
    and no server is set up. Raises `ServerError` if the server does not answer, `ConfigurationError` if it refuses us.
    """
    if target.embedded is not None:
        if not create and not has_database(target):
            raise UsageError(
                "nothing has been loaded yet: the database does not exist",
                where=f"{target.described} ({target.source})",
                next_step="run `snapseed load` for this environment",
            )
        target.embedded.start()
        target.embedded.ensure_database(target.database)
    try:
        connection = psycopg.connect(
            target.conninfo, connect_timeout=_CONNECT_SECONDS, application_name="snapseed", autocommit=True
        )
    except psycopg.OperationalError as exc:
        raise not_connected(exc, f"{target.described} ({target.source})") from exc
    with connection:
        # A load that has waited for another must not see the catalogs as they were before the wait.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with translated("setting up the session", target.described):
            apply_session_settings(connection)
            _require_triggers(connection, target)
        yield connection


@contextmanager
def reading(target: Target, doing: str) -> Iterator[Connection]:
    """A connection that sees every table as of one moment and changes nothing; the database must exist.

    Raises as `connected` with `create=False`; the driver's errors are translated and say what was being done.
    """
    with connected(target, create=False) as connection, translated(doing, target.described), connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def apply_session_settings(connection: Connection) -> None:
    """Pin the settings of the session; call it again after SQL that is not ours, which may have changed them."""
    connection.execute(
        "SELECT count(set_config(name, value, false)) FROM unnest(%s::text[], %s::text[]) pinned(name, value)"
        " WHERE current_setting(name, true) IS NOT NULL",
        [list(_SESSION), list(_SESSION.values())],
    )


def _require_triggers(connection: Connection, target: Target) -> None:
    """Leave the role of a replica, in which no foreign key is checked. Only a superuser may do that for a session."""
    if connection.execute("SHOW session_replication_role").fetchone() != ("replica",):
        return
    try:
        connection.execute("SET session_replication_role = origin")
    except psycopg.errors.InsufficientPrivilege as exc:
        raise ConfigurationError(
            "this session would check no foreign key: session_replication_role is replica",
            where=f"{target.described} ({target.source})",
            observed="it is the default of the role or the database, and the role may not change it",
            next_step="let a superuser run ALTER ROLE (or DATABASE) ... RESET session_replication_role",
        ) from exc


def has_database(target: Target) -> bool:
    """Whether the embedded server has the database of `target`. Starts a server that is set up; creates nothing."""
    assert target.embedded is not None
    if not target.embedded.data_directory.exists():
        return False
    target.embedded.start()
    with (
        translated("looking for the database", target.described),
        psycopg.connect(target.embedded.url("postgres"), autocommit=True) as connection,
    ):
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [target.database]).fetchone()
    return found is not None
