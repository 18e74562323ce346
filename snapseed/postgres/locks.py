"""Locks that keep other loads and writers out, and how long we wait for them."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row

from snapseed.config import Environment
from snapseed.errors import ServerError
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection, Target
from snapseed.redaction import redacted

# One load at a time in a database; any number that others are unlikely to use. It spells "snapseed".
_ADVISORY_LOCK = 0x736E617073656564


def set_limits(connection: Connection, environment: Environment, *, for_transaction: bool = True) -> None:
    """Bound how long the load waits for locks and for single statements: until the commit, or for the whole session."""
    for name in ("lock_timeout", "statement_timeout"):
        value = getattr(environment, name)
        connection.execute("SELECT set_config(%s, %s, %s)", (name, value, for_transaction))


def lock(connection: Connection) -> None:
    """Wait until no other load works in this database, at most for `lock_timeout`."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))


def lock_tables(connection: Connection, tables: Sequence[TableName], *, exclusive: bool) -> None:
    """Wait for everybody who writes into these tables, and keep them out until the end; `exclusive`: readers as well.

    Those that do not exist, and those that this role may not lock so, are passed by.
    """
    locked = []
    for name in tables:
        found = connection.execute(_LOCKABLE, {"schema": name.schema, "table": name.table}).fetchone()
        if found is not None:
            locked.append(TableName(str(found[0]), str(found[1]), alone=bool(found[2])).rows())
    if locked:
        # The locks that TRUNCATE and ALTER TABLE would take later, or the weakest that keeps writers out.
        mode = sql.SQL("ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE")
        connection.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.SQL(", ").join(locked), mode))


_LOCKABLE = """
SELECT n.nspname, c.relname, c.relkind = 'r'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
   AND c.oid = CASE WHEN %(schema)s::text IS NULL THEN to_regclass(quote_ident(%(table)s))
                    ELSE (SELECT o.oid FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                           WHERE o.relname = %(table)s AND s.nspname = %(schema)s) END
"""


# Shorter waits are everyday; longer ones make people wonder.
PATIENCE_SECONDS = 1.0


# pg_blocking_pids stops the lock manager for a moment, so it is not asked more often (PostgreSQL manual, 9.27).
POLL_SECONDS = 1.0


APPLICATION = "snapseed watch"


QUERY_CHARACTERS = 80


# A server that leaves this session waiting is not waited for. libpq takes fewer seconds than 2 as 2.
_CONNECT_SECONDS = 2


_SETTINGS = "SET statement_timeout = '2s'; SET timezone = 'UTC'"


# How long the end of a step waits for the watching thread; a daemon, it then ends by itself.
_JOIN_SECONDS = 0.5


# What ends a wait for a lock: lock_timeout, statement_timeout, a deadlock.
_ENDED_BY = ("55P03", "57014", "40P01")


# In SQL the password follows the word; a quote may be open where the server has cut the text.
_SQL_PASSWORD = re.compile(r"(?i)(\bpassword\s+)(E?'(?:[^']|'')*'?|\S+)")


_log = logging.getLogger("snapseed")


@dataclass(frozen=True)
class Blocker:
    """A session that the load waits for, as pg_stat_activity shows it; None is what our role may not see.

    `pid` 0 is a prepared transaction. `waits_for` is the table, or the kind of lock, that it keeps from us.
    """

    pid: int
    application: str | None
    role: str | None
    address: str | None
    state: str | None
    since: datetime | None
    seconds: float | None
    query: str | None
    waits_for: str

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (they are listed in pg_prepared_xacts)"
        known = [
            "another load of snapseed" if self.application == "snapseed" else self.application,
            f"role {self.role}" if self.role else None,
            f"from {self.address}" if self.address else None,
            self.state,
            f"since {self.since:%Y-%m-%d %H:%M:%S %Z} ({self.seconds:.0f} s)" if self.since else None,
        ]
        described = f"process {self.pid} ({', '.join(part for part in known if part)})"
        return f"{described}: {shortened(self.query)}" if self.query else described


