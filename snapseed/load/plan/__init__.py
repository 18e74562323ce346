"""What a load plan is made from, and what it consists of.

The plan says what a load does to each table, and why. The modules of this package decide it and touch neither files nor
the database.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

import pyarrow as pa
from msgspec import UNSET, UnsetType

from snapseed.load.request import Mode
from snapseed.load.restore import Restoration
from snapseed.postgres.facts import (
    ConstraintFacts,
    ForeignKeyFacts,
    IndexFacts,
    RuleFacts,
    SequenceFacts,
    ServerFacts,
    TableFacts,
    TableName,
    TriggerFacts,
)
from snapseed.postgres.fit import Problem
from snapseed.postgres.guard import Identity
from snapseed.postgres.partitions import PartitionFacts, StageFacts, TreeFacts
from snapseed.postgres.provenance import FilledTable
from snapseed.snapshot.manifest import CaptureRecord, EntityRecord, PartFile
from snapseed.snapshot.types import ColumnType

# A key that Python orders as PostgreSQL does.
Bound = int | UUID


@dataclass(frozen=True)
class ColumnContents:
    """What the snapshot's files hold in a column, as far as its table might refuse it; 0 and empty if it cannot."""

    nulls: int = 0
    longest: int = 0
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LeftTable:
    """A table of the snapshot that the load does not touch, and why. `agrees`: it holds exactly the rows already."""

    entity: str
    table: TableName
    reason: str
    agrees: bool


@dataclass(frozen=True)
class RowChanges:
    """How many rows of a table a repair deletes, updates and inserts.

    `moved` are those among the deleted ones that it inserts again with other values, and `columns` those that it
    updates. Columns `as_text` have values that no snapshot holds.
    """

    deleted: int = 0
    updated: int = 0
    inserted: int = 0
    moved: int = 0
    columns: frozenset[str] = frozenset()
    as_text: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """All rows that are changed; a moved one counts twice."""
        return self.deleted + self.updated + self.inserted

    @property
    def commands(self) -> frozenset[str]:
        """The commands that change these rows."""
        counts = {"DELETE": self.deleted, "UPDATE": self.updated, "INSERT": self.inserted}
        return frozenset(name for name, count in counts.items() if count)


@dataclass(frozen=True)
class Prepared:
    """Everything that was read before the load is planned.

    `facts` are the tables by entity name, also of entities that are not loaded. `children` are tables outside the load
    that are emptied with it, `rows_lost` are theirs by oid. `contents` are known by entity and column. `filled` says
    what earlier loads have put into tables, and `changed` are those of them in which others have written since.
    `problems` were found while reading. `dropped` are the tables outside the snapshot that are gone. `restoration` is
    what comes back besides rows. `capture` is there if the snapshot was captured. `trees` are the partitioned tables by
    entity name, if the load may use several `connections`. `left` are the tables that hold the rows already. `stages`
    are what loads that did not finish have left of staging tables. `changes` are those of a repair, by entity name.
    """

    entities: Sequence[EntityRecord]
    facts: Mapping[str, TableFacts]
    children: Sequence[TableFacts] = ()
    rows_lost: Mapping[int, int | None] = field(default_factory=dict)
    server: ServerFacts | None = None
    may_choose_compression: bool = True
    is_embedded: bool = False
    contents: Mapping[str, Mapping[str, ColumnContents]] = field(default_factory=dict)
    identity: Identity | None = None
    filled: Mapping[str, FilledTable] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    problems: Sequence[Problem] = ()
    dropped: tuple[TableName, ...] = ()
    restoration: Restoration = field(default_factory=Restoration)
    capture: CaptureRecord | UnsetType = UNSET
    environment: str = ""
    connections: int = 1
    trees: Mapping[str, TreeFacts] = field(default_factory=dict)
    left: tuple[LeftTable, ...] = ()
    stages: tuple[StageFacts, ...] = ()
    changes: Mapping[str, RowChanges] = field(default_factory=dict)

    @property
    def compression(self) -> str | None:
        """How to compress long values, `lz4` if possible; None if the environment or the administrator has chosen."""
        if self.server is None or not (self.may_choose_compression and self.server.toast_compression_is_default):
            return None
        return "lz4" if "lz4" in self.server.toast_compressions else "pglz"


class Emptying(StrEnum):
    """How a table loses its rows."""

    TRUNCATE = "truncate"
    DELETE = "delete"
    NOTHING = "nothing"


@dataclass(frozen=True)
class ColumnPlan:
    """A column of the COPY statement: the snapshot's type, and the type that the table has."""

    name: str
    kind: ColumnType
    target: ColumnType
    element_oid: int


