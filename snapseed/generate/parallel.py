"""Make the parts of a snapshot side by side, in processes, and tell how far they are."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized

from snapseed.errors import GeneratorError, without_interrupts
from snapseed.generate.part import PartResult, PartTask, Told, make_part

# Tasks handed out ahead of the one whose result is next, per process: enough that no process waits for work.
_AHEAD = 2
# How often to ask the processes how far they are.
_ASKED_SECONDS = 0.2
# polars reads this when it is imported, so it only affects processes that are started later.
_POLARS_THREADS = "POLARS_MAX_THREADS"


def available_cores() -> int:
    """Cores that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_parts(
    tasks: Iterable[PartTask], told: Told, *, jobs: int, executor: Executor | None = None
) -> Iterator[PartResult]:
    """The result of each task, in the order of the tasks: made by `jobs` processes, or by the executor if there is one.

    A single job is done in this process. `told` hears of each slice, and with 0 while nothing happens; of an
    executor, it hears of whole parts. Raises what the first part to fail raised, and `GeneratorError` if a process
    died.
    """
    if executor is not None:
        for task, part in _through(executor, make_part, tasks, _AHEAD * max(jobs, available_cores())):
            told(task.last - task.first)
            yield part
        return
    if jobs <= 1:
        for task in tasks:
            yield make_part(task, told)
        return
    # Spawned, not forked: polars runs threads, and a fork would leave them in an unknown state.
    context = multiprocessing.get_context("spawn")
    made, known = context.Value("q", 0), 0

    def ask() -> None:
        nonlocal known
        # Without the lock, which a process that was killed may hold.
        before, known = known, made.get_obj().value
        told(known - before)

    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(made,))
    try:
        with _one_thread_each():
            for _, part in _through(pool, _make_counted, tasks, _AHEAD * jobs, ask):
                yield part
        ask()
    except BaseException:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before Python 3.14
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _through(
    executor: Executor,
    make: Callable[[PartTask], PartResult],
    tasks: Iterable[PartTask],
    ahead: int,
    ask: Callable[[], None] | None = None,
) -> Iterator[tuple[PartTask, PartResult]]:
    """Each task with its result. While one is waited for, `ask` is called now and then."""
    waiting: deque[tuple[PartTask, Future[PartResult]]] = deque()

    def first() -> tuple[PartTask, PartResult]:
        task, future = waiting.popleft()
        while ask is not None and wait([future], _ASKED_SECONDS).not_done:
            ask()
        return task, future.result()

    try:
        for task in tasks:
            # This may start a process. It must not print a traceback when Ctrl-C reaches it among its imports.
            with without_interrupts():
                waiting.append((task, executor.submit(make, task)))
            if len(waiting) >= ahead:
                yield first()
        while waiting:
            yield first()
    except BrokenProcessPool as exc:
        raise GeneratorError(
            "a process that was making parts died",
            observed=str(exc),
            next_step="check whether memory ran out, or use --jobs 1;"
            " a script of your own needs `if __name__ == '__main__':`",
        ) from exc


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give processes that are started inside one polars thread each, unless the user chose: there is one per core."""
    if _POLARS_THREADS in os.environ:
        yield
        return
    os.environ[_POLARS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_POLARS_THREADS]


# In a process that makes parts: the root rows that all of them have made.
_made: Synchronized[int]


def _begin(made: Synchronized[int]) -> None:
    global _made  # noqa: PLW0603 - the only way from an initializer to the tasks
    _made = made
    # Ctrl-C is the parent's, which ends its workers with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed cannot end them, and they must not write into the folder of a later run.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _make_counted(task: PartTask) -> PartResult:
    def count(rows: int) -> None:
        with _made.get_lock():
            _made.value += rows

    return make_part(task, count)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
