"""A Dask cluster of two workers and an S3 server, which all tests of a process share."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import distributed
import pytest
from distributed.utils import get_mp_context

from tests.stores.endpoint import KEYS

SETTINGS = {
    "logging": {"distributed": "critical"},
    "distributed.worker.multiprocessing-method": "forkserver",
    # How long a worker that died is looked for.
    "distributed.comm.timeouts.connect": "1s",
}
# What parts need: workers are forked from a process that has imported it.
_IMPORTED = ["distributed", "snapseed.cluster.executor", "snapseed.generate.part", "snapseed.capture.read"]


@pytest.fixture(scope="session")
def client(endpoint: int) -> Iterator[distributed.Client]:
    """Two workers, which come back when they die, with the credentials of the S3 server."""
    assert endpoint
    with dask.config.set(SETTINGS):
        get_mp_context().set_forkserver_preload(_IMPORTED)
    with (
        dask.config.set(SETTINGS),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", env=KEYS
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def endpoint(endpoint: int) -> Iterator[int]:
    """The port of the S3 server, and credentials for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield endpoint
