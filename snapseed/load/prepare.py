"""Read everything that a load is decided from, after locks keep other loads and writers out. Changes no row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.errors import SchemaError, UsageError
from snapseed.events import Event, Listener, Note, phase
from snapseed.load.contents import read_contents, unconvertible_texts
from snapseed.load.outcome import Connected, SchemaCreated
from snapseed.load.plan import LeftTable, Prepared
from snapseed.load.plan.requirements import schema_error
from snapseed.load.recreate import drop_contents
from snapseed.load.request import LoadRequest, LoadSettings, Mode
from snapseed.load.restore import read_restoration
from snapseed.load.schema_file import Schema, apply_schema, find_schema
from snapseed.load.unchanged import held_rows
from snapseed.postgres import locks, query
from snapseed.postgres.catalog import find_tables, read_server, read_tables, search_schemas
from snapseed.postgres.connect import Connection, Session, Target, holds_utf8
from snapseed.postgres.facts import ReferenceFacts, TableFacts, TableName
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import Problem, problem, table_name
from snapseed.postgres.guard import identify, require_allowed, require_not_the_source
from snapseed.postgres.partitions import read_partitions, read_stages
from snapseed.postgres.provenance import FilledTable, changed_tables, filled_tables, missing_privilege
from snapseed.snapshot.manifest import EntityRecord, Manifest
from snapseed.snapshot.store import Snapshot


@dataclass(frozen=True)
class LoadSession:
    """One load: what was asked for, the connection that it uses, who is told, and the `events` so far.

    `queued` is the entity whose rows workers compute: its table is emptied with the others but not filled. Tasks of a
    parallel load go to the `executor`, or to threads of this process if there is none.
    """

    project: Project
    environment: Environment
    snapshot: Snapshot
    target: Target
    request: LoadRequest
    settings: LoadSettings
    queued: str | None
    connection: Session
    listener: Listener
    events: Sequence[Event]
    executor: Executor | None = None

    @contextmanager
    def phase(self, name: str, doing: str = "") -> Iterator[None]:
        """A phase of the load. The driver's errors become ours, which say what failed: `doing`, or the phase."""
        with phase(self.listener, name), translated(doing or name, self.target.described):
            yield


def prepare(session: LoadSession) -> Prepared:
    """Check that this server may be loaded into, take the locks, create the schema if there is none, and read.

    Raises `RefusedError` for the server, `SchemaError` if no table exists, and `UsageError` if rows of other tables
    are in the way.
    """
    connection, environment, request = session.connection, session.environment, session.request
    with session.phase("planning"):
        identity = identify(connection)
        session.listener(Connected(identity.server))
        require_allowed(identity, session.target, environment, consent=request.consent)
        capture = session.snapshot.manifest.capture
        if capture and (capture.masked or capture.subset) and request.mode is not Mode.APPEND:
            require_not_the_source(connection, identity, environment)
        locks.set_limits(connection, environment)
        connection.execute(query("citus_mode"))
    with session.phase("waiting for another load"):
        locks.lock(connection)
    dropped: Sequence[TableName] = ()
    if request.recreate:
        with session.phase("dropping the schemas"):
            dropped = drop_contents(connection, identity, environment, consent=request.consent)
    with session.phase("waiting for the tables"):
        _lock(session, [table_name(entity) for entity in session.snapshot.manifest.chosen(request.only)])
    with session.phase("planning"):
        manifest = session.snapshot.manifest
        names = [table_name(entity) for entity in manifest.entities]
        is_there = find_tables(connection, names, search_schemas(connection))
        created = None if is_there else _create_schema(session)
        missing = missing_privilege(connection)
        filled = {} if missing else filled_tables(connection)
        entities, facts, children, left = _read_catalogs(session, filled)
        restoration = read_restoration(connection, manifest, request, [*facts.values()], created)
        facts = {name: restoration.facts(found) for name, found in facts.items()}
        there = [entity for entity in entities if entity.name in facts]
        problems = _found_elsewhere(connection, [entity for entity in entities if entity.name not in facts])
        problems += [] if holds_utf8(connection) else unconvertible_texts(connection, session.snapshot, there)
        if missing:
            problems.append(Problem(f"the role lacks {missing[0]}, to record what it loads", missing[1]))
        watched = filled
        if request.mode is Mode.UPSERT:
            # Rows that others add between upserts are theirs, and stay.
            watched = {name: found for name, found in filled.items() if not (found.replaced or found.upserted)}
        replaced = {str(found.name) for found in facts.values()}
        return Prepared(
            entities=entities,
            facts=facts,
            left=left,
            stages=tuple(stage for stage in read_stages(connection) if stage.is_ours),
            children=children,
            rows_lost={table.oid: _count_rows(connection, table) for table in children},
            server=read_server(connection),
            may_choose_compression=environment.compression == "auto",
            is_embedded=session.target.embedded is not None,
            contents={
                entity.name: read_contents(session.snapshot, entity, facts[entity.name])
                for entity in (there if request.mode is not Mode.REPAIR else [])
            },
            identity=identity,
            filled=filled,
            changed=frozenset()
            if request.mode is Mode.APPEND or request.consent or environment.replace_existing
            else changed_tables(connection, [*(facts[entity.name] for entity in there), *children], watched),
            dropped=tuple(table for table in dropped if str(table) not in replaced),
            problems=tuple(problems),
            restoration=restoration,
            capture=manifest.capture,
            environment=environment.name,
            connections=environment.connections,
            trees={
                entity.name: read_partitions(connection, facts[entity.name].oid)
                for entity in (there if environment.connections > 1 and created is None else [])
                if facts[entity.name].kind == "p"
            },
        )


