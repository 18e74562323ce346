"""Generating on a Dask cluster: what it costs beside a pool of processes, and what workers that die cost."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Findings, Spread, Table, in_seconds
from benchmarks.workspace import Workspace
from snapseed.cluster.connect import LOCAL, on_cluster
from snapseed.events import ignore
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot

_TARGET = 1.15
MOST_ROUNDS = 3
_USERS = 20_000
_PARTS = 200
# The worker of each third part dies at the first try; not the client, which makes some rows to estimate the size.
_THINGS = """
import multiprocessing, os, pathlib
import polars as pl
from snapseed import entity

@entity(key="id", columns={"id": "bigint", "n": "integer"})
def things(rows):
    part = int(rows.roots[0]) // 10
    died = pathlib.Path(FOLDER) / str(part)
    if part % 3 == 0 and not died.exists() and multiprocessing.parent_process():
        died.touch()
        os.kill(os.getpid(), 9)
    return pl.DataFrame({"id": rows.key(), "n": rows.integers("n", 0, 1000)})
"""


def measure_dask(workspace: Workspace) -> Findings:
    """Generate the example with two workers and two processes."""
    users = workspace.rows(_USERS)
    request = Request("dask", workspace.project.seed, users)
    # In the pool, this process makes parts beside another one: two of them work on both sides.
    theirs, running, whole = [], [], []
    for _ in range(min(workspace.rounds, MOST_ROUNDS)):
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


def measure_killed(workspace: Workspace) -> Findings:
    """Generate tiny parts, each third of which kills its worker at the first try: the snapshot is the same."""
    with tempfile.TemporaryDirectory(dir=workspace.project.folder) as folder:
        project = replace(workspace.project, generators=Path(folder) / "generators", schema=None, part_rows=10)
        project.generators.mkdir()
        died = Path(folder) / "died"
        died.mkdir()
        (project.generators / "things.py").write_text(_THINGS.replace("FOLDER", repr(str(died))))
        request = Request("killed", project.seed, _PARTS * project.part_rows)
        started = time.perf_counter()
        with on_cluster(LOCAL, project, project.snapshots, jobs=2, listener=ignore) as executor:
            made = generate_snapshot(project, request, executor=executor).manifest
        killed = len(list(died.iterdir()))
        seconds = time.perf_counter() - started
        calm = generate_snapshot(project, request, jobs=1).manifest
        assert (calm.identity, calm.rows) == (made.identity, request.scale)
        shutil.rmtree(project.snapshots.folder / "killed")
    table = Table(
        "Workers that die",
        f"{_PARTS} tiny parts on two workers, which come back: each third part kills its worker once.",
        ("parts", "workers killed", "rows lost or doubled", "same identity", "seconds"),
        [(str(_PARTS), str(killed), "0", "yes", f"{seconds:.0f}")],
    )
    return Findings((), (table,))
