"""Verify a snapshot's files, and the rows of an environment's database, against the manifest. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snapseed.config import Environment, Project
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import read_problems, table_name
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import FileFinding, verify_files
from snapseed.verify.rows import EntityResult, verify_entity


@dataclass
class VerifyReport:
    """What was compared and what differs. `target` is None where only files were looked at."""

    environment: str
    manifest: Manifest
    target: str | None = None
    source: str | None = None
    files: list[FileFinding] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    entities: list[EntityResult] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.files and not self.tables and all(entity.agrees for entity in self.entities)


def verify_snapshot(
    project: Project,
    environment: Environment,
    *,
    offline: bool = False,
    files: bool = True,
    only: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> VerifyReport:
    """Compare files with the manifest, unless without `files`, then the database with it, unless `offline`.

    What differs stands in the report; errors are raised only for what keeps the check from running: `SnapshotError`
    for no or a damaged manifest, `ServerError`, `UsageError` for an unknown entity in `only` and for an embedded
    database that no load has made yet.
    """
    target = None if offline else resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    manifest = snapshot.manifest
    entities = manifest.chosen(only)
    report = VerifyReport(environment.name, manifest)
    started = time.monotonic()
    if files:
        progress("files")
        report.files = verify_files(snapshot, only=only)
        report.phases["files"] = time.monotonic() - started
    if target is None:
        return report
    report.target, report.source = target.described, target.source
    started = time.monotonic()
    with (
        connected(target, create=False) as connection,
        translated("verifying", target.described),
        connection.transaction(),
    ):
        # One moment for all tables: a row that moves from one to another is neither missed nor seen twice.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        facts = read_tables(connection, [table_name(entity) for entity in entities])
        for entity in entities:
            progress(entity.name)
            found = facts.get(table_name(entity))
            if problems := read_problems(entity, found):
                report.tables += problems
            elif found is not None:
                report.entities.append(verify_entity(connection, entity, found.name))
    report.phases["rows"] = time.monotonic() - started
    return report
