"""Beyond one machine: snapshots in an object store, and partitions that are filled over several connections."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import psutil
import psycopg

from benchmarks.dask_tasks import MOST_ROUNDS
from benchmarks.measure import Findings, Table, in_seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, peak_memory
from benchmarks.workspace import Workspace, project_of
from snapseed.config import Project, Store
from snapseed.config.store import read_store
from snapseed.events import Event, Listener, PhaseEnded, ignore
from snapseed.generate.parallel import available_cores
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.store_copy import copy_snapshot
from tests.stores.endpoint import KEYS, running_endpoint

_STORE_TARGET = 1.3
_ROWS = 1_000_000
_MEMORY_ROWS = (100_000, 1_000_000)
_CONNECTIONS_TARGET, _RESTORE_TARGET = 0.7, 0.8
_PARTITIONED_ROWS, _PARTITIONS, _MANY_PARTITIONS = 5_000_000, 8, 500
_FLOOR = "The load above. Divided by the cores that client and server share, it is the least time that it can take."


def measure_store(workspace: Workspace) -> Findings:
    """Load the same snapshot from a folder and from an S3 server on this machine; and the memory that it takes."""
    with _bucket(workspace) as url:
        snapshot = _stored(workspace.ten_columns(workspace.rows(_ROWS)), url)
        project = project_of(snapshot)
        near, far = (
            partial(_load_seconds, workspace, project, store)
            for store in (project.snapshots, read_store(url, project.folder, where="benchmark"))
        )
        near(snapshot)
        theirs, ours = spreads_in_turns(workspace.rounds, partial(near, snapshot), partial(far, snapshot))
        rows = []
        for count in _MEMORY_ROWS:
            each = _stored(workspace.ten_columns(workspace.rows(count)), url)
            cells = (_memory(workspace, each, variables) for variables in ({}, {"SNAPSEED_SNAPSHOTS": url}))
            rows.append((f"{each.manifest.rows:,}", *chain.from_iterable(cells)))
    what = f"load of {snapshot.manifest.rows:,} rows of ten columns from an S3 server"
    text = "Peak resident memory of `snapseed load` of ten columns, and without mapped files."
    header = ("rows", "folder", "without mapped files", "S3", "without mapped files")
    return Findings(
        (in_seconds(what, "from a folder", ours, theirs, _STORE_TARGET),),
        (Table("Memory of a load from an object store", text, header, rows),),
    )


def measure_partitions(workspace: Workspace) -> Findings:
    """Fill eight partitions over one connection and over two, and by pg_restore; and exchange five hundred of them."""
    snapshot = workspace.ten_columns(workspace.rows(_PARTITIONED_ROWS))
    url = _partitioned(workspace, snapshot, _PARTITIONS)
    with tempfile.TemporaryDirectory(dir=workspace.project.folder) as folder:
        one, two = (partial(_until_commit, url, snapshot, connections) for connections in (1, 2))
        one()
        dump = Path(folder) / "dump"
        _postgres(workspace, "pg_dump", "-Fd", "-N", "snapseed", "-f", str(dump), url)
        restore = partial(_restore_seconds, workspace, dump)
        single, double, restored = spreads_in_turns(min(workspace.rounds, MOST_ROUNDS), one, two, restore)
    cores = available_cores()
    cpu = [_cpu_seconds(workspace, url, snapshot, connections) for connections in (1, 2)]
    used = [
        (f"{number}", f"{client:.1f} s", f"{server:.1f} s", f"{(client + server) / cores:.1f} s")
        for number, (client, server) in enumerate(cpu, 1)
    ]
    many = _partitioned(workspace, snapshot, _MANY_PARTITIONS)
    phases = _phases(many, snapshot, 2)
    seconds = sum(phases[name] for name in ("emptying tables", "attaching partitions", "recording"))
    what = f"{snapshot.manifest.rows:,} rows into {_PARTITIONS} partitions over 2 connections, verified"
    header = ("partitions", "filled", "lock held", "for each 100")
    filled = sum(phases[name] for name in ("filling partitions", "copying rows", "building indexes", "verifying"))
    row = (f"{_MANY_PARTITIONS}", f"{filled:.1f} s", f"{seconds:.2f} s", f"{100 * seconds / _MANY_PARTITIONS:.2f} s")
    return Findings(
        (
            in_seconds(what, "over 1", double, single, _CONNECTIONS_TARGET),
            in_seconds(what, "pg_restore -j2, not verified", double, restored, _RESTORE_TARGET),
        ),
        (
            Table("CPU time until the commit", _FLOOR, ("connections", "client", "server", f"÷ {cores} cores"), used),
            Table("The last transaction", "How long readers wait while partitions are exchanged.", header, [row]),
        ),
    )


def _cpu_seconds(workspace: Workspace, url: str, snapshot: Snapshot, connections: int) -> tuple[float, float]:
    """The CPU time of the client and of the server for a load, up to the commit."""
    number, *_ = (workspace.server.data_directory / "postmaster.pid").read_text().split()
    server, client = psutil.Process(int(number)), psutil.Process()
    used: list[tuple[float, float]] = []

    def look() -> None:
        # Those of ended backends are the postmaster's.
        total = sum(server.cpu_times()[:4])
        for process in server.children():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:2])
        used.append((sum(client.cpu_times()[:2]), total))

    def listen(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.phase == "committing":
            look()

    look()
    _phases(url, snapshot, connections, listen)
    (client_before, server_before), (client_after, server_after) = used
    return client_after - client_before, server_after - server_before


def _partitioned(workspace: Workspace, snapshot: Snapshot, count: int) -> str:
    """The URL of a database whose table has so many partitions, of about as many rows each."""
    database = "snapseed_partitions"
    workspace.server.ensure_database(database)
    url = workspace.server.url(database)
    root = project_of(snapshot).schema
    assert root is not None
    columns = root.read_text().partition("(")[2].rpartition(")")[0]
    keys = [str(chunk.first_key) for chunk in snapshot.manifest.entities[0].chunks]
    # The number of the root row is at the beginning of a key.
    last = int(keys[-1].replace("-", "")[:12], 16)
    numbers = [f"{last * part // count:012x}" for part in range(1, count)]
    bounds = ["MINVALUE", *(f"'{text[:8]}-{text[8:]}-0000-0000-000000000000'" for text in numbers), "MAXVALUE"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS ten_columns")
        connection.execute(f"CREATE TABLE ten_columns ({columns}) PARTITION BY RANGE (id)".encode())
        for number, (low, high) in enumerate(pairwise(bounds)):
            bound = f"FOR VALUES FROM ({low}) TO ({high})"
            connection.execute(f"CREATE TABLE part_{number} PARTITION OF ten_columns {bound}".encode())
    return url


def _phases(url: str, snapshot: Snapshot, connections: int, listener: Listener = ignore) -> Mapping[str, float]:
    settings = {"database": url, "snapshot": snapshot.manifest.name, "connections": connections}
    environment = project_of(snapshot).environment("dev", settings)
    request = LoadRequest(consent=True)
    return load_snapshot(project_of(snapshot), environment, request, listener=listener).phases


def _until_commit(url: str, snapshot: Snapshot, connections: int) -> float:
    """Without ANALYZE, which pg_restore leaves to others too."""
    return sum(seconds for name, seconds in _phases(url, snapshot, connections).items() if name != "analyzing")


def _restore_seconds(workspace: Workspace, dump: Path) -> float:
    with psycopg.connect(workspace.server.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS snapseed_restored")
        connection.execute("CREATE DATABASE snapseed_restored")
    started = time.monotonic()
    _postgres(workspace, "pg_restore", "-j2", "-d", workspace.server.url("snapseed_restored"), str(dump))
    return time.monotonic() - started


def _postgres(workspace: Workspace, program: str, *arguments: str) -> None:
    subprocess.run([str(workspace.server.psql().with_name(program)), *arguments], check=True)


@contextmanager
def _bucket(workspace: Workspace) -> Iterator[str]:
    """The URL of an empty prefix, and credentials for it in this process and its children."""
    os.environ.update(KEYS)
    with tempfile.TemporaryDirectory(dir=workspace.project.folder) as folder, running_endpoint(Path(folder)) as port:
        yield f"s3://tests/snapshots?endpoint=http://127.0.0.1:{port}"


def _stored(snapshot: Snapshot, url: str) -> Snapshot:
    """The snapshot, which is in the bucket too afterwards."""
    project = project_of(snapshot)
    copy_snapshot(project.snapshots, read_store(url, project.folder, where="benchmark"), snapshot.manifest.name)
    return snapshot


def _load_seconds(workspace: Workspace, project: Project, store: Store, snapshot: Snapshot) -> float:
    database = "snapseed_stored"
    workspace.server.ensure_database(database)
    settings = {"database": workspace.server.url(database), "snapshot": snapshot.manifest.name}
    environment = project.environment("dev", settings).changed(snapshots=store, create_schema=True)
    return load_snapshot(project, environment, LoadRequest(consent=True)).seconds


def _memory(workspace: Workspace, snapshot: Snapshot, variables: dict[str, str]) -> tuple[str, ...]:
    project = project_of(snapshot)
    workspace.server.ensure_database("snapseed_stored")
    target = ("--snapshot", snapshot.manifest.name, "--database", workspace.server.url("snapseed_stored"), "--yes")
    os.environ.update(variables)
    try:
        return peak_memory(*PROGRAM, "load", "dev", "--quiet", "--project", str(project.folder), *target).cells
    finally:
        for name in variables:
            del os.environ[name]
