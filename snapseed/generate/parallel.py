"""Make the parts of a snapshot side by side, in processes, and tell how far they are."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.sharedctypes import Synchronized

from snapseed.errors import GeneratorError, without_interrupts
from snapseed.generate.part import PartResult, PartTask, Told, make_part
from snapseed.generate.request import Tasks

# Tasks handed out ahead of the one whose result is next, per process: enough that no process waits for work. The
# workers of a cluster differ more in speed, and a part is late if its worker dies.
_AHEAD, _AHEAD_ELSEWHERE = 2, 8
# How often to ask the processes how far they are.
_ASKED_SECONDS = 0.2
# polars reads this when it is imported, so it only affects processes that are started later.
_POLARS_THREADS = "POLARS_MAX_THREADS"


def available_cores() -> int:
    """Cores that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_parts(
    tasks: Tasks, told: Told, *, jobs: int, executor: Executor | None = None
) -> Generator[PartResult, None, None]:
    """The result of each task, in the order of the tasks, as soon as it and all before it are there.

    The executor makes them if there is one, and `told` hears of whole parts. Otherwise this process makes them. Once
    that has taken `request.alone` seconds, and the rest will take as long, it starts others, so that `jobs` make them.
    `told` hears of each slice, and with 0 while nothing happens. Raises what a part raised, and `GeneratorError` if a
    process died.
    """
    following, made = 0, dict[int, PartResult]()
    numbered = _made_elsewhere(tasks, told, executor) if executor else _made_here(tasks, told, jobs)
    with closing(numbered):
        for number, part in numbered:
            made[number] = part
            while following in made:
                yield made.pop(following)
                following += 1


def _made_elsewhere(tasks: Tasks, told: Told, executor: Executor) -> Generator[tuple[int, PartResult], None, None]:
    """The result of each task with its number, made by the executor."""

    def ahead() -> int:
        return _AHEAD_ELSEWHERE * getattr(executor, "width", available_cores())

    yield from _Others(executor, make_part, enumerate(tasks), ahead, told).results()


def _made_here(tasks: Tasks, told: Told, jobs: int) -> Generator[tuple[int, PartResult], None, None]:
    """The result of each task with its number, made by this process and, if it takes long, by others too."""
    rest, began, done = enumerate(tasks), time.monotonic(), 0
    others: _Others | None = None
    with ExitStack() as stack:

        def count(rows: int) -> None:
            """Tell of a slice, and start other processes once that pays."""
            nonlocal others, done
            told(rows)
            done += rows
            seconds = time.monotonic() - began
            if others is not None:
                others.advance()
            elif jobs > 1 and min(1, (tasks.root_rows - done) / done) * seconds > tasks.request.alone:
                pool, ask = stack.enter_context(_processes(jobs - 1, told))
                others = _Others(pool, _make_counted, rest, lambda: _AHEAD * (jobs - 1), lambda _: ask(), ask)

        for number, task in rest:
            yield number, make_part(task, count)
            if others is not None:
                yield from others.ready()
        if others is not None:
            yield from others.results()


@contextmanager
def _processes(jobs: int, told: Told) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """Processes that make parts, and what to call now and then so that `told` hears of their slices."""
    # Spawned, not forked: polars runs threads, and a fork would leave them in an unknown state.
    context = multiprocessing.get_context("spawn")
    made, known = context.Value("q", 0), 0

    def ask() -> None:
        """Tell how many root rows have been made since the last call."""
        nonlocal known
        # Without the lock, which a process that was killed may hold.
        before, known = known, made.get_obj().value
        told(known - before)

    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(made,))
    try:
        with one_thread_each():
            yield pool, ask
        ask()
    except BaseException:
        for process in list((pool._processes or {}).values()):  # noqa: SLF001 - no public way before Python 3.14
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class _Others:
    """Makes parts by an executor. `told` hears of each, and `ask` is called now and then while nothing happens."""

    executor: Executor
    make: Callable[[PartTask], PartResult]
    tasks: Iterator[tuple[int, PartTask]]
    ahead: Callable[[], int]
    told: Told
    ask: Callable[[], None] | None = None
    _waiting: deque[tuple[int, PartTask, Future[PartResult]]] = field(default_factory=deque)
    _made: list[tuple[int, PartResult]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.advance()

    def advance(self) -> None:
        """Take the results that have come, and hand out as many tasks."""
        while self._waiting and self._waiting[0][2].done():
            self._take()
        for number, task in islice(self.tasks, max(0, self.ahead() - len(self._waiting))):
            # This may start a process. It must not print a traceback when Ctrl-C reaches it among its imports.
            with without_interrupts():
                self._waiting.append((number, task, self.executor.submit(self.make, task)))

    def ready(self) -> list[tuple[int, PartResult]]:
        """The results that were taken since the last call, each with the number of its task."""
        ready, self._made = self._made, []
        return ready

    def results(self) -> Iterator[tuple[int, PartResult]]:
        """All results that are left. Waits for them."""
        while self._waiting or self._made:
            yield from self.ready()
            if self._waiting:
                while self.ask and wait([self._waiting[0][2]], _ASKED_SECONDS).not_done:
                    self.ask()
                self._take()
                self.advance()

    def _take(self) -> None:
        """Wait for the first result that is missing, and tell of it."""
        number, task, future = self._waiting.popleft()
        try:
            self._made.append((number, future.result()))
        except BrokenProcessPool as exc:
            raise GeneratorError(
                "a process that was making parts died",
                observed=str(exc),
                next_step="check whether memory ran out, or use --jobs 1;"
                " a script of your own needs `if __name__ == '__main__':`",
            ) from exc
        self.told(task.last - task.first)


@contextmanager
def one_thread_each() -> Iterator[None]:
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
    """Prepare a process that makes parts."""
    global _made  # noqa: PLW0603 - the only way from an initializer to the tasks
    _made = made
    # Ctrl-C is the parent's, which ends its workers with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that was killed cannot end them, and they must not write into the folder of a later run.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _make_counted(task: PartTask) -> PartResult:
    """Make a part in a process that was started for it, and count its root rows."""

    def count(rows: int) -> None:
        """Add a slice to the root rows that all processes have made."""
        with _made.get_lock():
            _made.value += rows

    return make_part(task, count)


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
