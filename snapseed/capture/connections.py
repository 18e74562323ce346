"""Connections that see the source as of one moment, and what the errors of those who only read mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from psycopg import sql

from snapseed.capture.request import CaptureRequest
from snapseed.errors import LoadError, ServerError, SnapseedError
from snapseed.postgres.connect import Session, Target, connected, require_session
from snapseed.postgres.failures import translated
from snapseed.postgres.threads import shared_among, shared_elsewhere

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

_Result = TypeVar("_Result")
Task = Callable[[Session, threading.Event], _Result]


@dataclass(frozen=True)
class Moment:
    """What a connection needs to see the source as of the same moment as the leader, which exported its snapshot.

    It holds as long as the leader's transaction. Picklable, and with the password. `hides`: no error quotes a value.
    """

    target: Target
    exported: str
    request: CaptureRequest
    hides: bool

    @contextmanager
    def joined(self) -> Iterator[Session]:
        """A new connection whose transaction has the snapshot."""
        with connected(self.target) as session:
            session.isolation_level, session.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            with session.transaction():
                # Any query before it would give the transaction a snapshot of its own.
                session.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self.exported)))
                show_rows(session, self.request)
                yield session

    def carry_out(self, task: Task[_Result]) -> _Result:
        """Read over a connection of its own: a task of an executor. Raises what `connected` and the task raise."""
        with capturing("capturing", self.target, hides=self.hides), self.joined() as session:
            return task(session, threading.Event())


@dataclass(frozen=True)
class Readers:
    """Who reads the source: the leader and other connections of this process; or the tasks of an executor, elsewhere.

    Without other connections, there is no moment to share.
    """

    sessions: Sequence[Session]
    moment: Moment | None = None
    executor: Executor | None = None

    def share(
        self,
        tasks: Sequence[Task[_Result]],
        done: Callable[[int, _Result], object] = lambda _number, _result: None,
    ) -> list[_Result]:
        """The result of each task, as in `shared_among`. For an executor they have to be picklable."""
        if self.executor is None or self.moment is None:
            return shared_among(self.sessions, tasks, done)
        return shared_elsewhere(self.executor, self.moment.carry_out, tasks, self.moment.request.jobs, done)


@contextmanager
def reading_with(
    target: Target, leader: Session, request: CaptureRequest, *, most: int, executor: Executor | None, hides: bool
) -> Iterator[Readers]:
    """The leader and as many others as the jobs ask for, together `most` if there is no work for more."""
    jobs = min(request.jobs, most)
    if jobs == 1 and executor is None:
        yield Readers([leader])
        return
    require_session(leader, target)
    (exported,) = leader.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
    moment = Moment(leader.anywhere(target), str(exported), request, hides)
    with ExitStack() as stack:
        sessions = [leader]
        while len(sessions) < jobs and executor is None:
            try:
                sessions.append(stack.enter_context(moment.joined()))
            except SnapseedError as exc:
                exc.next_step = f"capture with --jobs {len(sessions)}, as many connections as there were"
                raise
        yield Readers(sessions, moment, executor)


def show_rows(session: Session, request: CaptureRequest) -> None:
    """Let row-level security hide rows in this transaction, if that was asked for, instead of ending the query."""
    if request.visible_rows:
        session.execute("SET LOCAL row_security = on")


@contextmanager
def capturing(doing: str, target: Target, *, hides: bool = False) -> Iterator[None]:
    """Turn the driver's errors into ours, with advice for what happens to those who only read.

    With `hides`, the server's message is left out of an error that may quote a value, and out of its traceback.
    """
    try:
        with translated(doing, target.described):
            yield
    except SnapseedError as exc:
        cause = exc.__cause__
        state = (cause.sqlstate or "") if isinstance(cause, psycopg.Error) else ""
        if hides and isinstance(cause, psycopg.Error) and state.startswith(_QUOTING):
            raise type(exc)(
                exc.summary,
                where=target.described if cause.diag.context else exc.where,
                observed=f"{type(cause).__name__} [SQLSTATE {state}]; the message may quote a value of a row, so"
                " it is not shown",
                next_step="run the query in psql to see the message",
            ) from None
        if isinstance(exc, ServerError | LoadError) and (advice := _ADVICE.get(state)):
            exc.next_step = advice
        raise
