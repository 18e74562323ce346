"""Beyond one machine: snapshots in an object store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from benchmarks.measure import Findings, Table, in_seconds, spreads_in_turns
from benchmarks.processes import PROGRAM, peak_memory
from benchmarks.workspace import Workspace, project_of
from snapseed.config import Project, Store
from snapseed.config.store import read_store
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.store_copy import copy_snapshot
from tests.stores.endpoint import KEYS, running_endpoint

_STORE_TARGET = 1.3
_ROWS = 1_000_000
_MEMORY_ROWS = (100_000, 1_000_000)


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
