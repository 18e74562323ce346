"""Load a snapshot in ONE transaction: plan, obey, verify, record, commit. Any failure leaves everything as it was."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError, UsageError, interruption
from snapseed.events import Listener, Note
from snapseed.load import sequences, steps, upsert
from snapseed.load.fill import fill
from snapseed.load.job import Job, LoadRequest
from snapseed.load.plan import LoadOptions, Mode, TablePlan
from snapseed.load.prepare import prepare
from snapseed.load.report import LoadReport, Outcome, Progress
from snapseed.load.scope import chosen_entities
from snapseed.load.unchanged import is_unchanged, table_state
from snapseed.postgres import locks
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import identify, require_allowed
from snapseed.postgres.locks import watching
from snapseed.postgres.provenance import record_load
from snapseed.postgres.rowhash import table_fingerprint
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.hashing import EMPTY
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.verify.database import EntityResult, require_rows, verify_entity
from snapseed.verify.files import require_none, verify_files

# Classes of SQLSTATE that say that a connection or the server is going away: what became of a COMMIT is not known.
_GOING_AWAY = ("08", "57P")


def load_snapshot(  # noqa: PLR0913 - keywords, one for each option of the command
    project: Project,
    environment: Environment,
    *,
    only: Sequence[str] = (),
    mode: Mode | str = Mode.REPLACE,
    with_parents: bool = False,
    with_children: bool = False,
    if_changed: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    unlogged: bool = False,
    consent: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    log: Callable[[str], None] = lambda _: None,
    begun: Callable[[LoadReport], None] = lambda _: None,
) -> LoadReport:
    """Load the environment's snapshot into its database; the keywords are those of `LoadRequest` and `LoadOptions`.

    `progress` gets the rows sent so far, `log` a line where the load has to wait for others, `begun` the report as it
    begins to fill, for whoever wants to know how far a load came that raises. Raises `SnapshotError`
    (before the database is touched), `SchemaError`, `UsageError`, `RefusedError`, `LoadError`, `ServerError`,
    `VerificationError` and `InterruptedByUserError`. What an error says of the database ends its summary: as it was
    before, unless ANALYZE failed behind the commit, or the answer to the commit was lost.
    """
    target = resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    queued = queued_entity(project, environment, snapshot.manifest)
    only = _without(queued, only, snapshot.manifest)
    request = LoadRequest(
        only, LoadOptions(Mode(mode), verify, unlogged), with_parents, with_children, dry_run, queued, consent
    )
    report = LoadReport(environment.name, target.described, target.source, snapshot.manifest, dry_run)
    entities = snapshot.manifest.chosen(only)
    begun(report)
    with _telling_outcome(report):
        if if_changed and _is_unchanged(target, environment, snapshot, request, report, log):
            return report
        with report.phase("checking files"):
            report.files = verify_files(snapshot, only=[] if with_parents else [entity.name for entity in entities])
            require_none(report.files, snapshot)
        started = time.monotonic()
        with connected(target) as connection, watching(target, connection, _noting(log)) as watch:
            report.phases["connecting"] = time.monotonic() - started
            _run(Job(project, environment, snapshot, target, request, connection, report, watch, progress))
    return report


def _noting(log: Callable[[str], None]) -> Listener:
    """Tell the lines meant for the user."""
    return lambda event: log(event.text) if isinstance(event, Note) else None


def queued_entity(project: Project, environment: Environment, manifest: Manifest) -> str | None:
    """The entity whose rows workers make, where the environment wants them made; it is not loaded."""
    if environment.embeddings == "snapshot" or project.embeddings is None:
        return None
    target = project.embeddings.target
    manifest.chosen([target])
    return target


def _without(queued: str | None, only: Sequence[str], manifest: Manifest) -> Sequence[str]:
    """What is to be loaded where the entity `queued` is not."""
    if queued is None:
        return only
    if queued in only:
        raise UsageError(
            "this entity is not loaded: workers make its rows",
            observed=f"--only {queued}",
            expected='embeddings = "snapshot", to load it',
            next_step="run `snapseed queue repair` for what is missing",
        )
    return only or [entity.name for entity in manifest.entities if entity.name != queued]


def _is_unchanged(
    target: Target,
    environment: Environment,
    snapshot: Snapshot,
    request: LoadRequest,
    report: LoadReport,
    log: Callable[[str], None],
) -> bool:
    manifest = snapshot.manifest
    with (
        connected(target) as connection,
        watching(target, connection, _noting(log)),
        report.phase("looking for changes"),
    ):
        identity = identify(connection)
        require_allowed(identity, target, environment, consent=request.consent)
        report.server = f"PostgreSQL {connection.info.server_version // 10000}, {identity}"
        # Whatever keeps it from looking (a privilege, a column that is gone) is for the load itself to say.
        with suppress(psycopg.ProgrammingError), connection.transaction():
            locks.set_limits(connection, environment)
            entities = chosen_entities(connection, manifest, request.only, with_parents=request.with_parents)
            report.already_loaded = is_unchanged(connection, manifest, entities, request.options)
    return report.already_loaded


@contextmanager
def _telling_outcome(report: LoadReport) -> Iterator[None]:
    """Let every failure end by saying how the database stands."""
    try:
        yield
    except KeyboardInterrupt as exc:
        summary = f"interrupted; {report.outcome}"
        raise interruption(exc, summary, where=report.target, next_step=_how_to_see(report)) from exc
    except SnapseedError as exc:
        if report.outcome is Outcome.UNKNOWN and _is_an_answer(exc):
            # The server itself has refused the COMMIT.
            report.outcome = Outcome.UNCHANGED
        exc.summary += f"; {report.outcome}"
        exc.next_step = _how_to_see(report) or exc.next_step
        raise


def _is_an_answer(error: SnapseedError) -> bool:
    """Whether the server said so, and not that it or the connection was going away."""
    state = error.__cause__.sqlstate if isinstance(error.__cause__, psycopg.Error) else None
    return state is not None and not state.startswith(_GOING_AWAY)


def _how_to_see(report: LoadReport) -> str | None:
    if report.outcome is Outcome.UNKNOWN:
        return f"see what is loaded by `snapseed status {report.environment}`"
    return None


def _run(job: Job) -> None:
    report, connection, dry_run = job.report, job.connection, job.request.dry_run
    with translated("committing", report.target), connection.transaction(force_rollback=dry_run):
        prepare(job)
        if not dry_run:
            fill(job)
            if job.request.options.verify:
                _verify(job)
            _record(job)
            report.outcome = Outcome.UNKNOWN
        started = time.monotonic()
    if not dry_run:
        report.outcome = Outcome.COMMITTED
        report.phases["committing"] = time.monotonic() - started
        with job.phase("analyzing"):
            locks.set_limits(connection, job.environment, for_transaction=False)
            steps.analyze(connection, report.plan)


def _verify(job: Job) -> None:
    with job.phase("verifying"):
        job.report.verified += [_verify_table(job, table) for table in job.report.plan.tables]
        require_rows(job.report.verified, job.report.target)


def _verify_table(job: Job, table: TablePlan) -> EntityResult:
    """All rows of a replaced table; those upserted; or those there were, with the new ones added to them."""
    if job.report.plan.mode is Mode.REPLACE:
        return verify_entity(job.connection, table.entity, table.table)
    started = time.monotonic()
    if table.staged:
        observed = table_fingerprint(job.connection, table.entity, table.table, upsert.staged_keys(table))
    else:
        observed = table_fingerprint(job.connection, table.entity, table.table)
    expected = table.entity.digest() + job.fingerprints.get(str(table.table), EMPTY)
    return EntityResult(table.entity.name, str(table.table), expected, observed, time.monotonic() - started)


def _record(job: Job) -> None:
    manifest, plan = job.snapshot.manifest, job.report.plan
    with job.phase("recording"):
        queued = _queued_state(job)
        job.report.mark = record_load(
            job.connection,
            {
                "environment": job.environment.name,
                "snapshot": manifest.name,
                "identity": manifest.identity,
                "seed": manifest.seed,
                "scale": manifest.scale,
                "mode": str(plan.mode),
                "tables": [*(str(table.table) for table in plan.tables), *queued],
                "rows": plan.rows,
                "state": {str(table.table): _state(job, table) for table in plan.tables} | queued,
                "version": importlib.metadata.version("snapseed"),
            },
        )
    with job.phase("setting sequences"):
        sequences.set_sequences(job.connection, plan)


def _queued_state(job: Job) -> dict[str, object]:
    """The table that was emptied for workers: whatever stands there from now on is ours to replace."""
    if job.request.queued is None or job.report.plan.mode is not Mode.REPLACE:
        return {}
    record = job.snapshot.manifest.entity(job.request.queued)
    assert record is not None
    found = read_tables(job.connection, [table_name(record)]).get(table_name(record))
    return {} if found is None else {str(found.name): {"oid": found.oid}}


def _state(job: Job, table: TablePlan) -> dict[str, object]:
    name = table.table
    return table_state(job.connection, table.entity, name, job.request.options, changes=job.changes[str(name)])
