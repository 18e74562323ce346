"""Which indexes and foreign keys are dropped before the rows and made again behind them, and why the others stay."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from snapseed.load.plan.records import Mode
from snapseed.load.plan.surroundings import Surroundings
from snapseed.postgres.catalog import ForeignKeyFacts, IndexFacts, TableFacts
from snapseed.postgres.fit import Problem, problem
from snapseed.snapshot.manifest import EntityRecord

# From this many rows on. Measured (docs/benchmarks.md): a foreign key gains a fifth and more from a thousand rows on,
# an index in key order never loses much (5 %), one out of order gains from fifty thousand.
REBUILD_ROWS = 2_000


def choose_rebuild(
    entity: EntityRecord, facts: TableFacts, load: Surroundings
) -> tuple[tuple[IndexFacts, ...], tuple[ForeignKeyFacts, ...], list[str]]:
    """The indexes and foreign keys of a table to drop and make again, with the reason for what stays.

    However few the rows, a foreign key goes where it stands in the way: where keys form a cycle and it refers to rows
    that come later, and where the index that it rests on is made again.
    """
    free = [key for key in facts.foreign_keys if key.keep_reason is None and facts.owned]
    if staying := _obstacle(facts) or _too_few(entity, facts, load):
        in_the_way = {key: why for key in free if (why := _in_the_way(key, facts, load))}
        reasons = [f"but {key.name} is dropped and made again: {why}" for key, why in in_the_way.items()]
        return (), tuple(in_the_way), [f"indexes and foreign keys stay: {staying}", *reasons]
    obstacles = {index: _index_obstacle(index, facts, load) for index in facts.indexes}
    indexes = tuple(index for index, obstacle in obstacles.items() if obstacle is None)
    reasons = [f"index {index.name} stays: {obstacle}" for index, obstacle in obstacles.items() if obstacle]
    reasons += [f"foreign key {key.name} stays: {key.keep_reason}" for key in facts.foreign_keys if key.keep_reason]
    if dropped := [*(index.name for index in indexes), *(key.name for key in free)]:
        reasons.append(f"dropped, and made again behind the rows: {', '.join(dropped)}")
    return indexes, tuple(free), reasons


def keys_ahead(facts: TableFacts, load: Surroundings) -> list[ForeignKeyFacts]:
    """The foreign keys that refer to rows which come later, and can not be dropped before the rows come."""
    return [
        key
        for key in facts.foreign_keys
        if key.is_checked and load.is_later(key, facts.oid) and (key.keep_reason or not facts.owned)
    ]


def ahead_problems(load: Surroundings) -> Iterator[Problem]:
    """Those of them that can not wait for the end of the load either."""
    for _, facts in load.tables.values():
        for key in keys_ahead(facts, load):
            if not key.deferrable:
                obstacle = key.keep_reason if facts.owned else "the role does not own the table"
                text = f"foreign key {key.name} of {facts.name} refers to rows that come later, and stays: {obstacle}"
                mend, name = "ALTER TABLE {} ALTER CONSTRAINT {} DEFERRABLE", sql.Identifier(key.name)
                yield problem(text, mend, facts.name.identifier(), name) if facts.kind == "r" else Problem(text)


def _obstacle(facts: TableFacts) -> str | None:
    """Why nothing of the table can be dropped."""
    if not facts.owned:
        return "the role does not own the table"
    if facts.kind != "r":
        return "the table is partitioned"
    return None


def _too_few(entity: EntityRecord, facts: TableFacts, load: Surroundings) -> str | None:
    """Why it does not pay: building again costs for every row of the table, keeping only for those that come."""
    if load.options.mode is Mode.UPSERT:
        return "an upsert looks its rows up in them"
    if entity.rows < REBUILD_ROWS:
        return f"fewer than {REBUILD_ROWS:,} rows"
    if load.options.mode is Mode.APPEND and entity.rows < facts.estimated_rows:
        return f"the table holds more rows already (about {facts.estimated_rows:,})"
    return None


def _dropped_indexes(oid: int, load: Surroundings) -> Iterator[IndexFacts]:
    """The indexes of another table of the load that are made again."""
    entity, facts = load.tables[oid]
    if _obstacle(facts) is None and _too_few(entity, facts, load) is None:
        yield from (index for index in facts.indexes if _index_obstacle(index, facts, load) is None)


def _in_the_way(key: ForeignKeyFacts, facts: TableFacts, load: Surroundings) -> str | None:
    if key.is_checked and load.is_later(key, facts.oid):
        return "it refers to rows that come later"
    if key.references in load.tables and any(
        index.oid == key.index for index in _dropped_indexes(key.references, load)
    ):
        return f"so is the index of {key.references_name} that it rests on"
    return None


def _index_obstacle(index: IndexFacts, facts: TableFacts, load: Surroundings) -> str | None:
    """Why this index stays."""
    if index.keep_reason:
        return index.keep_reason
    if not facts.may_index:
        return "the role may create nothing in its schema"
    return _unique_obstacle(index, facts, load) if index.is_unique else None


def _unique_obstacle(index: IndexFacts, facts: TableFacts, load: Surroundings) -> str | None:
    """Why a unique index stays: it goes only with the rows it speaks of, and where every key on it can go too."""
    if facts.oid not in load.truncated:
        return "it is unique, and the table is not truncated"
    referring = [reference for reference in facts.referenced_by if reference.index == index.oid]
    for reference in referring:
        if not reference.is_among(load.tables):
            return f"{reference.name} refers to it and is not part of this load"
    tables = dict.fromkeys(oid for oid in load.tables if oid == facts.oid or any(r.is_among({oid}) for r in referring))
    return next((obstacle for oid in tables if (obstacle := _key_obstacle(oid, index, load))), None)


def _key_obstacle(oid: int, index: IndexFacts, load: Surroundings) -> str | None:
    """Why a foreign key of table `oid` that rests on `index` cannot be dropped, if there is one."""
    _, facts = load.tables[oid]
    for key in facts.foreign_keys:
        if key.index == index.oid and (obstacle := key.keep_reason or _obstacle(facts)):
            return f"foreign key {key.name} of {facts.name} rests on it and stays: {obstacle}"
    return None
