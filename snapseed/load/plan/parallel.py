"""Decide which partitioned tables are filled over several connections, and for all others say why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snapseed.load.plan import Prepared, TableSet
from snapseed.load.plan.indexes import keys_to_defer
from snapseed.load.plan.shares import ParallelPlan, shares_by_bounds, shares_by_size
from snapseed.load.request import LoadSettings, Mode
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.partitions import TreeFacts
from snapseed.snapshot.manifest import EntityRecord

# For a table whose rows the server distributes: so many shares for each connection even out their unequal cost.
_SHARES_EACH = 4


@dataclass(frozen=True)
class Way:
    """How a table is filled: over several connections as `parallel` says, or over one. `reasons` say why, if asked."""

    parallel: ParallelPlan | None = None
    reasons: tuple[str, ...] = ()


def choose_ways(
    entities: Sequence[EntityRecord], prepared: Prepared, load: TableSet, settings: LoadSettings
) -> dict[str, Way]:
    """The way of each entity. All tables that are filled in parallel have to fit into the server's lock table."""
    if prepared.connections == 1:
        return {entity.name: Way() for entity in entities}
    ways: dict[str, Way] = {}
    locks = 0
    for entity in entities:
        facts, tree = prepared.facts[entity.name], prepared.trees.get(entity.name)
        obstacle = next(_obstacles(entity, facts, tree, load, settings), None)
        if obstacle is None and tree is not None:
            locks += (needed := sum(found.locks for found in tree.partitions))
            if locks > tree.lock_room:
                locks -= needed
                obstacle = (
                    f"the last transaction would take about {locks + needed:,} locks, and the server has room for"
                    f" {tree.lock_room:,}: raise max_locks_per_transaction"
                )
        if obstacle is not None or tree is None:
            ways[entity.name] = Way(reasons=(f"filled over one connection: {obstacle}",))
        else:
            ways[entity.name] = _in_parallel(entity, facts, tree, prepared.connections)
    return ways


def _in_parallel(entity: EntityRecord, facts: TableFacts, tree: TreeFacts, connections: int) -> Way:
    shares = shares_by_bounds(entity, tree) if len(tree.partitions) >= connections else None
    routed = shares is None
    if shares is None:
        shares = shares_by_size(entity, -(-entity.rows // (connections * _SHARES_EACH)))
    how = "the server finds the partition of each row" if routed else "each partition gets its rows by its bounds"
    reasons = (
        f"filled over {connections} connections, into {len(tree.partitions)} new partitions: {how} ({tree.divided_by})",
        "old partitions are dropped and new ones attached in the last transaction; readers see the old rows until then",
        *(("no FREEZE: the server distributes the rows",) if routed else ("FREEZE: each partition is a new table",)),
    )
    return Way(ParallelPlan(tree, connections, shares, routed, bool(facts.referenced_by)), reasons)


def _obstacles(
    entity: EntityRecord, facts: TableFacts, tree: TreeFacts | None, load: TableSet, settings: LoadSettings
) -> Iterator[str]:
    """Why the table cannot be filled over several connections, or why it would not pay; the first reason is enough."""
    mode, least = load.request.mode, settings.parallel_rows
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
    yield from (f"its constraint {found.name} is not validated" for found in load.restoration.postponed(facts.oid))
