"""Load a snapshot in one transaction: prepare, plan, execute, commit. Any failure before that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import LiteralString

import psycopg
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.errors import SnapseedError, UsageError
from snapseed.events import Listener, Note, ignore, phase, phase_seconds, recorded
from snapseed.load.execute import execute
from snapseed.load.outcome import AlreadyLoaded, Connected, FilesChecked, LoadReport, Outcome, failed
from snapseed.load.partitions.staging import cleared, stage_tables
from snapseed.load.plan import LoadPlan
from snapseed.load.plan.tables import plan_load, require_consent
from snapseed.load.prepare import LoadSession, choose_entities, prepare, read_facts
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.load.schema_file import find_schema
from snapseed.load.unchanged import why_to_load
from snapseed.postgres import locks
from snapseed.postgres.connect import Session, Target, connected, role_search_path
from snapseed.postgres.facts import TableName
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import identify_allowed
from snapseed.postgres.locks import waiting, watching
from snapseed.postgres.provenance import is_recorded
from snapseed.postgres.threads import shared_among
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import EntityRecord, Manifest
from snapseed.snapshot.store import snapshot_of
from snapseed.verify.files import require_none, verify_files

_LOOKING = "looking for changes"
# PostgreSQL 15 brought pg_stat_force_next_flush, 18 an ANALYZE of a partitioned table without its partitions.
_FLUSHES, _ANALYZES_ONLY = 150_000, 180_000


def load_snapshot(
    project: Project,
    environment: Environment,
    request: LoadRequest = LoadRequest(),
    *,
    listener: Listener = ignore,
    settings: LoadSettings = LoadSettings(),
    executor: Executor | None = None,
) -> LoadReport:
    """Load the environment's snapshot into its database. If there is an `executor`, it does what can go parallel.

    The listener gets phases, `Advanced` for the rows of each entity, a `Note` while the load waits for somebody's lock,
    and the events of `snapseed.load.outcome`.

    Raises `SnapshotError`, `SchemaError`, `UsageError`, `RefusedError`, `LoadError`, `ServerError`,
    `VerificationError` and `InterruptedByUserError`. The error says how it left the database: unchanged, unless ANALYZE
    failed after the commit or the answer to the commit was lost. `report_of(error)` is the report up to there.
    """
    if request.mode is Mode.REPAIR:
        raise UsageError("a load does not repair", next_step="run `snapseed diff --repair`, or call repair_snapshot")
    target = resolve_target(project, environment)
    snapshot = snapshot_of(environment)
    is_whole = not (request.only or request.if_changed) and request.mode is Mode.REPLACE
    if request.recreate and not (is_whole and environment.create_schema and find_schema(project, snapshot)):
        raise UsageError(
            "--recreate drops all tables, creates them from the schema file and loads the whole snapshot",
            expected="a `schema` file or that of a capture, create_schema = true in"
            f" [environments.{environment.name}], and no --only, --mode or --if-changed",
            next_step="if migrations create the tables, run `snapseed db drop` and then the migrations",
        )
    request, queued = without_queued(request, project, environment, snapshot.manifest)
    events, tell = recorded(listener)

    @contextmanager
    def session(phase_name: str) -> Iterator[LoadSession]:
        """A connection for this load, made in a phase of this name."""
        with over_connection(target, tell, phase_name) as (connection, heard):
            yield LoadSession(
                project, environment, snapshot, target, request, settings, queued, connection, heard, events, executor
            )

    report = LoadReport(environment.name, target.described, target.source, snapshot.manifest, request.dry_run)
    try:
        if request.if_changed:
            with session(_LOOKING) as looking:
                if _holds_snapshot(looking):
                    return report.after(events)
        with phase(tell, "checking files"):
            # Which parents are loaded as well is not known yet.
            only = [] if request.with_parents else [entity.name for entity in snapshot.manifest.chosen(request.only)]
            findings = verify_files(snapshot, only=only, before_load=True)
            tell(FilesChecked(tuple(findings)))
            require_none(findings, snapshot)
        with session("connecting") as loading:
            plan = _load(loading)
            if not request.dry_run:
                with loading.phase("analyzing"):
                    _analyze(loading.connection, target, plan, environment)
    except (SnapseedError, KeyboardInterrupt) as exc:
        error = failed(exc, report.after(events), only=request.only)
        raise error from (exc.__cause__ if error is exc else exc)
    return report.after(events)


def finish_if_committed(
    project: Project, environment: Environment, report: LoadReport, *, listener: Listener = ignore
) -> LoadReport | None:
    """Finish a load whose connection was lost at the COMMIT or after it, if its record says that it was committed.

    Returns the report of the finished load, or None: then nothing was changed. Raises `ServerError` if the server does
    not answer.
    """
    if report.mark is None or report.outcome is Outcome.UNCHANGED:
        return None
    target = resolve_target(project, environment)
    events, tell = recorded(listener)
    with connected(target) as connection, waiting(target, connection, "looking for the load", tell):
        with connection.transaction():
            locks.set_limits(connection, environment)
            # The lost session may still be committing. It holds this lock until it is done.
            locks.lock(connection)
            if not is_recorded(connection, report.mark):
                return None
        with phase(tell, "analyzing"), translated("analyzing", target.described):
            _analyze(connection, target, report.plan, environment)
    return replace(report, outcome=Outcome.COMMITTED, phases={**report.phases, **phase_seconds(events)})


@contextmanager
def over_connection(target: Target, listener: Listener, phase_name: str) -> Iterator[tuple[Session, Listener]]:
    """A connection, made in this phase, and a listener for what is done over it, which is told of waits for locks."""
    with ExitStack() as stack:
        with phase(listener, phase_name):
            connection = stack.enter_context(connected(target))
        yield connection, stack.enter_context(watching(target, connection, listener)).tell


def without_queued(
    request: LoadRequest, project: Project, environment: Environment, manifest: Manifest
) -> tuple[LoadRequest, str | None]:
    """The request without the entity whose rows workers compute in this environment, and that entity, if there is one.

    Raises `UsageError` if the request names it.
    """
    if environment.embeddings == "snapshot" or project.embeddings is None:
        return request, None
    queued = project.embeddings.target
    manifest.chosen([queued])
    if queued in request.only:
        raise UsageError(
            "this entity is not loaded: workers compute its rows",
            observed=f"--only {queued}",
            expected='embeddings = "snapshot", to load it',
            next_step="run `snapseed queue repair` to compute what is missing",
        )
    others = [entity.name for entity in manifest.entities if entity.name != queued]
    return replace(request, only=request.only or others), queued


def _holds_snapshot(session: LoadSession) -> bool:
    """Whether there is nothing to do for `if_changed`."""
    connection, request, manifest = session.connection, session.request, session.snapshot.manifest
    # If a privilege or a column is missing, the load reports it with a better message.
    with session.phase(_LOOKING), suppress(psycopg.ProgrammingError), connection.transaction():
        identity = identify_allowed(connection, session.target, session.environment, consent=request.consent)
        session.listener(Connected(identity.server))
        locks.set_limits(connection, session.environment)
        entities: Sequence[EntityRecord] = manifest.chosen(request.only)
        if request.only and request.with_parents:
            entities = choose_entities(manifest, read_facts(connection, manifest.entities), request)
        reason = why_to_load(connection, manifest, entities, request)
        session.listener(Note(f"loading: {reason}") if reason else AlreadyLoaded())
        return reason is None
    return False


def _load(session: LoadSession) -> LoadPlan:
    """The transaction. Returns the plan that was carried out, or with `dry_run` would be."""
    request = session.request
    with cleared(session), transaction(session):
        prepared = prepare(session)
        with session.phase("planning"):
            plan = plan_load(prepared, request, session.settings)
            require_consent(prepared, request, session.environment, session.snapshot.manifest.identity)
        session.listener(plan)
        if not request.dry_run:
            execute(session, prepared, plan, stage_tables(session, plan))
    return plan


def _analyze(session: Session, target: Target, plan: LoadPlan, environment: Environment) -> None:
    """Give the planner statistics about the new rows, in a transaction for each table. This runs after the commit.

    New partitions are shared out to as many connections as filled them. A table that somebody has locked is skipped.
    """

    def analyze(name: TableName, session: Session, _stop: object = None, what: LiteralString = "{}") -> None:
        """Analyze a table in a transaction of its own."""
        with session.transaction():
            locks.set_limits(session, environment)
            with role_search_path(session):
                # Autovacuum begins at the same time. To wait until it is canceled takes a second for each table.
                session.execute(sql.SQL("ANALYZE (SKIP_LOCKED) " + what).format(name.identifier()))
            if session.info.server_version >= _FLUSHES:
                # Publish the counts that `--if-changed` compares now, not some time after this session ends.
                session.execute("SELECT pg_stat_force_next_flush()")

    divided = {
        table.table: [found.name for found in table.parallel.tree.partitions]
        for table in plan.tables
        if table.parallel and session.info.server_version >= _ANALYZES_ONLY
        if all(found.parent == table.table for found in table.parallel.tree.partitions)
    }
    partitions = list(chain.from_iterable(divided.values()))
    with ExitStack() as stack:
        own = [session]
        # The rows are committed: a server without room for more connections is no failure.
        with suppress(SnapseedError):
            own.extend(stack.enter_context(connected(target)) for _ in partitions[1 : environment.connections])
        shared_among(own, [partial(analyze, name) for name in partitions])
    for table in plan.tables:
        analyze(table.table, session, what="ONLY {}" if table.table in divided else "{}")


@contextmanager
def transaction(session: LoadSession) -> Iterator[None]:
    """Commit at the end of the block, or roll back after a dry run; tell what that makes of the database."""
    with translated("committing", session.target.described), ExitStack() as stack:
        stack.enter_context(session.connection.transaction(force_rollback=session.request.dry_run))
        yield
        if session.request.dry_run:
            return
        session.listener(Outcome.UNKNOWN)
        with phase(session.listener, "committing"):
            stack.close()
    session.listener(Outcome.COMMITTED)
