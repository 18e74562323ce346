"""Templates: complete databases that are copied. They are made once, found again, copied, and dropped when unused.

A process makes a template under an advisory lock and marks it complete last. Its users hold a shared lock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle

import msgspec
import psycopg
from psycopg import sql

from snapseed.errors import SnapseedError
from snapseed.snapshot.manifest import Manifest
from snapseed.testing.server import KeptMark, Server, StateMark, TemplateMark, another_connection, lock_of

# How a database is copied. PostgreSQL 14 has no strategies: it always copies files.
SERVER_DEFAULT = ""
WAL_LOG = "wal_log"
FILE_COPY = "file_copy"
# With `file_copy_method = clone`: on a copy-on-write file system, blocks are shared instead of copied.
FILE_CLONE = "file_clone"
_STRATEGIES_SINCE = 15
_CLONES_SINCE = 18
# FILE_COPY forces two checkpoints, WAL_LOG writes every page to the log as well. Measured with PostgreSQL 18 on ext4,
# milliseconds of WAL_LOG ÷ FILE_COPY: 8 MB 0.8, 24 MB 1.05, 41 MB 1.1, 73 MB 1.2, 139 MB 1.4, 270 MB 1.7, 532 MB 2.4.
FILES_FROM_BYTES = 24 * 10**6

# As many as a small suite leaves. Each takes a connection.
MOST_AT_ONCE = 16
# A use of a template is noted at most this often: what drops unused ones counts in days.
_TOUCH_SECONDS = 3600
# A template that was not used for a week can be rebuilt in the time of a load.
_MAX_AGE_SECONDS = 7 * 24 * 3600
# A template takes the room of a snapshot with its indexes. This many branches and environments can take turns.
_MAX_TEMPLATES = 8


@dataclass(frozen=True)
class Template:
    """A complete template, which nobody drops while the connection that asked for it is open."""

    name: str
    mark: TemplateMark
    made: bool

    def copy(self, server: Server, name: str) -> None:
        """Create a database from it. The driver's errors pass through."""
        copy_database(server, self.name, name, self.mark.strategy)


def find_template(server: Server, name: str) -> Template | None:
    """The template, held from now on, or None where there is no complete one."""
    server.lock(name, shared=True)
    mark = server.marks().get(name)
    if isinstance(mark, TemplateMark):
        return Template(name, _touched(server, name, mark), made=False)
    server.unlock(name, shared=True)
    return None


def hold_template(server: Server, name: str, manifest: Manifest, make: Callable[[], dict[str, str]]) -> Template:
    """The template, held from now on. Where it is missing or was left half-made, `make` creates the database `name`.

    `make` returns fingerprints of the tables outside the snapshot, or nothing where they do not matter. Processes that
    come while another one makes the template wait for it. If that one is killed, the first of them makes it instead.
    """
    if (found := find_template(server, name)) is not None:
        return found
    server.lock(name)
    try:
        return find_template(server, name) or _make(server, name, manifest, make)
    finally:
        with suppress(psycopg.Error):
            server.unlock(name)


def copy_database(
    server: Server, source: str, name: str, strategy: str, *, owner: str | None = None, connectable: bool = True
) -> None:
    """`CREATE DATABASE name TEMPLATE source`. The driver's errors pass through."""
    options: sql.Composable = sql.SQL("" if connectable else " ALLOW_CONNECTIONS false")
    if owner is not None:
        options += sql.SQL(" OWNER {}").format(sql.Identifier(owner))
    if strategy == WAL_LOG:
        options += sql.SQL(" STRATEGY wal_log")
    elif strategy != SERVER_DEFAULT:
        options += sql.SQL(" STRATEGY file_copy")
    if strategy in {FILE_COPY, FILE_CLONE} and server.identity.version >= _CLONES_SINCE:
        method = sql.SQL("clone" if strategy == FILE_CLONE else "copy")
        server.connection.execute(sql.SQL("SET file_copy_method = {}").format(method))
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
    server.connection.execute(statement + options)


def strategy_for(server: Server, size: int) -> str:
    """The fastest strategy for a database of `size` bytes, as far as it is known without a trial."""
    if server.identity.version < _STRATEGIES_SINCE:
        return SERVER_DEFAULT
    return WAL_LOG if size < FILES_FROM_BYTES else _tried(server) or FILE_COPY


def fastest_strategy(server: Server, template: str, size: int) -> str:
    """The fastest strategy for a template of `size` bytes.

    Only a trial tells whether the file system shares blocks. Where it does not, PostgreSQL asks for a clone and gets a
    copy, which is slower than its own. Another large database of this role knows what its trial has found.
    """
    strategy = strategy_for(server, size)
    if strategy != FILE_COPY or server.identity.version < _CLONES_SINCE or _tried(server):
        return strategy
    cloned, copied = (_seconds_to_copy(server, template, way) for way in (FILE_CLONE, FILE_COPY))
    return FILE_CLONE if cloned < copied else FILE_COPY


