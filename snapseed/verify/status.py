"""What each environment's database holds, by its own record of loads, compared with the snapshot on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snapseed.config import Project
from snapseed.errors import SnapseedError
from snapseed.postgres.connect import Target, has_database
from snapseed.postgres.locks import reading
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
    described, loaded = "-", None
    try:
        environment = project.environment(name)
        target = resolve_target(project, environment)
        described = target.described
        if target.embedded is not None and not target.embedded.is_running():
            state = "embedded server not running"
        elif (loaded := _last_load(target)) is None:
            state = "nothing loaded"
        elif loaded.identity == open_snapshot(project.snapshots, environment.snapshot).manifest.identity:
            state = "the snapshot on disk"
        else:
            state = "not the snapshot on disk"
    except SnapseedError as exc:
        state = exc.summary
    return EnvironmentStatus(name, described, loaded, state)


def _last_load(target: Target) -> LoadRecord | None:
    """The last load, if there is one. Creates no database."""
    if target.embedded is not None and not has_database(target):
        return None
    with reading(target, "reading the record of loads") as connection:
        return next(iter(last_loads(connection)), None)
