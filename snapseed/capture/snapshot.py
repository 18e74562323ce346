"""Capture a snapshot: prepare, read, prove that the rows are those of the source, and replace the old snapshot."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from psycopg import sql

from snapseed.capture.columns import ColumnName
from snapseed.capture.connections import Readers, capturing, reading_with, show_rows, without_values
from snapseed.capture.mask.masks import NO_MASKS, Masks
from snapseed.capture.prepare import Source, chosen_tables, prepare
from snapseed.capture.proof import prove, read_positions
from snapseed.capture.read import CapturedTable, Reading, TableRows, read_parts, whole_table
from snapseed.capture.request import CaptureRequest
from snapseed.capture.schema import dump_schema
from snapseed.config import Environment, Project, mask_secret
from snapseed.errors import ManifestError, SnapshotError, UsageError
from snapseed.events import Listener, Note, ignore, phase, phase_seconds, recorded
from snapseed.postgres.connect import Session, Target
from snapseed.postgres.copy_out import UnstorableError
from snapseed.postgres.locks import reading as reading_from
from snapseed.servers.targets import resolve_source
from snapseed.snapshot.hashing import combined
from snapseed.snapshot.manifest import CaptureRecord, EntityRecord, Manifest, SchemaFile, SequencePosition
from snapseed.snapshot.store import Snapshot, Staging, has_snapshot, open_snapshot, replacing
from snapseed.snapshot.store_folder import writing_to

# Subsets and some masks need polars. What needs neither starts without.
if TYPE_CHECKING:
    from snapseed.capture.mask.personal import Personal
    from snapseed.capture.subset.plan import SubsetPlan, SubsetReport


@dataclass(frozen=True)
class TableReport:
    """What was captured of a table, why, and in how many seconds."""

    entity: str
    table: str
    rows: int
    bytes: int
    fingerprint: str
    seconds: float
    why: str


@dataclass(frozen=True)
class CaptureReport:
    """What was captured, from where, and how long it took. `notes` say what was left out.

    `replaced` is the identity of the snapshot that was there before.
    """

    manifest: Manifest
    folder: str
    target: str
    source: str
    server: str
    tables: tuple[TableReport, ...]
    notes: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    replaced: str | None = None
    subset: SubsetReport | None = None

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


@dataclass(frozen=True)
class MaskReport:
    """The masked columns, those that look personal and have no rule, and where the schema looks personal."""

    target: str
    masked: tuple[str, ...]
    personal: tuple[Personal, ...]
    in_schema: tuple[str, ...]


def check_masks(
    project: Project,
    environment: Environment,
    request: CaptureRequest = CaptureRequest(),
    *,
    looks_at_rows: bool = False,
) -> MaskReport:
    """Check the rules for masks against the catalogs of the environment's `source`. Writes nothing.

    With `looks_at_rows`, also against the first rows of each table, as a capture does.

    Raises what `chosen_tables` and `prepare_masks` raise.
    """
    from snapseed.capture.mask.prepare import prepare_masks

    target = resolve_source(environment)
    with capturing("checking the masks", target), reading_from(target, "checking the masks", ignore) as connection:
        tables = chosen_tables(connection, request)
        found = prepare_masks(connection, project, tables, is_check=not looks_at_rows)
    return MaskReport(target.described, found.masks.names, found.personal, found.in_schema)


def capture_snapshot(
    project: Project,
    environment: Environment,
    request: CaptureRequest = CaptureRequest(),
    *,
    listener: Listener = ignore,
    executor: Executor | None = None,
) -> CaptureReport:
    """Write the environment's snapshot from its `source`, in place of the one before, completely or not at all.

    All rows are of one moment. On the source, nothing is created or changed. If there is an `executor`, it reads:
    `request.jobs` calls at a time, over connections of their own. The listener gets phases, `Advanced` for the rows of
    each table, and a `Note` for what makes it slow, such as a missing index or a table that others have locked; with
    several jobs, on several threads.

    If a column has a value that its type in a snapshot cannot hold, such as an array that begins at another index than
    1, all columns of its table are looked at, and stored as text where need be. Everything is read again, as of another
    moment.

    Raises `ConfigurationError` without a source, what `prepare` and `read_parts` raise, `VerificationError` if the
    server has other rows than were read, and `SnapshotError` for a snapshot that is too large.
    """
    events, tell = recorded(listener)
    failed = frozenset[ColumnName]()
    while True:
        try:
            report = _capture(project, environment, request, failed, tell, executor)
        except UnstorableError as exc:
            if exc.column is None or (exc.table, exc.column) in failed:
                raise
            failed |= {(exc.table, exc.column)}
            tell(Note(f"{exc.table}.{exc.column} needs another form, so everything is read again: {exc.observed}"))
        else:
            return replace(report, phases=phase_seconds(events))


def _capture(
    project: Project,
    environment: Environment,
    request: CaptureRequest,
    failed: Collection[ColumnName],
    tell: Listener,
    executor: Executor | None,
) -> CaptureReport:
    target = resolve_source(environment)
    replaced = _identity(environment)
    with replacing(environment.snapshots, environment.snapshot) as staging:
        hides = bool(project.mask) and not request.unmasked
        hiding = without_values(target) if hides else nullcontext()
        with hiding, capturing("capturing", target), reading_from(target, "capturing", tell) as leader:
            with phase(tell, "planning"):
                show_rows(leader, request)
                source = prepare(leader, request, target.described, failed)
                masks, found = _masks(leader, project, request, source)
                if executor and masks.functions:
                    raise UsageError(
                        "a mask that calls a function of yours cannot be applied on a cluster",
                        where="[mask]",
                        observed=", ".join(masks.functions),
                        next_step="leave --cluster out, or use another rule",
                    )
                schema, notes = None, source.notes
                if request.schema:
                    schema, left_out = _write_schema(leader, target, staging)
                    notes += tuple(f"{name} is left out of the schema" for name in left_out)
                    notes += tuple(f"the schema is copied as it is: {place} looks personal" for place in found)
            subset = _choose_subset(leader, source, project, request, tell)
            how = Reading(staging, request.sizes, masks)
            with phase(tell, "planning"):
                tables = _rows(leader, source, subset, request, masks)
            pieces = sum(rows.pieces for rows in tables)
            with reading_with(target, leader, request, most=pieces, executor=executor, hides=hides) as readers:
                captured = _read(target, readers, tables, how, tell)
            with phase(tell, "reading sequences"):
                positions = {} if request.schema_only else read_positions(leader, source, captured)
            record = CaptureRecord(
                schema=schema,
                subset=subset is not None,
                masked=masks.names,
                server=source.identity.version,
                sequences=positions.get(None, ()),
            )
            entities = [_record(each, positions.get(each.table.entity, ())) for each in captured]
            manifest = _manifest(environment.snapshot, request, record, entities)
            written = Snapshot(staging.as_written, manifest)
            reasons = None if subset is None else _prove_subset(leader, subset, written, masks, tell)
        _require_size(manifest, environment)
        with phase(tell, "writing to disk"):
            folder = str(staging.commit(manifest))
    return CaptureReport(
        manifest=manifest,
        folder=folder,
        target=target.described,
        source=target.source,
        server=source.identity.server,
        tables=tuple(
            TableReport(
                entity=record.name,
                table=str(table.table.name),
                rows=record.rows,
                bytes=record.bytes,
                fingerprint=record.fingerprint,
                seconds=table.seconds,
                why=reasons.why(record.name) if reasons else "all rows",
            )
            for record, table in zip(manifest.entities, captured, strict=True)
        ),
        notes=notes,
        replaced=replaced,
        subset=reasons,
    )


def _identity(environment: Environment) -> str | None:
    """The identity of the snapshot that will be replaced; None if there is none, or it is damaged."""
    with suppress(ManifestError):
        store, name = environment.snapshots, environment.snapshot
        return open_snapshot(store, name).manifest.identity if has_snapshot(store, name) else None
    return None


def _masks(
    connection: Session, project: Project, request: CaptureRequest, source: Source
) -> tuple[Masks, tuple[str, ...]]:
    """What replaces values, and where the schema has personal values of its own. Neither if all is to be copied."""
    if request.unmasked or request.schema_only:
        return NO_MASKS, ()
    from snapseed.capture.mask.prepare import prepare_masks

    tables = frozenset(table.name for table in source.tables)
    prepared = prepare_masks(connection, project, tables, secret=mask_secret())
    prepared.require_rules(project)
    return prepared.masks, prepared.in_schema


def _choose_subset(
    leader: Session, source: Source, project: Project, request: CaptureRequest, listener: Listener
) -> SubsetPlan | None:
    """The rows that the request asks for; None for all rows of all tables."""
    if request.subset is None:
        return None
    from snapseed.capture.subset.plan import choose_rows

    with phase(listener, "choosing rows"):
        return choose_rows(leader, source.tables, project, request.subset, listener)


def _prove_subset(
    leader: Session, subset: SubsetPlan, snapshot: Snapshot, masks: Masks, listener: Listener
) -> SubsetReport:
    """Why the subset has its rows, once it is proved that none of them refers to a row that is not in the files."""
    from snapseed.capture.subset.plan import prove_references, subset_report

    tables = [table.source for table in subset.graph.tables]
    masked = {f"{table.entity}.{name}" for table in tables for name in masks.names_in(table.name)}
    with phase(listener, "checking references"):
        orphans = prove_references(leader, subset, snapshot, masked)
        return subset_report(subset.graph, subset.closure, orphans)


def _rows(
    leader: Session, source: Source, subset: SubsetPlan | None, request: CaptureRequest, masks: Masks
) -> list[TableRows]:
    """Which rows of each table to read, and in which pieces."""
    if request.schema_only:
        return [TableRows(table, [sql.SQL("{} WHERE false").format(table.name.rows())]) for table in source.tables]
    if subset:
        return [TableRows(table, list(subset.sources(table.entity))) for table in source.tables]
    # Rows that masks bring into another order are sorted as a whole.
    jobs = [1 if masks.reorders(table.name, table.key) else request.jobs for table in source.tables]
    return [
        whole_table(leader, table, request.sizes, jobs=number)
        for table, number in zip(source.tables, jobs, strict=True)
    ]


def _read(
    target: Target, readers: Readers, tables: Sequence[TableRows], reading: Reading, listener: Listener
) -> list[CapturedTable]:
    """Read the rows, and prove that they are those that the server has at this moment."""
    with phase(listener, "reading rows"):
        captured = read_parts(target, readers, tables, reading, listener)
    with phase(listener, "verifying"):
        prove(target, readers, tables, captured)
    return captured


def _write_schema(session: Session, target: Target, staging: Staging) -> tuple[SchemaFile, tuple[str, ...]]:
    """Write the schema into the snapshot; also returns the names of what is left out of it."""
    text, left_out = dump_schema(session, target)
    file = SchemaFile("schema.sql", len(text), hashlib.sha256(text).hexdigest())
    with writing_to(staging.folder):
        (staging.folder / file.path).write_bytes(text)
    staging.put(file)
    return file, left_out


def _manifest(name: str, request: CaptureRequest, record: CaptureRecord, entities: Sequence[EntityRecord]) -> Manifest:
    return Manifest(
        name=name,
        capture=record,
        part_rows=request.sizes.part_rows,
        chunk_rows=request.sizes.chunk_rows,
        pools={},
        libraries={"pyarrow": importlib.metadata.version("pyarrow")},
        entities=tuple(entities),
    )


def _record(captured: CapturedTable, sequences: tuple[SequencePosition, ...]) -> EntityRecord:
    table, key = captured.table, tuple(column.name for column in captured.table.key)
    total = combined(chunk.digest() for file in captured.files for chunk in file.chunks)
    return EntityRecord(
        name=table.entity,
        schema=table.name.schema,
        table=table.name.table,
        key=key[0] if len(key) == 1 else key,
        columns=table.columns,
        parent=None,
        rows=total.rows,
        fingerprint=str(total),
        files=captured.files,
        sequences=sequences,
    )


def _require_size(manifest: Manifest, environment: Environment) -> None:
    if environment.max_size is not None and manifest.bytes > environment.max_size:
        raise SnapshotError(
            f"the snapshot {manifest.name!r} is larger than allowed; the one before stays",
            observed=f"{manifest.bytes:,} bytes",
            expected=f"at most {environment.max_size:,} bytes (max_size)",
            next_step="leave tables out with --exclude, or raise max_size",
        )