def read_facts(connection: Connection, entities: Sequence[EntityRecord]) -> dict[str, TableFacts]:
    """The tables of these entities, by the entity's name; without those that do not exist."""
    found = read_tables(connection, [table_name(entity) for entity in entities])
    return {entity.name: found[table_name(entity)] for entity in entities if table_name(entity) in found}


def choose_entities(
    manifest: Manifest, facts: Mapping[str, TableFacts], request: LoadRequest
) -> Sequence[EntityRecord]:
    """The entities to load: those in `only`, or all, and with `with_parents` those that their rows refer to."""
    chosen = {entity.name for entity in manifest.chosen(request.only)}
    by_oid = {found.oid: name for name, found in facts.items()}
    before = set[str]()
    while request.with_parents and chosen != before:
        before = set(chosen)
        chosen |= {entity.parent for entity in manifest.entities if entity.name in before and entity.parent}
        keys = [key for name in before & facts.keys() for key in facts[name].foreign_keys]
        chosen |= {by_oid[oid] for key in keys for oid in key.targets & by_oid.keys()}
    return manifest.chosen(sorted(chosen))


def _lock(session: LoadSession, tables: Sequence[TableName]) -> None:
    """Keep writers out before anything is decided, so that what was decided still holds when it is carried out.

    Readers may go on for as long as other connections fill new partitions.
    """
    if not session.request.dry_run:
        exclusive = session.request.mode is Mode.REPLACE and session.environment.connections == 1
        locks.lock_tables(session.connection, tables, exclusive=exclusive)


def _read_catalogs(
    session: LoadSession, filled: Mapping[str, FilledTable], *, again: bool = False
) -> tuple[Sequence[EntityRecord], dict[str, TableFacts], list[TableFacts], tuple[LeftTable, ...]]:
    """The entities to load, all tables of the manifest, those outside the load that are emptied with it, those left.

    If the catalogs name more tables than were locked, these are locked too, and everything is read `again`.
    """
    connection, manifest, request = session.connection, session.snapshot.manifest, session.request
    asked = replace(request, consent=request.consent or session.environment.replace_existing)
    facts = read_facts(connection, manifest.entities)
    chosen = choose_entities(manifest, facts, request)
    held = held_rows(connection, asked, chosen, facts, filled)
    entities = [entity for entity in chosen if entity.name not in held]
    children = _read_children(session, entities, facts)
    if (request.with_parents or children) and not again:
        loaded = [facts[entity.name] for entity in entities if entity.name in facts]
        _lock(session, [table.name for table in [*loaded, *children]])
        return _read_catalogs(session, filled, again=True)
    left = [LeftTable(name, facts[name].name, "it holds exactly these rows already", agrees=True) for name in held]
    return entities, facts, children, tuple(left)


