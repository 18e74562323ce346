"""Locks that keep other loads and writers out: how long we wait for them, and who makes us wait.

Blockers are asked for over a second connection, which is opened only when a wait is long. Watching never fails a load,
and never keeps the process alive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from snapseed.config import Environment
from snapseed.errors import ServerError
from snapseed.events import Advanced, Event, Listener, Note, PhaseStarted
from snapseed.postgres import listed, query
from snapseed.postgres.catalog import find_tables, read_rows, search_schemas
from snapseed.postgres.connect import Connection, Session, Target, connected, opened
from snapseed.postgres.facts import TableName
from snapseed.postgres.failures import translated
from snapseed.redaction import redacted_sql

# Shorter waits are normal. Longer ones make people wonder.
PATIENCE_SECONDS = 1.0
# pg_blocking_pids briefly stops the lock manager, so do not ask more often (PostgreSQL manual, 9.27).
POLL_SECONDS = 1.0
APPLICATION = "snapseed watch"
QUERY_CHARACTERS = 80

# Do not wait for a server that keeps this session waiting. libpq rounds less than 2 seconds up to 2.
_CONNECT_SECONDS = 2
_STATEMENT_TIMEOUT = "2s"
# How long the end of a step waits for the watching thread. The thread is a daemon and ends on its own.
_JOIN_SECONDS = 0.5
# SQLSTATEs that end a wait for a lock: lock_timeout, statement_timeout, a deadlock.
_ENDED_BY = ("55P03", "57014", "40P01")

_log = logging.getLogger("snapseed")


class AdvisoryLock(IntEnum):
    """What only one session at a time may do in a database. The numbers are words in ASCII, to be unique."""

    LOADS = int.from_bytes(b"snapseed")
    EMBEDDING_INDEXES = int.from_bytes(b"snapindx")


def set_limits(connection: Connection, environment: Environment) -> None:
    """Limit how long this transaction waits for each statement. Waits for locks are limited in every session."""
    connection.execute("SELECT set_config('statement_timeout', %s, true)", (environment.statement_timeout,))


def lock(connection: Connection, key: AdvisoryLock = AdvisoryLock.LOADS) -> None:
    """Take the lock until the end of the transaction; waits for another session up to `lock_timeout`."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (int(key),))


def lock_tables(connection: Connection, tables: Sequence[TableName], *, exclusive: bool) -> None:
    """Wait until nobody writes to these tables, and keep writers out until the end; with `exclusive`, readers as well.

    Skips tables that do not exist and those that this role may not lock.
    """
    found = find_tables(connection, tables, search_schemas(connection)).values()
    may_lock = query("lockable")
    if locked := [n.rows() for n in found if read_rows(connection, may_lock, schema=n.schema, table=n.table)]:
        # Either the lock that TRUNCATE and ALTER TABLE take later, or the weakest that keeps writers out.
        mode = sql.SQL("ACCESS EXCLUSIVE" if exclusive else "SHARE ROW EXCLUSIVE")
        connection.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(listed(locked), mode))


