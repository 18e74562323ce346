"""Which tables a load fills, and which it empties because their rows refer to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snapseed.database.catalog import TableFacts, TableName, read_tables
from snapseed.database.connect import Connection
from snapseed.errors import UsageError
from snapseed.load.plan import Mode
from snapseed.snapshot.manifest import EntityRecord, Manifest
from snapseed.verify.schema import table_name


@dataclass(frozen=True)
class Scope:
    """The entities to load, the facts of their tables by entity name, and the tables to empty along with them."""

    entities: Sequence[EntityRecord]
    facts: Mapping[str, TableFacts]
    children: Sequence[TableFacts] = ()


def read_scope(connection: Connection, manifest: Manifest, only: Sequence[str], *, with_parents: bool) -> Scope:
    """The entities in `only` (all where it is empty) and, `with_parents`, those that their rows refer to."""
    facts = _facts(connection, manifest.entities if only else manifest.chosen(only))
    chosen = {entity.name for entity in manifest.chosen(only)}
    while with_parents and (added := _parents(manifest, facts, chosen) - chosen):
        chosen |= added
    entities = manifest.chosen(sorted(chosen))
    return Scope(entities, facts)


def require_parents(scope: Scope) -> None:
    """Raise `UsageError` where rows of the load need rows of an entity that is not loaded and whose table is empty."""
    loaded = {scope.facts[entity.name].oid for entity in scope.entities}
    empty = {facts.oid for facts in scope.facts.values() if not facts.has_rows} - loaded
    missing = [
        f"{table_name(entity)} refers to {key.references_name}, which has no rows"
        for entity in scope.entities
        for key in scope.facts[entity.name].foreign_keys
        if entity.rows and key.is_required and key.references in empty
    ]
    if missing:
        raise UsageError(
            "these rows refer to rows of entities that are not part of this load",
            observed="; ".join(missing),
            next_step="add --with-parents to load those as well, or load them first",
        )


def with_children(connection: Connection, scope: Scope, mode: Mode, *, allowed: bool) -> Scope:
    """The scope with the tables outside it whose rows refer to rows that are replaced, where it is `allowed`.

    Raises `UsageError` that names them where it is not.
    """
    if mode is not Mode.REPLACE:
        return scope
    loaded = [scope.facts[entity.name] for entity in scope.entities if entity.name in scope.facts]
    known = {facts.oid: facts for facts in loaded}
    children: dict[int, TableFacts] = {}
    waiting = list(known.values())
    refusals = []
    while waiting:
        facts = waiting.pop()
        for reference in facts.referenced_by:
            if reference.oid in known or reference.oid in children:
                continue
            if not allowed:
                refusals += [f"rows of {reference.name} refer to {facts.name}"] if reference.has_rows else []
                continue
            found = read_tables(connection, [reference.name])[reference.name]
            children[found.oid] = found
            waiting.append(found)
    if refusals:
        raise UsageError(
            "rows of other tables refer to the rows that this load replaces",
            observed="; ".join(dict.fromkeys(refusals)),
            expected="no such rows, or tables that are part of the load",
            next_step="add --with-children to empty those tables in the same transaction, or load them too, without"
            " --only",
        )
    # Those that refer to others come first, as DELETE needs it.
    return Scope(scope.entities, scope.facts, tuple(reversed(children.values())))


def _facts(connection: Connection, entities: Sequence[EntityRecord]) -> dict[str, TableFacts]:
    names: list[TableName] = [table_name(entity) for entity in entities]
    found = read_tables(connection, names)
    return {entity.name: found[table_name(entity)] for entity in entities if table_name(entity) in found}


def _parents(manifest: Manifest, facts: Mapping[str, TableFacts], chosen: set[str]) -> set[str]:
    """The entities that the chosen ones refer to, by the manifest or by a foreign key."""
    names = {found.oid: name for name, found in facts.items()}
    keys = {
        names[key.references]
        for name in chosen
        if name in facts
        for key in facts[name].foreign_keys
        if key.references in names
    }
    return keys | {entity.parent for entity in manifest.entities if entity.name in chosen and entity.parent}
