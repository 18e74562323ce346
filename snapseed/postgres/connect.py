"""Find the database of an environment and connect to it.

Every connection has the same session settings, so that a value's text form never depends on the server's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from snapseed.errors import ConfigurationError, UsageError
from snapseed.postgres.failures import not_connected, translated
from snapseed.redaction import redacted

Connection = psycopg.Connection[tuple[object, ...]]
# A server that is there answers at once; one that is not should not hold up a command for minutes.
_CONNECT_SECONDS = 10
# What the text form of values depends on, printed or read, and nothing else of the session.
_SESSION = {
    "client_encoding": "UTF8",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "array_nulls": "on",
    "xmloption": "content",
    "row_security": "off",
}
_URL = re.compile(r"postgres(?:ql)?://([^?]*)", re.IGNORECASE)
# What libpq does not understand it quotes, and that may be a part of a password, quotation marks included.
_QUOTED = re.compile(r'".*"', re.DOTALL)


class EmbeddedServer(Protocol):
    """What this package needs of an embedded server; `snapseed.servers.EmbeddedPostgres` is the one there is."""

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
        """Create the database unless it is there."""


@dataclass(frozen=True)
class Target:
    """A database to connect to: the connection string, the same without its password, and where it came from."""

    conninfo: str
    described: str
    source: str
    embedded: EmbeddedServer | None
    database: str


def target_of(url: str, source: str) -> Target:
    """The database of a URL or connection string; `source` says where it came from. Raises as `resolve_target`."""
    _require_unambiguous(url, source)
    try:
        # An empty string is right: libpq takes everything from PG* variables and service files.
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        # Without its cause, which quotes what may be a password.
        raise _not_parsed(source, redacted(_QUOTED.sub('"***"', str(exc).strip()))) from None
    described = redacted(url) or "libpq's defaults (PG* variables, service file)"
    return Target(url, described, source, None, str(parts.get("dbname") or ""))


def _require_unambiguous(url: str, source: str) -> None:
    """Refuse a URL that libpq would cut in the middle of a password, to use and show the rest as host or database."""
    found = _URL.match(url)
    if found is None:
        return
    user, at, _ = found[1].rpartition("@")
    if at and ("/" in user or "@" in user):
        raise _not_parsed(source, "an unescaped / or @ before the last @ of user, password, host and database")
    if re.search(r"\s", url):
        raise _not_parsed(source, "white space that is not percent-encoded")


def _not_parsed(source: str, observed: str) -> ConfigurationError:
    return ConfigurationError(
        "the database URL cannot be parsed",
        where=source,
        observed=observed,
        expected="postgresql://USER@HOST:PORT/DATABASE, a libpq connection string, or `embedded`",
        next_step="in a URL, percent-encode user, password and database: / as %2F, @ as %40, % as %25, a space as %20",
    )


@contextmanager
def connected(target: Target, *, create: bool = True) -> Iterator[Connection]:
    """An open connection with our session settings, closed at the end; starts the embedded server where it is meant.

    A database that is missing on the embedded server is made, or with `create=False` is a `UsageError`; then no server
    is set up either. Raises `ServerError` where the server does not answer, `ConfigurationError` where it refuses us.
    """
    if target.embedded is not None:
        if not create and not has_database(target):
            raise UsageError(
                "nothing was loaded yet: the database does not exist",
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
        # In a REPEATABLE READ one, a load that has waited for another would read catalogs from before that one.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        with translated("setting up the session", target.described):
            apply_session_settings(connection)
            _require_triggers(connection, target)
        yield connection


def _require_triggers(connection: Connection, target: Target) -> None:
    """See to it that the session is no replica, which would check no foreign key. Only a superuser may change that."""
    if connection.execute("SHOW session_replication_role").fetchone() != ("replica",):
        return
    try:
        connection.execute("SET session_replication_role = origin")
    except psycopg.errors.InsufficientPrivilege as exc:
        raise ConfigurationError(
            "this session would check no foreign key: session_replication_role is replica",
            where=f"{target.described} ({target.source})",
            observed="a default of the role or the database, and the role may not change it for its session",
            next_step="let a superuser run ALTER ROLE (or DATABASE) ... RESET session_replication_role",
        ) from exc


def apply_session_settings(connection: Connection) -> None:
    """Set what the text form of values depends on; again, where somebody's SQL may have changed it."""
    for name, value in _SESSION.items():
        connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))


def has_database(target: Target) -> bool:
    """Whether the embedded server of `target` has its database. Makes nothing; starts a server that is set up."""
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
