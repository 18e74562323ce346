"""The graph that a subset follows: tables, the references between them, and the steps that lead from rows to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snapseed.capture.prepare import SourceTable
from snapseed.config.settings import CaptureTable, ChildrenTable, ReferenceTable, suggestion
from snapseed.errors import ConfigurationError, SnapseedError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.rowhash import key_type
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import parse_type

_EQUALS = "OPERATOR(pg_catalog.=)"


@dataclass(frozen=True)
class ColumnSql:
    """A column as statements need it: the name of its type, also qualified, and the operator that compares values."""

    name: str
    type: str
    qualified_type: str
    operator: str

    @property
    def form(self) -> str:
        """The type in which we keep its values: numbers, the bytes of UUIDs, and texts of all others."""
        return {"bigint": "bigint", "uuid": "bytea"}.get(key_type(parse_type(self.type)), "text")


# Of a table without a key: where a row is, which does not change within a transaction that sees one moment.
_PLACE = tuple(
    ColumnSql(name, kind, f"pg_catalog.{kind}", _EQUALS) for name, kind in (("tableoid", "oid"), ("ctid", "tid"))
)


@dataclass(frozen=True)
class SubsetTable:
    """A table that is captured, with all its columns, also those that a snapshot does not store, and its indexes."""

    source: SourceTable
    columns: tuple[ColumnSql, ...]
    indexes: tuple[tuple[str, ...], ...]

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
        """Whether keys in the form that we keep have the order of a snapshot."""
        return bool(self.source.key) and all(
            key_type(column.kind()) in {"bigint", "text", "uuid"} for column in self.source.key
        )

    def column(self, name: str) -> ColumnSql:
        """The column of this name, which must exist."""
        return next(column for column in self.columns if column.name == name)

    def has_index(self, columns: Sequence[str]) -> bool:
        """Whether an index begins with these columns, in any order."""
        return any(set(index[: len(columns)]) == set(columns) for index in self.indexes)


@dataclass(frozen=True)
class Reference:
    """Columns of `child` that refer to columns of `parent`: a foreign key, or a convention of `[[capture.references]]`.

    `operators` compare each column of the parent with the child's. `where` limits the rows of the child that refer.
    `declared_in` is the place of a convention in the settings.
    """

    child: SubsetTable
    columns: tuple[str, ...]
    parent: SubsetTable
    parent_columns: tuple[str, ...]
    operators: tuple[str, ...]
    where: str | None = None
    declared_in: str | None = None

    @property
    def sides(self) -> tuple[tuple[SubsetTable, str], ...]:
        """Each of its columns with its table: those of the child, then those of the parent."""
        child = [(self.child, name) for name in self.columns]
        return (*child, *((self.parent, name) for name in self.parent_columns))

    @property
    def is_to_one(self) -> bool:
        """Whether a child has one parent at most."""
        by_equality = all(operator.endswith(".=)") for operator in self.operators)
        return by_equality and bool(self.parent.facts.unique_on(*self.parent_columns))

    def __str__(self) -> str:
        return f"{self.child.name} ({', '.join(self.columns)}) → {self.parent.name}"


@dataclass(frozen=True)
class Step:
    """From rows of one table along a reference: to their parents, or (`is_down`) to their first `limit` children.

    `of_parents`: also to the children of rows that were only taken because others refer to them.
    """

    reference: Reference
    is_down: bool = False
    limit: int | None = None
    of_parents: bool = False

    @property
    def start(self) -> SubsetTable:
        """The table whose rows are known."""
        return self.reference.parent if self.is_down else self.reference.child

    @property
    def end(self) -> SubsetTable:
        """The table whose rows are looked for."""
        return self.reference.child if self.is_down else self.reference.parent

    @property
    def searched(self) -> tuple[str, ...]:
        """The columns of the end by which its rows are found: an index should begin with them."""
        return self.reference.columns if self.is_down else self.reference.parent_columns

    @property
    def is_chain(self) -> bool:
        """Whether it can be repeated by the server: within one table, by an index, to all rows."""
        return self.start is self.end and self.limit is None and self.end.has_index(self.searched)

    def __str__(self) -> str:
        columns = ", ".join(self.reference.columns)
        return f"{'children' if self.is_down else 'parents'} of {self.start.name} by {columns}"


@dataclass(frozen=True)
class Graph:
    """The tables, the references among them, and the steps to follow; `whole` are the tables to take with all rows.

    `left_out` are the tables whose rows are never taken as children.
    """

    tables: tuple[SubsetTable, ...]
    references: tuple[Reference, ...]
    steps: tuple[Step, ...]
    whole: tuple[SubsetTable, ...] = ()
    left_out: tuple[str, ...] = ()


def reference_graph(tables: Sequence[SubsetTable], settings: CaptureTable, file: str) -> Graph:
    """What connects these tables: foreign keys, and what the settings in `file` add and limit.

    Raises `ConfigurationError` for a table or column of the settings that does not exist.
    """
    by_oid = {table.facts.oid: table for table in tables}
    references = [
        Reference(table, key.columns, by_oid[oid], key.target_columns, key.operators)
        for table in tables
        for key in table.facts.foreign_keys
        for oid in sorted(key.targets & by_oid.keys())
    ]
    for number, declared in enumerate(settings.references, 1):
        references.append(_declared(tables, declared, f"{file} [[capture.references]], number {number}"))
    rules = {}
    for name, rule in settings.children.items():
        # A bare number is the limit, `false` the limit 0, and `true` no limit.
        limited = rule if isinstance(rule, ChildrenTable) else ChildrenTable(None if rule is True else int(rule))
        rules[named(tables, name, f"{file} [capture.children]").name] = limited
    down = []
    for reference in references:
        rule = rules.get(reference.child.name, ChildrenTable())
        names = rule.of_parents if isinstance(rule.of_parents, tuple) else ()
        asked = [named(tables, name, f"{file} [capture.children] {reference.child.name}") for name in names]
        of_parents = rule.of_parents is True or reference.parent in asked
        down.append(Step(reference, is_down=True, limit=rule.limit, of_parents=of_parents))
    return Graph(
        tuple(tables),
        tuple(references),
        (*map(Step, references), *(step for step in down if step.limit != 0)),
        tuple(named(tables, name, f"{file} [capture] whole") for name in settings.whole),
        tuple(dict.fromkeys(step.end.name for step in down if step.limit == 0)),
    )


def read_columns(connection: Connection, tables: Sequence[SourceTable]) -> tuple[SubsetTable, ...]:
    """The tables with what the catalogs say about their columns and indexes."""
    folder, facts = Path(__file__).parent / "queries", [table.facts for table in tables]
    types = sorted({column.catalog_name for table in facts for column in table.columns})
    operators = {row["type"]: row["operator"] for row in read_rows(connection, query("operators", folder), types=types)}
    indexes = read_rows(connection, query("indexes", folder), oids=[table.oid for table in facts])
    return tuple(
        SubsetTable(
            table,
            tuple(
                ColumnSql(column.name, column.type, column.catalog_name, operators[column.catalog_name])
                for column in table.facts.columns
            ),
            tuple(row["columns"] for row in indexes if row["oid"] == table.facts.oid),
        )
        for table in tables
    )


def named(
    tables: Sequence[SubsetTable], name: str, where: str, kind: type[SnapseedError] = ConfigurationError
) -> SubsetTable:
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


def _declared(tables: Sequence[SubsetTable], declared: ReferenceTable, where: str) -> Reference:
    """A reference of `[[capture.references]]`. Raises `ConfigurationError` unless its tables and columns exist."""
    child, parent = named(tables, declared.table, where), named(tables, declared.to, where)
    targets = declared.to_columns or tuple(column.name for column in parent.source.key)
    for table, columns in ((child, declared.columns), (parent, targets)):
        for name in columns:
            if table.facts.column(name) is None:
                known = [column.name for column in table.columns]
                raise ConfigurationError(
                    f"table {table.name} has no column {name!r}",
                    where=where,
                    observed=name,
                    expected=f"one of: {', '.join(known)}",
                    next_step=suggestion(name, known),
                )
    if not declared.columns or len(declared.columns) != len(targets):
        raise ConfigurationError(
            "a reference needs as many columns on both sides",
            where=where,
            observed=f"columns: {', '.join(declared.columns)}; to_columns: {', '.join(targets) or 'none'}",
            expected="columns of `table`, and the columns of `to` that they refer to",
        )
    pairs = [(parent.column(to), child.column(name)) for to, name in zip(targets, declared.columns, strict=True)]
    operators = tuple(to.operator if to.qualified_type == column.qualified_type else _EQUALS for to, column in pairs)
    return Reference(child, declared.columns, parent, targets, operators, declared.where, where)
