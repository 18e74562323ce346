"""Exchange the partitions of a table inside the load's transaction: the old ones go, the filled ones take their place.

Statements that need no answer are sent together, since each round trip prolongs the lock.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from snapseed.load.plan import ParallelPlan
from snapseed.postgres.connect import Connection


def drop_partitions(connection: Connection, plan: ParallelPlan) -> None:
    """Drop the old partitions. Rows that others have in a table that refers to them have to be gone already."""
    if plan.referenced:
        # DROP TABLE would take the foreign keys of those tables with it, and refuses.
        detach = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
        _run(connection, (detach.format(p.parent.identifier(), p.name.identifier()) for p in plan.tree.partitions))
    names = sql.SQL(", ").join(found.name.identifier() for found in plan.tree.partitions)
    connection.execute(sql.SQL("DROP TABLE {}").format(names))


def attach_partitions(connection: Connection, plan: ParallelPlan) -> None:
    """Attach the filled tables, default partitions last: PostgreSQL scans these for rows that a new partition takes.

    It scans no other table, because each has its bounds as a check, which goes afterwards. Foreign keys are checked.
    """
    partitions = plan.tree.partitions
    move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
    attach = "ALTER TABLE {} ATTACH PARTITION {} "
    drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT snapseed_bounds")
    # One kind of statement after the other: the server rebuilds what it remembers of the table less often.
    _run(connection, (move.format(p.staged.identifier(), sql.Identifier(str(p.name.schema))) for p in partitions))
    _run(
        connection,
        # The bounds are the server's own text.
        (sql.SQL(attach).format(p.parent.identifier(), p.name.identifier()) + sql.SQL(p.bound) for p in partitions),
    )
    _run(connection, (drop.format(p.name.identifier()) for p in partitions))
    _run(connection, (sql.Composed([sql.SQL(text)]) for p in partitions for text in p.placed))
    schemas = sql.SQL(", ").join(map(sql.Identifier, plan.tree.schemas))
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schemas))


def _run(connection: Connection, statements: Iterable[sql.Composed]) -> None:
    """Send statements together."""
    connection.execute(sql.SQL("; ").join(statements))
