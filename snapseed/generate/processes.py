"""Have parts made, one after the other here or side by side in other processes, and hand them back in their order."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from snapseed.errors import GeneratorError
from snapseed.generate.part import PartResult, PartTask, make_part

# Tasks handed out ahead of the one that is awaited, per process: enough that none waits for work.
_AHEAD = 2
# Read by polars when it is imported, which in this process has happened.
_POLARS_THREADS = "POLARS_MAX_THREADS"


def available_cores() -> int:
    """Cores that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_parts(tasks: Sequence[PartTask], *, jobs: int, executor: Executor | None = None) -> Iterator[PartResult]:
    """The result of each task, in the order of the tasks, whoever was ready first.

    Starts no process for a single task or a single job. Raises what the first failing part raised, and
    `GeneratorError` where a process died.
    """
    if executor is not None:
        yield from _through(executor, tasks, _AHEAD * available_cores())
        return
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        yield from map(make_part, tasks)
        return
    # Spawned, not forked: polars runs threads, which a fork would leave in an unknown state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_follow_the_parent)
    try:
        with _one_thread_each():
            yield from _through(pool, tasks, _AHEAD * jobs)
    except BaseException:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before Python 3.14
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _through(executor: Executor, tasks: Sequence[PartTask], ahead: int) -> Iterator[PartResult]:
    waiting: deque[Future[PartResult]] = deque()
    remaining = iter(tasks)
    try:
        for task in remaining:
            waiting.append(executor.submit(make_part, task))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as exc:
        raise GeneratorError(
            "a process that was making parts died",
            observed=str(exc),
            next_step="look for a shortage of memory, or use one job;"
            " a script of your own needs `if __name__ == '__main__':`",
        ) from exc


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside have one thread of polars each, unless somebody chose: there is one for every core."""
    if _POLARS_THREADS in os.environ:
        yield
        return
    os.environ[_POLARS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_POLARS_THREADS]


def _follow_the_parent() -> None:
    # Ctrl-C reaches the whole process group; the parent decides, and ends its workers by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed can end nobody: its workers must not write into the folder of a later run.
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