@dataclass(frozen=True)
class Blocker:
    """A session that we wait for, as pg_stat_activity shows it. None stands for what our role may not see.

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
            return "a prepared transaction (see pg_prepared_xacts)"
        known = [
            "another command of snapseed" if self.application == "snapseed" else self.application,
            f"role {self.role}" if self.role else None,
            f"from {self.address}" if self.address else None,
            self.state,
            f"since {self.since:%Y-%m-%d %H:%M:%S %Z} ({self.seconds:.0f} s)" if self.since else None,
        ]
        process = f"process {self.pid} ({', '.join(part for part in known if part)})"
        return f"{process}: {shortened(self.query)}" if self.query else process


def log_note(event: Event) -> None:
    """A listener for those who have none: what makes us wait is a warning in the log, which commands show."""
    if isinstance(event, Note):
        _log.warning("%s", event.text)


class Watch:
    """Watches one step of a load. `blockers` are the sessions seen last; empty as long as the step did not wait."""

    def __init__(self, target: Target, watched: Session, listener: Listener, patience: float) -> None:
        self.blockers: tuple[Blocker, ...] = ()
        self._target, self._watched, self._listener, self._patience = target, watched, listener, patience
        self._moved_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch for blockers", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """A listener that passes events on. After the start of a phase, or progress, a wait is a new one."""
        if isinstance(event, PhaseStarted | Advanced):
            self._moved_at = time.monotonic()
            self.blockers = ()
        self._listener(event)

    def end(self) -> None:
        """Stop watching, and close the second connection if it was opened."""
        self._ended.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        """Wait until the step has taken long, then look again and again for who blocks it."""
        try:
            while (seconds := self._moved_at + self._patience - time.monotonic()) > 0:
                if self._ended.wait(seconds):
                    return
            with opened(self._target, APPLICATION, _CONNECT_SECONDS) as session:
                while not self._ended.is_set():
                    self._look(session)
                    self._ended.wait(POLL_SECONDS)
        except Exception:  # noqa: BLE001 - whatever goes wrong here, the load itself goes on
            _log.debug("cannot find out who blocks the load", exc_info=True)

    def _look(self, session: Session) -> None:
        """Ask once who blocks the step, and tell it if somebody else does than before."""
        with session.transaction():
            session.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_STATEMENT_TIMEOUT))
            rows = read_rows(session, query("blockers"), pid=self._watched.backend_pid)
        found = tuple(Blocker(**row) for row in rows)
        if not found:
            # Keep the blockers seen last: the wait may just have ended in an error, which should name them.
            return
        known = {blocker.pid for blocker in self.blockers}
        self.blockers = found
        if known != {blocker.pid for blocker in found}:
            self._listener(Note(f"waiting for {found[0].waits_for}, blocked by {' and by '.join(map(str, found))}"))


@contextmanager
def reading(target: Target, doing: str, listener: Listener = log_note) -> Iterator[Session]:
    """A connection that sees every table as of one moment and changes nothing; the database must exist.

    Raises as `connected` with `create=False`, and is translated and watched as in `waiting`.
    """
    with connected(target, create=False) as session, waiting(target, session, doing, listener):
        session.isolation_level, session.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
        with session.transaction():
            yield session


@contextmanager
def waiting(target: Target, session: Session, doing: str, listener: Listener = log_note) -> Iterator[None]:
    """Do something that may wait: the driver's errors become ours, and waits for locks are told as by `watching`."""
    with watching(target, session, listener), translated(doing, target.described):
        yield


@contextmanager
def watching(
    target: Target, connection: Session, listener: Listener, *, patience: float = PATIENCE_SECONDS
) -> Iterator[Watch]:
    """Watch the step inside: the listener gets a `Note`, on another thread, when it waits for somebody else's locks.

    A `ServerError` that a lock caused names the blockers and says what to do about them when it leaves the block. So
    translate the driver's errors inside.
    """
    conninfo = make_conninfo(target.conninfo, **connection.place)
    watch = Watch(replace(target, conninfo=conninfo), connection, listener, patience)
    try:
        yield watch
    except ServerError as exc:
        cause = exc.__cause__
        if watch.blockers and isinstance(cause, psycopg.Error) and cause.sqlstate in _ENDED_BY:
            exc.observed = f"{exc.observed}; blocked by {' and by '.join(map(str, watch.blockers))}"
            pids = [blocker.pid for blocker in watch.blockers]
            ends = [f"SELECT pg_terminate_backend({pid})" if pid else "ROLLBACK PREPARED" for pid in pids]
            ways = " and ".join(dict.fromkeys(ends))
            exc.next_step = f"wait until it has ended, end it by {ways}, or raise lock_timeout"
        raise
    finally:
        watch.end()


def sessions_in(connection: Connection, database: str, *, own: int, end_within: int | None = None) -> list[str]:
    """Who is connected to a database, in words; with `end_within`, a number of milliseconds, their sessions are ended.

    The caller's `own` session, which may be about to end, is ended too, but not returned.
    """
    rows = connection.execute(
        "SELECT pid, format('process %%s (%%s, role %%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),"
        " coalesce(usename, '?')), CASE WHEN %(ms)s >= 0 THEN pg_terminate_backend(pid, %(ms)s) END"
        " FROM pg_stat_activity WHERE datname = %(database)s AND pid <> pg_backend_pid()"
        # The type of a session of another role may be hidden; its role is not.
        " AND (backend_type = 'client backend' OR backend_type IS NULL AND usename IS NOT NULL) ORDER BY pid",
        {"database": database, "ms": -1 if end_within is None else end_within},
    ).fetchall()
    return [str(who) for pid, who, _ in rows if pid != own]


def shortened(query: str) -> str:
    """The beginning of a statement on one line, without the values in it."""
    text = redacted_sql(" ".join(query.split()))
    return text if len(text) <= QUERY_CHARACTERS else text[: QUERY_CHARACTERS - 1] + "…"
