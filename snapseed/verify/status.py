"""What each environment's database holds, by its own record of loads, compared with the snapshot on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snapseed.config import Project
from snapseed.errors import SnapseedError
from snapseed.postgres.connect import Target, connected, has_database
from snapseed.postgres.failures import translated
from snapseed.postgres.provenance import LoadRecord, last_loads
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot


@dataclass(frozen=True)
class EnvironmentStatus:
    """The last load into an environment's database, and in a few words how it compares with the snapshot on disk."""

    environment: str
    target: str
    loaded: LoadRecord | None
    state: str


def status(project: Project, names: Iterable[str]) -> list[EnvironmentStatus]:
    """The status of each environment. Starts no server; one that cannot be reached is a state, not an error."""
    return [_status(project, name) for name in names]


def _status(project: Project, name: str) -> EnvironmentStatus:
    try:
        environment = project.environment(name)
        target = resolve_target(project, environment)
    except SnapseedError as exc:
        return EnvironmentStatus(name, "-", None, exc.summary)
    if target.embedded is not None and not target.embedded.is_running():
        return EnvironmentStatus(name, target.described, None, "embedded server not running")
    try:
        loads = _last_load(target)
    except SnapseedError as exc:
        return EnvironmentStatus(name, target.described, None, exc.summary)
    if not loads:
        return EnvironmentStatus(name, target.described, None, "nothing loaded")
    try:
        identity = open_snapshot(project.snapshots, environment.snapshot).manifest.identity
    except SnapseedError as exc:
        return EnvironmentStatus(name, target.described, loads[0], exc.summary)
    state = "the snapshot on disk" if loads[0].identity == identity else "another snapshot than the one on disk"
    return EnvironmentStatus(name, target.described, loads[0], state)


def _last_load(target: Target) -> list[LoadRecord]:
    """The last load, if there is one. Creates no database."""
    if target.embedded is not None and not has_database(target):
        return []
    with connected(target, create=False) as connection, translated("reading the record of loads", target.described):
        return last_loads(connection)
