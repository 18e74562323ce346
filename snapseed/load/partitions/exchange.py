"""Exchange the partitions of a table inside the load's transaction: the old ones go, the filled ones take their place.

Steps that only readers of the catalogs see are sent as one statement, since each round trip prolongs the lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql

from snapseed.load.plan.shares import ParallelPlan
from snapseed.postgres.connect import Connection
from snapseed.postgres.partitions import PartitionFacts


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
    tree = plan.tree
    _run(connection, (statement for found in tree.partitions for statement in _attached(found)))
    schemas = sql.SQL(", ").join(map(sql.Identifier, tree.schemas))
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schemas))


def _attached(partition: PartitionFacts) -> Iterator[sql.Composed]:
    name, schema = partition.name.identifier(), sql.Identifier(str(partition.name.schema))
    yield sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(partition.staged.identifier(), schema)
    # How a partition is attached is the server's own text.
    bound = sql.SQL(partition.bound)
    yield sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(partition.parent.identifier(), name, bound)
    yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT snapseed_bounds").format(name)
    yield from (sql.Composed([sql.SQL(text)]) for text in partition.placed)


def _run(connection: Connection, statements: Iterable[sql.Composed]) -> None:
    connection.execute(sql.SQL("; ").join(statements))
