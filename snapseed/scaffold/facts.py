"""What a first project is made of: the tables of a database with their keys and checks, as frozen records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from snapseed.postgres.catalog import ColumnFacts

# A column of an exclusion constraint with its operator, as pg_get_constraintdef prints them.
_ELEMENT = re.compile(r'[(,] ?((?:"(?:[^"]|"")+"|\w+)) WITH ([^\s,)]+)')


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to columns of the table with the oid `target`, in the order of the constraint.

    `cascades` says that rows go with those that they refer to; `is_required` that none of the columns takes NULL.
    """

    name: str
    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    cascades: bool = False
    is_required: bool = True


@dataclass(frozen=True)
class Check:
    """A condition on `columns`, as the server prints it; of a domain, `VALUE` stands for `column`."""

    name: str
    expression: str
    column: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exclusion:
    """A constraint by which no two rows may have something in common, and the columns that it looks at."""

    name: str
    definition: str
    columns: tuple[str, ...]

    @property
    def equal(self) -> tuple[str, ...]:
        """The columns in which two rows would have the same. Where one of them is unique, the constraint holds."""
        elements = _ELEMENT.findall(self.definition)
        named = {name.strip('"').replace('""', '"') for name, sign in elements if sign == "="}
        return tuple(name for name in self.columns if name in named)


@dataclass(frozen=True)
class Partition:
    """One partition: what it is a partition of, and its bound as the server prints it."""

    parent: int
    oid: int
    bound: str


@dataclass(frozen=True)
class Partitions:
    """How the rows of a table, or of one of its partitions, are spread: `r`ange, `l`ist or `h`ash of columns.

    `columns` are empty where the rows are spread by an expression.
    """

    strategy: str
    columns: tuple[str, ...]
    partitions: tuple[Partition, ...]


@dataclass(frozen=True)
class Table:
    """One table. `unique` holds the columns of each unique index, the primary key's first.

    `is_visible` says that the search path finds it without its schema. `defaults` are those of ordinary columns, as
    the server prints them.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[ColumnFacts, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[int, Partitions] = field(default_factory=dict)
    serials: frozenset[str] = frozenset()
    is_visible: bool = True
    has_rows: bool = False
    comment: str = ""

    def __str__(self) -> str:
        return self.name if self.is_visible else f"{self.schema}.{self.name}"

    def column(self, name: str) -> ColumnFacts:
        """The column of this name, which exists."""
        return next(column for column in self.columns if column.name == name)

    def are_unique(self, columns: Iterable[str]) -> bool:
        """Whether no two rows may have the same values in these columns."""
        given = set(columns)
        return any(set(key) <= given for key in self.unique)

    @property
    def foreign_columns(self) -> frozenset[str]:
        """The columns of all foreign keys."""
        return frozenset(name for key in self.foreign_keys for name in key.columns)
