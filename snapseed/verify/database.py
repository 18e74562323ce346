"""Compare the rows in a database with a manifest: one query and one sum per entity, and chunks only if that differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.errors import VerificationError
from snapseed.events import Advanced, Listener, ignore, phase, phase_seconds, recorded
from snapseed.postgres.catalog import TableName, read_tables
from snapseed.postgres.connect import Connection, Target, reading
from snapseed.postgres.fit import fitting_tables
from snapseed.postgres.rowhash import bucket, row_hash, table_fingerprint
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.hashing import EMPTY, Fingerprint
from snapseed.snapshot.manifest import EntityRecord, FirstKey, Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import FileFinding, verify_files


@dataclass(frozen=True)
class ChunkDifference:
    """A chunk whose rows are not those of the manifest. `first_key` is where its range of keys begins.

    Rows with keys before the first chunk have number -1 and no `first_key`.
    """

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
            rows = f"{self.expected.rows:,} rows as expected, but their contents differ"
        key = self.first_key
        start = f"({', '.join(map(str, key))})" if isinstance(key, tuple) else str(key)
        return f"chunk {self.number} ({self.path}, from key {start}): {rows}"


@dataclass(frozen=True)
class EntityResult:
    """What the database holds of one entity, and which chunks differ if that is not what the manifest says.

    If it differs, `as_text` names the columns, with their types, that are compared as the text PostgreSQL prints.
    """

    entity: str
    table: str
    expected: Fingerprint
    observed: Fingerprint
    seconds: float
    chunks: tuple[ChunkDifference, ...] = ()
    as_text: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether number and content of the rows are those of the manifest."""
        return self.expected == self.observed

    def lines(self) -> list[str]:
        """What differs: one line for the entity, and one for each chunk."""
        if self.agrees:
            return []
        head = (
            f"{self.entity}: {self.observed.rows:,} rows with fingerprint {self.observed},"
            f" expected {self.expected.rows:,} with {self.expected}"
        )
        return [head, *(f"{self.entity} {chunk}" for chunk in self.chunks)]


@dataclass(frozen=True)
class VerifyReport:
    """What was compared and what differs. `target` is None if only files were compared.

    `tables` says which tables do not fit their entity; `entities` has a result for each of the others.
    """

    environment: str
    manifest: Manifest
    target: str | None = None
    source: str | None = None
    files: tuple[FileFinding, ...] = ()
    tables: tuple[str, ...] = ()
    entities: tuple[EntityResult, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.files and not self.tables and all(entity.agrees for entity in self.entities)


def verify_snapshot(
    project: Project,
    environment: Environment,
    *,
    only: Sequence[str] = (),
    offline: bool = False,
    files: bool = True,
    listener: Listener = ignore,
) -> VerifyReport:
    """Compare the snapshot's files with its manifest, then the database. Changes nothing.

    `offline` skips the database, `files=False` the files; `only` names the entities, all if it is empty. Differences
    are in the report. Raises an error only if the check cannot run: `SnapshotError` for a missing snapshot or a damaged
    manifest, `ServerError`, `UsageError` for an unknown entity or an embedded database that no load has created yet.
    """
    target = None if offline else resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    entities = snapshot.manifest.chosen(only)
    events, tell = recorded(listener)
    findings: tuple[FileFinding, ...] = ()
    if files:
        with phase(tell, "files"):
            findings = tuple(verify_files(snapshot, only=only, listener=tell))
    tables: tuple[str, ...] = ()
    results: tuple[EntityResult, ...] = ()
    if target is not None:
        with phase(tell, "rows"):
            tables, results = _verify_rows(target, entities, tell)
    return VerifyReport(
        environment=environment.name,
        manifest=snapshot.manifest,
        target=target.described if target else None,
        source=target.source if target else None,
        files=findings,
        tables=tables,
        entities=results,
        phases=phase_seconds(events),
    )


def _verify_rows(
    target: Target, entities: Sequence[EntityRecord], listener: Listener
) -> tuple[tuple[str, ...], tuple[EntityResult, ...]]:
    """Which tables do not fit their entity, and the results of the others, all as of one moment."""
    results = []
    with reading(target, "verifying") as connection:
        problems, fitting = fitting_tables(connection, entities)
        for entity, table in fitting:
            results.append(verify_entity(connection, entity, table))
            listener(Advanced("rows", len(results), len(fitting), unit="tables"))
    return tuple(problems), tuple(results)


def verify_entity(connection: Connection, entity: EntityRecord, table: TableName) -> EntityResult:
    """Compare the rows of a table with the manifest. The table must fit the entity: see `postgres.fit`."""
    started = time.monotonic()
    observed = table_fingerprint(connection, entity, table)
    chunks: tuple[ChunkDifference, ...] = ()
    as_text: tuple[str, ...] = ()
    if observed != entity.digest():
        chunks = tuple(_differing_chunks(connection, entity, table))
        as_text = tuple(_columns_as_text(connection, entity, table))
    seconds = time.monotonic() - started
    return EntityResult(entity.name, str(table), entity.digest(), observed, seconds, chunks, as_text)


def require_rows(results: Sequence[EntityResult], where: str) -> None:
    """Raise `VerificationError` that names every entity and chunk that differs, if any does."""
    different = [result for result in results if not result.agrees]
    if not different:
        return
    advice = "look for triggers or rules that change rows, and for JSON that is not spelled as PostgreSQL prints it"
    if columns := [f"{result.entity}.{column}" for result in different for column in result.as_text]:
        advice += f"; values of {', '.join(columns)} must be spelled as PostgreSQL prints them"
    raise VerificationError(
        "the database does not hold what the manifest says",
        where=where,
        observed="; ".join(line for result in different for line in result.lines()),
        expected="for each entity the rows and the fingerprint of the manifest",
        next_step=advice,
    )


def _differing_chunks(connection: Connection, entity: EntityRecord, table: TableName) -> list[ChunkDifference]:
    """Query again, with the rows sorted into the manifest's chunks by key."""
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


def _columns_as_text(connection: Connection, entity: EntityRecord, table: TableName) -> list[str]:
    """The columns whose type has no binary form of ours; not enums, whose labels have only one spelling."""
    facts = read_tables(connection, [table])[table]
    columns = []
    for column in entity.columns:
        kind, column_facts = column.kind(), facts.column(column.name)
        assert column_facts is not None
        is_enum = "e" in {column_facts.kind, column_facts.element_kind}
        if not kind.has_binary_form and not is_enum:
            columns.append(f"{column.name} ({column.type})")
    return columns
