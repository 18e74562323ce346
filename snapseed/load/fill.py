"""Obey the plan: make room, copy the rows, and put everything back behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from snapseed.errors import SnapseedError
from snapseed.load import sequences, steps, upsert
from snapseed.load.copying import copy_rows
from snapseed.load.job import Job
from snapseed.load.plan import Mode, TablePlan
from snapseed.load.report import Progress
from snapseed.load.unchanged import count_changes
from snapseed.postgres.failures import translated
from snapseed.postgres.rowhash import table_fingerprint

_FOREIGN_KEY_VIOLATION = "23503"


def fill(job: Job) -> None:
    """Do all that the plan says, but for what comes after the verification."""
    connection, plan = job.connection, job.report.plan
    for table in plan.tables:
        job.changes[str(table.table)] = count_changes(connection, table.table)
    steps.apply_settings(connection, plan)
    with job.phase("dropping indexes and keys"):
        steps.drop(connection, plan)
    with job.phase("emptying tables"):
        for name, count in steps.empty(connection, plan).items():
            job.changes[name] = job.changes.get(name, 0) + count
    if plan.mode is Mode.APPEND and job.request.options.verify:
        with job.phase("fingerprinting the rows that are there"):
            for table in plan.tables:
                job.fingerprints[str(table.table)] = table_fingerprint(connection, table.entity, table.table)
    with _suggesting_parents(job):
        for table in plan.tables:
            job.changes[str(table.table)] += _fill_table(job, table)
        job.report.copying = None
        with job.phase("building indexes"):
            steps.build_indexes(connection, plan)
        with job.phase("checking foreign keys"):
            steps.build_foreign_keys(connection, plan)
    with job.phase("setting sequences"):
        sequences.restart_sequences(connection, plan)


def _fill_table(job: Job, table: TablePlan) -> int:
    """Copy the rows, by way of a temporary table for an upsert; returns how many were inserted or changed."""
    report, connection, total = job.report, job.connection, table.entity.rows

    def advance(rows: int) -> None:
        job.watch.moved()
        job.progress(Progress(table.entity.name, rows, total))

    report.copying = table.entity.name
    with job.phase("copying rows"), translated(f"copying {table.entity.name}", report.target):
        into = upsert.stage_table(connection, table) if table.staged else table.table.identifier()
        report.entities.append(copy_rows(connection, job.snapshot, table, into, advance))
    if not table.staged:
        return total
    with job.phase("merging rows"), translated(f"merging {table.entity.name}", report.target):
        return upsert.merge_rows(connection, table)


@contextmanager
def _suggesting_parents(job: Job) -> Iterator[None]:
    """Where rows are missing that the loaded ones refer to, say how to load those too."""
    try:
        yield
    except SnapseedError as exc:
        cause = exc.__cause__
        if job.request.only and isinstance(cause, psycopg.Error) and cause.sqlstate == _FOREIGN_KEY_VIOLATION:
            exc.next_step = "add --with-parents to load the rows that these refer to as well"
        raise
