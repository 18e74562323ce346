"""The tables of a database with their keys, checks and partitions: frozen records, and how they are read.

Reads catalogs only, no rows. Expressions are in the server's own spelling.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from snapseed.postgres.catalog import ColumnFacts, TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection

# One query for each fact about all tables, on PostgreSQL 14 to 18.
_QUERIES = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "queries").glob("*.sql")}
# A column of an exclusion constraint with its operator, as pg_get_constraintdef prints them.
_ELEMENT = re.compile(r'[(,] ?((?:"(?:[^"]|"")+"|\w+)) WITH ([^\s,)]+)')


@dataclass(frozen=True)
class ForeignKey:
    """Columns that refer to columns of the table with the oid `target`, in the order of the constraint.

    `cascades`: deleting a row deletes those that refer to it. `is_required`: no column of the key takes NULL.
    """

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    cascades: bool = False
    is_required: bool = True

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each column with the one that it refers to."""
        return list(zip(self.columns, self.target_columns, strict=True))


@dataclass(frozen=True)
class Check:
    """A condition on `columns`. In the check of a domain, `VALUE` stands for the column."""

    expression: str
    columns: tuple[str, ...]
    of_domain: bool = False

    def __str__(self) -> str:
        return f"CHECK {' '.join(self.expression.split())}"


@dataclass(frozen=True)
class Exclusion:
    """A constraint that keeps any two rows from matching in all of its columns or expressions."""

    definition: str
    columns: tuple[str, ...]

    @property
    def equal(self) -> tuple[str, ...]:
        """The columns compared by `=`. If one of them is unique, the constraint holds."""
        elements = _ELEMENT.findall(self.definition)
        named = {name.strip('"').replace('""', '"') for name, sign in elements if sign == "="}
        return tuple(name for name in self.columns if name in named)


@dataclass(frozen=True)
class Table:
    """One table. `unique` holds the columns of each unique index, the primary key first.

    `is_visible`: the search path finds it without its schema. `defaults` are those of ordinary columns. `partitions`
    are the conditions on the rows of its partitions, None where it is not partitioned.
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
    partitions: tuple[str, ...] | None = None
    serials: frozenset[str] = frozenset()
    is_visible: bool = True
    has_rows: bool = False
    comment: str = ""

    def __str__(self) -> str:
        return self.name if self.is_visible else f"{self.schema}.{self.name}"

    def column(self, name: str) -> ColumnFacts:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def are_unique(self, columns: Iterable[str]) -> bool:
        """Whether no two rows may have the same values in these columns."""
        given = set(columns)
        return any(set(key) <= given for key in self.unique)

    @property
    def foreign_columns(self) -> frozenset[str]:
        """The columns of all foreign keys."""
        return frozenset(name for key in self.foreign_keys for name in key.columns)


def read_schema(connection: Connection) -> tuple[Table, ...]:
    """All tables in the schemas that this role may use: no views, no partitions, no tables of extensions."""
    found = _rows(connection, "tables")
    oids = [row["oid"] for row in found]
    names = [TableName(row["schema"], row["name"]) for row in found]
    facts = {table.oid: table for table in read_tables(connection, names).values()}
    details = {query: _by_table(connection, query, oids) for query in _QUERIES if query != "tables"}
    return tuple(
        _table(row, facts[row["oid"]], {name: rows[row["oid"]] for name, rows in details.items()})
        for row in found
        if row["oid"] in facts
    )


def _table(row: dict[str, Any], facts: TableFacts, details: dict[str, list[dict[str, Any]]]) -> Table:
    required = {column.name for column in facts.columns if column.not_null}
    (partitioned,) = details["partitions"] or [{}]
    return Table(
        **row,
        columns=facts.columns,
        primary_key=next((index["columns"] for index in details["unique"] if index["is_primary"]), ()),
        unique=tuple(dict.fromkeys(index["columns"] for index in details["unique"] if index["columns"])),
        foreign_keys=tuple(
            ForeignKey(**key, is_required=required >= set(key["columns"])) for key in details["foreign_keys"]
        ),
        checks=tuple(Check(**check) for check in details["checks"]),
        exclusions=tuple(Exclusion(**exclusion) for exclusion in details["exclusions"]),
        defaults={default["name"]: default["expression"] for default in details["defaults"]},
        partitions=partitioned["conditions"] if partitioned else None,
        serials=frozenset(sequence.column for sequence in facts.sequences),
        has_rows=facts.has_rows,
    )


def _by_table(connection: Connection, query: str, oids: list[int]) -> dict[int, list[dict[str, Any]]]:
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(connection, query, oids=oids):
        rows[row.pop("oid")].append(row)
    return rows


def _rows(connection: Connection, query: str, **parameters: object) -> list[dict[str, Any]]:
    """What a query returns, with columns named like the fields of its record."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES[query], parameters or None).fetchall()
    return [{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows]
