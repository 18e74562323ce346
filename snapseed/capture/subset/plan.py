"""Choose the rows of a subset: their keys, found on the source, and how to read the rows that have them.

No reference dangles: that is proved from the written rows, and by the server where these alone do not decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl
import pyarrow as pa
from psycopg import sql

from snapseed.capture.prepare import SourceTable
from snapseed.capture.request import Root, SubsetRequest
from snapseed.capture.subset.fixpoint import ROOT, WHOLE, Closure, closure, keys_of
from snapseed.capture.subset.graph import Graph, Reference, Step, SubsetTable, named, read_columns, reference_graph
from snapseed.capture.subset.selection import (
    count_orphans,
    read_roots,
    read_step,
    require_condition,
    require_reference,
    rows_with,
)
from snapseed.config import Project
from snapseed.errors import SnapshotError, UsageError
from snapseed.events import Listener, Note, ignore
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.snapshot.store import Snapshot

# Keys of a step: many, because without an index each statement reads the whole table. Rows are read in smaller batches,
# which the server sorts in memory.
STEP_ROWS = 20_000
_READ_ROWS = 4_000

# Words that reasons begin with.
_ALL_ROWS = "all rows"
_ONE = {"roots": "root", "children": "child", "parents": "parent"}


@dataclass(frozen=True)
class SubsetPlan:
    """The keys of all rows of a subset, chosen in one transaction, and valid as long as its snapshot is."""

    graph: Graph
    closure: Closure
    step_rows: int

    def keys(self, table: str) -> pl.DataFrame:
        """The keys of the table's rows, sorted, as far as keys in the form that we keep can be."""
        rows = self.closure.rows.get(table, pl.DataFrame())
        return rows.select(keys_of(rows))

    def sources(self, table: str, batch_rows: int = _READ_ROWS) -> Iterator[sql.Composed]:
        """What follows FROM to read the table's rows: one source after the other, they are in key order."""
        keys, (found,) = self.keys(table), [each for each in self.graph.tables if each.name == table]
        for batch in keys.iter_slices(batch_rows if found.is_sortable else max(1, len(keys))):
            yield rows_with(found, batch)


@dataclass(frozen=True)
class Reason:
    """How many rows of a table came in first for this reason, such as "children of users by user_id"."""

    table: str
    reason: str
    rows: int

    @property
    def text(self) -> str:
        """Number and reason in words."""
        if self.reason == _ALL_ROWS:
            return f"all {self.rows:,} rows"
        kind, *rest = self.reason.split(" ", 1)
        return " ".join([f"{self.rows:,}", _ONE[kind] if self.rows == 1 else kind, *rest])


@dataclass(frozen=True)
class LimitCut:
    """What a limit left out: `rows` children of `parents` rows, in `table`."""

    table: str
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

    def __str__(self) -> str:
        return f"{self.table} has no index on {', '.join(self.columns)}, so all of it is read: {self.sql}"


@dataclass(frozen=True)
class Orphans:
    """Rows of the subset that refer to a row that is not there, because the source does not have it either."""

    reference: str
    rows: int


@dataclass(frozen=True)
class SubsetReport:
    """Where the rows of a subset come from. `left_out` are the tables that the settings exclude as children."""

    reasons: tuple[Reason, ...]
    cuts: tuple[LimitCut, ...]
    left_out: tuple[str, ...]
    missing_indexes: tuple[MissingIndex, ...]
    orphans: tuple[Orphans, ...]

    def why(self, table: str) -> str:
        """Why a table has its rows, in words."""
        parts = [reason.text for reason in self.reasons if reason.table == table]
        return "; ".join(parts) or "no row is needed"


def choose_rows(
    connection: Connection,
    tables: Sequence[SourceTable],
    project: Project,
    request: SubsetRequest,
    listener: Listener = ignore,
    step_rows: int = STEP_ROWS,
) -> SubsetPlan:
    """Find the rows of a subset: the roots, all they refer to, and what belongs to them.

    The transaction of `connection` must see one moment. The listener gets a `Note` for each missing index, before the
    step that needs it. Raises `UsageError` if a root is not a table or the server refuses its condition, and
    `ConfigurationError` if `[capture]` names something that does not exist, or the server refuses a condition there.
    """
    graph = reference_graph(read_columns(connection, tables), project.capture, project.file.name)
    roots = [(named(graph.tables, root.table, root.option, UsageError), root) for root in request.roots]
    if len({table.name for table, _ in roots}) < len(roots):
        options = ", ".join(root.option for _, root in roots)
        raise UsageError("two options name the same table", observed=options, expected="one name for each table")
    found: dict[str, list[pl.DataFrame]] = {}
    missing: set[str] = set()

    def reach(step: Step, keys: pl.DataFrame, repeat: bool) -> pl.DataFrame:  # noqa: FBT001 - the fixpoint decides
        """The keys at the end of a step, after a note on an index that it lacks."""
        for index in _missing_index(step):
            if index.sql not in missing:
                missing.add(index.sql)
                listener(Note(str(index)))
        return pl.concat([read_step(connection, step, batch, repeat=repeat) for batch in keys.iter_slices(step_rows)])

    with role_search_path(connection):
        for table, root in roots:
            if root.where is not None:
                require_condition(connection, table, root.where, root.option, UsageError)
        for reference in graph.references:
            require_reference(connection, reference)
        whole = [(table, Root(table.name, "[capture] whole")) for table in graph.whole]
        for why, chosen in ((ROOT, roots), (WHOLE, whole)):
            for table, root in chosen:
                keys = read_roots(connection, table, root, request.sample if root.rows else None)
                found.setdefault(table.name, []).append(keys.with_columns(why=pl.lit(why, pl.Int16)))
        return SubsetPlan(graph, closure(graph, found, reach), step_rows)


