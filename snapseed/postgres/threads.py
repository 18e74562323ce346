"""Work that is shared among connections: each has a thread of its own, or a task of an executor opens it elsewhere."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from itertools import islice
from typing import TypeVar

import psycopg

from snapseed.postgres.connect import Session

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
# How often the server is told again to cancel.
_CANCEL_SECONDS = 0.1


def shared_among(
    sessions: Sequence[Session],
    tasks: Sequence[Callable[[Session, threading.Event], _Result]],
    done: Callable[[int, _Result], object] = lambda _number, _result: None,
) -> list[_Result]:
    """The result of each task, in the order of the tasks. Each runs on a thread, with a connection to itself.

    The caller's thread calls `done` with the number and the result of each task that has ended. When a task fails, or
    the caller is interrupted, the event that all tasks got is set, what the server does for the others is canceled,
    and all threads have ended before the error is raised.
    """
    free, stop = queue.SimpleQueue[Session](), threading.Event()
    for session in sessions:
        free.put(session)

    def run(task: Callable[[Session, threading.Event], _Result]) -> _Result:
        """Carry out a task as soon as a connection is free."""
        session = free.get()
        try:
            return task(session, stop)
        finally:
            free.put(session)

    with ThreadPoolExecutor(len(sessions), thread_name_prefix="connection") as pool:
        futures = [pool.submit(run, task) for task in tasks]
        numbers = {future: number for number, future in enumerate(futures)}
        try:
            for future in as_completed(futures):
                done(numbers[future], future.result())
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            while running := [future for future in futures if not future.done()]:
                for session in sessions:
                    with suppress(psycopg.Error):
                        session.cancel()
                # A thread that was between two statements does the next one.
                wait(running, _CANCEL_SECONDS)
            raise
        return [future.result() for future in futures]


def shared_elsewhere(
    executor: Executor,
    function: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    most: int,
    done: Callable[[int, _Result], object] = lambda _number, _result: None,
) -> list[_Result]:
    """The result of the function for each task, in the order of the tasks. At most `most` run at a time.

    The caller's thread calls `done` as in `shared_among`. Raises the first failure; tasks that run end on their own.
    """
    remaining, running, results = enumerate(tasks), dict[Future[_Result], int](), dict[int, _Result]()
    while True:
        for number, task in islice(remaining, most - len(running)):
            running[executor.submit(function, task)] = number
        if not running:
            return [results[number] for number in range(len(tasks))]
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            number = running.pop(future)
            results[number] = future.result()
            done(number, results[number])