def _read_children(
    session: LoadSession, entities: Sequence[EntityRecord], facts: Mapping[str, TableFacts]
) -> list[TableFacts]:
    """Tables outside the load whose rows refer to replaced rows, and the table that workers fill.

    Raises `UsageError` that names them unless `with_children` allows emptying them.
    """
    if session.request.mode is not Mode.REPLACE:
        return []
    loaded = {facts[entity.name].oid: facts[entity.name] for entity in entities if entity.name in facts}
    queued = facts.get(session.queued or "")
    found = loaded | ({queued.oid: queued} if queued else {})
    if not session.request.with_children:
        known = {table.name for table in facts.values()} if session.request.only else ()
        _require_unreferenced(list(found.values()), known)
    while session.request.with_children and (names := [other.name for _, other in _references(list(found.values()))]):
        read = {table.oid: table for table in read_tables(session.connection, names).values()}
        if read.keys() <= found.keys():
            # The others were dropped a moment ago.
            break
        found |= read
    return [table for oid, table in found.items() if oid not in loaded]


def _references(tables: Sequence[TableFacts]) -> list[tuple[TableFacts, ReferenceFacts]]:
    """The foreign keys by which tables outside `tables` refer to them."""
    oids = {table.oid for table in tables}
    return [(table, reference) for table in tables for reference in table.referenced_by if not reference.is_among(oids)]


def _count_rows(connection: Connection, table: TableFacts) -> int | None:
    """The rows that a table outside the load loses; None if this role may not see all of them."""
    if table.row_security or not all(column.may_select for column in table.columns):
        return None
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.name.rows())).fetchone()
    return int(str(row[0])) if row else None


def _require_unreferenced(tables: Sequence[TableFacts], known: Collection[TableName]) -> None:
    """Raise `UsageError` if rows of other tables refer to these; `known` are the tables of the snapshot."""
    refusals: dict[str, TableName] = {}
    for table, reference in _references(tables):
        if reference.has_rows:
            refusals[f"rows of {reference.name} refer to {table.name}"] = table.name
        elif reference.has_rows is None and reference.acts:
            text = f"rows of {reference.name}, which this role may not read, would be deleted or changed with those of"
            refusals[f"{text} {table.name}"] = table.name
    if refusals:
        others = all(reference.name in known for _, reference in _references(tables))
        raise UsageError(
            "rows of other tables refer to the rows that this load replaces",
            where=", ".join(dict.fromkeys(map(str, refusals.values()))),
            observed="; ".join(refusals),
            expected="no such rows, or tables that are part of the load",
            next_step="add --with-children to empty those tables in the same transaction"
            + (", or load them too, without --only" if others else ""),
        )


def _create_schema(session: LoadSession) -> Schema:
    """Run the schema file. Raises `SchemaError` if there is none, or the tables are in another schema."""
    environment, schema = session.environment, find_schema(session.project, session.snapshot)
    entities = session.snapshot.manifest.chosen(session.request.only)
    names = [str(table_name(entity)) for entity in entities]
    elsewhere = _found_elsewhere(session.connection, entities)
    if any(problem.fix for problem in elsewhere):
        raise schema_error(elsewhere, names, session.snapshot.manifest.capture, environment.name)
    if not environment.create_schema or schema is None:
        raise SchemaError(
            "none of the snapshot's tables exists",
            where=session.target.described,
            observed="; ".join(problem.text for problem in elsewhere) or None,
            expected=", ".join(names),
            next_step="run your migrations first, or let snapseed create the tables: "
            + ("" if schema else "name a `schema` file in snapseed.toml and ")
            + f"set create_schema = true in [environments.{environment.name}]",
        )
    for extension in apply_schema(session.connection, schema):
        session.listener(
            Note(f"extension {extension} is left out: the server lacks it, and nothing in the schema uses it")
        )
    # The file may have set timeouts of its own, as those of pg_dump do.
    locks.set_limits(session.connection, environment)
    session.listener(SchemaCreated())
    return schema


def _found_elsewhere(connection: Connection, missing: Sequence[EntityRecord]) -> list[Problem]:
    """For entities without a table: tables of the same name in other schemas, which may be the ones that were meant."""
    problems = []
    for entity in missing:
        found = connection.execute(query("tables_elsewhere"), {"table": entity.table}).fetchall()
        if schemas := [str(schema) for schema, usable, _ in found if usable]:
            how = "name it in the entity's schema" + ("" if entity.schema else ", or put it on the search_path")
            problems.append(Problem(f"a table {entity.table} is in schema {', '.join(schemas)}: {how}"))
        for schema, usable, role in found:
            if not (usable or entity.schema):
                text = f"a table {entity.table} is in schema {schema}, on which the role lacks USAGE"
                names = (sql.Identifier(str(schema)), sql.Identifier(str(role)))
                problems.append(problem(text, "GRANT USAGE ON SCHEMA {} TO {}", *names))
    return problems
