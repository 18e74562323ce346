"""The tables that a subset chooses from, with what its statements need to know of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snapseed.config.settings import suggestion
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.postgres import query
from snapseed.postgres.catalog import TableFacts, read_rows
from snapseed.postgres.connect import Connection
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import INTEGERS, ColumnType, Family, parse_type

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

    @property
    def is_text(self) -> bool:
        """Whether a snapshot orders its values by the bytes of their texts."""
        return self.kind.family in {Family.TEXT, Family.CHARACTER, Family.TEXT_FORM}


# Of a table without a key: where a row is, which does not change within a transaction that sees one moment.
_PLACE = tuple(
    ColumnSql(name, f"pg_catalog.{kind}", EQUALS, parse_type(kind))
    for name, kind in (("tableoid", "oid"), ("ctid", "tid"))
)


@dataclass(frozen=True)
class Table:
    """A table, and the columns by which its rows are told apart: its key, or their place if it has none."""

    name: str
    facts: TableFacts
    columns: tuple[ColumnSql, ...]
    key: tuple[str, ...]

    @property
    def identity(self) -> tuple[ColumnSql, ...]:
        """The columns that tell rows apart."""
        return tuple(self.column(name) for name in self.key) or _PLACE

    @property
    def is_sortable(self) -> bool:
        """Whether keys as we keep them, numbers and texts, have the order of a snapshot."""
        return bool(self.key) and all(
            column.is_integer or column.is_text or column.kind.family is Family.UUID for column in self.identity
        )

    @property
    def stored(self) -> list[Column]:
        """The columns as a manifest has them."""
        return [Column(column.name, column.kind.name) for column in self.columns]

    def column(self, name: str) -> ColumnSql:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def has_index(self, columns: Sequence[str]) -> bool:
        """Whether an index begins with these columns, in any order."""
        return any(set(index.key[: len(columns)]) == set(columns) for index in self.facts.indexes)


def read_table_columns(
    connection: Connection, tables: Mapping[str, TableFacts], keys: Mapping[str, Sequence[str]]
) -> tuple[Table, ...]:
    """The tables by the names that they have in the snapshot, with their keys."""
    columns: dict[int, list[ColumnSql]] = {facts.oid: [] for facts in tables.values()}
    kinds = {(facts.oid, column.name): column.type for facts in tables.values() for column in facts.columns}
    for row in read_rows(connection, query("columns", Path(__file__).parent / "queries"), oids=list(columns)):
        kind = parse_type(kinds[row["oid"], row["name"]])
        columns[row["oid"]].append(ColumnSql(row["name"], row["type"], row["operator"], kind))
    return tuple(Table(name, facts, tuple(columns[facts.oid]), tuple(keys[name])) for name, facts in tables.items())


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
