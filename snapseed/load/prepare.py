"""All that is decided before the first row is touched: guards, lock, schema, scope and plan."""

from __future__ import annotations

from collections.abc import Sequence

from snapseed.errors import SchemaError
from snapseed.load.contents import content_problems
from snapseed.load.job import Job
from snapseed.load.plan import Mode, plan_load
from snapseed.load.plan.requirements import schema_error
from snapseed.load.schema_file import apply_schema
from snapseed.load.scope import Scope, missing_elsewhere, read_scope, require_parents, with_children
from snapseed.postgres import locks
from snapseed.postgres.catalog import TableFacts, TableName, read_server, read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import Problem, table_name
from snapseed.postgres.guard import identify, require_allowed, require_ours
from snapseed.postgres.provenance import loaded_tables, missing_privilege


def prepare(job: Job) -> None:
    """Put the plan into the job's report. Raises whatever says that the load cannot or may not be."""
    report, connection, environment, request = job.report, job.connection, job.environment, job.request
    with job.phase("planning"):
        identity = identify(connection)
        report.server = f"PostgreSQL {connection.info.server_version // 10000}, {identity}"
        require_allowed(identity, job.target, environment, consent=request.consent)
        locks.set_limits(connection, environment)
    with job.phase("waiting for another load"):
        locks.lock(connection)
    with job.phase("waiting for the tables"):
        _lock(job, [table_name(entity) for entity in job.snapshot.manifest.chosen(request.only)])
    with job.phase("planning"):
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


def _lock(job: Job, tables: Sequence[TableName]) -> None:
    """Keep writers out before anything is decided: what is decided from must still hold when it is done."""
    if not job.request.dry_run:
        locks.lock_tables(job.connection, tables, exclusive=job.request.options.mode is Mode.REPLACE)


def _read_scope(job: Job) -> Scope:
    connection, manifest, request = job.connection, job.snapshot.manifest, job.request
    scope = read_scope(connection, manifest, request.only, with_parents=request.with_parents)
    if not scope.facts and not read_scope(connection, manifest, (), with_parents=False).facts:
        _create_schema(job)
        scope = read_scope(connection, manifest, request.only, with_parents=request.with_parents)
    emptied = _queued_table(job)
    whole = with_children(connection, scope, request.options.mode, allowed=request.with_children, emptied=emptied)
    if not (request.with_parents or whole.children):
        return whole
    # Tables that only the catalogs could name: lock them too, and look again.
    _lock(job, [whole.facts[entity.name].name for entity in whole.entities if entity.name in whole.facts])
    _lock(job, [child.name for child in whole.children])
    scope = read_scope(connection, manifest, request.only, with_parents=request.with_parents)
    return with_children(
        connection, scope, request.options.mode, allowed=request.with_children, emptied=_queued_table(job)
    )


def _queued_table(job: Job) -> TableFacts | None:
    """The table that workers fill, as it is now."""
    record = None if job.request.queued is None else job.snapshot.manifest.entity(job.request.queued)
    return None if record is None else read_tables(job.connection, [table_name(record)]).get(table_name(record))


def _create_schema(job: Job) -> None:
    environment, schema = job.environment, job.project.schema
    entities = job.snapshot.manifest.chosen(job.request.only)
    elsewhere = missing_elsewhere(job.connection, entities, ())
    if any(problem.fix for problem in elsewhere):
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
    locks.set_limits(job.connection, environment)
    job.report.schema_created = True


def _provenance_problems(connection: Connection) -> list[Problem]:
    missing = missing_privilege(connection)
    return [Problem(f"the role lacks {missing[0]}, to record what it loads", missing[1])] if missing else []
