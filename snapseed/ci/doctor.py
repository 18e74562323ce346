"""Check everything that a load needs, one thing after the other, and say what is missing and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError
from snapseed.generate.generators import load_generators
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.connect import connected
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import require_files


@dataclass(frozen=True)
class Requirement:
    """One thing that a load needs: what was found, or the error that says what to do."""

    name: str
    found: str
    error: SnapseedError | None = None


def examine(project: Project, environment: Environment) -> Iterator[Requirement]:
    """The checks in the order in which a load would stumble over them. May start an embedded server."""
    failed: set[str] = set()
    for name, needs, look in (
        ("generators", (), lambda: _entities(project)),
        ("snapshot", (), lambda: _snapshot(project, environment)),
        ("files", ("snapshot",), lambda: _files(project, environment)),
        ("server", (), lambda: _server(project, environment)),
        ("load plan", ("snapshot", "files", "server"), lambda: _plan(project, environment)),
    ):
        missing = [need for need in needs if need in failed]
        check = Requirement(name, f"not looked at: needs the {missing[0]}") if missing else _check(name, look)
        if missing or check.error:
            failed.add(name)
        yield check


def _check(name: str, look: Callable[[], str]) -> Requirement:
    try:
        return Requirement(name, look())
    except SnapseedError as exc:
        return Requirement(name, exc.summary, exc)


def _entities(project: Project) -> str:
    return ", ".join(entity.name for entity in load_generators(project.generators).entities)


def _snapshot(project: Project, environment: Environment) -> str:
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    return f"{manifest.name}, {manifest.rows:,} rows, identity {manifest.identity[:16]}…"


def _files(project: Project, environment: Environment) -> str:
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    require_files(snapshot)
    return f"{sum(len(entity.files) for entity in snapshot.manifest.entities)} as the manifest says"


def _server(project: Project, environment: Environment) -> str:
    target = resolve_target(project, environment)
    with connected(target) as connection:
        row = connection.execute("SELECT version()").fetchone()
    return f"{target.described}: {str(row[0]).split(' on ')[0] if row else '?'}"


def _plan(project: Project, environment: Environment) -> str:
    """A dry run: guards, privileges to connect, tables and columns."""
    report = load_snapshot(project, environment, LoadRequest(dry_run=True))
    created = ", after creating the schema" if report.schema_created else ""
    return f"{len(report.plan.tables)} tables, {report.plan.rows:,} rows{created}"