@dataclass(frozen=True)
class EmptiedTable:
    """What happens to a table that loses its rows, and the `reasons` in words."""

    table: TableName
    empty_by: Emptying
    disable_triggers: tuple[TriggerFacts, ...]
    disable_rules: tuple[RuleFacts, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ChildPlan(EmptiedTable):
    """What happens to a table outside the load: its rows refer to replaced rows, and the user allowed emptying it.

    `rows` are those that it loses, None if this role may not count them.
    """

    rows: int | None

    def __str__(self) -> str:
        rows = "an unknown number of" if self.rows is None else f"{self.rows:,}"
        return f"{str(self.table).removeprefix('public.')} ({rows} rows)"


@dataclass(frozen=True)
class Slice:
    """Some rows of a file, in key order: its chunks from `first` up to `end`, and of them those with keys in bounds.

    `key` is the column that is compared: at least `low` and below `high`, of which None is no bound.
    """

    file: PartFile
    first: int
    end: int
    key: str = ""
    low: Bound | None = None
    high: Bound | None = None

    @property
    def rows(self) -> int:
        """The rows of these chunks."""
        return sum(chunk.rows for chunk in self.file.chunks[self.first : self.end])

    def cut(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are within the bounds. They are next to each other, since the keys are in order."""
        if self.low is None and self.high is None:
            return batch
        column = batch.column(self.key)
        start, stop = (
            edge if bound is None else bisect_left(range(len(column)), bound, key=lambda row: column[row].as_py())
            for edge, bound in ((0, self.low), (len(column), self.high))
        )
        return batch.slice(start, max(0, stop - start))


@dataclass(frozen=True)
class Share:
    """Rows that one task copies: those of one partition or, without one, rows that the server has to distribute."""

    slices: tuple[Slice, ...]
    partition: PartitionFacts | None = None


@dataclass(frozen=True)
class ParallelPlan:
    """How a partitioned table is filled over several connections, before the last transaction.

    `routed`: the server finds the partition of each row, in a staging table that is partitioned in the same way.
    `referenced`: foreign keys of other tables refer to the table.
    """

    tree: TreeFacts
    connections: int
    shares: tuple[Share, ...]
    routed: bool
    referenced: bool


@dataclass(frozen=True)
class TablePlan(EmptiedTable):
    """What happens to a table that is loaded.

    Long values of `uncompressed` columns are stored as they are. `staged`: the rows go into a temporary table first,
    and are merged from there; with `updates_all`, also over rows that are the same. `postponed` are constraints that
    its rows may break, added after the rows are in.
    `defers`: some of its foreign keys are checked only then. `parallel` is there if the table is filled over several
    connections. COPY takes the rows of `slices`, or all. `not_compared` are columns that the snapshot lacks.
    """

    entity: EntityRecord
    columns: tuple[ColumnPlan, ...]
    binary: bool
    freeze: bool
    staged: bool
    make_unlogged: bool
    uncompressed: tuple[str, ...]
    drop_indexes: tuple[IndexFacts, ...]
    drop_foreign_keys: tuple[ForeignKeyFacts, ...]
    postponed: tuple[ConstraintFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    defers: bool
    parallel: ParallelPlan | None = None
    slices: tuple[Slice, ...] | None = None
    not_compared: tuple[str, ...] = ()
    updates_all: bool = False

    @property
    def rebuilt(self) -> list[str]:
        """The names of the indexes and foreign keys that are dropped and rebuilt."""
        return [*(index.name for index in self.drop_indexes), *(key.name for key in self.drop_foreign_keys)]


@dataclass(frozen=True)
class Setting:
    """A server setting for the duration of the load, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class LoadPlan:
    """The tables in the order in which they are loaded.

    Those that are `left` stay as they are. `stages` of loads that did not finish are taken over or dropped. `recreate`:
    all schemas are dropped before, as was asked. `dropped` are the tables in them that the snapshot lacks.
    """

    tables: tuple[TablePlan, ...]
    left: tuple[LeftTable, ...] = ()
    stages: tuple[StageFacts, ...] = ()
    mode: Mode = Mode.REPLACE
    children: tuple[ChildPlan, ...] = ()
    settings: tuple[Setting, ...] = ()
    recreate: bool = False
    dropped: tuple[TableName, ...] = ()
    restoration: Restoration = field(default_factory=Restoration)

    @property
    def rows(self) -> int:
        """Rows to load."""
        return sum(table.entity.rows for table in self.tables)