class Watch:
    """One step of a load under watch: `blockers` are those last seen, none as long as there was no wait."""

    def __init__(self, conninfo: str, pid: int, tell: Callable[[str], None], patience: float) -> None:
        self.blockers: tuple[Blocker, ...] = ()
        self._conninfo, self._pid, self._tell, self._patience = conninfo, pid, tell, patience
        self._moved_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch for blockers", daemon=True)
        self._thread.start()

    def moved(self) -> None:
        """The step gets on: what it may wait for from here on is another thing."""
        self._moved_at = time.monotonic()
        self.blockers = ()

    def end(self) -> None:
        """Close the second connection, if there is one."""
        self._ended.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while (seconds := self._moved_at + self._patience - time.monotonic()) > 0:
                if self._ended.wait(seconds):
                    return
            with psycopg.connect(self._conninfo, autocommit=True) as session:
                session.execute(_SETTINGS)
                while not self._ended.is_set():
                    self._look(session)
                    self._ended.wait(POLL_SECONDS)
        except Exception:  # noqa: BLE001 - whatever it is, the load itself goes on
            _log.debug("nobody can say who blocks the load", exc_info=True)

    def _look(self, session: Connection) -> None:
        with session.cursor(row_factory=class_row(Blocker)) as cursor:
            found = tuple(cursor.execute(_BLOCKERS, {"pid": self._pid}).fetchall())
        if not found:
            # Those last seen stay: the wait may have ended this moment, in an error that is to name them.
            return
        known = {blocker.pid for blocker in self.blockers}
        self.blockers = found
        if known != {blocker.pid for blocker in found}:
            self._tell(f"waiting for {found[0].waits_for}, blocked by {described(found)}")


@contextmanager
def watching(
    target: Target, connection: Connection, tell: Callable[[str], None], *, patience: float = PATIENCE_SECONDS
) -> Iterator[Watch]:
    """Watch the step inside: `tell` gets a line, on another thread, once its statement waits for others' locks.

    A `ServerError` that leaves the block because of a lock names those last seen, and what to do about them. So it
    stands outside of what translates the driver's errors.
    """
    watch = Watch(_beside(target, connection), connection.info.backend_pid, tell, patience)
    try:
        yield watch
    except ServerError as exc:
        cause = exc.__cause__
        if watch.blockers and isinstance(cause, psycopg.Error) and cause.sqlstate in _ENDED_BY:
            exc.observed = f"{exc.observed}; blocked by {described(watch.blockers)}"
            exc.next_step = _next_step(watch.blockers)
        raise
    finally:
        watch.end()


def described(blockers: Sequence[Blocker]) -> str:
    """All of them on one line."""
    return " and by ".join(map(str, blockers))


def shortened(query: str) -> str:
    """The beginning of a statement on one line, without passwords."""
    text = _SQL_PASSWORD.sub(r"\1***", redacted(" ".join(query.split())))
    return text if len(text) <= QUERY_CHARACTERS else text[: QUERY_CHARACTERS - 1] + "…"


def _next_step(blockers: Sequence[Blocker]) -> str:
    ends = [
        f"SELECT pg_terminate_backend({blocker.pid})" if blocker.pid else "ROLLBACK PREPARED" for blocker in blockers
    ]
    return f"wait until it has ended, end it by {' and '.join(dict.fromkeys(ends))}, or raise lock_timeout"


def _beside(target: Target, connection: Connection) -> str:
    """Where the very server of `connection` is reached: a connection string may name several."""
    info = connection.info
    return make_conninfo(
        target.conninfo,
        host=info.host,
        port=info.port,
        hostaddr=info.hostaddr or None,
        connect_timeout=_CONNECT_SECONDS,
        application_name=APPLICATION,
        client_encoding="UTF8",
    )


# No row where the process does not wait for a lock. A prepared transaction has no process, hence the outer join.
_BLOCKERS = """
SELECT blocking.pid, b.application_name AS application, b.usename::text AS role, b.client_addr::text AS address,
       b.state, b.xact_start AS since, extract(epoch FROM clock_timestamp() - b.xact_start)::float8 AS seconds, b.query,
       coalesce((SELECT CASE WHEN l.relation IS NOT NULL THEN 'a lock on ' || l.relation::regclass
                             WHEN l.locktype = 'transactionid' THEN 'the end of another transaction'
                             WHEN l.locktype = 'advisory' THEN 'the advisory lock of loads'
                             ELSE 'a lock of type ' || l.locktype END
                   FROM pg_locks l WHERE l.pid = w.pid AND NOT l.granted LIMIT 1), 'a lock') AS waits_for
  FROM pg_stat_activity w
 CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) blocking
  LEFT JOIN pg_stat_activity b ON b.pid = blocking.pid
 WHERE w.pid = %(pid)s AND w.datname = current_database() AND w.wait_event_type = 'Lock'
 ORDER BY blocking.pid
"""
