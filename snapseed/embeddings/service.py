"""Workers as a service: they come back after failures that pass, in one process or in several, until told to end."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from snapseed.config import Environment, Project
from snapseed.embeddings.session import embedding_session
from snapseed.embeddings.worker import BatchDone, Worker
from snapseed.errors import EmbedderAwayError, ServerError, SnapseedError
from snapseed.postgres.failures import may_pass
from snapseed.servers.targets import redis_translated

# After a failure that may pass; a server that restarts is back within seconds.
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Events:
    """What is told as it happens: each batch, each beat of a worker without work, each failure it comes back from."""

    batch: Callable[[BatchDone], None] = lambda _: None
    beat: Callable[[], None] = lambda: None
    failure: Callable[[SnapseedError, float], None] = lambda _, __: None


@dataclass(frozen=True)
class ServiceOptions:
    """How the workers work: until the queue is empty, in how many processes, and how long a failure may last."""

    drain: bool = False
    concurrency: int = 1
    consent: bool = False
    patience_seconds: float | None = None


def run_workers(
    project: Project, environment: Environment, options: ServiceOptions, events: Events, stopping: Callable[[], bool]
) -> None:
    """Work until told to stop, or until the queue is empty.

    Raises what will not pass, and what lasts longer than the patience. A process that dies is started again.
    """
    if options.concurrency == 1:
        _come_back(project, environment, options, events, stopping)
        return
    _Crew(project, environment, options, events, stopping).run()


def _come_back(
    project: Project, environment: Environment, options: ServiceOptions, events: Events, stopping: Callable[[], bool]
) -> None:
    # What the libraries have made by now stays for good; to look through it for garbage takes as long as some hundred
    # jobs, again and again.
    gc.freeze()
    pause, failing_since = _FIRST_WAIT_SECONDS, None
    while not stopping():
        worked = False

        def told(done: BatchDone) -> None:
            nonlocal worked
            worked = True
            events.batch(done)

        try:
            with (
                embedding_session(project, environment, consent=options.consent) as session,
                redis_translated("working the queue", session.redis),
            ):
                where = session.target.described
                worker = Worker(
                    session.connection, session.queue, session.source, where, told, _beating(events, stopping)
                )
                worker.run(drain=options.drain)
        except SnapseedError as exc:
            if worked:
                pause, failing_since = _FIRST_WAIT_SECONDS, None
            failing_since = failing_since or time.monotonic()
            patience = options.patience_seconds
            if not _passes(exc) or (patience is not None and time.monotonic() - failing_since > patience):
                raise
            events.failure(exc, pause)
            _sleep(pause, stopping)
            pause = min(2 * pause, _LONGEST_WAIT_SECONDS)
        else:
            return


def _passes(error: SnapseedError) -> bool:
    return may_pass(error) or isinstance(error, EmbedderAwayError)


def _beating(events: Events, stopping: Callable[[], bool]) -> Callable[[], bool]:
    def ask() -> bool:
        events.beat()
        return stopping()

    return ask


def _sleep(seconds: float, stopping: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not stopping() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_SECONDS))


@dataclass
class _Crew:
    """Processes, each with a worker; they tell by a pipe what happens, and end by SIGTERM.

    One that dies is replaced, after pauses that grow for as long as no batch is done in between.
    """

    project: Project
    environment: Environment
    options: ServiceOptions
    events: Events
    stopping: Callable[[], bool]
    _members: dict[Pipe, BaseProcess] = field(default_factory=dict, init=False)
    _starts_at: list[float] = field(default_factory=list, init=False)
    _pause: float = field(default=_FIRST_WAIT_SECONDS, init=False)
    _dying_since: float | None = field(default=None, init=False)

    def run(self) -> None:
        try:
            self._run()
        finally:
            # Nobody is left, unless this is the way out at once: then whatever they hold is given to others later.
            for process in self._members.values():
                process.kill()
                process.join()

    def _run(self) -> None:
        self._starts_at = [0.0] * self.options.concurrency
        told_to_end, failure = False, None
        while self._members or self._starts_at:
            if (self.stopping() or failure) and not told_to_end:
                told_to_end = True
                for process in self._members.values():
                    process.terminate()
            self._start_due(to_end=told_to_end)
            # Without any, it waits all the same: until the next one is due.
            for ready in wait(list(self._members), timeout=_LOOK_SECONDS) if self._members else self._nothing():
                assert isinstance(ready, Pipe)
                failure = self._take(ready) or failure
        if failure:
            raise failure

    @staticmethod
    def _nothing() -> list[Pipe]:
        time.sleep(_FIRST_WAIT_SECONDS)
        return []

    def _start_due(self, *, to_end: bool) -> None:
        """Start the processes whose time has come; none when all are to end."""
        now = time.monotonic()
        due = [at for at in self._starts_at if at <= now]
        self._starts_at = [] if to_end else [at for at in self._starts_at if at > now]
        for _ in [] if to_end else due:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_member, args=(theirs, self.project, self.environment, self.options), name="snapseed worker"
            )
            process.start()
            theirs.close()
            self._members[ours] = process

    def _take(self, pipe: Pipe) -> SnapseedError | None:
        """What a process has told; None unless it has failed for good."""
        try:
            kind, *values = pipe.recv()
        except (EOFError, OSError):
            # It has ended, or was killed while it told something.
            return self._ended(pipe)
        if kind == "failed":
            return values[0] if isinstance(values[0], SnapseedError) else None
        if kind == "batch":
            self._pause, self._dying_since = _FIRST_WAIT_SECONDS, None
        getattr(self.events, kind)(*values)
        return None

    def _ended(self, pipe: Pipe) -> SnapseedError | None:
        process = self._members.pop(pipe)
        pipe.close()
        process.join()
        if not process.exitcode or self.stopping():
            return None
        lost = ServerError("a worker process has died", observed=f"exit code {process.exitcode}")
        now = time.monotonic()
        self._dying_since = self._dying_since or now
        if self.options.patience_seconds is not None and now - self._dying_since > self.options.patience_seconds:
            return lost
        self.events.failure(lost, self._pause)
        self._starts_at.append(now + self._pause)
        self._pause = min(2 * self._pause, _LONGEST_WAIT_SECONDS)
        return None


def _member(pipe: Pipe, project: Project, environment: Environment, options: ServiceOptions) -> None:
    """What a process of the crew does."""
    ending = []

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.append(True)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    events = Events(
        batch=lambda done: pipe.send(("batch", done)),
        beat=lambda: pipe.send(("beat",)),
        failure=lambda error, pause: pipe.send(("failure", error, pause)),
    )
    try:
        _come_back(project, environment, options, events, lambda: bool(ending))
    except SnapseedError as exc:
        pipe.send(("failed", exc))
    except BrokenPipeError:
        # The parent is gone; what is in hand was given back on the way here.
        return