# ── Proof ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def prove_references(
    connection: Connection, plan: SubsetPlan, snapshot: Snapshot, masked: Collection[str] = ()
) -> tuple[Orphans, ...]:
    """Raise `SnapshotError` if a row in the files refers to a row of the source that is not in them.

    Values that differ in the files may still be equal for the server, as numbers with other decimals are: if some are
    left over, it decides about all rows of that reference. `masked` columns, such as `users.email`, have to be equal
    in the files.
    """
    for table in plan.graph.tables:
        rows, keys = snapshot.manifest.chosen([table.name])[0].rows, len(plan.keys(table.name))
        if rows != keys:
            raise SnapshotError(
                "the subset has other rows than those that were chosen",
                where=table.name,
                observed=f"{rows:,} rows",
                expected=f"{keys:,}",
            )
    found = []
    for reference in plan.graph.references:
        unmatched = _unmatched(snapshot, reference)
        orphans = _orphans(connection, plan, reference) if unmatched else 0
        is_masked = any(f"{table.name}.{name}" in masked for table, name in reference.sides)
        if is_masked and unmatched > orphans:
            raise _dangling(reference, unmatched - orphans, "both sides masked by the same rule")
        if orphans:
            found.append(Orphans(str(reference), orphans))
    return tuple(found)


def _unmatched(snapshot: Snapshot, reference: Reference) -> int:
    """How many rows of the child have values in the files, and no NULL, that no row of the parent has.

    They all count if a column is not in the files, because it is generated, or the types of both sides differ.
    """
    if any(name not in {column.name for column in table.source.columns} for table, name in reference.sides):
        return snapshot.manifest.chosen([reference.child.name])[0].rows
    # By hashes of 64 bits, as rows are proved too: the values and a table to find them take six times the memory.
    parents = [
        (rows.schema, rows.hash_rows()) for rows in _values(snapshot, reference.parent, reference.parent_columns)
    ]
    known = pl.concat([hashes for _, hashes in parents]).implode() if parents else None
    return sum(
        len(rows) if known is None or rows.schema != parents[0][0] else int((~rows.hash_rows().is_in(known)).sum())
        for rows in _values(snapshot, reference.child, reference.columns)
    )


def _values(snapshot: Snapshot, table: SubsetTable, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The values of columns, of each file, without rows that have a NULL in one; all whole numbers in one type."""
    (entity,), columns = snapshot.manifest.chosen([table.name]), [str(number) for number, _ in enumerate(names)]
    for file in entity.files:
        frames = []
        for batch in snapshot.batches(msgspec.structs.replace(entity, files=(file,)), list(dict.fromkeys(names))):
            arrays = [batch.column(name) for name in names]
            # Polars does not know the type of UUIDs.
            arrays = [array.storage if isinstance(array, pa.ExtensionArray) else array for array in arrays]
            arrays = [array.cast(pa.int64()) if pa.types.is_integer(array.type) else array for array in arrays]
            frames.append(pl.DataFrame(pa.table(arrays, columns)).drop_nulls())
        yield pl.concat(frames)


def _orphans(connection: Connection, plan: SubsetPlan, reference: Reference) -> int:
    """The server's answer about all rows of the child: how many refer to no row of the source."""
    parents, count = plan.keys(reference.parent.name), 0
    with role_search_path(connection):
        for batch in plan.keys(reference.child.name).iter_slices(plan.step_rows):
            needed = read_step(connection, Step(reference), batch)
            if missing := len(needed.join(parents, on=parents.columns, how="anti")):
                raise _dangling(reference, missing, "every row of the source that a captured row refers to")
            count += count_orphans(connection, reference, batch)
    return count


def _dangling(reference: Reference, rows: int, expected: str) -> SnapshotError:
    """The error about rows that refer to others that are missing."""
    return SnapshotError(
        "the subset lacks rows that others refer to",
        where=str(reference),
        observed=f"{rows:,} missing",
        expected=expected,
    )


# ── Report ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def subset_report(graph: Graph, closure: Closure, orphans: tuple[Orphans, ...] = ()) -> SubsetReport:
    """The report of a finished subset."""
    counts = {name: rows.group_by("why").len().sort("why").rows() for name, rows in closure.rows.items()}
    words = {number: str(step) for number, step in enumerate(graph.steps)} | {ROOT: "roots", WHOLE: _ALL_ROWS}
    followed = [(step, closure.cuts[number]) for number, step in enumerate(graph.steps) if number in closure.cuts]
    return SubsetReport(
        tuple(
            Reason(table.name, words[why], rows) for table in graph.tables for why, rows in counts.get(table.name, ())
        ),
        tuple(
            LimitCut(step.end.name, str(step), step.limit or 0, cut.rows, cut.parents)
            for step, cut in followed
            if cut.rows
        ),
        graph.left_out,
        tuple({index.sql: index for step, _ in followed for index in _missing_index(step)}.values()),
        orphans,
    )


def _missing_index(step: Step) -> Iterator[MissingIndex]:
    """The index that a step lacks, if it does."""
    if not step.end.has_index(step.searched):
        statement = sql.SQL("CREATE INDEX {}ON {} ({});").format(
            sql.SQL("" if step.end.facts.kind == "p" else "CONCURRENTLY "),
            step.end.facts.name.identifier(),
            listed(step.searched),
        )
        yield MissingIndex(step.end.name, step.searched, statement.as_string())
