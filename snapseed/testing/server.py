"""The server that templates and clones are made on: names and marks of our databases, locks, and URLs.

A database that has neither a name nor a mark of ours belongs to somebody else, and is left alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import LiteralString
from urllib.parse import quote, urlencode

import msgspec
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import Environment
from snapseed.errors import ConfigurationError, LoadError, ServerError
from snapseed.postgres.connect import Connection, Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import Identity, identify, require_allowed

# With a new number, templates of older versions are not used any more.
_FORMAT = 1
# 96 bits of a digest: two templates never collide, and names stay far below PostgreSQL's 63 bytes.
_DIGEST_CHARACTERS = 24
_TEMPLATE = re.compile(rf"snapseed_template_[0-9a-f]{{{_DIGEST_CHARACTERS}}}")
_CLONE = re.compile(r"snapseed_clone_(?P<run>[0-9a-f]{16})_\d+")


class TemplateMark(msgspec.Struct, frozen=True, tag="template", tag_field="snapseed"):
    """The comment on a template, written when it is complete. `used` is in seconds since 1970, `size` in bytes.

    `strategy` is the fastest way to copy it. `outside` has a fingerprint of each table that the snapshot does not fill;
    reset compares them.
    """

    snapshot: str
    identity: str
    used: int
    size: int
    strategy: str
    outside: dict[str, str] = {}


class KeptMark(msgspec.Struct, frozen=True, tag="kept", tag_field="snapseed"):
    """The comment on a clone that outlives its run, because its test failed. `used` is in seconds since 1970."""

    reason: str
    used: int


Mark = TemplateMark | KeptMark


def read_mark(comment: object) -> Mark | None:
    """The mark in a comment on a database; None for any other comment, or none."""
    try:
        mark: Mark = msgspec.json.decode(str(comment), type=Mark)
    except msgspec.DecodeError:
        return None
    return mark


def template_name(*parts: str) -> str:
    """The name of the template that is made from these parts: a digest, so any other part gives another template."""
    digest = hashlib.sha256(msgspec.json.encode([_FORMAT, *parts])).hexdigest()
    return f"snapseed_template_{digest[:_DIGEST_CHARACTERS]}"


def is_template(name: str) -> bool:
    """Whether this is a name that only we give, and only to templates."""
    return _TEMPLATE.fullmatch(name) is not None


def run_of(name: str) -> str | None:
    """The run that a clone of this name belongs to; None where it is not a clone of ours."""
    found = _CLONE.fullmatch(name)
    return found["run"] if found else None


def lock_key(name: str) -> int:
    """The advisory lock of a template, a run or a database, as PostgreSQL's bigint."""
    return int.from_bytes(hashlib.sha256(f"snapseed {name}".encode()).digest()[:8], signed=True)


@dataclass
class Run:
    """Gives names to the clones of one process; no other process uses them. Not for several threads at once."""

    name: str
    made: int = 0

    @classmethod
    def new(cls) -> Run:
        """A run with a name that no other run has."""
        return cls(secrets.token_hex(8))

    def next_name(self) -> str:
        """The name of the next clone."""
        self.made += 1
        return f"snapseed_clone_{self.name}_{self.made}"


@dataclass(frozen=True)
class OwnDatabase:
    """A database of this role with a name that begins like ours, and its mark if it has one."""

    name: str
    mark: Mark | None


