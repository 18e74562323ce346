"""Reach a Dask cluster, or start one on this machine, and check that its workers fit this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
import distributed
from distributed.comm.addressing import get_address_host_port
from distributed.utils import get_mp_context

from snapseed.cluster.executor import ClusterExecutor, require_same_versions
from snapseed.config import Project, Store
from snapseed.errors import ServerError, UsageError, without_interrupts
from snapseed.events import Listener, Note
from snapseed.generate.code import LIBRARIES, packed
from snapseed.generate.parallel import one_thread_each

LOCAL = "local"
_TIMEOUT = "10s"
# For workers on this machine, which share its terminal and its cores.
_SETTINGS = {
    "logging": {"distributed": "critical"},
    # Forked from a process that has imported what tasks need: a second of CPU time for each worker that starts.
    "distributed.worker.multiprocessing-method": "forkserver",
    # How long to look for a worker that died, before its results are made by others.
    "distributed.comm.timeouts.connect": "3s",
    # So long after a worker died, Dask gives its place up for good if it is just starting again.
    "distributed.deploy.lost-worker-timeout": "365 days",
}
_IMPORTED = ["distributed", "snapseed.cluster.executor", "snapseed.generate.part"]


@contextmanager
def on_cluster(
    address: str, project: Project, store: Store, *, jobs: int, listener: Listener
) -> Iterator[ClusterExecutor]:
    """The executor of a cluster: that of the scheduler at this address, or `local`, of as many workers as `jobs`.

    Raises `UsageError` for what is no address, or if other machines would not see the snapshots or have other
    versions, `ServerError` if nobody answers.
    """
    if address != LOCAL and isinstance(store.place, Path):
        raise UsageError(
            "workers on other machines cannot write into a folder of this machine",
            where=str(store),
            expected="snapshots in a store that all workers reach, such as s3://bucket/prefix",
            next_step="set `snapshots` in snapseed.toml, or use --cluster local",
        )
    with _local(jobs) if address == LOCAL else _reached(address) as client:
        code = packed(project)
        require_same_versions(_versions(client), code.versions)
        listener(Note(f"dashboard: {client.dashboard_link}"))
        width = max(1, sum(client.nthreads().values()))
        with ClusterExecutor(client, code, width, listener=listener) as executor:
            yield executor


def _versions(client: distributed.Client) -> dict[str, dict[str, str | None]]:
    """The versions that the scheduler and each worker have, by address; also where snapseed is not installed."""
    found: Any = client.get_versions(packages=[*LIBRARIES])
    everywhere = {"the scheduler": found["scheduler"], **found["workers"]}
    return {
        name: {**of["packages"], "python": ".".join(of["packages"]["python"].split(".")[:2])}
        for name, of in everywhere.items()
    }


@contextmanager
def _reached(address: str) -> Iterator[distributed.Client]:
    """The client of the scheduler at this address."""
    try:
        # Before a client waits for an answer from nowhere.
        get_address_host_port(address)
        client = distributed.Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (TypeError, ValueError) as exc:
        raise UsageError(
            "this is not the address of a scheduler",
            where=address,
            observed=str(exc),
            expected="tcp://HOST:PORT; tls://HOST:PORT, with the certificates in Dask's configuration; local; none",
            next_step="correct --cluster, or `cluster` in snapseed.toml",
        ) from exc
    except OSError as exc:
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
    # Starting it later would let Ctrl-C through again.
    resource_tracker.ensure_running()
    with dask.config.set(_SETTINGS):
        get_mp_context().set_forkserver_preload(_IMPORTED)
        with without_interrupts(), one_thread_each():
            cluster = distributed.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client
