"""Verify the rows in the database: one query and one sum per entity, and chunks only where that differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.errors import VerificationError
from snapseed.postgres.catalog import TableName, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import read_problems, table_name
from snapseed.postgres.rowhash import bucket, row_hash, table_fingerprint
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.hashing import EMPTY, Fingerprint
from snapseed.snapshot.manifest import EntityRecord, FirstKey, Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import FileFinding, verify_files


@dataclass(frozen=True)
class ChunkDifference:
    """A chunk whose rows are not those of the manifest. `first_key` is where its range of keys begins."""

    number: int
    path: str
    first_key: FirstKey | None
    expected: Fingerprint
    observed: Fingerprint

    def __str__(self) -> str:
        if self.first_key is None:
            return f"{self.observed.rows:,} rows with keys before the first chunk"
        rows = f"{self.observed.rows:,} rows, expected {self.expected.rows:,}"
        if self.observed.rows == self.expected.rows:
            rows = f"{self.expected.rows:,} rows as expected, but not the same"
        key = self.first_key
        start = f"({', '.join(map(str, key))})" if isinstance(key, tuple) else str(key)
        return f"chunk {self.number} ({self.path}, from key {start}): {rows}"


@dataclass(frozen=True)
class EntityResult:
    """What the database holds of one entity, and the chunks that differ where it is not what the manifest says.

    Then `spelled` names the columns whose values are compared as the text that PostgreSQL prints, with their types.
    """

    entity: str
    table: str
    expected: Fingerprint
    observed: Fingerprint
    seconds: float
    chunks: tuple[ChunkDifference, ...] = ()
    spelled: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether number and content of the rows are those of the manifest."""
        return self.expected == self.observed

    def lines(self) -> list[str]:
        """What differs, a line for the entity and one for each chunk."""
        if self.agrees:
            return []
        head = (
            f"{self.entity}: {self.observed.rows:,} rows with fingerprint {self.observed},"
            f" expected {self.expected.rows:,} with {self.expected}"
        )
        return [head, *(f"{self.entity} {chunk}" for chunk in self.chunks)]


def verify_entity(connection: Connection, entity: EntityRecord, table: TableName) -> EntityResult:
    """Compare the rows of a table with the manifest. The table must fit the entity (`verify.schema`)."""
    started = time.monotonic()
    observed = table_fingerprint(connection, entity, table)
    chunks: tuple[ChunkDifference, ...] = ()
    spelled: tuple[str, ...] = ()
    if observed != entity.digest():
        chunks = tuple(_differing_chunks(connection, entity, table))
        spelled = tuple(_spelled(connection, entity, table))
    seconds = time.monotonic() - started
    return EntityResult(entity.name, str(table), entity.digest(), observed, seconds, chunks, spelled)


def require_rows(results: Sequence[EntityResult], where: str) -> None:
    """Raise `VerificationError` that names every entity and chunk that differs, if any does."""
    different = [result for result in results if not result.agrees]
    if not different:
        return
    advice = "look for triggers or rules that change rows, and for JSON that PostgreSQL prints otherwise"
    if spelled := [f"{result.entity}.{column}" for result in different for column in result.spelled]:
        advice += f"; values of {', '.join(spelled)} must be spelled as PostgreSQL prints them"
    raise VerificationError(
        "the database does not hold what the manifest says",
        where=where,
        observed="; ".join(line for result in different for line in result.lines()),
        expected="for each entity the rows and the fingerprint of the manifest",
        next_step=advice,
    )


def _differing_chunks(connection: Connection, entity: EntityRecord, table: TableName) -> list[ChunkDifference]:
    """Ask again, with the rows sorted into the manifest's chunks by key. Rows before all chunks are number -1."""
    found: dict[int, Fingerprint] = {}
    query = sql.SQL("SELECT {} AS bucket, count(*), sum({}) FROM {} GROUP BY 1")
    for number, rows, total in connection.execute(
        query.format(bucket(entity), row_hash(entity.columns), table.rows())
    ).fetchall():
        found[int(str(number))] = Fingerprint(int(str(rows)), int(str(total)) % 2**64)
    differences = []
    if -1 in found:
        differences.append(ChunkDifference(-1, "(before the first chunk)", None, EMPTY, found[-1]))
    paths = [file.path for file in entity.files for _ in file.chunks]
    for number, chunk in enumerate(entity.chunks):
        observed = found.get(number, EMPTY)
        if observed != chunk.digest():
            differences.append(ChunkDifference(number, paths[number], chunk.first_key, chunk.digest(), observed))
    return differences


def _spelled(connection: Connection, entity: EntityRecord, table: TableName) -> list[str]:
    """The columns whose type has no encoder of ours; enums apart, whose labels can be spelled in one way only."""
    facts = read_tables(connection, [table])[table]
    found = []
    for column in entity.columns:
        kind, column_facts = column.kind(), facts.column(column.name)
        assert column_facts is not None
        is_enum = "e" in {column_facts.kind, column_facts.element_kind}
        if not kind.has_binary_form and not is_enum:
            found.append(f"{column.name} ({column.type})")
    return found


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
