"""Decide which partitioned tables are filled over several connections, and how their rows are shared out to these.

For all other tables the plan says why not.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from uuid import UUID

from snapseed.errors import UsageError
from snapseed.load.plan import Bound, ParallelPlan, Share, Slice
from snapseed.load.plan.indexes import keys_to_defer
from snapseed.load.plan.table_set import TableSet
from snapseed.load.request import Mode
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.partitions import PartitionFacts, TreeFacts
from snapseed.snapshot.manifest import EntityRecord, PartFile
from snapseed.snapshot.types import INTEGERS, Family

_Read = type[int] | type[UUID]
_Range = tuple[Bound | None, Bound | None]
_RANGE = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")
# For a table whose rows the server distributes: this many shares for each connection even out their unequal cost.
_SHARES_EACH = 4


# How a table is filled: over several connections as it says, or over one; and the reasons, if several were asked for.
Way = tuple[ParallelPlan | None, tuple[str, ...]]


def choose_ways(load: TableSet) -> dict[str, Way]:
    """The way of each entity. All tables that are filled in parallel have to fit into the server's lock table.

    Raises `UsageError` if the server has no room for so many connections.
    """
    prepared = load.prepared
    if prepared.connections == 1:
        return {entity.name: (None, ()) for entity in prepared.entities}
    ways: dict[str, Way] = {}
    locks = 0
    for entity in prepared.entities:
        facts, tree = prepared.facts[entity.name], prepared.trees.get(entity.name)
        obstacle = next(_obstacles(entity, facts, tree, load), None)
        if tree is not None and obstacle is None:
            locks += (needed := sum(found.locks for found in tree.partitions))
            if locks <= tree.lock_room:
                ways[entity.name] = _in_parallel(entity, facts, tree, prepared.connections)
                continue
            obstacle = (
                f"the last transaction would take about {locks:,} locks, and the server has room for"
                f" {tree.lock_room:,}: raise max_locks_per_transaction"
            )
            locks -= needed
        ways[entity.name] = None, (f"filled over one connection: {obstacle}",)
    wanted = max((parallel.connections for parallel, _ in ways.values() if parallel), default=1)
    fewer = f", not {prepared.connections}: no table has more shares of rows" * (wanted < prepared.connections)
    if (server := prepared.server) and wanted > (most := max(1, server.connection_room)):
        raise UsageError(
            "the server has no room for so many connections",
            where=f"database {server.database}, role {server.role}",
            observed=f"room for {server.connection_room} more",
            expected=f"{wanted} to fill partitions over{fewer}",
            next_step=f"use --connections {most}, or raise max_connections on the server",
        )
    return ways


def _in_parallel(entity: EntityRecord, facts: TableFacts, tree: TreeFacts, connections: int) -> Way:
    """Each partition gets its rows by its bounds if there is one for each connection, or else from the server."""
    by_bounds = shares_by_bounds(entity, tree) if len(tree.partitions) >= connections else None
    routed = by_bounds is None
    shares = by_bounds or shares_by_size(entity, -(-entity.rows // (connections * _SHARES_EACH)))
    connections = min(connections, max(len(shares), len(tree.partitions)))
    how = "the server finds the partition of each row" if routed else "each partition gets its rows by its bounds"
    reasons = (
        f"filled over {connections} connections, into {len(tree.partitions)} new partitions: {how} ({tree.divided_by})",
        "old partitions are dropped and new ones attached in the last transaction; readers see the old rows until then",
        *(("no FREEZE: the server distributes the rows",) if routed else ("FREEZE: each partition is a new table",)),
    )
    return ParallelPlan(tree, connections, shares, routed, bool(facts.referenced_by)), reasons


def _obstacles(entity: EntityRecord, facts: TableFacts, tree: TreeFacts | None, load: TableSet) -> Iterator[str]:
    """Why the table cannot be filled over several connections, or why it would not pay; the first reason is enough."""
    mode, least = load.request.mode, load.settings.parallel_rows
    of_load = (
        (facts.citus is not None, f"it is a {facts.citus} table of Citus"),
        (facts.kind != "p", "it is not partitioned"),
        (mode is not Mode.REPLACE, f"the rows that are there stay, by --mode {mode}"),
        (tree is None, "this load creates it, and other connections do not see it yet"),
        (entity.rows < least, f"fewer than {least:,} rows"),
        (facts.oid not in load.truncated, "it is not truncated"),
    )
    yield from (text for holds, text in of_load if holds)
    if tree is None:
        return
    yield from filter(None, (tree.obstacle, None if tree.partitions else "it has no partitions"))
    yield from (f"partition {found.name}: {found.obstacle}" for found in tree.partitions if found.obstacle)
    names = {column.name for column in entity.columns}
    yield from (f"the snapshot lacks its identity column {name}" for name in tree.identity if name not in names)
    yield from (f"foreign key {key.name} refers to later rows" for key in keys_to_defer(facts, load))
    unvalidated = load.prepared.restoration.postponed(facts.oid)
    yield from (f"its constraint {found.name} is not validated" for found in unvalidated)


def shares_by_bounds(entity: EntityRecord, tree: TreeFacts) -> tuple[Share, ...] | None:
    """For each partition its rows, which lie together in a snapshot in key order; None if they do not.

    They do if the table is partitioned by ranges of the first column of its key, an integer or a uuid.
    """
    key = entity.key_columns[0] if entity.key_columns else None
    if key is None or tree.divided_by != f"RANGE ({key.name})" or len({found.parent for found in tree.partitions}) > 1:
        return None
    family = key.kind().family
    if key.kind().is_array or family not in {*INTEGERS, Family.UUID}:
        return None
    read: _Read = int if family in INTEGERS else UUID
    ranges = {found: _bounds(found, read) for found in tree.partitions if not found.defaults}
    chunks = [(file, number) for file in entity.files for number in range(len(file.chunks))]
    keys = (chunk.first_key for chunk in entity.chunks)
    firsts = [read(str(key[0] if isinstance(key, tuple) else key)) for key in keys]

    def within(low: Bound | None, high: Bound | None) -> tuple[Slice, ...]:
        """The chunks that may hold such rows, file by file."""
        # Rows with the key `low` may begin in the chunk before.
        start = 0 if low is None else max(0, bisect_left(firsts, low) - 1)
        stop = len(firsts) if high is None else bisect_left(firsts, high)
        return tuple(replace(found, key=key.name, low=low, high=high) for found in _slices(chunks[start:stop]))

    shares = [Share(within(*bounds), found) for found, bounds in ranges.items()]
    gaps = list(_gaps(list(ranges.values())))
    rest = [found for found in tree.partitions if found.defaults]
    return (*shares, *(Share(tuple(part for gap in gaps for part in within(*gap)), found) for found in rest))


def shares_by_size(entity: EntityRecord, rows: int) -> tuple[Share, ...]:
    """Shares of about `rows` rows each, in chunks that follow each other."""
    chunks = [(file, number) for file in entity.files for number in range(len(file.chunks))]
    starts = accumulate((file.chunks[number].rows for file, number in chunks), initial=0)
    shares = groupby(zip(starts, chunks, strict=False), key=lambda chunk: chunk[0] // rows)
    return tuple(Share(tuple(_slices([chunk for _, chunk in share]))) for _, share in shares)


def _slices(chunks: Sequence[tuple[PartFile, int]]) -> Iterator[Slice]:
    """Chunks that follow each other, by file and number, as one slice of each file."""
    for _, group in groupby(chunks, key=lambda chunk: chunk[0].path):
        (file, first), *others = group
        yield Slice(file, first, first + 1 + len(others))


def _bounds(partition: PartitionFacts, read: _Read) -> _Range:
    """The range of one column that a partition is for, as the server prints it."""
    found = _RANGE.fullmatch(partition.bound)
    assert found is not None
    low, high = (None if text in {"MINVALUE", "MAXVALUE"} else read(text.strip("'")) for text in found.groups())
    return low, high


def _gaps(ranges: Sequence[_Range]) -> Iterator[_Range]:
    """What lies before, between and after ranges that do not overlap."""
    end: Bound | None = None
    for low, high in sorted(ranges, key=lambda bounds: (bounds[0] is not None, bounds[0])):
        if low is not None and low != end:
            yield end, low
        end = high
    if not ranges or end is not None:
        yield end, None
