"""The server that templates and clones are made on: names and marks of our databases, locks, and URLs.

A database that has neither a name nor a mark of ours belongs to somebody else, and is left alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlencode

import msgspec
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.config import Environment
from snapseed.errors import ConfigurationError, LoadError, ServerError
from snapseed.events import Listener
from snapseed.postgres import query
from snapseed.postgres.connect import Connection, Session, Target, connected, require_session
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import Identity, identify, require_allowed
from snapseed.postgres.locks import log_note, waiting

QUERIES = Path(__file__).parent / "queries"
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


class StateMark(msgspec.Struct, frozen=True, tag="state", tag_field="snapseed"):
    """The comment on the state `name` of `database`, saved so many seconds after 1970.

    `snapshot` and `identity` are those of the last load into it. `size` and `strategy` are as in a template's mark.
    """

    name: str
    database: str
    saved: int
    size: int
    strategy: str
    snapshot: str | None = None
    identity: str | None = None

    @property
    def saved_at(self) -> datetime:
        """When it was saved."""
        return datetime.fromtimestamp(self.saved, UTC)

    def __str__(self) -> str:
        held = f", snapshot {self.snapshot} ({str(self.identity)[:12]}…)" if self.snapshot else ""
        return f"{self.name}, saved {self.saved_at:%Y-%m-%d %H:%M:%S} UTC{held}"


Mark = TemplateMark | KeptMark | StateMark


def _read_mark(comment: object) -> Mark | None:
    """The mark in a comment on a database; None for any other comment, or none."""
    mark: Mark | None = None
    with suppress(msgspec.DecodeError):
        mark = msgspec.json.decode(str(comment), type=Mark)
    return mark


def template_name(*parts: str) -> str:
    """The name of the template that is made from these parts: a digest, so any other part gives another template."""
    return f"snapseed_template_{_digest(_FORMAT, *parts)}"


def state_name(*parts: str) -> str:
    """The name of the database that is a state: a digest of role, database and state, which may have long names."""
    return f"snapseed_state_{_digest(*parts)}"


def _digest(*parts: str | int) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_DIGEST_CHARACTERS]


def lock_of(name: str) -> str | None:
    """The lock that is held while this database is in use, by a run or a template; None where it is not one of ours."""
    if found := _CLONE.fullmatch(name):
        return found["run"]
    return name if _TEMPLATE.fullmatch(name) else None


@dataclass(frozen=True)
class Server:
    """An open connection to the server of an environment, in the database where all processes take their locks.

    Advisory locks belong to one database. `run` is a name that no other process has: its clones are named after it, and
    its lock is held until the connection ends. The listener hears of waits.
    """

    connection: Session
    target: Target
    identity: Identity
    listener: Listener = log_note
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def next_clone(self) -> str:
        """A name for another clone of this run."""
        return f"snapseed_clone_{self.run}_{next(self._numbers)}"

    def execute(self, statement: LiteralString, *names: str) -> None:
        """A statement with these identifiers in it."""
        self.connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def conninfo(self, database: str) -> str:
        """How to connect to another database of this server as the same role."""
        return make_conninfo(self.target.conninfo, dbname=database)

    def parameters(self, database: str) -> dict[str, str]:
        """The same as parameters of libpq, those that came from PG* variables and service files included."""
        info = self.connection.info
        found = {"host": info.host, "port": info.port, "user": info.user, "password": info.password}
        parts = conninfo_to_dict(self.target.conninfo) | {name: value for name, value in found.items() if value}
        left_out = {"service", "passfile", "application_name"}
        return {
            name: str(value) for name, value in {**parts, "dbname": database}.items() if value and name not in left_out
        }

    def url(self, database: str) -> str:
        """The same as a URL that psycopg, asyncpg and SQLAlchemy understand, with the password if there is one."""
        parts = self.parameters(database)
        user, password = quote(parts.pop("user", ""), safe=""), parts.pop("password", None)
        login = user + (f":{quote(password, safe='')}" if password else "") + "@"
        name = quote(parts.pop("dbname"), safe="")
        place = ""
        # The folder of a Unix socket does not fit between @ and /.
        if not parts.get("host", "").startswith(("/", "@")):
            host, port = parts.pop("host", "localhost"), parts.pop("port", "5432")
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        rest = f"?{urlencode(parts, safe='/', quote_via=quote)}" if parts else ""
        return f"postgresql://{login}{place}/{name}{rest}"

    def size(self, database: str) -> int:
        """The size of a database in bytes."""
        row = self.connection.execute("SELECT pg_database_size(%s)", [database]).fetchone()
        return int(str(row[0])) if row else 0

    def surroundings(self, database: str) -> str:
        """What a database depends on besides its schema and its rows: with another text, it needs another template."""
        row = self.connection.execute(query("surroundings", QUERIES), {"database": database}).fetchone()
        return str(row)

    def set_mark(self, database: str, mark: Mark) -> None:
        """Write the mark, which is the comment on the database."""
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
        text = msgspec.json.encode(mark).decode()
        self.connection.execute(statement.format(sql.Identifier(database), sql.Literal(text)))

    def marks(self) -> dict[str, Mark | None]:
        """The databases of this role with names that begin like ours, each with its mark if it has one."""
        rows = self.connection.execute(
            """SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database
                WHERE starts_with(datname, 'snapseed_') AND pg_get_userbyid(datdba) = current_user ORDER BY 1"""
        ).fetchall()
        return {str(name): _read_mark(comment) for name, comment in rows}

    def end_sessions(self, database: str) -> int:
        """Tell the sessions in a database to end; returns how many there still are."""
        statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        row = self.connection.execute(statement, [database]).fetchone()
        return int(str(row[0])) if row else 0

    def drop(self, database: str) -> None:
        """Drop a database of ours and end the sessions in it; nothing where it does not exist."""
        self.execute("DROP DATABASE IF EXISTS {} WITH (FORCE)", database)

    def lock(self, name: str, *, shared: bool = False) -> None:
        """Wait for the lock of a template, a run or a database, up to `lock_timeout`.

        It is held until the session ends or unlocks it. Raises `ServerError` that says who has it.
        """
        with waiting(self.target, self.connection, f"waiting for the lock of {name}", self.listener):
            self._advisory_lock("pg_advisory_lock_shared" if shared else "pg_advisory_lock", name)

    def try_lock(self, name: str) -> bool:
        """Take a lock if no other session has it; whether it worked."""
        return self._advisory_lock("pg_try_advisory_lock", name) is True

    def unlock(self, name: str, *, shared: bool = False) -> None:
        """Release a lock of this session."""
        self._advisory_lock("pg_advisory_unlock_shared" if shared else "pg_advisory_unlock", name)

    def _advisory_lock(self, function: str, name: str) -> object:
        key = int.from_bytes(hashlib.sha256(f"snapseed {name}".encode()).digest()[:8], signed=True)
        row = self.connection.execute(sql.SQL("SELECT {}(%s)").format(sql.Identifier(function)), [key]).fetchone()
        return row and row[0]


@contextmanager
def opened_server(target: Target, meeting_place: str = "postgres", listener: Listener = log_note) -> Iterator[Server]:
    """The server of a target, to look at it.

    Where the database `meeting_place` does not exist, the target's own takes its place. Raises `ServerError` where the
    server does not answer.
    """
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(connected_to(target, meeting_place))
        except (ConfigurationError, ServerError) as exc:
            # A failed connection has no SQLSTATE, only this message. In another language the failure is reported.
            if f'database "{meeting_place}" does not exist' not in str(exc.__cause__):
                raise
            connection = stack.enter_context(connected(target))
        with translated("looking at the server", target.described):
            identity = identify(connection)
        yield Server(connection, target, identity, listener)


@contextmanager
def connected_server(
    target: Target,
    environment: Environment,
    *,
    consent: bool = False,
    meeting_place: str = "postgres",
    listener: Listener = log_note,
) -> Iterator[Server]:
    """The server of an environment, if it may be loaded into and the role may create databases.

    Raises as `opened_server`; `RefusedError` where the guards of a load say no, `LoadError` without CREATEDB, and
    `ConfigurationError` through a pooler.
    """
    with opened_server(target, meeting_place, listener) as server:
        require_session(server.connection, target)
        with translated("looking at the server", target.described):
            asked = replace(server.identity, asked=(*server.identity.asked, target.database))
            require_allowed(asked, target, environment, consent=consent)
            _require_createdb(server.connection, server.identity, target)
            server.lock(server.run)
        yield server


@contextmanager
def another_connection(server: Server) -> Iterator[Server]:
    """The same server over a second connection, for another thread."""
    with connected_to(server.target, server.identity.database) as connection:
        yield replace(server, connection=connection)


def connected_to(target: Target, database: str) -> AbstractContextManager[Session]:
    """Another database of the target's server, connected as the same role."""
    return connected(replace(target, conninfo=make_conninfo(target.conninfo, dbname=database), database=database))


def _require_createdb(connection: Connection, identity: Identity, target: Target) -> None:
    """Raise `LoadError` unless the role may create databases."""
    row = connection.execute(
        "SELECT format('ALTER ROLE %I CREATEDB', rolname) FROM pg_roles"
        " WHERE rolname = current_user AND NOT (rolcreatedb OR rolsuper)"
    ).fetchone()
    if row is not None:
        raise LoadError(
            "the role may not create databases",
            where=f"{target.described} ({target.source})",
            observed=f"{identity}, without CREATEDB",
            expected="a role with CREATEDB: this works by making copies of databases",
            next_step=f"ask a superuser to run: {row[0]}",
        )
