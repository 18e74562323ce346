"""Capture a snapshot: prepare, read, prove that the rows are those of the source, and replace the old snapshot."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from snapseed.capture.connections import capturing, joined, shared_among
from snapseed.capture.files import PART_ROWS, Layout
from snapseed.capture.prepare import Source, prepare
from snapseed.capture.read import CapturedTable, Reading, TableRows, read_tables, whole_table
from snapseed.capture.request import CaptureRequest
from snapseed.capture.sequences import Positions, read_positions
from snapseed.capture.subset.plan import SubsetPlan, SubsetReport, choose_rows, subset_report
from snapseed.capture.subset.proof import prove_references
from snapseed.config import Environment, Project
from snapseed.errors import ManifestError, SnapshotError, VerificationError
from snapseed.events import Listener, Note, ignore, phase, phase_seconds, recorded
from snapseed.postgres.connect import Session, Target
from snapseed.postgres.locks import reading
from snapseed.postgres.rowhash import rows_fingerprint
from snapseed.servers.targets import resolve_source
from snapseed.snapshot.hashing import Fingerprint, combined
from snapseed.snapshot.manifest import CaptureRecord, EntityRecord, Manifest, SequencePosition
from snapseed.snapshot.store import Snapshot, commit, has_snapshot, open_snapshot, replacing
from snapseed.snapshot.writing import CHUNK_ROWS


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
    folder: Path
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


def capture_snapshot(
    project: Project,
    environment: Environment,
    request: CaptureRequest = CaptureRequest(),
    *,
    listener: Listener = ignore,
) -> CaptureReport:
    """Write the environment's snapshot from its `source`, in place of the one before, completely or not at all.

    All rows are of one moment. On the source, nothing is created or changed. The listener gets phases, `Advanced` for
    the rows of each table, and a `Note` for what is left out and while a table is locked by others; with several jobs,
    on several threads.

    Raises `ConfigurationError` without a source, what `prepare` and `read_tables` raise, `VerificationError` if the
    server has other rows than were read, and `SnapshotError` for a snapshot that is too large.
    """
    target = resolve_source(environment)
    events, tell = recorded(listener)
    replaced = _identity(project, environment.snapshot)
    with replacing(project.snapshots, environment.snapshot) as staging:
        with capturing("capturing", target), reading(target, "capturing", tell) as leader:
            with phase(tell, "planning"):
                source = prepare(leader, request, target.described)
                for text in source.notes:
                    tell(Note(text))
            subset = _choose(leader, source, project, request, tell)
            with joined(target, leader, request.jobs) as sessions:
                captured = _read(target, sessions, (source, subset), Layout(staging), tell)
            with phase(tell, "reading sequences"):
                positions = read_positions(leader, source)
            manifest = _manifest(environment, (source, subset), captured, positions)
            reasons = None if subset is None else _prove_subset(leader, subset, Snapshot(staging, manifest), tell)
        _require_size(manifest, environment)
        with phase(tell, "writing to disk"):
            folder = commit(staging, manifest)
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
        notes=source.notes,
        phases=phase_seconds(events),
        replaced=replaced,
        subset=reasons,
    )


def _identity(project: Project, name: str) -> str | None:
    """The identity of the snapshot that will be replaced; None if there is none, or it is damaged."""
    with suppress(ManifestError):
        return (
            open_snapshot(project.snapshots, name).manifest.identity if has_snapshot(project.snapshots, name) else None
        )
    return None


def _choose(
    leader: Session, source: Source, project: Project, request: CaptureRequest, listener: Listener
) -> SubsetPlan | None:
    """The rows that the request asks for; None for all rows of all tables."""
    if request.subset is None:
        return None
    with phase(listener, "choosing rows"):
        return choose_rows(leader, source.tables, project, request.subset)


def _prove_subset(leader: Session, subset: SubsetPlan, snapshot: Snapshot, listener: Listener) -> SubsetReport:
    """Why the subset has its rows, once it is proved that none of them refers to a row that is not in the files."""
    with phase(listener, "checking references"):
        orphans = prove_references(leader, subset, snapshot)
        return subset_report(subset.graph, subset.closure, orphans)


def _read(
    target: Target,
    sessions: Sequence[Session],
    chosen: tuple[Source, SubsetPlan | None],
    layout: Layout,
    listener: Listener,
) -> list[CapturedTable]:
    """Read all rows, and prove that they are those that the server has at this moment."""
    with phase(listener, "planning"):
        source, subset = chosen
        tables = [
            TableRows(table, list(subset.sources(table.entity)))
            if subset
            else whole_table(sessions[0], table, layout, jobs=len(sessions))
            for table in source.tables
        ]
    with phase(listener, "reading rows"):
        captured = read_tables(target, sessions, tables, Reading(layout, listener))
    with phase(listener, "verifying"):
        _prove(target, sessions, tables, captured)
    return captured


def _prove(
    target: Target, sessions: Sequence[Session], tables: Sequence[TableRows], captured: Sequence[CapturedTable]
) -> None:
    """Raise `VerificationError` unless the server computes the same fingerprint of each table as we did."""
    tasks = [partial(_server_fingerprint, target, rows) for rows in tables]
    differing = [
        f"{read.table.name}: {read.observed.rows:,} rows with fingerprint {read.observed},"
        f" the server has {found.rows:,} with {found}"
        for read, found in zip(captured, shared_among(sessions, tasks), strict=True)
        if found != read.observed
    ]
    if differing:
        raise VerificationError(
            "the rows that were read are not those of the database; the snapshot before stays",
            where=target.described,
            observed="; ".join(differing),
            expected="the same rows, as of one moment",
            next_step="this is a bug in snapseed, or in what is between it and PostgreSQL: please report it",
        )


def _server_fingerprint(target: Target, rows: TableRows, session: Session, _stop: threading.Event) -> Fingerprint:
    sources = rows.sources if rows.everything is None else [rows.everything]
    with capturing(f"verifying {rows.table.name}", target):
        return combined(rows_fingerprint(session, rows.table.columns, source) for source in sources)


def _manifest(
    environment: Environment,
    chosen: tuple[Source, SubsetPlan | None],
    captured: Sequence[CapturedTable],
    positions: Positions,
) -> Manifest:
    source, subset = chosen
    return Manifest(
        name=environment.snapshot,
        capture=CaptureRecord(
            schema=None,
            subset=subset is not None,
            masked=(),
            server=source.identity.version,
            sequences=positions.others,
        ),
        part_rows=PART_ROWS,
        chunk_rows=CHUNK_ROWS,
        pools={},
        libraries={"pyarrow": importlib.metadata.version("pyarrow")},
        entities=tuple(_record(each, positions.entities.get(each.table.entity, ())) for each in captured),
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
