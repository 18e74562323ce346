"""An executor whose calls are tasks of Dask. What a call does and returns does not depend on where it runs."""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import distributed
from dask.typing import Key
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from snapseed.config import Project
from snapseed.errors import ServerError, SnapseedError, UsageError
from snapseed.events import Listener, Note, ignore
from snapseed.generate.code import Code, own_versions

# How long a run waits for a worker while there is none.
PATIENCE = 120.0
# Results that are fetched at a time: what a scheduler handles costs it the most by the message.
_FETCHED = 256
# How long that may take, and how often to ask how many workers there are.
_FETCH_SECONDS, _ASKED_SECONDS = 10.0, 1.0
# The status of a task that will not change on its own. That of a result whose worker has died is "lost" or "pending".
_ENDED = ("finished", "error", "cancelled")
# How often a call is handed out again that Dask has given up: it may only have been beside those that ended workers.
_TRIES = 5
# What Dask raises once the scheduler does not know the tasks, or does not answer.
_LOST = (FutureCancelledError, FuturesCancelledError, CommClosedError, TimeoutError)
# More workers are counted, not named.
_NAMED = 3
_AGAIN = "run the same command again: it skips the parts that are complete"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _DiedError(ServerError):
    """Dask has given up a task: as many workers died with it, or beside it, as its scheduler allows (3)."""


@dataclass(frozen=True)
class _Call:
    """What an executor was asked to do, and how often that was handed out."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 1


class _CodeOfRun(distributed.WorkerPlugin):
    """The code that the calls of one run need, on each worker. Each run has its own, so it may go when the run ends."""

    def __init__(self, code: Code, name: str) -> None:
        """The name is that of the plugin."""
        self.code = code
        self.name = name


class ClusterExecutor(Executor):
    """Hands out calls to the workers of a cluster, and takes their results, many in one message.

    `width` is how many calls can run at once: it follows the workers that come and go. A call whose arguments have a
    `project` gets the project as it is on the worker. A worker that dies loses nothing: its calls go to another one.
    All calls fail with `ServerError` once there has been no worker for `patience` seconds.
    """

    def __init__(
        self,
        client: distributed.Client,
        code: Code,
        width: int,
        *,
        listener: Listener = ignore,
        patience: float = PATIENCE,
    ) -> None:
        """Send the code to the workers, and start the thread that talks to the scheduler."""
        self.width, self.client = width, client
        self._listener, self._patience = listener, patience
        self._run = uuid.uuid4().hex
        # The scheduler has it, and hands it to workers that come later too.
        self._code = _CodeOfRun(code, f"snapseed-{code.sha256[:16]}-{self._run}")
        client.register_plugin(self._code)
        self._numbers = count()
        self._waiting: deque[tuple[Future[Any], _Call]] = deque()
        self._out: dict[Future[Any], tuple[_Call, distributed.Future[Any]]] = {}
        # Results whose task has ended, though its worker may have died since.
        self._ended: deque[Future[Any]] = deque()
        self._alone_since: float | None = None
        self._asked = time.monotonic()
        # A call was submitted, a task has ended, or the executor is shut down.
        self._changed = threading.Event()
        self._is_shut = False
        threading.Thread(target=self._work, name="cluster", daemon=True).start()

    def submit(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Queue a call without named arguments."""
        assert not kwargs, kwargs
        result = Future[_T]()
        result.set_running_or_notify_cancel()
        self._waiting.append((result, _Call(function, _with_project(args, self._code.code.project))))
        self._changed.set()
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as in the base
        """Forget all calls. Tasks that are running end on their own, and nobody hears of it."""
        self._is_shut = True
        self._changed.set()
        # Where the scheduler is gone, so are its tasks.
        with suppress(*_LOST, OSError):
            self.client.cancel([task for _, task in list(self._out.values())])
            self.client.unregister_worker_plugin(self._code.name)

    def _work(self) -> None:
        """Hand out calls and take their results, until the executor is shut down."""
        while not self._is_shut:
            try:
                with _translated():
                    self._hand_out()
                    self._changed.wait(_ASKED_SECONDS if self._out else None)
                    if self._out and time.monotonic() - self._asked >= _ASKED_SECONDS:
                        self._count_workers()
                self._changed.clear()
                self._take()
            except Exception as exc:  # noqa: BLE001 - those who wait for a result raise it
                for result in (*self._out, *(result for result, _ in self._waiting)):
                    result.set_exception(exc)
                for calls in (self._out, self._ended, self._waiting):
                    calls.clear()

    def _hand_out(self) -> None:
        """Make a task of each call that waits."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not waiting:
            return
        calls = [call for _, call in waiting]
        keys: list[Key] = [(f"{call.function.__name__}-{self._run}", next(self._numbers)) for call in calls]
        tasks = self.client.map(_carried_out, [self._code.name] * len(calls), calls, key=keys, pure=False)
        for (result, call), task in zip(waiting, tasks, strict=True):
            self._out[result] = call, task
            task.add_done_callback(partial(self._end, result))

    def _end(self, result: Future[Any], _task: object = None) -> None:
        """Note that the task of a result has ended."""
        self._ended.append(result)
        self._changed.set()

    def _count_workers(self) -> None:
        """Follow the workers that come and go. Raises `ServerError` if there has been none for too long."""
        self._asked = time.monotonic()
        if threads := sum(self.client.nthreads().values()):
            self.width, self._alone_since = threads, None
            return
        assert self.client.scheduler
        where = self.client.scheduler.address
        if self._alone_since is None:
            self._alone_since = time.monotonic()
            self._listener(Note(f"no worker is left at {where}: waiting {self._patience:.0f} s for one"))
        elif time.monotonic() - self._alone_since >= self._patience:
            raise ServerError(
                f"the cluster has had no worker for {self._patience:.0f} s",
                where=where,
                next_step=f"look into the logs of the workers, start some, and {_AGAIN}",
            )

    def _take(self) -> None:
        """Set the results of calls that have ended."""
        some = [self._ended.popleft() for _ in range(min(len(self._ended), _FETCHED))]
        if len(some) == _FETCHED:
            self._changed.set()
        # Those of tasks that were given up are out no longer.
        some = [result for result in dict.fromkeys(some) if result in self._out]
        ended = [result for result in some if self._out[result][1].status in _ENDED]
        self._ended.extend(set(some).difference(ended))
        try:
            self._fetch(ended)
        except Exception:  # noqa: BLE001 - it may be that of any of them
            for result in ended:
                call, _ = self._out[result]
                try:
                    self._fetch([result])
                except Exception as exc:  # noqa: BLE001 - as an executor does
                    del self._out[result]
                    if isinstance(exc, _DiedError) and call.tries < _TRIES:
                        self._waiting.append((result, replace(call, tries=call.tries + 1)))
                        self._changed.set()
                    else:
                        result.set_exception(exc)

    def _fetch(self, results: list[Future[Any]]) -> None:
        """Set these results, except those whose worker has died meanwhile: other workers compute them."""
        tasks = [self._out[result][1] for result in results]
        with _translated():
            try:
                values = self.client.sync(
                    lambda: self.client.gather(tasks, asynchronous=True), callback_timeout=_FETCH_SECONDS
                )
            except TimeoutError:
                if any(task.status == "error" for task in tasks):
                    raise
                self._ended.extend(results)
                return
        for result, value in zip(results, values, strict=True):
            del self._out[result]
            result.set_result(value)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the failures of Dask into ours. What a call raised passes as it is."""
    try:
        yield
    except _LOST as exc:
        raise ServerError("the cluster lost the tasks of this run", observed=str(exc), next_step=_AGAIN) from exc
    except KilledWorker as exc:
        raise _DiedError(
            "several workers died, one after the other, with the same task",
            observed=str(exc),
            next_step="look into the logs of the workers: did memory run out? Then " + _AGAIN,
        ) from exc


