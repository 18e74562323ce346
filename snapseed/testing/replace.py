"""Replace a database by a copy of another one: copied first, then renamed in one transaction.

An environment's database keeps its settings. Whatever a crash leaves has the name of a clone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial

import msgspec
import psycopg
from psycopg import sql

from snapseed.errors import ServerError, UsageError
from snapseed.events import Listener
from snapseed.postgres import query
from snapseed.postgres.connect import Connection
from snapseed.postgres.locks import sessions_in
from snapseed.testing.server import QUERIES, Server, StateMark
from snapseed.testing.template import copy_database, fastest_strategy

# ALTER DATABASE … RENAME waits five seconds for sessions to go. Shorter tries end those that come back meanwhile.
_TRY_MILLISECONDS = 500
_TRIES = 20
# CREATE DATABASE waits five seconds for those in its template.
COPY_TRIES = 5
# How long a session may take to end before it counts as one that stays.
_END_MILLISECONDS = 5_000


class Replacing(Enum):
    """What happens while a database is replaced, as told to a listener."""

    # The copy is complete. The database is still in place.
    COPY_READY = auto()
    # The copy, if there is one, has the name. The old database, under another name, has not been dropped yet.
    RENAMED = auto()


def require_replaceable(server: Server, database: str) -> tuple[str, bool]:
    """The owner of a database, and whether it is marked as a template.

    Raises `UsageError` where the role does not own it, or replication is bound to it.
    """
    row = server.connection.execute(query("ownership", QUERIES), {"database": database}).fetchone()
    assert row is not None
    owner, is_template, is_owner, bound = row
    if bound:
        raise UsageError(
            "the database cannot be copied or replaced: replication uses it",
            where=database,
            observed=str(bound),
            expected="no logical replication slot and no subscription in it",
            next_step="drop them, or use `snapseed load`",
        )
    if not is_owner:
        raise UsageError(
            "only the owner of a database can copy or replace it",
            where=database,
            observed=f"it belongs to {owner!r}, and {server.identity.role!r} is not a member of that role",
            next_step="connect as the owner or as a superuser, or use `snapseed load`",
        )
    return str(owner), bool(is_template)


def keep_copy(server: Server, state: StateMark, name: str, own: int, listener: Listener) -> list[str]:
    """Copy the state's database into a database `name`, in the place of the one that is there, if any.

    Returns the sessions that were ended for it. `own`, the listener and what a crash leaves: as in `replace_database`.
    """
    copy, old = server.next_clone(), server.next_clone()
    copying = partial(copy_database, server, state.database, copy, state.strategy, connectable=False)
    try:
        ended = when_unused(server, state.database, copying, own=own, tries=COPY_TRIES)
        strategy = fastest_strategy(server, copy, state.size)
        server.set_mark(copy, msgspec.structs.replace(state, strategy=strategy))
        listener(Replacing.COPY_READY)
        with server.connection.transaction():
            if name in server.marks():
                server.execute("ALTER DATABASE {} RENAME TO {}", name, old)
            server.execute("ALTER DATABASE {} RENAME TO {}", copy, name)
    except BaseException:
        with suppress(psycopg.Error):
            server.drop(copy)
        raise
    listener(Replacing.RENAMED)
    with suppress(psycopg.Error):
        server.drop(old)
    return ended


def replace_database(
    server: Server, database: str, source: str, strategy: str, own: int, listener: Listener
) -> list[str]:
    """Put a copy of the database `source` in the place of `database`, and return the sessions that were ended for it.

    Until the last moment nothing is changed; then both renames are committed together. If a crash leaves something
    behind (before that the copy, after it the old database), it is named as a clone, and is dropped with this run.
    `own` is the process id of the caller's session that is about to end. The listener gets `Replacing`.
    """
    owner, is_template = require_replaceable(server, database)
    copy, old = server.next_clone(), server.next_clone()

    def exchange_names() -> None:
        try:
            with server.connection.transaction():
                server.connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(_TRY_MILLISECONDS))
                server.execute("ALTER DATABASE {} RENAME TO {}", database, old)
                server.execute("ALTER DATABASE {} RENAME TO {}", copy, database)
        except psycopg.errors.QueryCanceled as exc:
            raise psycopg.errors.ObjectInUse from exc

    try:
        copy_database(server, source, copy, strategy, owner=owner)
        with server.connection.transaction():
            _copy_properties(server.connection, database, copy)
        listener(Replacing.COPY_READY)
        ended = when_unused(server, database, exchange_names, own=own, tries=_TRIES)
    except BaseException:
        with suppress(psycopg.Error):
            server.drop(copy)
        raise
    listener(Replacing.RENAMED)
    with suppress(psycopg.Error):
        # If the old one cannot be dropped now, it is dropped with the run.
        if is_template:
            server.execute("ALTER DATABASE {} IS_TEMPLATE false", old)
        server.drop(old)
    return ended


def when_unused(server: Server, database: str, action: Callable[[], None], *, own: int, tries: int) -> list[str]:
    """Do something that no other session in the database may see, and return the sessions that were ended for it.

    `own`, the process id of a session of the caller that is about to end, does not count. Raises `ServerError` that
    names the sessions where programs connect again as fast as they are ended, or the role may not end them.
    """
    ended: list[str] = []
    for _ in range(tries):
        try:
            ended += sessions_in(server.connection, database, own=own, end_within=_END_MILLISECONDS)
        except psycopg.errors.InsufficientPrivilege:
            problem = "sessions of other roles are connected to the database, and this role may not end them"
            break
        with suppress(psycopg.errors.ObjectInUse):
            action()
            return ended
    else:
        problem = "programs connect to the database again faster than their sessions are ended"
    raise ServerError(
        problem,
        where=database,
        observed="; ".join(sessions_in(server.connection, database, own=own)) or "a session, or a prepared transaction",
        next_step="stop the programs that use it, or their connection pools, and run the same command again",
    )


def _copy_properties(connection: Connection, database: str, copy: str) -> None:
    """Give the copy what belongs to a database and not to its contents, which CREATE DATABASE does not copy."""
    rows = connection.execute(query("properties", QUERIES), {"database": database, "copy": copy}).fetchall()
    for setting, statement in rows:
        try:
            connection.execute(str(statement).encode())
        except psycopg.errors.InsufficientPrivilege as exc:
            raise UsageError(
                "a property of the database could not be copied",
                where=f"{setting or 'the properties'} of {database}",
                observed=exc.diag.message_primary,
                next_step="connect as a superuser, or ask one to GRANT SET ON PARAMETER to the role (PostgreSQL 15)",
            ) from exc
