"""What a load plan is made from, and what it consists of.

The plan says what a load does to each table, and why. The modules of this package decide it and touch neither files nor
the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import UNSET, UnsetType

from snapseed.load.plan.shares import ParallelPlan, Slice
from snapseed.load.request import LoadRequest, Mode
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
from snapseed.postgres.partitions import TreeFacts
from snapseed.postgres.provenance import FilledTable
from snapseed.snapshot.manifest import CaptureRecord, EntityRecord
from snapseed.snapshot.types import ColumnType


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
    entity name, if the load may use several `connections`. `left` are the tables that hold the rows already. `changes`
    are those of a repair, by entity name.
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
    """What happens to a table that loses its rows, and in `reasons`, in words, why."""

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

    Those that are `left` stay as they are. `recreate`: all schemas are dropped before, as was asked. `dropped` are the
    tables in them that the snapshot lacks.
    """

    tables: tuple[TablePlan, ...]
    left: tuple[LeftTable, ...] = ()
    mode: Mode = Mode.REPLACE
    children: tuple[ChildPlan, ...] = ()
    settings: tuple[Setting, ...] = ()
    recreate: bool = False
    dropped: tuple[TableName, ...] = ()
    restoration: Restoration = field(default_factory=Restoration)
    capture: CaptureRecord | UnsetType = UNSET

    @property
    def rows(self) -> int:
        """Rows to load."""
        return sum(table.entity.rows for table in self.tables)


@dataclass(frozen=True)
class TableSet:
    """What the choices for one table depend on beyond its own facts: the other tables of the load, and the request.

    `tables` are in load order, by oid. `truncated` are emptied by TRUNCATE; `truncatable` are those that would be if
    the role were granted TRUNCATE on the tables that it cannot empty at all. `logged` says by oid why a table cannot
    become unlogged. `stores_uncompressed`: the server has only the slow way to compress long values, so avoid it.
    `changes` are those of a repair, by oid.
    """

    request: LoadRequest
    rebuild_rows: int
    tables: Mapping[int, tuple[EntityRecord, TableFacts]]
    truncated: frozenset[int]
    truncatable: frozenset[int]
    logged: Mapping[int, str]
    stores_uncompressed: bool
    restoration: Restoration
    changes: Mapping[int, RowChanges]

    @classmethod
    def of(
        cls, entities: Sequence[EntityRecord], prepared: Prepared, request: LoadRequest, rebuild_rows: int
    ) -> TableSet:
        """The tables of `entities`, which are in load order."""
        tables = {prepared.facts[entity.name].oid: (entity, prepared.facts[entity.name]) for entity in entities}
        emptied = {facts.oid: facts for facts in [*(facts for _, facts in tables.values()), *prepared.children]}
        if request.mode is not Mode.REPLACE:
            emptied = {}
        allowed = {oid for oid, facts in emptied.items() if "TRUNCATE" in facts.privileges}
        helpless = {oid for oid, facts in emptied.items() if not facts.privileges & {"TRUNCATE", "DELETE"}}
        truncated = _closed(emptied, allowed)
        truncatable = _closed(emptied, allowed | helpless)
        return cls(
            request,
            rebuild_rows,
            tables,
            truncated,
            truncatable,
            _logged(tables, truncated),
            stores_uncompressed=prepared.is_embedded and prepared.compression == "pglz",
            restoration=prepared.restoration,
            changes={prepared.facts[name].oid: changes for name, changes in prepared.changes.items()},
        )

    def deletes_from(self, facts: TableFacts) -> bool:
        """Whether the table is emptied by DELETE, also if the role still needs a grant for that."""
        if self.request.mode is not Mode.REPLACE or facts.oid in self.truncated:
            return False
        return "DELETE" in facts.privileges or facts.oid not in self.truncatable

    def commands(self, facts: TableFacts) -> frozenset[str]:
        """The commands other than COPY and TRUNCATE that change rows of the table."""
        if self.request.mode is Mode.UPSERT:
            return frozenset({"INSERT", "UPDATE"})
        deletes = frozenset({"DELETE"}) if self.deletes_from(facts) else frozenset[str]()
        return self.changes.get(facts.oid, RowChanges()).commands | deletes

    def is_later(self, key: ForeignKeyFacts, than: int) -> bool:
        """Whether the table that `key` refers to is loaded after table `than`."""
        order = list(self.tables)
        return any(order.index(oid) > order.index(than) for oid in key.targets & self.tables.keys())


def referenced_first(tables: Sequence[TableFacts]) -> list[TableFacts]:
    """Each table once, after those of `tables` that it refers to. In a cycle, the given order decides."""
    by_oid = {facts.oid: facts for facts in tables}
    ordered: list[TableFacts] = []
    visited: set[int] = set()

    def visit(facts: TableFacts) -> None:
        if facts.oid in visited:
            return
        visited.add(facts.oid)
        for key in facts.foreign_keys:
            for oid in key.targets & by_oid.keys():
                visit(by_oid[oid])
        ordered.append(facts)

    for facts in tables:
        visit(facts)
    return ordered


def _closed(tables: Mapping[int, TableFacts], allowed: set[int]) -> frozenset[int]:
    """Those of `allowed` that one TRUNCATE may name: every table that refers to one of them is among them."""
    truncated = set(allowed)
    while blocked := {
        oid for oid in truncated if not all(other.is_among(truncated) for other in tables[oid].referenced_by)
    }:
        truncated -= blocked
    return frozenset(truncated)


def _logged(tables: Mapping[int, tuple[EntityRecord, TableFacts]], truncated: frozenset[int]) -> dict[int, str]:
    """Why tables stay logged: by themselves, or because a logged table must not refer to an unlogged one."""
    logged: dict[int, str] = {}
    for oid, (_, facts) in tables.items():
        if facts.kind != "r":
            logged[oid] = "it is partitioned"
        elif facts.citus:
            logged[oid] = f"it is a {facts.citus} table of Citus"
        elif not facts.owned:
            logged[oid] = "the role does not own it"
        elif oid not in truncated:
            logged[oid] = "it is not truncated"
        elif facts.is_published:
            logged[oid] = "it is published"
    while blocked := {
        oid: f"{other.name} refers to it and stays logged"
        for oid, (_, facts) in tables.items()
        if oid not in logged
        for other in facts.referenced_by
        if other.is_among(logged) or not other.is_among(tables)
    }:
        logged.update(blocked)
    return logged
