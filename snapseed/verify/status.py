"""What each environment's database holds, by its own record of loads, next to the snapshot on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError
from snapseed.postgres.connect import has_database
from snapseed.postgres.fit import table_name
from snapseed.postgres.locks import reading
from snapseed.postgres.partitions import read_stages
from snapseed.postgres.provenance import LoadRecord, last_loads, last_states
from snapseed.servers.account import account_for
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import snapshot_of

# How far back the history goes.
_LOADS = 12


@dataclass(frozen=True)
class EnvironmentStatus:
    """The last load into an environment's database, and in a few words whether it was of the snapshot on disk.

    `missing` are the entities of that snapshot that are not loaded, or that a later load has emptied. `history` has
    `loaded` and the loads before it. `reached`: the database exists and has answered.
    `unfinished` are schemas with staging tables of loads that were killed.
    """

    environment: str
    target: str
    loaded: LoadRecord | None
    state: str
    missing: tuple[str, ...] = ()
    history: tuple[LoadRecord, ...] = ()
    reached: bool = False
    unfinished: tuple[str, ...] = ()


def status(project: Project, names: Iterable[str]) -> list[EnvironmentStatus]:
    """The status of each environment. Starts no server; one that cannot be reached is a state, not an error."""
    found = list[EnvironmentStatus]()
    for name in names:
        try:
            found.append(status_of(project, project.environment(name)))
        except SnapseedError as exc:
            found.append(EnvironmentStatus(name, "-", None, exc.summary))
    return found


def status_of(project: Project, environment: Environment) -> EnvironmentStatus:
    """The status of one environment. Starts no server and raises no error of ours."""
    described, reached, history = "-", False, tuple[LoadRecord, ...]()
    missing = unfinished = tuple[str, ...]()
    try:
        target = resolve_target(project, environment)
        described = target.described
        if target.embedded is not None and not target.embedded.is_running():
            # What another account's server does, only that account sees.
            account_for(target.embedded.data_directory, project.folder)
            state = "embedded server not running"
        elif target.embedded is not None and not has_database(target):
            state = "nothing loaded"
        else:
            with reading(target, "reading the record of loads") as connection:
                history, holding = tuple(last_loads(connection, _LOADS)), last_states(connection)
                unfinished = tuple({str(stage): None for stage in read_stages(connection) if not stage.is_used})
            reached, state = True, "nothing loaded"
        if history:
            manifest = snapshot_of(environment).manifest
            queued = project.embeddings.target if project.embeddings and environment.embeddings == "queue" else None
            held = {table for table, (identity, _) in holding.items() if identity == manifest.identity}
            # An entity may name its table without the schema.
            held |= {table.rpartition(".")[2] for table in held}
            wanted = (entity for entity in manifest.entities if entity.name != queued)
            missing = tuple(entity.name for entity in wanted if str(table_name(entity)) not in held)
            there = "the snapshot on disk" if environment.snapshots.folder_of("") else "the snapshot in the bucket"
            is_there = history[0].identity == manifest.identity
            state = f"last loaded: {there}; not compared" if is_there else f"last loaded: not {there}"
            if held and missing:
                state = f"partly loaded: without {', '.join(missing)}"
    except SnapseedError as exc:
        state = exc.summary
    return EnvironmentStatus(
        environment.name, described, next(iter(history), None), state, missing, history, reached, unfinished
    )
