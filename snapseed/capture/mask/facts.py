"""What the catalogs say about columns that rules may be for: frozen, read by a handful of queries, no rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from snapseed.config.settings import ReferenceTable
from snapseed.errors import ConfigurationError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, search_schemas
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableName
from snapseed.snapshot.types import ColumnType, parse_type

_QUERIES = Path(__file__).parent / "queries"
# Literals, and the types that they are cast to.
_NO_NAME = re.compile(r"'(?:[^']|'')*'|::\w+")
_WORD = re.compile(r'"(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$]*')


@dataclass(frozen=True)
class MaskableColumn:
    """One column. `shown` is its name in the configuration, with the schema if the search path does not find the table.

    `type` is the base type of a domain, `expression` the default or what a generated column is. `is_enum` is about the
    elements of an array too, and so are `parts`, the names inside of a composite type.
    """

    oid: int
    schema: str
    table: str
    name: str
    shown: str
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
    def base(self) -> str:
        """The name of the type without its schema and modifiers."""
        return self.kind.base.rpartition(".")[2]

    @property
    def room(self) -> int | None:
        """The most characters of a text; None without a limit."""
        return self.kind.modifiers[0] if self.kind.base.startswith("character") and self.kind.modifiers else None

    @property
    def of_table(self) -> TableName:
        """The table in full."""
        return TableName(self.schema, self.table)


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
class CheckFacts:
    """A check constraint of a table."""

    oid: int
    name: str
    expression: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All tables of a database. A column is known by the oid of its table and by its name.

    `references` are columns, each with the one that it refers to. `partitioning` are the columns that decide which
    partition a row belongs to, and whether it belongs to any. `spelled` has the names by which a configuration may call
    the columns: `table.column` for tables that the search path finds, and `schema.table.column`.
    """

    columns: Mapping[Place, MaskableColumn]
    unique: tuple[UniqueFacts, ...]
    references: tuple[tuple[Place, Place], ...]
    checks: tuple[CheckFacts, ...]
    partitioning: frozenset[Place]
    spelled: Mapping[str, Place]


def read_facts(connection: Connection, declared: Sequence[ReferenceTable] = ()) -> Facts:
    """Read the facts about all tables that this role may use. `declared` are references that are no foreign keys."""
    found, visible = read_rows(connection, query("columns", _QUERIES)), dict[str, str]()
    for schema in reversed(search_schemas(connection)):
        visible |= {row["table"]: schema for row in found if row["schema"] == schema}
    columns, full = dict[Place, MaskableColumn](), dict[str, Place]()
    for row in found:
        name, place = f"{row['table']}.{row['name']}", (row["oid"], row["name"])
        full[f"{row['schema']}.{name}"] = place
        shown = name if visible.get(row["table"]) == row["schema"] else f"{row['schema']}.{name}"
        columns[place] = msgspec.convert(row | {"shown": shown}, MaskableColumn)
    spelled = full | {column.shown: place for place, column in columns.items()}
    oids = list({oid for oid, _ in columns})
    unique, references, checks, partitioning = (
        read_rows(connection, query(name, _QUERIES), oids=oids)
        for name in ("unique", "references", "checks", "partitioning")
    )
    indexes = msgspec.convert(unique, tuple[UniqueFacts, ...])
    pairs = [((row["oid"], row["name"]), (row["target"], row["target_name"])) for row in references]
    return Facts(
        columns,
        indexes,
        (*pairs, *_declared(declared, spelled, indexes)),
        msgspec.convert(checks, tuple[CheckFacts, ...]),
        frozenset((row["oid"], name) for row in partitioning for name in words_in(row["expression"])) & columns.keys(),
        spelled,
    )


def _declared(
    declared: Sequence[ReferenceTable], spelled: Mapping[str, Place], unique: Sequence[UniqueFacts]
) -> Iterator[tuple[Place, Place]]:
    """The columns of `[[capture.references]]`, each with the one that it refers to: of the key, if nothing is said."""
    tables = {name.rpartition(".")[0]: oid for name, (oid, _) in spelled.items()}
    keys = {index.oid: index.parts for index in unique if index.is_primary}
    for reference in declared:
        targets = reference.to_columns or keys.get(tables.get(reference.to, 0), ())
        for own, target in zip(reference.columns, targets, strict=False):
            places = spelled.get(f"{reference.table}.{own}"), spelled.get(f"{reference.to}.{target}")
            if places[0] and places[1]:
                yield places[0], places[1]


def words_in(expression: str) -> Iterator[str]:
    """The names in an SQL expression: those of columns, and also of functions."""
    for word in _WORD.findall(_NO_NAME.sub("", expression)):
        yield word[1:-1].replace('""', '"') if word.startswith('"') else word
