"""Load a snapshot in ONE transaction: plan, obey, verify, record, commit. Any failure leaves everything as it was."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from snapseed.config import Environment, Project
from snapseed.database.catalog import TableFacts, read_tables
from snapseed.database.connect import Connection, Target, connected, resolve_target, translated
from snapseed.database.guard import identify, require_allowed, require_no_side_effects, require_ours
from snapseed.database.provenance import loaded_tables, record_load
from snapseed.errors import InterruptedByUserError, SchemaError, ServerError, SnapseedError
from snapseed.load import steps
from snapseed.load.plan import LoadPlan, plan_load
from snapseed.snapshot.manifest import EntityRecord, Manifest
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.verify.files import require_files
from snapseed.verify.rows import EntityResult, require_rows, verify_entity
from snapseed.verify.schema import table_name


@dataclass(frozen=True)
class Progress:
    """Rows of one entity that were handed to the server so far."""

    entity: str
    rows: int
    rows_total: int


class Outcome(StrEnum):
    """How a load has left the database, in the words that end the message of a failure."""

    UNCHANGED = "nothing was changed"
    UNKNOWN = "whether the rows were committed is not known"
    COMMITTED = "the rows are loaded and committed"


@dataclass
class LoadReport:
    """What was done, or with `dry_run` what would be: the plan, and seconds per phase and entity."""

    environment: str
    target: str
    source: str
    manifest: Manifest
    dry_run: bool
    server: str = ""
    plan: LoadPlan = field(default_factory=lambda: LoadPlan(()))
    schema_created: bool = False
    phases: dict[str, float] = field(default_factory=dict)
    entities: list[steps.EntityLoad] = field(default_factory=list)
    verified: list[EntityResult] = field(default_factory=list)
    outcome: Outcome = Outcome.UNCHANGED

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside, and translate the driver's errors with the phase's name."""
        started = time.monotonic()
        with translated(name, self.target):
            yield
        self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started


