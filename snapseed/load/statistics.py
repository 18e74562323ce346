"""Give the planner statistics about the rows of a load, after its commit."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial

from psycopg import sql

from snapseed.config import Environment
from snapseed.load.plan import LoadPlan
from snapseed.postgres.connect import Session, Target, connected, role_search_path
from snapseed.postgres.locks import set_limits
from snapseed.postgres.threads import shared_among

# PostgreSQL 15 brought pg_stat_force_next_flush, 18 an ANALYZE of a partitioned table without its partitions.
_FLUSHES, _ANALYZES_ONLY = 150_000, 180_000


def analyze(target: Target, session: Session, plan: LoadPlan, environment: Environment) -> None:
    """ANALYZE the tables of the plan, each in a transaction of its own. Tables that somebody has locked are skipped.

    New partitions are shared out to as many connections as filled them. The driver's errors pass through, those of a
    connection that cannot be opened do not: `ServerError`.
    """
    for table in plan.tables:
        partitions = table.parallel.tree.partitions if table.parallel else ()
        whole = sql.SQL("{}")
        is_flat = all(found.parent == table.table for found in partitions)
        if partitions and is_flat and session.info.server_version >= _ANALYZES_ONLY:
            with ExitStack() as stack:
                own = [stack.enter_context(connected(target)) for _ in range(environment.connections)]
                shared_among(
                    own, [partial(_analyze, environment, whole.format(p.name.identifier())) for p in partitions]
                )
            whole = sql.SQL("ONLY {}")
        _analyze(environment, whole.format(table.table.identifier()), session)


def _analyze(
    environment: Environment, table: sql.Composed, session: Session, _stop: threading.Event | None = None
) -> None:
    with session.transaction():
        set_limits(session, environment)
        with role_search_path(session):
            # Autovacuum begins at the same time, and to wait until it is cancelled takes a second for each table.
            session.execute(sql.SQL("ANALYZE (SKIP_LOCKED) {}").format(table))
        if session.info.server_version >= _FLUSHES:
            # Publish the counts that `--if-changed` compares now, not some time after this session ends.
            session.execute("SELECT pg_stat_force_next_flush()")
