"""Connect to the database of an environment, always with the same session settings."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.abc import QueryNoTemplate
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, TransactionStatus

from snapseed.errors import ConfigurationError, UsageError
from snapseed.postgres.failures import not_connected, translated
from snapseed.redaction import probable_url, redacted, redacted_quotes

Connection = psycopg.Connection[tuple[object, ...]]
# A running server answers at once. One that is down should not hold up a command for minutes.
_CONNECT_SECONDS = 10
# What we must not inherit from the role, the database or the server: whatever changes a result, ends a run or slows it.
# Settings that an older server does not know are skipped. A load has a limit for statements: see
# `locks.set_limits`.
PINNED = {
    # A role that can create functions and operators in a schema of our search path could run code as us. For SQL that
    # is not ours, see `role_search_path`.
    "search_path": "pg_catalog, pg_temp",
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
    # Compiling a query about the catalogs of 500 tables takes longer than running it.
    "jit": "off",
    # How statements are read.
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    # How the catalogs print types and definitions: "text" in quotes would be a type that we do not know.
    "quote_all_identifiers": "off",
    # A query fails instead of leaving rows out.
    "row_security": "off",
    # Each statement sees what others have committed before it.
    "default_transaction_isolation": "read committed",
    # Foreign keys are checked: not so in the role of a replica, which only a superuser may leave.
    "session_replication_role": "origin",
    # What would end a long statement, a long transaction, or a session that fails once or waits for something.
    "exit_on_error": "off",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    # The planner prices the hash of a row of 4 kB like a sum of two numbers, and so thinks that workers do not pay.
    "parallel_setup_cost": "0",
}
_HIDING = threading.Lock()
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
    """A database to connect to. `described` is `conninfo` without the password; `source` says where it came from.

    No session waits longer than `lock_timeout` for a lock.
    """

    # Dask writes what it cannot carry out into its log.
    conninfo: str = field(repr=False)
    described: str
    source: str
    embedded: EmbeddedServer | None
    database: str
    lock_timeout: str = "30s"


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
    """Why a URL is not one of PostgreSQL, or libpq would cut it inside the password and show the rest as its host."""
    if (scheme := re.match(r"[a-z][a-z0-9.+]*(?=://)", url)) and scheme[0] not in {"postgresql", "postgres"}:
        return f"a URL of {scheme[0]}"
    found = _URL.match(url)
    user, at, _ = found[1].rpartition("@") if found else ("", "", "")
    if at and ("/" in user or "@" in user):
        return "an unescaped / or @ before the last @ of user, password, host and database"
    return "white space that is not percent-encoded" if found and re.search(r"\s", url) else None


class Statements(Protocol):
    """What carries out statements: a connection, or a script that does so later."""

    def execute(self, query: QueryNoTemplate, /) -> Any:  # noqa: ANN401 - a cursor, or nothing
        """One statement, without parameters."""


class Session(psycopg.Connection[tuple[object, ...]]):
    """A connection with our settings. Through a pooler, whose sessions others use too, they last for a transaction.

    `backend_pid` is the process that serves it. A pooler tells clients an invented number instead.
    """

    backend_pid = 0
    lock_timeout = "0"

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands between this connection and the server."""
        return self.backend_pid != self.info.backend_pid

    @property
    def place(self) -> dict[str, str | int | None]:
        """The server and the database that answer here: a connection string may name several."""
        info = self.info
        return {"host": info.host, "port": info.port, "hostaddr": info.hostaddr or None, "dbname": info.dbname}

    def anywhere(self, target: Target) -> Target:
        """The target for other processes, on any machine: what libpq found in variables and files is in its string."""
        if target.embedded is not None:
            return replace(target, conninfo=make_conninfo(target.conninfo, **self.place))
        found = {**self.info.get_parameters(), **self.place, "password": self.info.password or None}
        return replace(target, conninfo=make_conninfo("", **found))

    @contextmanager
    def transaction(self, *options: Any, **named: Any) -> Iterator[psycopg.Transaction]:  # noqa: ANN401 - psycopg's
        """A transaction as psycopg has it, with our settings."""
        begins = self.info.transaction_status is TransactionStatus.IDLE
        with super().transaction(*options, **named) as transaction:
            if begins and self.is_pooled:
                self.pin_settings()
            yield transaction

    def pin_settings(self) -> None:
        """Pin the settings; call it again after SQL that is not ours, which may have changed them."""
        self.backend_pid = pin_settings(self, self.lock_timeout)


def pin_settings(connection: Connection, lock_timeout: str = "0") -> int:
    """Pin the settings, through a pooler only for this transaction; returns the process that serves the connection."""
    pinned = PINNED | {"lock_timeout": lock_timeout}
    if not holds_utf8(connection):
        # Parallel workers send texts, as `array_send` does, in the encoding of the database.
        pinned |= {"max_parallel_workers_per_gather": "0"}
    # Until now, names are looked up in the role's search path.
    statement = """SELECT pg_catalog.pg_backend_pid(), pg_catalog.count(pg_catalog.set_config(
                          name, value, pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %s))
                     FROM ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[]))
                          pinned(name, value)
                    WHERE pg_catalog.current_setting(name, true) OPERATOR(pg_catalog.<>) value"""
    parameters = [connection.info.backend_pid, list(pinned), list(pinned.values())]
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return int(str(row[0]))