@dataclass(frozen=True)
class Server:
    """An open connection to the server of an environment, in its database `meeting_place`.

    Advisory locks belong to one database, so everybody who works on a server takes them there.
    """

    connection: Connection
    target: Target
    identity: Identity
    meeting_place: str

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
        """The same as parameters of libpq, those that came from PG* variables and service files included."""
        info = self.connection.info
        given = {name: str(value) for name, value in conninfo_to_dict(self.target.conninfo).items() if value}
        found = {"host": info.host, "port": str(info.port), "user": info.user, "password": info.password}
        others = {
            name: value for name, value in given.items() if name not in {"service", "passfile", "application_name"}
        }
        return {**others, **{name: value for name, value in found.items() if value}, "dbname": database}

    def url(self, database: str) -> str:
        """The same as a URL that psycopg, asyncpg and SQLAlchemy understand, with the password if there is one."""
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

    def size(self, database: str) -> int:
        """The size of a database in bytes."""
        row = self.connection.execute("SELECT pg_database_size(%s)", [database]).fetchone()
        return int(str(row[0])) if row else 0

    def mark(self, database: str) -> Mark | None:
        """The mark of a database; None where it has none, or does not exist."""
        row = self.connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [database]
        ).fetchone()
        return read_mark(row[0]) if row else None

    def set_mark(self, database: str, mark: Mark) -> None:
        """Write the mark, which is the comment on the database."""
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
        text = msgspec.json.encode(mark).decode()
        self.connection.execute(statement.format(sql.Identifier(database), sql.Literal(text)))

    def own_databases(self) -> list[OwnDatabase]:
        """All databases of this role with names that begin like ours."""
        rows = self.connection.execute(
            """SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database
                WHERE starts_with(datname, 'snapseed_') AND pg_get_userbyid(datdba) = current_user ORDER BY 1"""
        ).fetchall()
        return [OwnDatabase(str(name), read_mark(comment)) for name, comment in rows]

    def drop(self, database: str) -> None:
        """Drop a database of ours and end the sessions in it; nothing where it does not exist."""
        self.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def lock(self, key: int, *, shared: bool = False) -> None:
        """Wait for an advisory lock, which is held until the session ends or unlocks it."""
        self.connection.execute(
            "SELECT pg_advisory_lock_shared(%s)" if shared else "SELECT pg_advisory_lock(%s)", [key]
        )

    def try_lock(self, key: int) -> bool:
        """Take an advisory lock if no other session has it; whether it worked."""
        return self.connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone() == (True,)

    def unlock(self, key: int, *, shared: bool = False) -> None:
        """Release an advisory lock of this session."""
        self.connection.execute(
            "SELECT pg_advisory_unlock_shared(%s)" if shared else "SELECT pg_advisory_unlock(%s)", [key]
        )


@contextmanager
def connected_server(
    target: Target, environment: Environment, *, consent: bool = False, meeting_place: str = "postgres"
) -> Iterator[Server]:
    """The server of an environment, if it may be loaded into and the role may create databases.

    Where the database `meeting_place` does not exist, the environment's own takes its place. Raises `RefusedError`
    where the guards of a load say no, `LoadError` without CREATEDB, `ServerError` where the server does not answer.
    """
    with _connected(target, meeting_place) as connection:
        with translated("looking at the server", target.described):
            identity = identify(connection)
            asked = replace(identity, asked=(*identity.asked, target.database))
            require_allowed(asked, target, environment, consent=consent)
            _require_createdb(connection, identity, target)
        yield Server(connection, target, identity, meeting_place)


@contextmanager
def another_connection(server: Server) -> Iterator[Server]:
    """The same server over a second connection, for another thread."""
    with _connected(server.target, server.meeting_place) as connection:
        yield replace(server, connection=connection)


@contextmanager
def _connected(target: Target, meeting_place: str) -> Iterator[Connection]:
    meeting = replace(target, conninfo=make_conninfo(target.conninfo, dbname=meeting_place), database=meeting_place)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(connected(meeting))
        except (ConfigurationError, ServerError) as exc:
            # A failed connection has no SQLSTATE, only this message. In another language the failure is reported.
            if f'database "{meeting_place}" does not exist' not in str(exc.__cause__):
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
            "the role may not create databases",
            where=f"{target.described} ({target.source})",
            observed=f"{identity}, without CREATEDB",
            expected="a role with CREATEDB: the snapshot is loaded into a database of its own, which is then copied",
            next_step=f"ask a superuser to run: {row[1] if row else 'ALTER ROLE ... CREATEDB'}",
        )
