"""Which tables a load fills, and which it empties because their rows refer to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from snapseed.errors import UsageError
from snapseed.load.plan import Mode
from snapseed.load.plan.surroundings import referenced_first
from snapseed.postgres.catalog import ReferenceFacts, TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import Problem, problem, table_name
from snapseed.snapshot.manifest import EntityRecord, Manifest

# Only schemas that this role may look into, or that its search path names although it may not.
_ELSEWHERE = """
SELECT schema, usable
  FROM (SELECT n.nspname AS schema, has_schema_privilege(n.oid, 'USAGE') AS usable,
               quote_ident(n.nspname) = ANY (string_to_array(replace(current_setting('search_path'), ' ', ''), ','))
               OR n.nspname = current_user AS named
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND NOT starts_with(n.nspname, 'pg_')) found
 WHERE usable OR named
 ORDER BY 1
"""


@dataclass(frozen=True)
class Scope:
    """The entities to load, the facts of their tables by entity name, and the tables to empty along with them."""

    entities: Sequence[EntityRecord]
    facts: Mapping[str, TableFacts]
    children: Sequence[TableFacts] = ()


def read_scope(connection: Connection, manifest: Manifest, only: Sequence[str], *, with_parents: bool) -> Scope:
    """The entities in `only` (all where it is empty) and, `with_parents`, those that their rows refer to."""
    facts = _facts(connection, manifest.entities)
    chosen = {entity.name for entity in manifest.chosen(only)}
    while with_parents and (added := _parents(manifest, facts, chosen) - chosen):
        chosen |= added
    entities = manifest.chosen(sorted(chosen))
    return Scope(entities, facts)


def chosen_entities(
    connection: Connection, manifest: Manifest, only: Sequence[str], *, with_parents: bool
) -> Sequence[EntityRecord]:
    """The entities of `read_scope`, without a look at the catalogs where the manifest knows them."""
    if only and with_parents:
        return read_scope(connection, manifest, only, with_parents=True).entities
    return manifest.chosen(only)


def require_parents(scope: Scope) -> None:
    """Raise `UsageError` where rows of the load need rows of an entity that is not loaded and whose table is empty.

    A foreign key that is not enforced, or whose triggers are off, needs none.
    """
    loaded = {scope.facts[entity.name].oid for entity in scope.entities}
    empty = {facts.oid for facts in scope.facts.values() if not facts.has_rows} - loaded
    missing = [
        (str(table_name(entity)), key.references_name)
        for entity in scope.entities
        for key in scope.facts[entity.name].foreign_keys
        if entity.rows and key.is_required and key.is_checked and key.targets & empty
    ]
    if missing:
        raise UsageError(
            "these rows refer to rows of entities that are not part of this load",
            where=", ".join(dict.fromkeys(table for table, _ in missing)),
            observed="; ".join(f"{table} refers to {other}, which has no rows" for table, other in missing),
            expected=f"rows in {', '.join(dict.fromkeys(other for _, other in missing))}",
            next_step="add --with-parents to load those as well, or load them first",
        )


def with_children(
    connection: Connection, scope: Scope, mode: Mode, *, allowed: bool, emptied: TableFacts | None = None
) -> Scope:
    """The scope with the tables outside it whose rows refer to rows that are replaced, where it is `allowed`.

    `emptied` is one of them in any case. Raises `UsageError` that names the others where it is not allowed.
    """
    if mode is not Mode.REPLACE:
        return scope
    loaded = [scope.facts[entity.name] for entity in scope.entities if entity.name in scope.facts]
    known = {facts.oid: facts for facts in loaded}
    children: dict[int, TableFacts] = {} if emptied is None else {emptied.oid: emptied}
    waiting = [*known.values(), *children.values()]
    refusals: dict[str, TableName] = {}
    while waiting:
        facts = waiting.pop()
        for reference in facts.referenced_by:
            if reference.is_among(known) or reference.is_among(children):
                continue
            if not allowed:
                refusals |= dict.fromkeys(_refusals(reference, facts), facts.name)
                continue
            found = read_tables(connection, [reference.name])[reference.name]
            children[found.oid] = found
            waiting.append(found)
    if refusals:
        raise UsageError(
            "rows of other tables refer to the rows that this load replaces",
            where=", ".join(dict.fromkeys(map(str, refusals.values()))),
            observed="; ".join(refusals),
            expected="no such rows, or tables that are part of the load",
            next_step="add --with-children to empty those tables in the same transaction, or load them too, without"
            " --only",
        )
    # Those that refer to others before these, as DELETE needs it.
    return Scope(scope.entities, scope.facts, tuple(reversed(referenced_first(list(children.values())))))


def missing_elsewhere(
    connection: Connection, entities: Iterable[EntityRecord], facts: Collection[str]
) -> list[Problem]:
    """For entities without facts: tables of the same name in other schemas, which may be the ones that were meant."""
    problems = []
    role = connection.execute("SELECT current_user").fetchone()
    for entity in (entity for entity in entities if entity.name not in facts):
        found = connection.execute(_ELSEWHERE, (entity.table,)).fetchall()
        if schemas := [str(schema) for schema, usable in found if usable]:
            how = "name it in the entity's schema" + ("" if entity.schema else ", or put it on the search_path")
            problems.append(Problem(f"a table {entity.table} is in schema {', '.join(schemas)}: {how}"))
        for schema in [str(schema) for schema, usable in found if not (usable or entity.schema)]:
            text = f"a table {entity.table} is in schema {schema}, on which the role lacks USAGE"
            names = (sql.Identifier(schema), sql.Identifier(str(role[0] if role else "")))
            problems.append(problem(text, "GRANT USAGE ON SCHEMA {} TO {}", *names))
    return problems


def _refusals(reference: ReferenceFacts, facts: TableFacts) -> list[str]:
    if reference.has_rows:
        return [f"rows of {reference.name} refer to {facts.name}"]
    if reference.has_rows is None and reference.acts:
        return [
            f"rows of {reference.name}, which this role may not read, would go or change with those of {facts.name}"
        ]
    return []


def _facts(connection: Connection, entities: Sequence[EntityRecord]) -> dict[str, TableFacts]:
    names: list[TableName] = [table_name(entity) for entity in entities]
    found = read_tables(connection, names)
    return {entity.name: found[table_name(entity)] for entity in entities if table_name(entity) in found}


def _parents(manifest: Manifest, facts: Mapping[str, TableFacts], chosen: set[str]) -> set[str]:
    """The entities that the chosen ones refer to, by the manifest or by a foreign key."""
    names = {found.oid: name for name, found in facts.items()}
    keys = {
        names[oid]
        for name in chosen & facts.keys()
        for key in facts[name].foreign_keys
        for oid in key.targets & names.keys()
    }
    return keys | {entity.parent for entity in manifest.entities if entity.name in chosen and entity.parent}
