"""What the catalogs say about the partitions of a table, and the SQL that creates the same partitions for new rows.

A new partition is created, filled and indexed in a schema of its own, under its final name, so no name of a user can
collide with it. Everything is frozen and read once. PostgreSQL 14 to 18.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from snapseed.postgres import query
from snapseed.postgres.catalog import index_definitions, read_rows
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableName
from snapseed.postgres.locks import AdvisoryLock


@dataclass(frozen=True)
class PartitionFacts:
    """A partition that holds rows. `bound` is how ATTACH PARTITION names its rows.

    `create` makes an empty table like it in the schema `stage`, `build` adds its indexes and the constraints on them,
    `placed` is what follows once the new table is in the old one's place. `defaults`: so many of it and the partitions
    above it are default partitions. `version` changes with its columns and constraints. Exchanging it takes about
    `locks` locks. `obstacle` says why no other table can take its place.
    """

    name: TableName
    stage: str
    parent: TableName
    parent_oid: int
    bound: str
    defaults: int
    version: str
    create: tuple[str, ...]
    build: tuple[str, ...]
    placed: tuple[str, ...]
    locks: int
    obstacle: str | None

    @property
    def staged(self) -> TableName:
        """The table with the new rows, until it is attached."""
        return TableName(self.stage, self.name.table, alone=True)


@dataclass(frozen=True)
class TreeFacts:
    """A partitioned table. `divided_by` is its partition key, as `RANGE (id)`.

    `create` makes an empty table in the schema `stage` that is partitioned in the same way, without partitions that
    hold rows. `identity` are its identity columns. The server has room for about `lock_room` locks. `obstacle` says
    why its partitions cannot be replaced.
    """

    oid: int
    stage: str
    divided_by: str
    create: tuple[str, ...]
    identity: tuple[str, ...]
    lock_room: int
    obstacle: str | None
    partitions: tuple[PartitionFacts, ...]

    def routing(self, oid: int) -> TableName:
        """The staging table for one that is partitioned: it is named by number, out of the way of all other names."""
        return TableName(self.stage, f"t{oid}")

    @property
    def schemas(self) -> list[str]:
        """The schemas that staging needs."""
        return list(dict.fromkeys([self.stage, *(found.stage for found in self.partitions)]))


@dataclass(frozen=True)
class StageFacts:
    """A schema with staging tables of a parallel load into `table`, which is None if that is gone.

    `mark` says what for. Unless a load runs now, so that it `is_used`, the load did not finish, and the next one takes
    over the tables or drops them. It may if the schema `is_ours`, this role's.
    """

    schema: str
    mark: str
    table: str | None
    is_ours: bool
    is_used: bool

    def __str__(self) -> str:
        schemas = "_".join(self.schema.split("_")[:2])
        return f"staging tables of {self.table or 'a table that is gone'} in the schemas {schemas}*"


def read_stages(connection: Connection) -> tuple[StageFacts, ...]:
    """All schemas for staging tables in this database."""
    rows = read_rows(connection, query("staging_schemas"), lock=int(AdvisoryLock.LOADS))
    return tuple(StageFacts(**row) for row in rows)


def read_partitions(connection: Connection, table: int) -> TreeFacts:
    """The partitions of a table, by its oid."""
    (tree,) = read_rows(connection, query("partition_tree"), oid=table)
    rows = read_rows(connection, query("partitions"), oid=table)
    definitions = index_definitions(connection, [index["oid"] for row in rows for index in row["indexes"]])
    partitions = (
        PartitionFacts(
            name=TableName(row.pop("schema"), row.pop("table"), alone=True),
            parent=TableName(row.pop("parent_schema"), row.pop("parent_table")),
            build=tuple(
                statement
                for index in row.pop("indexes")
                for statement in _build_index(definitions[index.pop("oid")], **index)
            ),
            **row,
        )
        for row in rows
    )
    return TreeFacts(oid=table, partitions=tuple(partitions), **tree)


def _build_index(definition: str, *, old: str, new: str, after: list[str], tablespace: str) -> tuple[str, ...]:
    """The statements that build an index like this one on the new table: the definition begins with `old`."""
    assert definition.startswith(old), definition
    where = sql.SQL("SET LOCAL default_tablespace = {}").format(sql.Literal(tablespace)).as_string()
    return (where, new + definition.removeprefix(old), *after)
