"""Prove that no reference dangles: from the written rows, and by the server where these alone do not decide."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl
import pyarrow as pa

from snapseed.capture.subset.graph import Reference, Step, Table
from snapseed.capture.subset.plan import Orphans, SubsetPlan
from snapseed.capture.subset.selection import count_orphans, read_step
from snapseed.errors import SnapshotError
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot


def prove_references(
    connection: Connection, plan: SubsetPlan, snapshot: Snapshot, masked: Collection[str] = ()
) -> tuple[Orphans, ...]:
    """Raise `SnapshotError` if a row in the files refers to a row of the source that is not in them.

    Values that differ in the files may still be equal for the server, as numbers with other decimals are: if some are
    left over, it decides about all rows of that reference. `masked` columns, such as `users.email`, have to be equal
    in the files.
    """
    for table in plan.graph.tables:
        rows, keys = _entity(snapshot, table).rows, len(plan.keys(table.name))
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
        sides = ((reference.child, reference.columns), (reference.parent, reference.parent_columns))
        is_masked = any(f"{table.name}.{name}" in masked for table, names in sides for name in names)
        if is_masked and unmatched > orphans:
            raise _dangling(reference, unmatched - orphans, "both sides masked by the same rule")
        if orphans:
            found.append(Orphans(str(reference), orphans))
    return tuple(found)


def _entity(snapshot: Snapshot, table: Table) -> EntityRecord:
    return next(entity for entity in snapshot.manifest.entities if entity.name == table.name)


def _unmatched(snapshot: Snapshot, reference: Reference) -> int:
    """How many rows of the child have values in the files, and no NULL, that no row of the parent has.

    They all count if a column is not in the files, because it is generated, or the types of both sides differ.
    """
    sides = ((reference.child, reference.columns), (reference.parent, reference.parent_columns))
    if any(name not in {column.name for column in table.source.columns} for table, names in sides for name in names):
        return _entity(snapshot, reference.child).rows
    children = _values(snapshot, reference.child, reference.columns)
    parents = _values(snapshot, reference.parent, reference.parent_columns)
    if children.schema != parents.schema:
        return len(children)
    return len(children.join(parents, on=parents.columns, how="anti"))


def _values(snapshot: Snapshot, table: Table, names: Sequence[str]) -> pl.DataFrame:
    """The values of columns, without rows that have a NULL in one; whole numbers and UUIDs each in one type."""
    columns, frames = [str(number) for number, _ in enumerate(names)], []
    for batch in snapshot.batches(_entity(snapshot, table), list(dict.fromkeys(names))):
        arrays = [batch.column(name) for name in names]
        # Polars does not know the type of UUIDs.
        arrays = [array.storage if isinstance(array, pa.ExtensionArray) else array for array in arrays]
        arrays = [array.cast(pa.int64()) if pa.types.is_integer(array.type) else array for array in arrays]
        frames.append(pl.DataFrame(pa.table(arrays, columns)).drop_nulls())
    return pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))


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
    return SnapshotError(
        "the subset lacks rows that others refer to",
        where=str(reference),
        observed=f"{rows:,} missing",
        expected=expected,
    )
