"""What each environment's database holds, by its own record of loads, compared with the snapshot on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError
from snapseed.postgres.connect import Target, has_database
from snapseed.postgres.fit import table_name
from snapseed.postgres.locks import reading
from snapseed.postgres.provenance import LoadRecord, last_loads, last_states
from snapseed.servers.account import account_for
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import snapshot_of

# How far back the history goes.
_LOADS = 12


@dataclass(frozen=True)
class EnvironmentStatus:
    """The last load into an environment's database, and in a few words how it compares with the snapshot on disk.

    `missing` are the entities of that snapshot that are not loaded, or that a later load has emptied. `history` has
    `loaded` and the loads before it.
    """

    environment: str
    target: str
    loaded: LoadRecord | None
    state: str
    missing: tuple[str, ...] = ()
    history: tuple[LoadRecord, ...] = ()


def status(project: Project, names: Iterable[str]) -> list[EnvironmentStatus]:
    """The status of each environment. Starts no server; one that cannot be reached is a state, not an error."""
    return [_status(project, name) for name in names]


def _status(project: Project, name: str) -> EnvironmentStatus:
    try:
        environment = project.environment(name)
    except SnapseedError as exc:
        return EnvironmentStatus(name, "-", None, exc.summary)
    return status_of(project, environment)


def status_of(project: Project, environment: Environment) -> EnvironmentStatus:
    """The status of one environment. Starts no server and raises no error of ours."""
    described, history, missing = "-", tuple[LoadRecord, ...](), tuple[str, ...]()
    try:
        target = resolve_target(project, environment)
        described = target.described
        if target.embedded is not None and not target.embedded.is_running():
            # What another account's server does, only that account sees.
            account_for(target.embedded.data_directory, project.folder)
            state = "embedded server not running"
        elif (found := _loads(target)) is None:
            state = "nothing loaded"
        else:
            history, holding = found
            manifest = snapshot_of(environment).manifest
            queued = project.embeddings.target if project.embeddings and environment.embeddings == "queue" else None
            held = {table for table, identity in holding.items() if identity == manifest.identity}
            # An entity may name its table without the schema.
            held |= {table.rpartition(".")[2] for table in held}
            wanted = (entity for entity in manifest.entities if entity.name != queued)
            missing = tuple(entity.name for entity in wanted if str(table_name(entity)) not in held)
            there = "the snapshot on disk" if environment.snapshots.folder_of("") else "the snapshot in the bucket"
            state = there if history[0].identity == manifest.identity else f"not {there}"
            if held and missing:
                state = f"partly loaded: without {', '.join(missing)}"
    except SnapseedError as exc:
        state = exc.summary
    return EnvironmentStatus(environment.name, described, next(iter(history), None), state, missing, history)


def _loads(target: Target) -> tuple[tuple[LoadRecord, ...], Mapping[str, str]] | None:
    """The last loads, newest first, and by table the identity of the snapshot that it holds; None if there is none.

    Creates no database.
    """
    if target.embedded is not None and not has_database(target):
        return None
    with reading(target, "reading the record of loads") as connection:
        holding = {table: identity for table, (identity, _) in last_states(connection).items()}
        history = tuple(last_loads(connection, _LOADS))
        return (history, holding) if history else None
