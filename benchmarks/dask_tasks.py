"""Generating on a Dask cluster: what it costs beside a pool of processes, and what workers that die cost."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import dask
from distributed.core import Status
from distributed.utils import get_mp_context

from benchmarks.measure import Findings, Spread, Table, in_seconds
from benchmarks.workspace import Workspace
from snapseed.cluster.connect import LOCAL, on_cluster
from snapseed.events import Advanced, ignore
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot

_TARGET = 1.15
_USERS = 20_000
_PARTS = 24
_THINGS = """
import polars as pl
from snapseed import entity

@entity(key="id", columns={"id": "bigint", "n": "integer"})
def things(rows):
    return pl.DataFrame({"id": rows.key(), "n": rows.integers("n", 0, 1000)})
"""
# Workers are forked from a process with all imports: dozens of them die, and a start would take a second of CPU time.
_FAST_RESTARTS = {"distributed.worker.multiprocessing-method": "forkserver"}


def measure_dask(workspace: Workspace) -> Findings:
    """Generate the example with two workers and two processes, and with a worker killed in every third task."""
    users = workspace.rows(_USERS)
    request = Request("dask", workspace.project.seed, users)
    # In the pool, this process makes parts beside another one: two of them work on both sides.
    theirs, running, whole = [], [], []
    for _ in range(workspace.rounds):
        theirs.append(_in_pool(workspace, request))
        generating, everything = _on_cluster(workspace, request)
        running.append(generating)
        whole.append(everything)
    ours, all_of_it, pool = (Spread(tuple(values)) for values in (running, whole, theirs))
    return Findings(
        (
            in_seconds(f"generate {users:,} users on two Dask workers", "two processes", ours, pool, _TARGET),
            in_seconds("the same, with the start and the end of the cluster", "two processes", all_of_it, pool),
        ),
        (_killed(workspace),),
    )


def _in_pool(workspace: Workspace, request: Request) -> float:
    started = time.perf_counter()
    generate_snapshot(workspace.project, request, jobs=2)
    return time.perf_counter() - started


def _on_cluster(workspace: Workspace, request: Request) -> tuple[float, float]:
    """How long generating takes, and all with the start and the end of the cluster."""
    project, started = workspace.project, time.perf_counter()
    with on_cluster(LOCAL, project, project.snapshots, jobs=2, listener=ignore) as executor:
        began = time.perf_counter()
        generate_snapshot(project, request, executor=executor)
        ended = time.perf_counter()
    return ended - began, time.perf_counter() - started


def _killed(workspace: Workspace) -> Table:
    """Tiny parts, each third of which kills its worker at the first try."""
    with dask.config.set(_FAST_RESTARTS):
        get_mp_context().set_forkserver_preload(["distributed", "snapseed.cluster.executor", "snapseed.generate.part"])
    with tempfile.TemporaryDirectory(dir=workspace.project.folder) as folder:
        project = replace(workspace.project, generators=Path(folder) / "generators", schema=None, part_rows=10)
        project.generators.mkdir()
        (project.generators / "things.py").write_text(_THINGS)
        request = Request("killed", project.seed, _PARTS * project.part_rows)
        killed: list[int] = []
        started = time.perf_counter()
        with (
            dask.config.set(_FAST_RESTARTS),
            on_cluster(LOCAL, project, project.snapshots, jobs=2, listener=ignore) as executor,
        ):
            cluster = executor.client.cluster
            assert cluster

            def kill(event: object) -> None:
                if isinstance(event, Advanced) and event.done % 30 == 0:
                    # One that has started: Dask may lose a worker that dies before.
                    nannies = [nanny.process for nanny in cluster.workers.values() if nanny.process]
                    killed.extend([nanny.pid for nanny in nannies if nanny.status is Status.running][:1])
                    os.kill(killed[-1], signal.SIGKILL)

            made = generate_snapshot(project, request, executor=executor, listener=kill).manifest
        seconds = time.perf_counter() - started
        calm = generate_snapshot(project, request, jobs=1).manifest
        assert (calm.identity, calm.rows) == (made.identity, request.scale)
        shutil.rmtree(project.snapshots.folder / "killed")
    return Table(
        "Workers that die",
        f"{_PARTS} tiny parts on two workers, which come back: after every third part one is killed.",
        ("parts", "workers killed", "rows lost or doubled", "same identity", "seconds"),
        [(str(_PARTS), str(len(set(killed))), "0", "yes", f"{seconds:.0f}")],
    )