def drop_unused(server: Server, *, max_age: float = _MAX_AGE_SECONDS, max_templates: int = _MAX_TEMPLATES) -> list[str]:
    """Drop this role's clones of processes that are gone, and its templates by age and number; return their names.

    Databases in use are recognized by their locks. The locks of this session do not count, so its clones are dropped
    with the rest. A clone that was kept stays until it is older than `max_age`, in seconds. States stay; what a save or
    the end of a state has left has the name of a clone.
    """
    marks = server.marks()
    locks = {name: lock for name in marks if (lock := lock_of(name))}
    complete = [(mark.used, name) for name, mark in marks.items() if name in locks and isinstance(mark, TemplateMark)]
    too_many = {name for _, name in sorted(complete, reverse=True)[max_templates:]}
    doomed = []
    for name, lock in locks.items():
        if not server.try_lock(lock):
            continue
        # Read under the lock: it may have been completed, used or kept since the list was made.
        mark = server.marks().get(name)
        if not isinstance(mark, TemplateMark | KeptMark) or name in too_many or time.time() - mark.used > max_age:
            doomed.append(name)
        else:
            server.unlock(lock)
    dropped = drop_together(server, doomed)
    for name in doomed:
        server.unlock(locks[name])
    return dropped


def drop_together(server: Server, names: Sequence[str]) -> list[str]:
    """Drop databases, several at once over connections of their own, and return the names of those that are gone.

    Each drop waits for a checkpoint, which first writes to disk whatever other databases have in memory. Dropped
    together, all forget that before the first checkpoint: 16 small copies took 1 s, and 26 s one after the other.
    """
    dropped: list[str] = []

    def drop(session: Server, name: str) -> None:
        # Somebody may be copying it by hand. A later run finds it again.
        with suppress(psycopg.errors.ObjectInUse):
            session.drop(name)
            dropped.append(name)

    for start in range(0, len(names), MOST_AT_ONCE):
        batch = names[start : start + MOST_AT_ONCE]
        # At most half of the connections that nobody has, so that tests that are still running find some.
        free = server.connection.execute(
            "SELECT (current_setting('max_connections')::int - count(*)) / 2 FROM pg_stat_activity"
        ).fetchone()
        most = min(len(batch), int(str(free[0])) if free else 1)
        with ExitStack() as stack, ThreadPoolExecutor(len(batch)) as threads:
            sessions = [server]
            # Where the role may have no more, those that are there take turns.
            with suppress(SnapseedError):
                while len(sessions) < most:
                    sessions.append(stack.enter_context(another_connection(server)))
            list(threads.map(drop, cycle(sessions), batch))
    return dropped


def _make(server: Server, name: str, manifest: Manifest, make: Callable[[], dict[str, str]]) -> Template:
    """Make a template, find its fastest copy, and mark it as complete last."""
    server.drop(name)
    try:
        outside = make()
        size = server.size(name)
        strategy = fastest_strategy(server, name, size)
        mark = TemplateMark(manifest.name, manifest.identity, int(time.time()), size, strategy, outside)
        with server.connection.transaction():
            # A session in it would keep others from copying it.
            server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
            server.set_mark(name, mark)
        server.lock(name, shared=True)
    except BaseException:
        # As far as the connection allows. A later run drops what is left.
        with suppress(psycopg.Error):
            server.drop(name)
        raise
    return Template(name, mark, made=True)


def _touched(server: Server, name: str, mark: TemplateMark) -> TemplateMark:
    """The mark with the time of this use, if it is time to write it and no other process is about to."""
    now = int(time.time())
    lock = f"{name} mark"
    if now - mark.used < _TOUCH_SECONDS or not server.try_lock(lock):
        return mark
    mark = msgspec.structs.replace(mark, used=now)
    server.set_mark(name, mark)
    server.unlock(lock)
    return mark


def _tried(server: Server) -> str | None:
    """The strategy of a large database of this role; None where there is none."""
    strategies = (mark.strategy for mark in server.marks().values() if isinstance(mark, TemplateMark | StateMark))
    return next((strategy for strategy in strategies if strategy in {FILE_COPY, FILE_CLONE}), None)


def _seconds_to_copy(server: Server, template: str, strategy: str) -> float:
    """How long a copy takes; for ever where the server cannot make one in this way."""
    spare, started = server.next_clone(), time.monotonic()
    try:
        copy_database(server, template, spare, strategy)
        return time.monotonic() - started
    except psycopg.Error:
        # The server was built without clones, or its file system refuses them. Neither is a reason to fail.
        return math.inf
    finally:
        server.drop(spare)
