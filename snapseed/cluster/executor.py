"""An executor whose calls are tasks of Dask. What a call does and returns does not depend on where it runs."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import distributed
from dask.typing import Key
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from snapseed.cluster.versions import require_same_versions
from snapseed.config import Project
from snapseed.errors import ServerError, SnapseedError
from snapseed.generate.code import Code, own_versions

# Results that are fetched at a time: what a scheduler handles costs it the most by the message.
_FETCHED = 256

# How often a call is handed out again that Dask has given up: it may only have been beside those that ended workers.
_TRIES = 5
# What Dask raises once the scheduler does not know the tasks, or does not answer.
_LOST = (FutureCancelledError, FuturesCancelledError, CommClosedError, TimeoutError)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _DiedError(ServerError):
    """Dask has given up a task: as many workers died with it, or beside it, as its scheduler allows (3)."""


@dataclass(frozen=True)
class _Call:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    tries: int = 1


class _CodeOfRun(distributed.WorkerPlugin):
    """The code that the calls of one run need, on each worker. Each run has its own, so it may go when the run ends."""

    def __init__(self, code: Code, name: str) -> None:
        self.code = code
        self.name = name


class _Result(Future[_T]):
    """The result of a call, fetched when it is asked for. Others that are ready come with it."""

    def __init__(self, fetch: Callable[[_Result[Any]], None]) -> None:
        super().__init__()
        self._fetch = fetch

    def result(self, timeout: float | None = None) -> _T:
        while not self.done():
            self._fetch(self)
        return super().result(timeout)


class ClusterExecutor(Executor):
    """Hands out calls to the workers of a cluster, many in one message, as soon as somebody asks for a result.

    `width` is how many calls can run at once. A call whose arguments have a `project` gets the project as it is on the
    worker. A worker that dies loses nothing: its calls go to another one.
    """

    def __init__(self, client: distributed.Client, code: Code, width: int) -> None:
        self.width = width
        self.client = client
        self._run = uuid.uuid4().hex
        # The scheduler has it, and hands it to workers that come later too.
        self._code = _CodeOfRun(code, f"snapseed-{code.sha256[:16]}-{self._run}")
        client.register_plugin(self._code)
        self._number = 0
        self._waiting: dict[_Result[Any], _Call] = {}
        self._out: dict[_Result[Any], tuple[_Call, distributed.Future[Any]]] = {}

    def submit(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Queue a call without named arguments."""
        assert not kwargs, kwargs
        result = _Result[_T](self._fetch)
        self._waiting[result] = _Call(function, _with_project(args, self._code.code.project))
        return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as in the base
        """Forget all calls. Tasks that are running end on their own, and nobody hears of it."""
        self._waiting.clear()
        # Where the scheduler is gone, so are its tasks.
        with suppress(*_LOST, OSError):
            self.client.cancel([task for _, task in self._out.values()])
            self.client.unregister_worker_plugin(self._code.name)
        self._out.clear()

    def _fetch(self, wanted: _Result[Any]) -> None:
        """Wait for a result, and take those of other calls that have ended well."""
        self._hand_out()
        ended = (each for each, (_, task) in self._out.items() if task.status == "finished" and each is not wanted)
        failure: Exception | None = None
        # Where that fails, it may be another one that failed: its worker has died meanwhile.
        for results in ([wanted, *islice(ended, _FETCHED)], [wanted]):
            try:
                with _translated():
                    values = self.client.gather([self._out[result][1] for result in results])
            except Exception as exc:  # noqa: BLE001 - as an executor does
                failure = exc
                continue
            for result, value in zip(results, values, strict=True):
                del self._out[result]
                result.set_result(value)
            return
        call, _ = self._out.pop(wanted)
        if isinstance(failure, _DiedError) and call.tries < _TRIES:
            self._waiting[wanted] = replace(call, tries=call.tries + 1)
        else:
            wanted.set_exception(failure)

    def _hand_out(self) -> None:
        calls = list(self._waiting.values())
        if not calls:
            return
        keys: list[Key] = [
            (f"{call.function.__name__}-{self._run}", number) for number, call in enumerate(calls, self._number)
        ]
        tasks = self.client.map(_carried_out, [self._code.name] * len(calls), calls, key=keys, pure=False)
        self._number += len(calls)
        self._out.update(zip(self._waiting, zip(calls, tasks, strict=True), strict=True))
        self._waiting.clear()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the failures of Dask into ours. What a call raised passes as it is."""
    again = "run the same command again: parts that are complete are not made again"
    try:
        yield
    except _LOST as exc:
        raise ServerError("the cluster lost the tasks of this run", observed=str(exc), next_step=again) from exc
    except KilledWorker as exc:
        raise _DiedError(
            "several workers died, one after the other, with the same task",
            observed=str(exc),
            next_step="look into the logs of the workers: did memory run out? Then " + again,
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
