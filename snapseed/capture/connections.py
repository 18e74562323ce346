"""Connections that see the source as of one moment, and what the errors of those who only read mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql

from snapseed.capture.request import CaptureRequest
from snapseed.errors import LoadError, ServerError, SnapseedError
from snapseed.postgres.connect import Session, Target, connected, require_session
from snapseed.postgres.failures import translated

_NOT_UTF8 = (
    "the database has bytes that are no text in its encoding, as SQL_ASCII allows: repair them, or --exclude the table"
)
_ADVICE = {
    # A standby ends a query that keeps it from replaying what the primary has done (PostgreSQL manual, 26.4.2).
    "40001": "on the standby, set hot_standby_feedback = on or raise max_standby_streaming_delay;"
    " or capture from the primary",
    "25006": "a capture only reads: use no condition, and no view or function, that writes",
    "22021": _NOT_UTF8,
    "22P05": _NOT_UTF8,
}
# Classes of errors whose messages quote values: data exceptions, and what functions raise.
_QUOTING = ("22", "P0")


@contextmanager
def joined(target: Target, leader: Session, request: CaptureRequest, *, most: int) -> Iterator[list[Session]]:
    """The leader and as many other connections as the jobs ask for, together `most` if there is no work for more.

    Their transactions have the leader's snapshot.
    """
    with ExitStack() as stack:
        sessions, jobs = [leader], min(request.jobs, most)
        if jobs > 1:
            require_session(leader, target)
            (exported,) = leader.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        while len(sessions) < jobs:
            try:
                session = stack.enter_context(connected(target))
            except SnapseedError as exc:
                exc.next_step = f"capture with --jobs {len(sessions)}, as many connections as there were"
                raise
            session.isolation_level, session.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            stack.enter_context(session.transaction())
            # Any query before it would give the transaction a snapshot of its own.
            session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
            show_rows(session, request)
            sessions.append(session)
        yield sessions


def show_rows(session: Session, request: CaptureRequest) -> None:
    """Let row-level security hide rows in this transaction, if that was asked for, instead of ending the query."""
    if request.visible_rows:
        session.execute("SET LOCAL row_security = on")


@contextmanager
def capturing(doing: str, target: Target) -> Iterator[None]:
    """Turn the driver's errors into ours, with advice for what happens to those who only read."""
    try:
        with translated(doing, target.described):
            yield
    except (ServerError, LoadError) as exc:
        if isinstance(exc.__cause__, psycopg.Error) and (advice := _ADVICE.get(exc.__cause__.sqlstate or "")):
            exc.next_step = advice
        raise


@contextmanager
def without_values(target: Target) -> Iterator[None]:
    """Leave the server's message out of an error that may quote a value, and out of its traceback."""
    try:
        yield
    except SnapseedError as exc:
        cause = exc.__cause__
        if not isinstance(cause, psycopg.Error) or not (cause.sqlstate or "").startswith(_QUOTING):
            raise
        raise type(exc)(
            exc.summary,
            where=target.described if cause.diag.context else exc.where,
            observed=f"{type(cause).__name__} [SQLSTATE {cause.sqlstate}]; the message may quote a value of a row, so"
            " it is not shown",
            next_step="run the query in psql to see the message",
        ) from None