def _with_project(arguments: Iterable[Any], project: Project) -> tuple[Any, ...]:
    """The arguments, those that have a project with this one."""
    return tuple(replace(value, project=project) if hasattr(value, "project") else value for value in arguments)


def _carried_out(plugin: str, call: _Call) -> object:
    """Make a call, on a worker."""
    worker = distributed.get_worker()
    code: Code = vars(worker.plugins[plugin])["code"]
    require_same_versions({worker.address: own_versions()}, code.versions)
    # What a worker leaves when it dies is removed with its folder, and no other one writes there.
    tempfile.tempdir = worker.local_directory
    project = code.unpacked(Path(worker.local_directory))
    try:
        return call.function(*_with_project(call.arguments, project))
    except SnapseedError as exc:
        # What the user can open are the project's own files.
        if exc.where:
            exc.where = exc.where.replace(str(project.generators), str(code.project.generators))
        raise


def require_same_versions(workers: Mapping[str, Mapping[str, str | None]], ours: Mapping[str, str]) -> None:
    """Raise `UsageError` unless each worker, by its address, has all versions that are ours. It lists all others."""
    others = defaultdict[tuple[str, str], list[str]](list)
    for worker, versions in workers.items():
        for name, version in ours.items():
            if (theirs := versions.get(name) or "none") != version:
                others[name, theirs].append(worker)
    if others:
        raise UsageError(
            "workers of the cluster and this machine have different versions",
            observed="\n".join(
                f"{name} {version} on {', '.join(found[:_NAMED])}"
                + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
                for (name, version), found in others.items()
            ),
            expected=", ".join(f"{name} {ours[name]}" for name in dict.fromkeys(name for name, _ in others)),
            next_step="install these versions on the workers, or those of the workers here",
        )
