"""What the catalogs say about columns that rules may be for: frozen, read by a handful of queries, no rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from snapseed.errors import ConfigurationError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, search_schemas
from snapseed.postgres.connect import Connection
from snapseed.snapshot.types import ColumnType, parse_type

QUERIES = Path(__file__).parent / "queries"
# Literals, and the types that they are cast to.
_NO_NAME = re.compile(r"'(?:[^']|'')*'|::\w+")
_WORD = re.compile(r'"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*')


@dataclass(frozen=True)
class MaskableColumn:
    """One column. `type` is the base type of a domain, `expression` the default or what a generated column is.

    `is_enum` is about the elements of an array too, and so are `parts`, the names inside of a composite type.
    """

    oid: int
    schema: str
    table: str
    name: str
    type: str
    full_type: str
    not_null: bool
    is_generated: bool
    expression: str | None
    is_deterministic: bool
    is_enum: bool
    parts: tuple[str, ...]
    may_select: bool

    @cached_property
    def kind(self) -> ColumnType:
        """The parsed type, of the elements of an array. A type that no snapshot has is only a name."""
        try:
            kind = parse_type(self.type)
        except ConfigurationError:
            return ColumnType(self.type, self.type)
        return kind.element or kind

    @property
    def room(self) -> int | None:
        """The most characters of a text; None without a limit."""
        return self.kind.modifiers[0] if self.kind.base.startswith("character") and self.kind.modifiers else None


Place = tuple[int, str]


@dataclass(frozen=True)
class UniqueFacts:
    """A unique index or an exclusion constraint: its parts are columns or, in parentheses, expressions."""

    oid: int
    is_primary: bool
    parts: tuple[str, ...]
    predicate: str
    nulls_are_equal: bool
    is_equal: bool


@dataclass(frozen=True)
class ColumnReference:
    """A column of a foreign key, and the column that it refers to."""

    oid: int
    name: str
    target: int
    target_name: str


@dataclass(frozen=True)
class CheckFacts:
    """A check constraint of a table."""

    oid: int
    name: str
    expression: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All tables of a database. A column is known by the oid of its table and by its name.

    `partitioning` are the columns that decide which partition a row belongs to, and whether it belongs to any.
    `spelled` has the names by which a configuration may call the columns: `table.column` for tables that the search
    path finds, and `schema.table.column`.
    """

    columns: Mapping[Place, MaskableColumn]
    unique: tuple[UniqueFacts, ...]
    references: tuple[ColumnReference, ...]
    checks: tuple[CheckFacts, ...]
    partitioning: frozenset[Place]
    spelled: Mapping[str, Place]
    names: Mapping[Place, str]


def read_facts(connection: Connection) -> Facts:
    """Read the facts about all tables that this role may use."""
    columns = {(row["oid"], row["name"]): msgspec.convert(row, MaskableColumn) for row in _rows(connection, "columns")}
    oids = sorted({oid for oid, _ in columns})
    path = search_schemas(connection)
    visible: dict[str, MaskableColumn] = {}
    for column in columns.values():
        known = visible.get(column.table, column)
        if column.schema in path and path.index(column.schema) <= path.index(known.schema):
            visible[column.table] = column
    spelled, names = {}, {}
    for place, column in columns.items():
        spelled[f"{column.schema}.{column.table}.{column.name}"] = place
        names[place] = f"{column.schema}.{column.table}.{column.name}"
        if column.table in visible and visible[column.table].oid == column.oid:
            names[place] = f"{column.table}.{column.name}"
            spelled[names[place]] = place
    return Facts(
        columns,
        tuple(msgspec.convert(row, UniqueFacts) for row in _rows(connection, "unique", oids=oids)),
        tuple(msgspec.convert(row, ColumnReference) for row in _rows(connection, "references", oids=oids)),
        tuple(msgspec.convert(row, CheckFacts) for row in _rows(connection, "checks", oids=oids)),
        frozenset(
            place
            for row in _rows(connection, "partitioning", oids=oids)
            for name in words_in(row["expression"])
            if (place := (row["oid"], name)) in columns
        ),
        spelled,
        names,
    )


def words_in(expression: str) -> Iterator[str]:
    """The names in an SQL expression: those of columns, and also of functions."""
    for word in _WORD.findall(_NO_NAME.sub("", expression)):
        yield word[1:-1].replace('""', '"') if word.startswith('"') else word


def _rows(connection: Connection, name: str, **parameters: object) -> list[dict[str, Any]]:
    return read_rows(connection, query(name, QUERIES), **parameters)
