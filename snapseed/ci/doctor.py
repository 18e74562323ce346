"""`snapseed doctor`: check everything that a load needs, and say what is missing and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snapseed.config import Environment, Project
from snapseed.embeddings.source import require_queue
from snapseed.errors import SnapseedError
from snapseed.generate.generators import load_generators
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.connect import connected
from snapseed.servers.targets import resolve_redis, resolve_target
from snapseed.snapshot.store import place_of, snapshot_of
from snapseed.verify.files import require_none, verify_files


@dataclass(frozen=True)
class Requirement:
    """One thing that a load needs: what was found, and if it is missing the error that says how to fix it.

    It was `skipped` if something that the check needs is missing.
    """

    name: str
    found: str
    error: SnapseedError | None = None
    skipped: bool = False


def examine(project: Project, environment: Environment) -> Iterator[Requirement]:
    """Check each requirement in the order in which a load needs it. May start an embedded server."""
    failed: list[str] = []
    checks: list[tuple[str, Callable[[], str], tuple[str, ...]]] = [
        ("generators", lambda: ", ".join(load_generators(project.generators).entities), ()),
        ("store", lambda: place_of(environment.snapshots, environment.snapshot).probe(), ()),
        ("snapshot", lambda: _snapshot(environment), ()),
        ("files", lambda: _files(environment), ("snapshot",)),
        ("server", lambda: _server(project, environment), ()),
        ("load plan", lambda: _plan(project, environment), ("snapshot", "files", "server")),
        ("queue", lambda: _queue(project, environment), ("server",)),
    ]
    left_out = {"store"} if isinstance(environment.snapshots.place, Path) else set()
    left_out |= {"queue"} if environment.embeddings != "queue" else set()
    for name, look, needs in (check for check in checks if check[0] not in left_out):
        missing = [need for need in needs if need in failed]
        try:
            found = f"needs the {missing[0]}" if missing else look()
            requirement = Requirement(name, found, skipped=bool(missing))
        except SnapseedError as exc:
            requirement = Requirement(name, exc.summary, exc)
        if missing or requirement.error:
            failed.append(name)
        yield requirement


def _snapshot(environment: Environment) -> str:
    """The snapshot that would be loaded."""
    manifest = snapshot_of(environment).manifest
    return f"{manifest.name}, {manifest.rows:,} rows, identity {manifest.identity[:16]}…"


def _files(environment: Environment) -> str:
    """How many files there are, all as the manifest has them."""
    snapshot = snapshot_of(environment)
    require_none(verify_files(snapshot, before_load=True), snapshot)
    return f"{sum(len(entity.files) for entity in snapshot.manifest.entities)} intact"


def _server(project: Project, environment: Environment) -> str:
    """The database, and the version of its server."""
    target = resolve_target(project, environment)
    with connected(target) as connection:
        row = connection.execute("SELECT version()").fetchone()
    return f"{target.described}: {str(row[0]).split(' on ')[0] if row else '?'}"


def _plan(project: Project, environment: Environment) -> str:
    """A dry run: guards, privileges, tables and columns."""
    report = load_snapshot(project, environment, LoadRequest(dry_run=True))
    created = ", after creating the schema" if report.schema_created else ""
    unfinished = "; left by a load that did not finish: ".join(["", *dict.fromkeys(map(str, report.plan.stages))])
    return f"{len(report.plan.tables)} tables, {report.plan.rows:,} rows{created}{unfinished}"


def _queue(project: Project, environment: Environment) -> str:
    """Where the load leaves its embedding jobs."""
    require_queue(project, environment)
    return resolve_redis(project, environment).described
