"""Decide which indexes and foreign keys are dropped before the rows come and rebuilt afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from snapseed.load.plan import RowChanges
from snapseed.load.plan.table_set import TableSet
from snapseed.load.request import Mode
from snapseed.postgres.facts import ForeignKeyFacts, IndexFacts, TableFacts
from snapseed.postgres.fit import Problem, problem
from snapseed.snapshot.manifest import EntityRecord, names_of


def choose_rebuild(
    entity: EntityRecord, facts: TableFacts, load: TableSet
) -> tuple[tuple[IndexFacts, ...], tuple[ForeignKeyFacts, ...], list[str]]:
    """The indexes and foreign keys of a table to drop and rebuild, with the reasons why the others stay.

    However few the rows are, a foreign key is dropped if it is in the way: if it refers to rows that come later, or if
    the index that it rests on is rebuilt.
    """
    free = [key for key in facts.foreign_keys if key.keep_reason is None and facts.owned]
    if staying := _obstacle(facts) or _not_worthwhile(entity, facts, load):
        in_the_way = {key: why for key in free if (why := _in_the_way(key, facts, load))}
        reasons = [f"but {key.name} is dropped and rebuilt: {why}" for key, why in in_the_way.items()]
        return (), tuple(in_the_way), [f"indexes and foreign keys stay: {staying}", *reasons]
    obstacles = {index: _index_obstacle(index, facts, load) for index in facts.indexes}
    indexes = tuple(index for index, obstacle in obstacles.items() if obstacle is None)
    reasons = [f"index {index.name} stays: {obstacle}" for index, obstacle in obstacles.items() if obstacle]
    reasons += [f"foreign key {key.name} stays: {key.keep_reason}" for key in facts.foreign_keys if key.keep_reason]
    if dropped := [*(index.name for index in indexes), *(key.name for key in free)]:
        reasons.append(f"dropped, and rebuilt after the rows are in: {', '.join(dropped)}")
    return indexes, tuple(free), reasons


def keys_to_defer(facts: TableFacts, load: TableSet) -> dict[ForeignKeyFacts, str]:
    """The foreign keys that do not hold before all rows are in, and why. They cannot be dropped, so are deferred."""
    return {
        key: why
        for key in facts.foreign_keys
        if key.is_checked and (key.keep_reason or not facts.owned) and (why := _broken_meanwhile(key, facts, load))
    }


def deferral_problems(load: TableSet) -> Iterator[Problem]:
    """The `keys_to_defer` that are not deferrable."""
    for _, facts in load.tables.values():
        for key, why in keys_to_defer(facts, load).items():
            if not key.deferrable:
                obstacle = key.keep_reason if facts.owned else "the role does not own the table"
                text = f"foreign key {key.name} of {facts.name} cannot be dropped, but {why}: {obstacle}"
                fix, name = "ALTER TABLE {} ALTER CONSTRAINT {} DEFERRABLE", sql.Identifier(key.name)
                yield problem(text, fix, facts.name.identifier(), name) if facts.kind == "r" else Problem(text)


def _obstacle(facts: TableFacts) -> str | None:
    """Why nothing of the table can be dropped."""
    if not facts.owned:
        return "the role does not own the table"
    if facts.citus:
        return f"it is a {facts.citus} table of Citus"
    if facts.kind != "r":
        return "the table is partitioned"
    return None


def _not_worthwhile(entity: EntityRecord, facts: TableFacts, load: TableSet) -> str | None:
    """Why it does not pay: a rebuild costs time for every row of the table, keeping it only for the new rows."""
    if load.request.mode is Mode.UPSERT:
        return "an upsert finds its rows by them"
    if load.request.mode is Mode.REPAIR:
        return "only rows that differ are changed"
    if entity.rows < load.settings.rebuild_rows:
        return f"fewer than {load.settings.rebuild_rows:,} rows"
    if load.request.mode is Mode.APPEND and entity.rows < facts.estimated_rows:
        return f"the table already holds more rows (about {facts.estimated_rows:,})"
    return None


def _in_the_way(key: ForeignKeyFacts, facts: TableFacts, load: TableSet) -> str | None:
    """Why the key has to be dropped, even if nothing else is."""
    if key.is_checked and (why := _broken_meanwhile(key, facts, load)):
        return why
    if key.references in load.tables:
        entity, found = load.tables[key.references]
        stays = _obstacle(found) or _not_worthwhile(entity, found, load)
        rebuilt = [] if stays else [index.oid for index in found.indexes if not _index_obstacle(index, found, load)]
        if key.index in rebuilt:
            return f"it depends on an index of {key.references_name} that is rebuilt"
    return None


def _broken_meanwhile(key: ForeignKeyFacts, facts: TableFacts, load: TableSet) -> str | None:
    """Why the key does not hold before all rows are in.

    A repair first deletes rows, of the tables that refer to others before those of these; then it inserts and updates.
    """
    order = list(load.tables)
    is_later = any(order.index(oid) > order.index(facts.oid) for oid in key.targets & load.tables.keys())
    if load.request.mode is not Mode.REPAIR:
        return "it refers to later rows" if is_later else None
    mine = load.changes.get(facts.oid, RowChanges())
    for oid in key.targets & load.changes.keys():
        entity, theirs = load.tables[oid][0], load.changes[oid]
        if theirs.moved:
            return f"rows of {key.references_name} are deleted and inserted again"
        if theirs.deleted and not mine.columns.isdisjoint(key.columns):
            return f"rows that refer to deleted rows of {key.references_name} get other values later"
        if theirs.deleted and theirs.inserted and {*key.target_columns} != {*names_of(entity.key)}:
            return f"rows of {key.references_name} that it refers to may be inserted again"
        if is_later and mine.commands and theirs.commands:
            return "it refers to later rows"
    return None


def _index_obstacle(index: IndexFacts, facts: TableFacts, load: TableSet) -> str | None:
    """Why this index stays."""
    if index.keep_reason:
        return index.keep_reason
    if not facts.may_index:
        return "the role may not create anything in its schema"
    if not index.is_unique:
        return None
    # It is dropped only if its table is truncated and every foreign key on it is dropped.
    if facts.oid not in load.truncated:
        return "it is unique, and the table is not truncated"
    referring = [reference for reference in facts.referenced_by if reference.index == index.oid]
    for reference in referring:
        if not reference.is_among(load.tables):
            return f"{reference.name} refers to it and is not part of this load"
    oids = dict.fromkeys(oid for oid in load.tables if oid == facts.oid or any(r.is_among({oid}) for r in referring))
    return next((obstacle for oid in oids if (obstacle := _key_obstacle(oid, index, load))), None)


def _key_obstacle(oid: int, index: IndexFacts, load: TableSet) -> str | None:
    """Why a foreign key of table `oid` that rests on `index` cannot be dropped."""
    _, facts = load.tables[oid]
    for key in facts.foreign_keys:
        if key.index == index.oid and (obstacle := key.keep_reason or _obstacle(facts)):
            return f"foreign key {key.name} of {facts.name} rests on it and stays: {obstacle}"
    return None
