"""The tables of a database with keys, checks and partitions, from catalogs; expressions as the server spells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snapseed.capture.mask.personal import PERSONAL_VALUES
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows, read_tables, search_schemas
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import ColumnFacts, TableFacts, TableName
from snapseed.scaffold.statistics import ColumnStatistics, read_statistics
from snapseed.snapshot.types import ColumnType, parse_type

_QUERIES = Path(__file__).parent / "queries"
# Queries that return several facts about each table.
_DETAILS = ("unique", "foreign_keys", "checks", "exclusions", "defaults", "partitions")


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to columns of the table with the oid `target`, in the order of the constraint.

    `cascades`: deleting a row deletes those that refer to it. `is_required`: no column takes NULL. `guess` is the name
    of the table if nobody has declared the key.
    """

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    cascades: bool = False
    is_required: bool = True
    guess: str = ""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each column with the one that it refers to."""
        return list(zip(self.columns, self.target_columns, strict=True))


@dataclass(frozen=True)
class Check:
    """A condition on `columns`. In the check of a domain, `VALUE` stands for the column.

    That of a `generated` column is evaluated with its type. `calls`: a function of the database's own may read tables.
    """

    expression: str
    columns: tuple[str, ...]
    of_domain: bool = False
    generated: str | None = None
    calls: bool = False

    def __str__(self) -> str:
        if self.generated is not None:
            return f"the generated column {self.generated}"
        return f"CHECK {' '.join(self.expression.split())}"


@dataclass(frozen=True)
class Exclusion:
    """A constraint that keeps any two rows from matching in all of its columns or expressions.

    `equal` are the columns compared by `=`. If one of them is unique, the constraint holds.
    """

    definition: str
    columns: tuple[str, ...]
    equal: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table. `unique` holds the columns of each unique index about all rows, the primary key first.

    `is_visible`: the search path finds it without its schema. `defaults` are those of ordinary columns. `partitions`
    are the conditions on the rows of its partitions, None where it is not partitioned. `rows` is PostgreSQL's estimate
    and `statistics` what it knows about columns: None and empty without ANALYZE, or if they are not to be used.
    `unique_where` are the conditions of other unique indexes, by their columns. Foreign keys of more columns than
    `widest_parent` do not lead to a parent.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[ColumnFacts, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    unique_where: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    partitions: tuple[str, ...] | None = None
    serials: frozenset[str] = frozenset()
    is_visible: bool = True
    has_rows: bool = False
    rows: int | None = None
    statistics: Mapping[str, ColumnStatistics] = field(default_factory=dict)
    comment: str = ""
    widest_parent: int = 32

    def __str__(self) -> str:
        return self.name if self.is_visible else f"{self.schema}.{self.name}"

    def column(self, name: str) -> ColumnFacts:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def kind(self, name: str) -> ColumnType:
        """The type of a column. Raises `ConfigurationError` for one that no snapshot has."""
        return parse_type(self.column(name).type)

    @property
    def declared(self) -> Table:
        """The table without guesses."""
        return replace(self, foreign_keys=tuple(key for key in self.foreign_keys if not key.guess))

    def are_unique(self, columns: Iterable[str]) -> bool:
        """Whether no two rows may have the same values in these columns."""
        given = set(columns)
        return any(set(key) <= given for key in self.unique)

    @property
    def tried_exclusions(self) -> list[Exclusion]:
        """Exclusion constraints that are not over ranges. Ranges never overlap as they are drawn."""
        return [
            exclusion
            for exclusion in self.exclusions
            if not any("range" in self.column(name).type for name in exclusion.columns)
        ]

    @property
    def foreign_columns(self) -> frozenset[str]:
        """The columns of all foreign keys."""
        return frozenset(name for key in self.foreign_keys for name in key.columns)


def read_schema(connection: Connection, *, with_statistics: bool = True) -> tuple[Table, ...]:
    """All tables in the schemas that this role may use: no views, no partitions, no tables of extensions."""
    given = {"path": search_schemas(connection), "personal": PERSONAL_VALUES}
    found = read_rows(connection, query("tables", _QUERIES), **given)
    names = [TableName(row["schema"], row["name"]) for row in found]
    facts = {table.oid: table for table in read_tables(connection, names).values()}
    details: dict[int, dict[str, list[dict[str, Any]]]] = {oid: {name: [] for name in _DETAILS} for oid in facts}
    for name in _DETAILS:
        for row in read_rows(connection, query(name, _QUERIES), oids=list(facts)):
            details[row.pop("oid")][name].append(row)
    filled = {oid: table for oid, table in facts.items() if table.has_rows and with_statistics}
    statistics = read_statistics(connection, filled)
    for row in found:
        row["statistics"] = statistics.get(row["oid"], {})
    return tuple(_table(row, facts[row["oid"]], **details[row["oid"]]) for row in found if row["oid"] in facts)


def _table(row: dict[str, Any], facts: TableFacts, **details: list[dict[str, Any]]) -> Table:
    required = {column.name for column in facts.columns if column.not_null}
    return Table(
        **row,
        columns=facts.columns,
        primary_key=next((index["columns"] for index in details["unique"] if index["is_primary"]), ()),
        unique=tuple(index["columns"] for index in details["unique"] if index["columns"] and not index["only_where"]),
        unique_where={index["columns"]: index["only_where"] for index in details["unique"] if index["only_where"]},
        foreign_keys=tuple(
            ForeignKey(**key, is_required=required >= set(key["columns"])) for key in details["foreign_keys"]
        ),
        checks=tuple(Check(**check) for check in details["checks"]),
        exclusions=tuple(Exclusion(**exclusion) for exclusion in details["exclusions"]),
        defaults={default["name"]: default["expression"] for default in details["defaults"]},
        partitions=next((partitioned["conditions"] for partitioned in details["partitions"]), None),
        serials=frozenset(sequence.column for sequence in facts.sequences),
        has_rows=facts.has_rows,
        rows=facts.estimated_rows if row["statistics"] else None,
    )
