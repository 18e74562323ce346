"""Workers as a service: they come back after failures, in one process or in several."""

from __future__ import annotations

import gc
import math
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import cast

from snapseed.config import Environment, Project
from snapseed.embeddings.source import embedding_session
from snapseed.embeddings.worker import BatchDone, Worker
from snapseed.errors import EmbedderAwayError, ServerError, SnapseedError, without_interrupts
from snapseed.events import Event, Listener, ignore
from snapseed.postgres.failures import may_pass
from snapseed.postgres.retry import Attempted, RetryLimits, retried

# How often the parent of several processes asks whether to stop.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class WorkerFailed:
    """A worker failed, and comes back after `wait_seconds`."""

    error: SnapseedError
    wait_seconds: float

    def __str__(self) -> str:
        observed = f": {self.error.observed}" if self.error.observed else ""
        return f"{self.error.summary}{observed}; next attempt in {self.wait_seconds:.1f} s"


@dataclass(frozen=True)
class ServiceOptions:
    """How workers run: until the queue is empty or for ever, in how many processes, how long a failure may last."""

    drain: bool = False
    concurrency: int = 1
    consent: bool = False
    patience_seconds: float = math.inf
    restart_seconds: float = 1.0


def run_workers(
    project: Project,
    environment: Environment,
    options: ServiceOptions,
    listener: Listener = ignore,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Process jobs until told to stop, or until the queue is empty.

    The listener gets `BatchDone`, `Heartbeat` and `WorkerFailed`. Raises a failure that will not pass, or lasts longer
    than the patience. A process that dies is replaced.
    """
    if options.concurrency == 1:
        _keep_working(project, environment, options, listener, stopping)
    else:
        _Crew(project, environment, options, listener).run(stopping)


def _keep_working(
    project: Project,
    environment: Environment,
    options: ServiceOptions,
    listener: Listener,
    stopping: Callable[[], bool],
) -> None:
    """Run a worker; after a failure that may pass, open everything again and go on."""
    # What the libraries have allocated so far stays. Searching it for garbage takes as long as some hundred jobs.
    gc.freeze()

    def attempt() -> bool:
        """True once the work is done. False if it failed after doing some work: the retry limits then restart."""
        if stopping():
            return True
        was_well = False

        def told(event: Event) -> None:
            """Pass an event on. It says that the worker works, or waits for work."""
            nonlocal was_well
            was_well = True
            listener(event)

        try:
            with embedding_session(project, environment, consent=options.consent, doing="processing jobs") as session:
                Worker(session, told, stopping).run(drain=options.drain)
        except SnapseedError as exc:
            if not (was_well and _passes(exc)):
                raise
            listener(WorkerFailed(exc, 0.0))
            return False
        return True

    def failed(event: Event) -> None:
        """Tell of a failed attempt that another one follows."""
        if isinstance(event, Attempted) and event.error is not None and event.wait_seconds is not None:
            listener(WorkerFailed(event.error, event.wait_seconds))

    while not retried(attempt, RetryLimits(seconds=options.patience_seconds), failed, passes=_passes):
        pass


def _passes(error: SnapseedError) -> bool:
    """Whether it is worth starting the worker again."""
    return may_pass(error) or isinstance(error, EmbedderAwayError)


class _Crew:
    """Processes with a worker each. They send their events through pipes; SIGTERM tells them to stop."""

    def __init__(self, project: Project, environment: Environment, options: ServiceOptions, listener: Listener) -> None:
        self._project, self._environment = project, environment
        self._options, self._listener = options, listener
        self._members: dict[Pipe, BaseProcess] = {}
        self._ending = False
        self._dying_since = math.inf

    def run(self, stopping: Callable[[], bool]) -> None:
        """Keep as many workers running as asked for, until `stopping` or a failure that is no worker's own."""
        failure: SnapseedError | None = None
        try:
            for _ in range(self._options.concurrency):
                self._start()
            while self._members:
                if not self._ending and (failure or stopping()):
                    self._ending = True
                    for process in self._members.values():
                        process.terminate()
                for pipe in wait(list(self._members), timeout=_LOOK_SECONDS):
                    failure = self._take(cast("Pipe", pipe)) or failure
        finally:
            # Empty unless the parent is interrupted. What they hold goes to others after `claim_after`.
            for process in self._members.values():
                process.kill()
                process.join()
        if failure:
            raise failure

    def _start(self) -> None:
        """Spawn a worker, with a pipe on which it tells its events."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_member, args=(theirs, self._project, self._environment, self._options), name="snapseed worker"
        )
        with without_interrupts():
            process.start()
        theirs.close()
        self._members[ours] = process

    def _take(self, pipe: Pipe) -> SnapseedError | None:
        """Pass on what a process has sent, or replace it if it has died; returns a failure that ends all."""
        try:
            event = pipe.recv()
        except (EOFError, OSError):
            # The process has ended. It may have been killed while it was sending.
            return self._ended(pipe)
        if isinstance(event, SnapseedError):
            return event
        if isinstance(event, BatchDone):
            self._dying_since = math.inf
        self._listener(event)
        return None

    def _ended(self, pipe: Pipe) -> SnapseedError | None:
        """Replace a worker that died. Returns the failure once workers have only died for too long."""
        process = self._members.pop(pipe)
        pipe.close()
        process.join()
        if self._ending or not process.exitcode:
            return None
        died, now = ServerError("a worker process died", observed=f"exit code {process.exitcode}"), time.monotonic()
        self._dying_since = min(self._dying_since, now)
        if now - self._dying_since > self._options.patience_seconds:
            return died
        self._listener(WorkerFailed(died, self._options.restart_seconds))
        time.sleep(self._options.restart_seconds)
        self._start()
        return None


def _member(pipe: Pipe, project: Project, environment: Environment, options: ServiceOptions) -> None:
    """The main function of a process of the crew."""
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    try:
        _keep_working(project, environment, options, pipe.send, lambda: bool(ending))
    except SnapseedError as exc:
        pipe.send(exc)
    except BrokenPipeError:
        # The parent is gone. The jobs in progress were given back on the way here.
        return
