"""Compare the rows in a database with a manifest: one query and one sum per entity, and chunks only if that differs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.errors import VerificationError
from snapseed.events import Advanced, Listener, ignore, phase, phase_seconds, recorded
from snapseed.postgres import listed
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, Target
from snapseed.postgres.facts import TableName
from snapseed.postgres.fit import fitting_tables, not_compared
from snapseed.postgres.locks import reading
from snapseed.postgres.rowhash import range_fingerprints, table_fingerprint
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.hashing import EMPTY, Fingerprint
from snapseed.snapshot.manifest import EntityRecord, FirstKey, Manifest
from snapseed.snapshot.store import snapshot_of
from snapseed.verify.files import FileCheck, FileFinding, verify_files


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
        start = f"({', '.join(map(str, key))})" if isinstance(key := self.first_key, tuple) else str(key)
        return f"chunk {self.number} ({self.path}, from key {start}): {_compared(self.observed, self.expected)}"


def _compared(observed: Fingerprint, expected: Fingerprint) -> str:
    """The difference between two fingerprints, in words."""
    if observed.rows == expected.rows:
        return f"{expected.rows:,} rows as expected, but their contents differ"
    return f"{observed.rows:,} rows, expected {expected.rows:,}"


@dataclass(frozen=True)
class EntityResult:
    """What the database holds of one entity, and which chunks differ if that is not what the manifest says.

    If it differs, `as_text` names the columns that are compared as the text PostgreSQL prints, with an example of it.
    `not_compared` are columns of the table that the entity lacks.
    """

    entity: str
    table: str
    expected: Fingerprint
    observed: Fingerprint
    seconds: float
    chunks: tuple[ChunkDifference, ...] = ()
    as_text: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether number and content of the rows are those of the manifest."""
        return self.expected == self.observed

    def lines(self) -> list[str]:
        """What differs: one line for the entity, and one for each chunk."""
        if self.agrees:
            return []
        head = f"{self.entity}: {_compared(self.observed, self.expected)}"
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
    file_check: FileCheck = "digests"

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
    files: FileCheck = "digests",
    listener: Listener = ignore,
) -> VerifyReport:
    """Compare the snapshot's files with its manifest, then the database. Changes nothing.

    `offline` skips the database; `files` says what is compared of the files; `only` names the entities, all if it is
    empty. Differences are in the report. Raises an error only if the check cannot run: `SnapshotError` for a missing
    snapshot or a damaged manifest, `ServerError`, `UsageError` for an unknown entity or an embedded database that no
    load has created yet.
    """
    target = None if offline else resolve_target(project, environment)
    snapshot = snapshot_of(environment)
    entities = snapshot.manifest.chosen(only)
    events, tell = recorded(listener)
    findings: list[FileFinding] = []
    if files != "skip":
        with phase(tell, "files"):
            findings = verify_files(snapshot, only=only, rows=files == "rows", listener=tell)
    tables: list[str] = []
    results: list[EntityResult] = []
    if target is not None:
        with phase(tell, "rows"):
            tables, results = _verify_rows(target, entities, tell)
    return VerifyReport(
        environment=environment.name,
        manifest=snapshot.manifest,
        target=target.described if target else None,
        source=target.source if target else None,
        files=tuple(findings),
        tables=tuple(tables),
        entities=tuple(results),
        phases=phase_seconds(events),
        file_check=files,
    )


def _verify_rows(
    target: Target, entities: Sequence[EntityRecord], listener: Listener
) -> tuple[list[str], list[EntityResult]]:
    """Which tables do not fit their entity, and the results of the others, all as of one moment."""
    results = []
    with reading(target, "verifying", listener) as connection:
        problems, fitting = fitting_tables(connection, entities)
        for entity, facts in fitting:
            result = verify_entity(connection, entity, facts.name)
            results.append(replace(result, not_compared=not_compared(entity, facts)))
            listener(Advanced("rows", len(results), len(fitting), unit="tables"))
    return problems, results


def verify_entity(connection: Connection, entity: EntityRecord, table: TableName) -> EntityResult:
    """Compare the rows of a table with the manifest. The table must fit the entity: see `postgres.fit`."""
    started = time.monotonic()
    observed = table_fingerprint(connection, entity, table)
    result = EntityResult(entity.name, str(table), entity.digest(), observed, time.monotonic() - started)
    if result.agrees:
        return result
    chunks = tuple(_differing_chunks(connection, entity, table))
    as_text = tuple(_columns_as_text(connection, entity, table))
    return replace(result, seconds=time.monotonic() - started, chunks=chunks, as_text=as_text)


def require_rows(results: Sequence[EntityResult], where: str) -> None:
    """Raise `VerificationError` that names every entity and chunk that differs, if any does."""
    different = [result for result in results if not result.agrees]
    if not different:
        return
    advice = "look for triggers or rules that change rows, and for JSON that is not spelled as PostgreSQL prints it"
    if columns := [f"{result.entity}.{column}" for result in different for column in result.as_text]:
        advice = f"spell values as PostgreSQL prints them: {', '.join(columns)} (see docs/generators.md); or {advice}"
    raise VerificationError(
        "the database does not hold what the manifest says",
        where=where,
        observed="; ".join(line for result in different for line in result.lines()),
        expected="for each entity the rows and the fingerprint of the manifest",
        next_step=advice,
    )


def _differing_chunks(connection: Connection, entity: EntityRecord, table: TableName) -> list[ChunkDifference]:
    """Query again, with the rows sorted into the manifest's chunks by key; none for rows without a key."""
    if not entity.key_columns:
        return []
    bounds = [chunk.first_key for chunk in entity.chunks]
    found = range_fingerprints(connection, entity.columns, table.rows(), entity.key_columns, bounds)
    before = [ChunkDifference(-1, "(before the first chunk)", None, EMPTY, found[-1])] if -1 in found else []
    chunks = ((file.path, chunk) for file in entity.files for chunk in file.chunks)
    return before + [
        ChunkDifference(number, path, chunk.first_key, chunk.digest(), found.get(number, EMPTY))
        for number, (path, chunk) in enumerate(chunks)
        if chunk.digest() != found.get(number, EMPTY)
    ]


def _columns_as_text(connection: Connection, entity: EntityRecord, table: TableName) -> list[str]:
    """The columns whose type has no binary form of ours; not enums, whose labels have only one spelling."""
    facts = read_tables(connection, [table])[table]
    enums = {column.name for column in facts.columns if "e" in {column.kind, column.element_kind}}
    columns = [column for column in entity.columns if not (column.kind().has_binary_form or column.name in enums)]
    example = sql.SQL("(SELECT pg_catalog.left({0}::pg_catalog.text, 40) FROM {1} WHERE {0} IS NOT NULL LIMIT 1)")
    examples = [example.format(sql.Identifier(column.name), table.rows()) for column in columns]
    (values,) = connection.execute(sql.SQL("SELECT {}").format(listed(examples))).fetchall()
    return [
        f"{column.name} ({column.type})" if value is None else f"{column.name} ({column.type}, such as {value!r})"
        for column, value in zip(columns, values, strict=True)
    ]
