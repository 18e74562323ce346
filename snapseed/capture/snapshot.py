"""Capture a snapshot: prepare, read, prove that the rows are those of the source, and replace the old snapshot."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snapseed.capture.columns import ColumnName
from snapseed.capture.connections import capturing, reading_with, show_rows
from snapseed.capture.plan import TableRows, plan_rows
from snapseed.capture.prepare import Source, chosen_tables, prepare
from snapseed.capture.read import CapturedTable, Reading, prove, read_parts, read_positions
from snapseed.capture.request import CaptureRequest
from snapseed.capture.schema import write_schema
from snapseed.config import Environment, Project
from snapseed.config.settings import mask_secret
from snapseed.errors import ManifestError
from snapseed.events import Listener, Note, ignore, phase, phase_seconds, recorded
from snapseed.postgres.connect import Session, Target
from snapseed.postgres.copy_out import UnstorableError
from snapseed.postgres.locks import reading as reading_from
from snapseed.servers.targets import resolve_source
from snapseed.snapshot.hashing import combined
from snapseed.snapshot.manifest import CaptureRecord, EntityRecord, Manifest, SequencePosition
from snapseed.snapshot.store import Snapshot, existing_snapshot, replacing

# Subsets and some masks need polars. What needs neither starts without.
if TYPE_CHECKING:
    from snapseed.capture.mask.prepare import PreparedMasks
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


def check_masks(
    project: Project,
    environment: Environment,
    request: CaptureRequest = CaptureRequest(),
    *,
    looks_at_rows: bool = False,
) -> PreparedMasks:
    """Check the rules for masks against the catalogs of the environment's `source`. Writes nothing.

    With `looks_at_rows`, also against the first rows of each table, as a capture does.

    Raises what `chosen_tables` and `prepare_masks` raise.
    """
    from snapseed.capture.mask.prepare import prepare_masks

    target = resolve_source(environment)
    with capturing("checking the masks", target), reading_from(target, "checking the masks", ignore) as connection:
        tables = chosen_tables(connection, request)
        return prepare_masks(connection, project, target.described, tables, is_check=not looks_at_rows)


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
    (events, tell), failed = recorded(listener), frozenset[ColumnName]()
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
    """Prepare, plan, read, prove, and replace the snapshot. The columns that `failed` are stored in another form."""
    target = resolve_source(environment)
    replaced = None
    with suppress(ManifestError):  # one that is damaged has no identity
        before = existing_snapshot(environment.snapshots, environment.snapshot)
        replaced = before.manifest.identity if before else None
    hides = bool(project.mask) and not request.unmasked
    with replacing(environment.snapshots, environment.snapshot) as staging:
        with capturing("capturing", target, hides=hides), reading_from(target, "capturing", tell) as leader:
            with phase(tell, "planning"):
                show_rows(leader, request)
                source = prepare(leader, request, target.described, failed)
                masks = _prepared_masks(leader, target, project, request, source)
                if masks and executor:
                    masks.require_no_function()
                schema, notes = None, source.notes
                if request.schema:
                    schema, left_out = write_schema(leader, target, staging)
                    notes += tuple(f"{name} is left out of the schema" for name in left_out)
                    in_schema = masks.in_schema if masks else ()
                    notes += tuple(f"the schema is copied as it is: {place} looks personal" for place in in_schema)
            subset = _choose_subset(leader, source, project, request, tell)
            with phase(tell, "planning"):
                tables = plan_rows(leader, source.tables, request, masks, subset)
            pieces = sum(len(rows.pieces) for rows in tables)
            with reading_with(target, leader, request, most=pieces, executor=executor, hides=hides) as readers:
                with phase(tell, "reading rows"):
                    captured = read_parts(readers, tables, Reading(target, staging, request.sizes), tell)
                with phase(tell, "verifying"):
                    prove(readers, tables, captured, target)
            with phase(tell, "reading sequences"):
                positions = {} if request.schema_only else read_positions(leader, source, captured)
            record = CaptureRecord(
                schema=schema,
                subset=subset is not None,
                masked=masks.masked if masks else (),
                server=source.identity.version,
                sequences=positions.get(None, ()),
            )
            entities = [_record(each, positions.get(each.table.entity, ())) for each in captured]
            manifest = _manifest(environment.snapshot, request, record, entities)
            written = Snapshot(staging.as_written, manifest)
            reasons = None if subset is None else _prove_subset(leader, subset, written, tables, tell)
        manifest.require_size(environment.max_size, "leave tables out with --exclude")
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
                seconds=table.ended - table.began,
                why=reasons.why(record.name) if reasons else "all rows",
            )
            for record, table in zip(manifest.entities, captured, strict=True)
        ),
        notes=notes,
        replaced=replaced,
        subset=reasons,
    )


def _prepared_masks(
    leader: Session, target: Target, project: Project, request: CaptureRequest, source: Source
) -> PreparedMasks | None:
    """What replaces values; None if all values are to be copied. Raises `RefusedError` for a rule that is missing."""
    if request.unmasked or request.schema_only:
        return None
    from snapseed.capture.mask.prepare import prepare_masks

    tables = frozenset(table.name for table in source.tables)
    prepared = prepare_masks(leader, project, target.described, tables, secret=mask_secret())
    prepared.require_rules(project)
    return prepared


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
    leader: Session, subset: SubsetPlan, snapshot: Snapshot, tables: Sequence[TableRows], listener: Listener
) -> SubsetReport:
    """Why the subset has its rows, once it is proved that none of them refers to a row that is not in the files."""
    from snapseed.capture.subset.plan import prove_references, subset_report

    pieces = [piece for rows in tables for piece in rows.pieces]
    masked = {f"{piece.table.entity}.{name}" for piece in pieces if piece.masks for name in piece.masks.rules}
    with phase(listener, "checking references"):
        orphans = prove_references(leader, subset, snapshot, masked)
        return subset_report(subset.graph, subset.closure, orphans)


def _manifest(name: str, request: CaptureRequest, record: CaptureRecord, entities: Sequence[EntityRecord]) -> Manifest:
    """The manifest of the snapshot."""
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
    """What the manifest says about a table."""
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
        files=tuple(captured.files),
        sequences=sequences,
    )
