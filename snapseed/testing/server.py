"""The server on which templates and clones are made, by a connection to a database that is none of them.

Advisory locks belong to the database in which they are taken, so all who work on one server meet in its `postgres`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import LiteralString
from urllib.parse import quote, urlencode

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import Environment
from snapseed.errors import ConfigurationError, LoadError, ServerError
from snapseed.postgres.connect import Connection, Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import Identity, identify, require_allowed
from snapseed.testing.names import Mark, read_mark, write_mark

_MEETING_PLACE = "postgres"


@dataclass(frozen=True)
class DatabaseFacts:
    """A database whose name begins as ours do, and its mark if it has one."""

    name: str
    mark: Mark | None


@dataclass(frozen=True)
class Server:
    """An open connection to the server of an environment, and where its databases are."""

    connection: Connection
    target: Target
    identity: Identity

    @property
    def version(self) -> int:
        """PostgreSQL's major version."""
        return self.connection.info.server_version // 10_000

    @property
    def role(self) -> str:
        """The role that owns what is made here."""
        return self.identity.role

    def execute(self, statement: LiteralString, *names: str) -> None:
        """A statement with these identifiers in it."""
        self.connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def conninfo(self, database: str) -> str:
        """How to connect to another database of this server as the same role."""
        return make_conninfo(self.target.conninfo, dbname=database)

    def parameters(self, database: str) -> dict[str, str]:
        """The same as libpq's parameters, with what came from PG* variables and service files written out."""
        info = self.connection.info
        given = {name: str(value) for name, value in conninfo_to_dict(self.target.conninfo).items() if value}
        found = {"host": info.host, "port": str(info.port), "user": info.user, "password": info.password}
        others = {
            name: value for name, value in given.items() if name not in {"service", "passfile", "application_name"}
        }
        return {**others, **{name: value for name, value in found.items() if value}, "dbname": database}

    def url(self, database: str) -> str:
        """The same as a URL that psycopg, asyncpg and SQLAlchemy understand, with the password if it has one."""
        parts = self.parameters(database)
        user, password = quote(parts.pop("user", ""), safe=""), parts.pop("password", None)
        login = user + (f":{quote(password, safe='')}" if password else "") + "@"
        name = quote(parts.pop("dbname"), safe="")
        if parts.get("host", "").startswith(("/", "@")):
            # The folder of a Unix socket does not fit between @ and /.
            return f"postgresql://{login}/{name}?{urlencode(parts, safe='/', quote_via=quote)}"
        host, port = parts.pop("host", "localhost"), parts.pop("port", "5432")
        rest = f"?{urlencode(parts, safe='/', quote_via=quote)}" if parts else ""
        return f"postgresql://{login}{f'[{host}]' if ':' in host else host}:{port}/{name}{rest}"

    def exists(self, database: str) -> bool:
        """Whether there is a database of this name."""
        row = self.connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone()
        return row is not None

    def mark(self, database: str) -> Mark | None:
        """The mark of a database; None where it has none, or does not exist."""
        row = self.connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        return read_mark(None if row is None or row[0] is None else str(row[0]))

    def set_mark(self, database: str, mark: Mark) -> None:
        """Comment on a database of ours."""
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
        self.connection.execute(statement.format(sql.Identifier(database), sql.Literal(write_mark(mark))))

    def own_databases(self) -> list[DatabaseFacts]:
        """All databases of this role whose names begin as ours do, with their marks."""
        rows = self.connection.execute(
            """SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database
                WHERE starts_with(datname, 'snapseed_') AND pg_get_userbyid(datdba) = current_user ORDER BY 1"""
        ).fetchall()
        return [
            DatabaseFacts(str(name), read_mark(None if comment is None else str(comment))) for name, comment in rows
        ]

    def drop(self, database: str) -> None:
        """Drop a database of ours and end the sessions in it; nothing where it does not exist."""
        self.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def lock(self, key: int, *, shared: bool = False) -> None:
        """Wait for an advisory lock of this session."""
        self._lock("SELECT pg_advisory_lock_shared(%s)" if shared else "SELECT pg_advisory_lock(%s)", key)

    def try_lock(self, key: int) -> bool:
        """Take an advisory lock of this session alone, if nobody has it."""
        row = self._lock("SELECT pg_try_advisory_lock(%s)", key)
        return row == (True,)

    def unlock(self, key: int, *, shared: bool = False) -> None:
        """Release one."""
        self._lock("SELECT pg_advisory_unlock_shared(%s)" if shared else "SELECT pg_advisory_unlock(%s)", key)

    def _lock(self, query: LiteralString, key: int) -> tuple[object, ...] | None:
        return self.connection.execute(query, [key]).fetchone()


@contextmanager
def connected_server(target: Target, environment: Environment, *, consent: bool = False) -> Iterator[Server]:
    """The server of an environment, if it may be loaded into and the role may make databases there.

    Raises `RefusedError` where the guards of a load say no, `LoadError` without CREATEDB, `ServerError` where the
    server does not answer.
    """
    with _meeting_place(target) as connection:
        with translated("looking at the server", target.described):
            identity = identify(connection)
            asked = replace(identity, asked=(*identity.asked, target.database))
            require_allowed(asked, target, environment, consent=consent)
            _require_createdb(connection, identity, target)
        yield Server(connection, target, identity)


@contextmanager
def another_connection(server: Server) -> Iterator[Server]:
    """The same server by a connection of its own, for another thread."""
    with _meeting_place(server.target) as connection:
        yield replace(server, connection=connection)


@contextmanager
def _meeting_place(target: Target) -> Iterator[Connection]:
    """A connection to `postgres`, or where that does not exist to the environment's own database."""
    meeting = replace(target, conninfo=make_conninfo(target.conninfo, dbname=_MEETING_PLACE), database=_MEETING_PLACE)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(connected(meeting))
        except (ConfigurationError, ServerError) as exc:
            # A failed connection carries no SQLSTATE, only the message; in another language, the failure is reported.
            if f'database "{_MEETING_PLACE}" does not exist' not in str(exc.__cause__):
                raise
            connection = stack.enter_context(connected(target))
        yield connection


def _require_createdb(connection: Connection, identity: Identity, target: Target) -> None:
    row = connection.execute(
        "SELECT rolcreatedb OR rolsuper, format('ALTER ROLE %I CREATEDB', rolname) FROM pg_roles"
        " WHERE rolname = current_user"
    ).fetchone()
    if row is None or not row[0]:
        raise LoadError(
            "the role may not make databases",
            where=f"{target.described} ({target.source})",
            observed=f"{identity}, without CREATEDB",
            expected="a role with CREATEDB: a snapshot is loaded into a database of its own, which is then copied",
            next_step=f"let a superuser run: {row[1] if row else 'ALTER ROLE ... CREATEDB'}",
        )
