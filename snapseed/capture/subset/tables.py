"""The tables that a subset chooses from, with what its statements need to know of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snapseed.capture.prepare import SourceTable
from snapseed.config.settings import suggestion
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.postgres import query
from snapseed.postgres.catalog import TableFacts, read_rows
from snapseed.postgres.connect import Connection
from snapseed.postgres.rowhash import key_type
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import INTEGERS, ColumnType, parse_type

EQUALS = "OPERATOR(pg_catalog.=)"


@dataclass(frozen=True)
class ColumnSql:
    """A column as statements need it: the qualified name of its type, and the operator that compares its values."""

    name: str
    type: str
    operator: str
    kind: ColumnType

    @property
    def is_integer(self) -> bool:
        """Whether its values are numbers for us; all others are texts."""
        return self.kind.family in INTEGERS


# Of a table without a key: where a row is, which does not change within a transaction that sees one moment.
_PLACE = tuple(
    ColumnSql(name, f"pg_catalog.{kind}", EQUALS, parse_type(kind))
    for name, kind in (("tableoid", "oid"), ("ctid", "tid"))
)


@dataclass(frozen=True)
class Table:
    """A table that is captured, with all its columns, also those that a snapshot does not store."""

    source: SourceTable
    columns: tuple[ColumnSql, ...]

    @property
    def name(self) -> str:
        """The name of its entity."""
        return self.source.entity

    @property
    def facts(self) -> TableFacts:
        """What the catalogs say about it."""
        return self.source.facts

    @property
    def identity(self) -> tuple[ColumnSql, ...]:
        """The columns that tell rows apart: those of the key, or the place of a row if there is none."""
        return tuple(self.column(column.name) for column in self.source.key) or _PLACE

    @property
    def ordered(self) -> tuple[Column, ...]:
        """The columns that rows are ordered by in a snapshot."""
        return self.source.key or self.source.columns

    @property
    def is_sortable(self) -> bool:
        """Whether keys as we keep them, numbers and texts, have the order of a snapshot."""
        return bool(self.source.key) and all(
            key_type(column.kind()) in {"bigint", "text", "uuid"} for column in self.source.key
        )

    def column(self, name: str) -> ColumnSql:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def has_index(self, columns: Sequence[str]) -> bool:
        """Whether an index begins with these columns, in any order."""
        return any(set(index.key[: len(columns)]) == set(columns) for index in self.facts.indexes)


def read_columns(connection: Connection, tables: Sequence[SourceTable]) -> tuple[Table, ...]:
    """The tables with what the catalogs say about the types of their columns."""
    columns: dict[int, list[ColumnSql]] = {table.facts.oid: [] for table in tables}
    kinds = {(table.facts.oid, column.name): column.type for table in tables for column in table.facts.columns}
    for row in read_rows(connection, query("columns", Path(__file__).parent / "queries"), oids=list(columns)):
        kind = parse_type(kinds[row["oid"], row["name"]])
        columns[row["oid"]].append(ColumnSql(row["name"], row["type"], row["operator"], kind))
    return tuple(Table(table, tuple(columns[table.facts.oid])) for table in tables)


def named(tables: Sequence[Table], name: str, where: str, kind: type[SnapseedError] = ConfigurationError) -> Table:
    """The table of this name, with or without its schema. Raises an error of this kind unless there is exactly one."""
    found = [table for table in tables if name in {table.name, table.facts.table, str(table.facts.name)}]
    exact = [table for table in found if name != table.facts.table] or found
    if len(exact) != 1:
        names = [str(table.facts.name) for table in found or tables]
        raise kind(
            f"several tables are named {name!r}" if found else f"there is no table named {name!r} to capture",
            where=where,
            observed=name,
            expected=f"one of: {', '.join(names)}",
            next_step=None if found else suggestion(name, [*names, *(table.name for table in tables)]),
        )
    return exact[0]
