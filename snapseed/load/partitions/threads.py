"""Carry out tasks of a parallel load, each over a connection of its own: in threads of this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import islice

import psycopg

from snapseed.events import Advanced, Event, Listener
from snapseed.load.partitions.part import StagedPart, StagePart, stage_over, stage_part
from snapseed.load.prepare import LoadSession
from snapseed.postgres.connect import Session, connected
from snapseed.postgres.locks import watching

# How often a connection is told to stop: it may be between two statements when it is told so.
_CANCEL_SECONDS = 0.1


class _StoppedError(Exception):
    """Another connection has failed, or the user has interrupted the load."""


class _Crew:
    """Threads that share the tasks of one step. The first failure, or Ctrl-C, stops them all."""

    def __init__(self, session: LoadSession, tasks: Sequence[StagePart]) -> None:
        self.failures: list[BaseException] = []
        self._session, self._total = session, sum(task.rows for task in tasks)
        self._target = tasks[0].target
        self._copied: dict[str, int] = {}
        self._connections: list[Session] = []
        self._is_stopped = False
        # The largest first, so that none is left for the end. Threads may share an iterator over a list.
        self._remaining = iter(sorted(tasks, key=lambda task: task.rows, reverse=True))

    def work(self) -> list[StagedPart]:
        """What one thread does: connect, and carry out tasks until none is left."""
        done = []
        try:
            with connected(self._target) as own, watching(self._target, own, self._session.listener) as watch:
                self._connections.append(own)
                for task in self._remaining:
                    self._require_going()
                    done.append(stage_over(own, task, partial(self._tell, task.name, watch.tell)))
        except BaseException as exc:
            self.failures.append(exc)
            self._is_stopped = True
            raise
        return done

    def stop(self) -> None:
        """Stop what is going on. A connection may be between two statements when it is told so, so call it again."""
        self._is_stopped = True
        for connection in self._connections:
            with suppress(psycopg.Error):
                connection.cancel()

    def _require_going(self) -> None:
        if self._is_stopped:
            raise _StoppedError

    def _tell(self, name: str, listener: Listener, event: Event) -> None:
        self._require_going()
        if isinstance(event, Advanced):
            self._copied[name] = event.done
            listener(Advanced(event.what, min(sum(self._copied.values()), self._total), self._total))


def over_threads(session: LoadSession, tasks: Sequence[StagePart]) -> list[StagedPart]:
    """The results of tasks that do not depend on each other. Raises the first failure."""
    crew, count = _Crew(session, tasks), min(len(tasks), session.environment.connections)
    with ThreadPoolExecutor(count, "partitions") as pool:
        running = [pool.submit(crew.work) for _ in range(count)]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            while any(not thread.done() for thread in running):
                crew.stop()
                wait(running, timeout=_CANCEL_SECONDS)
    if crew.failures:
        raise crew.failures[0]
    return [part for thread in running for part in thread.result()]


def elsewhere(session: LoadSession, tasks: Sequence[StagePart]) -> list[StagedPart]:
    """The results of tasks that do not depend on each other, by the executor of the load. Raises the first failure."""
    assert session.executor is not None
    total, copied, done = sum(task.rows for task in tasks), 0, list[StagedPart]()
    running: dict[Future[StagedPart], StagePart] = {}
    # The largest first, so that none is left for the end.
    remaining = iter(sorted(tasks, key=lambda task: task.rows, reverse=True))
    while True:
        for task in islice(remaining, session.environment.connections - len(running)):
            running[session.executor.submit(stage_part, task)] = task
        if not running:
            return done
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task = running.pop(future)
            done.append(future.result())
            copied += task.rows
            if task.rows:
                session.listener(Advanced(task.table.entity.name, copied, total))
