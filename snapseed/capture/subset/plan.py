"""Choose the rows of a subset: the keys of all rows, how to read them, and a report of why they are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from psycopg import sql

from snapseed.capture.subset.fixpoint import Closure, closure
from snapseed.capture.subset.graph import Graph, Step
from snapseed.capture.subset.keys import ROOT, WHOLE
from snapseed.capture.subset.request import Root, SubsetRequest
from snapseed.capture.subset.selection import read_roots, read_step, require_condition, require_reference, rows_with
from snapseed.capture.subset.tables import Table, named
from snapseed.errors import UsageError
from snapseed.postgres.connect import Connection, role_search_path

# Keys of a step: many, because without an index each statement reads the whole table. Rows are read in smaller batches,
# which the server sorts in memory.
_BATCH_ROWS = 20_000
_READ_ROWS = 4_000


@dataclass(frozen=True)
class Reason:
    """How many rows of a table came in for a reason, such as "child of users by user_id"."""

    reason: str
    rows: int


@dataclass(frozen=True)
class SubsetTable:
    """The rows of a table that are in the subset, by the first reason of each."""

    table: str
    rows: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class LimitCut:
    """What a limit left out: `rows` children of `parents` rows."""

    step: str
    limit: int
    rows: int
    parents: int


@dataclass(frozen=True)
class MissingIndex:
    """Columns that rows were looked for by, without an index, and the SQL that creates one."""

    table: str
    columns: tuple[str, ...]
    sql: str


@dataclass(frozen=True)
class SubsetReport:
    """Why each table has the rows it has, what limits cut, and which indexes would make it faster.

    `left_out` are the tables that `[capture.children]` excludes as children.
    """

    tables: tuple[SubsetTable, ...]
    cuts: tuple[LimitCut, ...]
    left_out: tuple[str, ...]
    missing_indexes: tuple[MissingIndex, ...]


@dataclass(frozen=True)
class SubsetPlan:
    """The keys of all rows of a subset, chosen in one transaction and good for as long as that one's snapshot is."""

    graph: Graph
    closure: Closure
    batch_rows: int

    def keys(self, table: Table) -> pl.DataFrame:
        """The keys of the table's rows."""
        rows = self.closure.rows[table.name]
        return rows.present.select(rows.keys)

    def sources(self, table: Table, batch_rows: int = _READ_ROWS) -> Iterator[sql.Composed]:
        """What follows FROM to read the table's rows: one source after the other, they are in key order."""
        keys = self.keys(table)
        if not table.is_sortable:
            batch_rows = max(1, len(keys))  # the server sorts them, at once
        for batch in keys.sort(keys.columns).iter_slices(batch_rows):
            yield rows_with(table, batch)

    @property
    def report(self) -> SubsetReport:
        """The report, made from the keys."""
        steps = [(step, cut) for number, step in enumerate(self.graph.steps) if (cut := self.closure.cuts.get(number))]
        return SubsetReport(
            tuple(self._table(table) for table in self.graph.tables),
            tuple(
                LimitCut(str(step), step.limit, cut.rows, cut.parents)
                for step, cut in steps
                if step.limit is not None and cut.rows
            ),
            self.graph.left_out,
            tuple({index.sql: index for step, _ in steps for index in _missing_index(step)}.values()),
        )

    def _table(self, table: Table) -> SubsetTable:
        present = self.closure.rows[table.name].present
        counts = present.group_by("why").len().sort(pl.col("why") < 0, "why", descending=[True, False]).rows()
        named_ways = {ROOT: "root", WHOLE: "whole table"}
        reasons = [Reason(named_ways.get(why) or str(self.graph.steps[why]), rows) for why, rows in counts]
        return SubsetTable(table.name, len(present), tuple(reasons))


def choose_rows(
    connection: Connection, graph: Graph, request: SubsetRequest, batch_rows: int = _BATCH_ROWS
) -> SubsetPlan:
    """Find the rows of a subset: the roots, all they refer to, and what belongs to them.

    In a transaction of the connection that sees one moment. Raises `UsageError` for a root that is no table, or whose
    condition the server refuses, and `ConfigurationError` for a reference of the settings that it refuses.
    """
    roots = [(named(graph.tables, root.table, root.option, UsageError), root) for root in request.roots]

    def reach(step: Step, keys: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([read_step(connection, step, batch) for batch in keys.iter_slices(batch_rows)])

    found: dict[str, list[pl.DataFrame]] = {}
    with role_search_path(connection):
        for table, root in roots:
            if root.where is not None:
                require_condition(connection, table, root.where, root.option, UsageError)
        for reference in graph.references:
            require_reference(connection, reference)
        for table, root in [*roots, *((table, Root(table.name, "[capture] whole")) for table in graph.whole)]:
            why = WHOLE if table in graph.whole and root not in request.roots else ROOT
            keys = read_roots(connection, table, root, request.sample if root.rows else None)
            found.setdefault(table.name, []).append(keys.with_columns(why=pl.lit(why, pl.Int16)))
        return SubsetPlan(graph, closure(graph, found, reach), batch_rows)


def _missing_index(step: Step) -> Sequence[MissingIndex]:
    """The index that a step did without."""
    if step.end.has_index(step.searched):
        return []
    statement = sql.SQL("CREATE INDEX {}ON {} ({});").format(
        sql.SQL("" if step.end.facts.kind == "p" else "CONCURRENTLY "),
        step.end.facts.name.identifier(),
        sql.SQL(", ").join(map(sql.Identifier, step.searched)),
    )
    return [MissingIndex(step.end.name, step.searched, statement.as_string())]