@contextmanager
def role_search_path(connection: Statements) -> Iterator[None]:
    """Look names up as the role's own sessions do, in this transaction: for SQL of users, such as triggers and indexes.

    SQL of ours inside must qualify functions, operators and types, or others choose what it means (CVE-2018-1058).
    """
    connection.execute("SET LOCAL search_path TO DEFAULT")
    yield
    # After an error, the rollback does it.
    connection.execute("SET LOCAL search_path TO pg_catalog, pg_temp")


@contextmanager
def hidden_variables(target: Target) -> Iterator[None]:
    """Hide libpq's variables from a connection to the embedded server: they are meant for other servers.

    The whole process does without them for these milliseconds: a connection string cannot override `PGSERVICE`, `PGTZ`
    and some others.
    """
    with _HIDING if target.embedded is not None else nullcontext():
        names = [name for name in os.environ if name.startswith("PG")] if target.embedded is not None else []
        hidden = {name: os.environ.pop(name) for name in names}
        try:
            yield
        finally:
            os.environ.update(hidden)


def for_program(target: Target, **parts: str | int | None) -> tuple[str, dict[str, str]]:
    """How another program connects to `target`, with these parts in place of its own: connection string and variables.

    Others can see the arguments of a process, so the password is among the variables. Raises `ConfigurationError` for
    another secret, which libpq takes from no variable.
    """
    given = conninfo_to_dict(target.conninfo, **parts)
    is_ours = target.embedded is not None
    variables = {name: value for name, value in os.environ.items() if not (is_ours and name.startswith("PG"))}
    if password := given.pop("password", None):
        variables["PGPASSWORD"] = str(password)
    conninfo = make_conninfo("", **given)
    if secrets := [found for found in Conninfo.parse(conninfo.encode()) if found.val and found.dispchar == b"*"]:
        raise ConfigurationError(
            "the database URL has a secret that would be seen in the list of processes",
            where=target.source,
            observed=", ".join(found.keyword.decode() for found in secrets),
            next_step="put it into libpq's service file, and name the service in the URL",
        )
    return conninfo, variables


@contextmanager
def opened(target: Target, application: str = "snapseed", seconds: int = _CONNECT_SECONDS) -> Iterator[Session]:
    """A connection with our settings, each statement a transaction of its own, closed at the end.

    No statement is prepared, since a pooler may send the next one to another session. The driver's errors pass through.
    """
    with hidden_variables(target):
        connection = Session.connect(
            target.conninfo,
            connect_timeout=seconds,
            application_name=application,
            autocommit=True,
            prepare_threshold=None,
        )
    with connection as session:
        session.lock_timeout = target.lock_timeout
        # A load that has waited for another must not see the catalogs as they were before the wait.
        session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        session.pin_settings()
        yield session


@contextmanager
def connected(target: Target, *, create: bool = True) -> Iterator[Session]:
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
    where = f"{target.described} ({target.source})"
    with ExitStack() as stack:
        try:
            session = stack.enter_context(opened(target))
        except psycopg.errors.InsufficientPrivilege as exc:
            raise ConfigurationError(
                "this session would check no foreign key: session_replication_role is not origin",
                where=where,
                observed="another one is the default of the role or the database, and the role may not change it",
                next_step="let a superuser run ALTER ROLE (or DATABASE) ... RESET session_replication_role",
            ) from exc
        except psycopg.OperationalError as exc:
            raise not_connected(exc, where) from exc
        yield session


def require_session(session: Session, target: Target) -> None:
    """Raise `ConfigurationError` for a connection through a pooler, for a command that needs a session to itself."""
    if session.is_pooled:
        raise ConfigurationError(
            "this command needs a session of its own, and a pooler stands before the server",
            where=f"{target.described} ({target.source})",
            observed=f"process {session.backend_pid} serves this connection, which was told {session.info.backend_pid}",
            expected="a connection to PostgreSQL itself: locks, temporary tables and settings last for a session",
            next_step="give the host and port of the server, for example by --database",
        )


def holds_utf8(connection: psycopg.BaseConnection[Any]) -> bool:
    """Whether the database keeps texts in UTF-8. SQL_ASCII counts too: it keeps the bytes that we send."""
    return connection.info.parameter_status("server_encoding") in {"UTF8", "SQL_ASCII"}


def has_database(target: Target) -> bool:
    """Whether the embedded server has the database of `target`. Starts a server that is set up; creates nothing."""
    assert target.embedded is not None
    if not target.embedded.data_directory.exists():
        return False
    target.embedded.start()
    with (
        translated("looking for the database", target.described),
        opened(replace(target, conninfo=target.embedded.url("postgres"))) as connection,
    ):
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [target.database]).fetchone()
    return found is not None
