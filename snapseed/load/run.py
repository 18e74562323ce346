"""Load a snapshot in ONE transaction: plan, obey, verify, record, commit. Any failure leaves everything as it was."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from snapseed.config import Environment, Project
from snapseed.database.catalog import TableName, read_server
from snapseed.database.connect import Connection, Target, connected, resolve_target, translated
from snapseed.database.guard import identify, require_allowed, require_ours
from snapseed.database.provenance import loaded_tables, missing_privilege, record_load
from snapseed.errors import InterruptedByUserError, SchemaError, ServerError, SnapseedError
from snapseed.load import sequences, steps, upsert
from snapseed.load.blockers import watching
from snapseed.load.contents import content_problems
from snapseed.load.copying import copy_rows
from snapseed.load.plan import LoadOptions, Mode, TablePlan, plan_load
from snapseed.load.plan.requirements import schema_error
from snapseed.load.report import LoadReport, Outcome, Progress
from snapseed.load.schema_file import apply_schema
from snapseed.load.scope import Scope, chosen_entities, missing_elsewhere, read_scope, require_parents, with_children
from snapseed.load.unchanged import count_changes, is_unchanged, table_state
from snapseed.snapshot.fingerprint import EMPTY, Fingerprint
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.verify.files import require_files
from snapseed.verify.rows import EntityResult, require_rows, table_fingerprint, verify_entity
from snapseed.verify.schema import Problem, table_name

_FOREIGN_KEY_VIOLATION = "23503"


@dataclass(frozen=True)
class LoadRequest:
    """What is asked of one load.

    `only`: these entities alone; `with_parents`: and those that their rows refer to; `with_children`: other tables'
    rows that refer to replaced rows may be deleted. `consent` is the user's yes to losing rows that no load of ours put
    there. `if_changed`: nothing is done where the database already holds the snapshot.
    """

    only: Sequence[str] = ()
    options: LoadOptions = field(default_factory=LoadOptions)
    with_parents: bool = False
    with_children: bool = False
    if_changed: bool = False
    dry_run: bool = False
    consent: bool = False


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
) -> LoadReport:
    """Load the environment's snapshot into its database; the keywords are those of `LoadRequest` and `LoadOptions`.

    `progress` gets the rows sent so far, `log` a line where the load has to wait for others. Raises `SnapshotError`
    (before the database is touched), `SchemaError`, `UsageError`, `RefusedError`, `LoadError`, `ServerError`,
    `VerificationError` and `InterruptedByUserError`; in every case the database is as it was before.
    """
    request = LoadRequest(
        only, LoadOptions(Mode(mode), verify, unlogged), with_parents, with_children, if_changed, dry_run, consent
    )
    target = resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    report = LoadReport(environment.name, target.described, target.source, snapshot.manifest, dry_run)
    entities = snapshot.manifest.chosen(only)
    with _telling_outcome(report):
        if if_changed and _is_unchanged(target, environment, snapshot, request, report):
            return report
        with report.phase("checking files"):
            require_files(snapshot, only=[] if with_parents else [entity.name for entity in entities])
        started = time.monotonic()
        with connected(target) as connection:
            report.phases["connecting"] = time.monotonic() - started
            _run(_Job(project, environment, snapshot, target, request, connection, report, progress, log))
    return report


def _is_unchanged(
    target: Target, environment: Environment, snapshot: Snapshot, request: LoadRequest, report: LoadReport
) -> bool:
    with report.phase("looking for changes"), connected(target) as connection:
        identity = identify(connection)
        require_allowed(identity, target, environment, consent=request.consent)
        report.server = f"PostgreSQL {connection.info.server_version // 10000}, {identity}"
        manifest = snapshot.manifest
        # Whatever keeps it from looking (a privilege, a column that is gone) is for the load itself to say.
        with suppress(psycopg.ProgrammingError):
            entities = chosen_entities(connection, manifest, request.only, with_parents=request.with_parents)
            report.already_loaded = is_unchanged(connection, manifest, entities, request.options.mode)
    return report.already_loaded


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


@dataclass
class _Job:
    """One load at work. `changes` and `fingerprints` are those of the tables by name, before the first row."""

    project: Project
    environment: Environment
    snapshot: Snapshot
    target: Target
    request: LoadRequest
    connection: Connection
    report: LoadReport
    progress: Callable[[Progress], None]
    log: Callable[[str], None]
    changes: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)


def _run(job: _Job) -> None:
    report, connection, dry_run = job.report, job.connection, job.request.dry_run
    with translated("committing", report.target), connection.transaction(force_rollback=dry_run):
        _prepare(job)
        if not dry_run:
            _fill(job)
            if job.request.options.verify:
                _verify(job)
            with watching(job.target, connection, job.log):
                _record(job)
            report.outcome = Outcome.UNKNOWN
        started = time.monotonic()
    if not dry_run:
        report.outcome = Outcome.COMMITTED
        report.phases["committing"] = time.monotonic() - started
        with report.phase("analyzing"):
            steps.analyze(connection, report.plan)


def _prepare(job: _Job) -> None:
    """Guard, lock, catalog and plan: all that is decided before the first row is touched."""
    report, connection, environment, request = job.report, job.connection, job.environment, job.request
    with report.phase("planning"):
        identity = identify(connection)
        report.server = f"PostgreSQL {connection.info.server_version // 10000}, {identity}"
        require_allowed(identity, job.target, environment, consent=request.consent)
        steps.set_limits(connection, environment.lock_timeout, environment.statement_timeout)
    with watching(job.target, connection, job.log), report.phase("waiting for another load"):
        steps.lock(connection)
    with report.phase("planning"):
        scope = _read_scope(job)
        problems = [
            problem
            for entity in scope.entities
            if (found := scope.facts.get(entity.name))
            for problem in content_problems(job.snapshot, entity, found)
        ]
        problems += missing_elsewhere(connection, scope.entities, scope.facts)
        problems += _provenance_problems(connection)
        report.plan = plan_load(
            scope.entities,
            scope.facts,
            request.options,
            server=read_server(connection),
            children=scope.children,
            problems=problems,
        )
        require_parents(scope)
        touched = [*(scope.facts[entity.name] for entity in scope.entities), *scope.children]
        if request.options.mode is not Mode.APPEND:
            whole = request.options.mode is Mode.REPLACE
            require_ours(
                touched, loaded_tables(connection, whole=whole), identity, environment, consent=request.consent
            )


def _read_scope(job: _Job) -> Scope:
    connection, manifest, request = job.connection, job.snapshot.manifest, job.request
    scope = read_scope(connection, manifest, request.only, with_parents=request.with_parents)
    if not scope.facts and not read_scope(connection, manifest, (), with_parents=False).facts:
        _create_schema(job)
        scope = read_scope(connection, manifest, request.only, with_parents=request.with_parents)
    return with_children(connection, scope, request.options.mode, allowed=request.with_children)


def _create_schema(job: _Job) -> None:
    environment, schema = job.environment, job.project.schema
    entities = job.snapshot.manifest.chosen(job.request.only)
    elsewhere = missing_elsewhere(job.connection, entities, ())
    if any(problem.mend for problem in elsewhere):
        raise schema_error(elsewhere, [str(table_name(entity)) for entity in entities])
    if not environment.create_schema or schema is None:
        raise SchemaError(
            "none of the snapshot's tables exists",
            where=job.report.target,
            observed="; ".join(problem.text for problem in elsewhere) or None,
            expected=", ".join(str(table_name(entity)) for entity in entities),
            next_step="run your migrations first, or let snapseed make the tables: "
            + ("" if schema is not None else "name a `schema` file in snapseed.toml and ")
            + f"set create_schema = true in [environments.{environment.name}]",
        )
    apply_schema(job.connection, schema)
    # The file may have set timeouts of its own, as pg_dump's do.
    steps.set_limits(job.connection, environment.lock_timeout, environment.statement_timeout)
    job.report.schema_created = True


def _provenance_problems(connection: Connection) -> list[Problem]:
    missing = missing_privilege(connection)
    return [Problem(f"the role lacks {missing[0]}, to record what it loads", missing[1])] if missing else []


def _fill(job: _Job) -> None:
    report, connection, plan = job.report, job.connection, job.report.plan
    for table in plan.tables:
        job.changes[str(table.table)] = count_changes(connection, table.table)
    steps.apply_settings(connection, plan)
    with watching(job.target, connection, job.log):
        with report.phase("dropping indexes and keys"):
            steps.drop(connection, plan)
        with report.phase("emptying tables"):
            for name, count in steps.empty(connection, plan).items():
                job.changes[name] = job.changes.get(name, 0) + count
    if plan.mode is Mode.APPEND and job.request.options.verify:
        with report.phase("fingerprinting the rows that are there"):
            for table in plan.tables:
                job.fingerprints[str(table.table)] = table_fingerprint(connection, table.entity, table.table)
    with _suggesting_parents(job):
        for table in plan.tables:
            job.changes[str(table.table)] += _fill_table(job, table)
        with report.phase("building indexes"):
            steps.build_indexes(connection, plan)
        with report.phase("checking foreign keys"):
            steps.build_foreign_keys(connection, plan)
    with report.phase("setting sequences"):
        sequences.restart_sequences(connection, plan)


def _fill_table(job: _Job, table: TablePlan) -> int:
    """Copy the rows, by way of a temporary table for an upsert; returns how many were inserted or changed."""
    report, connection, total = job.report, job.connection, table.entity.rows

    def advance(rows: int) -> None:
        watch.moved()
        job.progress(Progress(table.entity.name, rows, total))

    with (
        watching(job.target, connection, job.log) as watch,
        report.phase("copying rows"),
        translated(f"copying {table.entity.name}", report.target),
    ):
        into = upsert.stage_table(connection, table) if table.staged else table.table.identifier()
        report.entities.append(copy_rows(connection, job.snapshot, table, into, advance))
    if not table.staged:
        return total
    with report.phase("merging rows"), translated(f"merging {table.entity.name}", report.target):
        return upsert.merge_rows(connection, table)


@contextmanager
def _suggesting_parents(job: _Job) -> Iterator[None]:
    """Where rows are missing that the loaded ones refer to, say how to load those too."""
    try:
        yield
    except SnapseedError as exc:
        cause = exc.__cause__
        if job.request.only and isinstance(cause, psycopg.Error) and cause.sqlstate == _FOREIGN_KEY_VIOLATION:
            exc.next_step = "add --with-parents to load the rows that these refer to as well"
        raise


def _verify(job: _Job) -> None:
    with job.report.phase("verifying"):
        job.report.verified += [_verify_table(job, table) for table in job.report.plan.tables]
        require_rows(job.report.verified, job.report.target)


def _verify_table(job: _Job, table: TablePlan) -> EntityResult:
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


def _record(job: _Job) -> None:
    manifest, plan = job.snapshot.manifest, job.report.plan
    with job.report.phase("recording"):
        record_load(
            job.connection,
            {
                "environment": job.environment.name,
                "snapshot": manifest.name,
                "identity": manifest.identity,
                "seed": manifest.seed,
                "scale": manifest.scale,
                "mode": str(plan.mode),
                "tables": [str(table.table) for table in plan.tables],
                "rows": plan.rows,
                "state": {str(table.table): _state(job, table.table, table) for table in plan.tables},
                "version": importlib.metadata.version("snapseed"),
            },
        )
    with job.report.phase("setting sequences"):
        sequences.set_sequences(job.connection, plan)


def _state(job: _Job, name: TableName, table: TablePlan) -> dict[str, object]:
    return table_state(job.connection, table.entity, name, job.report.plan.mode, changes=job.changes[str(name)])
