"""Reach a Dask cluster, or start one on this machine, and check that its workers fit this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dask
import distributed

from snapseed.cluster.executor import ClusterExecutor
from snapseed.cluster.versions import require_same_versions
from snapseed.config import Project
from snapseed.errors import ServerError, UsageError, without_interrupts
from snapseed.events import Listener, Note
from snapseed.generate.code import LIBRARIES, packed

LOCAL = "local"
_TIMEOUT = "10s"
# For workers on this machine, which share its terminal and its cores.
_QUIET = {"logging": {"distributed": "critical"}}
_ONE_THREAD = {"POLARS_MAX_THREADS": "1"}


@contextmanager
def on_cluster(address: str, project: Project, *, jobs: int, listener: Listener) -> Iterator[ClusterExecutor]:
    """The executor of a cluster: that of the scheduler at this address, or `local`, of as many workers as `jobs`.

    Raises `UsageError` if other machines would not see the snapshots or have other versions, `ServerError` if nobody
    answers.
    """
    if address != LOCAL and not project.snapshots.is_remote:
        raise UsageError(
            "workers on other machines cannot write into a folder of this machine",
            where=str(project.snapshots),
            expected="snapshots in a store that all workers reach, such as s3://bucket/prefix",
            next_step="set `snapshots` in snapseed.toml, or use --cluster local",
        )
    with ExitStack() as stack:
        client = stack.enter_context(_local(jobs) if address == LOCAL else _reached(address))
        code = packed(project)
        require_same_versions(_versions(client), code.versions)
        listener(Note(f"dashboard: {client.dashboard_link}"))
        executor = ClusterExecutor(client, code, sum(client.nthreads().values()))
        stack.callback(executor.shutdown)
        yield executor


def _versions(client: distributed.Client) -> dict[str, dict[str, str | None]]:
    """The versions that each worker has, by its address; also of a worker without snapseed."""
    found = {name: of["packages"] for name, of in client.get_versions(packages=[*LIBRARIES])["workers"].items()}
    return {name: {**of, "python": ".".join(of["python"].split(".")[:2])} for name, of in found.items()}


@contextmanager
def _reached(address: str) -> Iterator[distributed.Client]:
    try:
        client = distributed.Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as exc:
        raise ServerError(
            "the scheduler of the cluster does not answer",
            where=address,
            observed=str(exc),
            next_step="check --cluster and that the scheduler is running",
        ) from exc
    with client:
        yield client


@contextmanager
def _local(jobs: int) -> Iterator[distributed.Client]:
    """Processes of this machine, which end with this one. Ctrl-C is the parent's."""
    with dask.config.set(_QUIET), without_interrupts():
        cluster = distributed.LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=_ONE_THREAD
        )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client