def load_snapshot(
    project: Project,
    environment: Environment,
    *,
    only: Sequence[str] = (),
    dry_run: bool = False,
    verify: bool = True,
    consent: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> LoadReport:
    """Replace the contents of the snapshot's tables in the environment's database.

    `only` loads these entities alone; `consent` is the user's yes to losing rows that no load of ours put there.
    Raises `SnapshotError` (before the database is touched), `SchemaError`, `RefusedError`, `LoadError`, `ServerError`,
    `VerificationError` and `InterruptedByUserError`; in every case the database is as it was before.
    """
    target = resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    report = LoadReport(environment.name, target.described, target.source, snapshot.manifest, dry_run)
    entities = snapshot.manifest.chosen(only)
    with _telling_outcome(report):
        with report.phase("checking files"):
            require_files(snapshot, only=[entity.name for entity in entities])
        started = time.monotonic()
        with connected(target) as connection:
            report.phases["connecting"] = time.monotonic() - started
            job = _Job(project, environment, snapshot, target, entities, connection, report, consent, progress)
            _run(job, verify=verify)
    return report


@contextmanager
def _telling_outcome(report: LoadReport) -> Iterator[None]:
    """Let every failure end by saying how the database stands."""
    try:
        yield
    except KeyboardInterrupt as exc:
        raise InterruptedByUserError(
            f"interrupted; {report.outcome}", where=report.target, next_step=_how_to_see(report)
        ) from exc
    except SnapseedError as exc:
        if report.outcome is Outcome.UNKNOWN and not isinstance(exc, ServerError):
            # The server itself has refused the COMMIT.
            report.outcome = Outcome.UNCHANGED
        exc.summary += f"; {report.outcome}"
        exc.next_step = _how_to_see(report) or exc.next_step
        raise


def _how_to_see(report: LoadReport) -> str | None:
    if report.outcome is Outcome.UNKNOWN:
        return f"see what is loaded by `snapseed status {report.environment}`"
    return None


@dataclass(frozen=True)
class _Job:
    project: Project
    environment: Environment
    snapshot: Snapshot
    target: Target
    entities: Sequence[EntityRecord]
    connection: Connection
    report: LoadReport
    consent: bool
    progress: Callable[[Progress], None]


def _run(job: _Job, *, verify: bool) -> None:
    report, connection = job.report, job.connection
    with translated("committing", report.target), connection.transaction(force_rollback=report.dry_run):
        _prepare(job)
        if not report.dry_run:
            _fill(job)
            if verify:
                _verify(job)
            _record(job)
            report.outcome = Outcome.UNKNOWN
        started = time.monotonic()
    if not report.dry_run:
        report.outcome = Outcome.COMMITTED
        report.phases["committing"] = time.monotonic() - started
        with report.phase("analyzing"):
            steps.analyze(connection, report.plan)


def _prepare(job: _Job) -> None:
    """Guard, lock, catalog and plan: all that is decided before the first row is touched."""
    report, connection, environment = job.report, job.connection, job.environment
    with report.phase("planning"):
        identity = identify(connection)
        report.server = f"PostgreSQL {connection.info.server_version // 10000}, {identity}"
        require_allowed(identity, job.target, environment, consent=job.consent)
        steps.set_limits(connection, environment.lock_timeout, environment.statement_timeout)
    with report.phase("waiting for another load"):
        steps.lock(connection)
    with report.phase("planning"):
        facts = _read(job, job.entities)
        if not facts and not _read(job, job.snapshot.manifest.entities):
            _create_schema(job)
            facts = _read(job, job.entities)
        report.plan = plan_load(job.entities, facts)
        require_ours(facts.values(), loaded_tables(connection), identity, environment, consent=job.consent)
        require_no_side_effects(facts.values(), identity, environment, consent=job.consent)


def _create_schema(job: _Job) -> None:
    environment, schema = job.environment, job.project.schema
    if not environment.create_schema or schema is None:
        raise SchemaError(
            "none of the snapshot's tables exists",
            where=job.report.target,
            expected=", ".join(str(table_name(entity)) for entity in job.entities),
            next_step="run your migrations first, or let snapseed make the tables: "
            + ("" if schema is not None else "name a `schema` file in snapseed.toml and ")
            + f"set create_schema = true in [environments.{environment.name}]",
        )
    steps.apply_schema(job.connection, schema)
    # The file may have set timeouts of its own, as pg_dump's do.
    steps.set_limits(job.connection, environment.lock_timeout, environment.statement_timeout)
    job.report.schema_created = True


def _read(job: _Job, entities: Sequence[EntityRecord]) -> dict[str, TableFacts]:
    found = read_tables(job.connection, [table_name(entity) for entity in entities])
    return {entity.name: found[table_name(entity)] for entity in entities if table_name(entity) in found}


def _fill(job: _Job) -> None:
    report, connection, plan = job.report, job.connection, job.report.plan
    with report.phase("dropping indexes and keys"):
        steps.drop(connection, plan)
    with report.phase("emptying tables"):
        steps.empty(connection, plan)
    for table in plan.tables:
        total = table.entity.rows

        def advance(rows: int, name: str = table.entity.name, total: int = total) -> None:
            job.progress(Progress(name, rows, total))

        with report.phase("copying rows"), translated(f"copying {table.entity.name}", report.target):
            report.entities.append(steps.copy(connection, job.snapshot, table, advance))
    with report.phase("building indexes and keys"):
        steps.rebuild(connection, plan)
    with report.phase("setting sequences"):
        steps.set_sequences(connection, plan)


def _verify(job: _Job) -> None:
    with job.report.phase("verifying"):
        for table in job.report.plan.tables:
            job.report.verified.append(verify_entity(job.connection, table.entity, table.table))
        require_rows(job.report.verified, job.report.target)


def _record(job: _Job) -> None:
    manifest = job.snapshot.manifest
    with job.report.phase("recording"):
        record_load(
            job.connection,
            {
                "environment": job.environment.name,
                "snapshot": manifest.name,
                "identity": manifest.identity,
                "seed": manifest.seed,
                "scale": manifest.scale,
                "mode": "replace",
                "tables": [str(table.table) for table in job.report.plan.tables],
                "rows": job.report.plan.rows,
                "version": importlib.metadata.version("snapseed"),
            },
        )
