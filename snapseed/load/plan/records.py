"""What a load plan is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from snapseed.postgres.catalog import ForeignKeyFacts, IndexFacts, RuleFacts, SequenceFacts, TableName, TriggerFacts
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.types import ColumnType


class Mode(StrEnum):
    """What becomes of the rows that are there: replaced, kept beside the new ones, or changed where the key is one."""

    REPLACE = "replace"
    APPEND = "append"
    UPSERT = "upsert"


class Emptying(StrEnum):
    """How a table loses its rows."""

    TRUNCATE = "truncate"
    DELETE = "delete"
    NOTHING = "nothing"


@dataclass(frozen=True)
class LoadOptions:
    """What the user asks of a load, as far as the plan depends on it."""

    mode: Mode = Mode.REPLACE
    verify: bool = True
    unlogged: bool = False


@dataclass(frozen=True)
class ColumnPlan:
    """A column of the COPY statement: the snapshot's type, and the type the table has."""

    name: str
    kind: ColumnType
    target: ColumnType
    element_oid: int


@dataclass(frozen=True)
class TablePlan:
    """What happens to one table. `reasons` says, in words, why each choice was made.

    `staged`: the rows go into a temporary table first, and from there in one statement into the table. `defers`: it has
    foreign keys that are checked only when all rows are there.
    """

    entity: EntityRecord
    table: TableName
    columns: tuple[ColumnPlan, ...]
    binary: bool
    empty_by: Emptying
    freeze: bool
    staged: bool
    make_unlogged: bool
    drop_indexes: tuple[IndexFacts, ...]
    drop_foreign_keys: tuple[ForeignKeyFacts, ...]
    disable_triggers: tuple[TriggerFacts, ...]
    disable_rules: tuple[RuleFacts, ...]
    sequences: tuple[SequenceFacts, ...]
    reasons: tuple[str, ...]
    defers: bool = False

    @property
    def rebuilt(self) -> list[str]:
        """The names of what is dropped and made again."""
        return [*(index.name for index in self.drop_indexes), *(key.name for key in self.drop_foreign_keys)]


@dataclass(frozen=True)
class EmptiedTable:
    """A table outside the load whose rows refer to rows in it, and which is emptied because the user said so."""

    table: TableName
    empty_by: Emptying
    disable_triggers: tuple[TriggerFacts, ...] = ()
    disable_rules: tuple[RuleFacts, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A setting of the server for the time of the load, and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class LoadPlan:
    """The tables in the order in which they are loaded."""

    tables: tuple[TablePlan, ...]
    mode: Mode = Mode.REPLACE
    children: tuple[EmptiedTable, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def rows(self) -> int:
        """Rows to load."""
        return sum(table.entity.rows for table in self.tables)
