"""`snapseed reset`: put a database back to its snapshot, by a copy of a template made from it after a load."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from snapseed.config import Environment, Project
from snapseed.errors import RefusedError, SnapseedError, UsageError, interruption
from snapseed.events import Event, Listener, PhaseStarted, ignore, phase, phase_seconds, recorded
from snapseed.load.outcome import report_of
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres import locks, query
from snapseed.postgres.catalog import TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import Identity, identify_allowed, require_ours
from snapseed.postgres.provenance import loaded_tables
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.testing.replace import Replacing, replace_database, require_replaceable, when_unused
from snapseed.testing.server import QUERIES, Server, connected_server, template_name
from snapseed.testing.template import (
    Template,
    copy_database,
    drop_unused,
    find_template,
    hold_template,
    strategy_for,
)

# The fingerprint of what this role may not read.
UNREADABLE = "unreadable"
_TEMPLATING = "making the template"
# CREATE DATABASE waits five seconds for sessions to go.
_TRIES = 5


@dataclass(frozen=True)
class ResetReport:
    """What was done: the snapshot was `loaded` and a template made of it, or the database replaced by a copy of one.

    `sessions` is how many sessions of others were ended. `cleared` has the names of unused databases that were dropped,
    `dropped` the tables outside the snapshot that are gone, `phases` the seconds of each phase.
    """

    environment: str
    target: str
    source: str
    manifest: Manifest
    server: str
    template: str
    loaded: bool
    sessions: int
    cleared: list[str]
    dropped: tuple[TableName, ...]
    phases: dict[str, float]

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())


@dataclass(frozen=True)
class _Database:
    """The database as it is now, in its own words, and the name of the template that fits it.

    `session` is the process id of the session that looked.
    """

    identity: Identity
    template: str
    outside: dict[str, str]
    tables: list[TableFacts]
    loaded: set[str]
    session: int


def reset_environment(
    project: Project,
    environment: Environment,
    *,
    consent: bool = False,
    fresh: bool = False,
    recreate: bool = False,
    listener: Listener = ignore,
) -> ResetReport:
    """Put the environment's database back to its snapshot, and everything else in it to when the template was made.

    Without a template for this database, schema and snapshot, or with `fresh`, the snapshot is loaded and a template
    made of the result; with `recreate`, that load drops all tables and creates them from the schema file. Sessions in
    the database are ended. Raises `RefusedError` where a load would be refused, and where rows outside the snapshot
    differ from the template, unless there is `consent`; `UsageError` where the role does not own the database; and what
    a load raises.
    """
    target = resolve_target(project, environment)
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    events, tell = recorded(listener)

    @contextmanager
    def step(name: str) -> Iterator[None]:
        with phase(tell, name), translated(name, target.described):
            yield

    connecting = connected_server(target, environment, consent=consent, listener=listener)
    with _saying_what_stands(events), connecting as server:
        with step("waiting for another reset"):
            server.lock(f"reset {target.database or target.described}")
        with step("looking at the database"):
            database = _look_at(server, environment, manifest, consent=consent)
            name = database.identity.database
            require_replaceable(server, name)
            if not recreate:
                require_ours(database.tables, database.loaded, database.identity, environment, consent=consent)
            template = None if fresh or recreate else find_template(server, database.template)
        with step("clearing"):
            # First: what a killed reset left takes as much room as the copy that is about to be made.
            cleared = drop_unused(server)
        loaded, dropped = template is None, tuple[TableName, ...]()
        if template is not None:
            _require_nothing_lost(database, template, environment, consent=consent)
            with step("replacing the database"):
                sessions = replace_database(server, name, template, database.session, tell)
        else:
            with step("loading"):
                # What others have changed in tables that a load has filled is what a reset is for. A load with
                # `recreate` loses all tables, and asks about each.
                request = LoadRequest(consent=consent or not recreate, recreate=recreate)
                dropped = load_snapshot(project, environment, request, listener=listener).plan.dropped
            with step(_TEMPLATING):
                database = _look_at(server, environment, manifest, consent=consent)
                if fresh:
                    server.drop(database.template)
                template, sessions = _template_of(server, database, manifest)
        return ResetReport(
            environment=environment.name,
            target=target.described,
            source=target.source,
            manifest=manifest,
            server=database.identity.server,
            template=template.name,
            loaded=loaded,
            sessions=sessions,
            cleared=cleared,
            dropped=dropped,
            phases=phase_seconds(events),
        )


@contextmanager
def _saying_what_stands(events: Sequence[Event]) -> Iterator[None]:
    """Add to a failure whether the database is the old or the new one. A load says that itself."""
    try:
        yield
    except SnapseedError as exc:
        if report_of(exc) is None:
            exc.summary += f"; {_outcome(events, certain=exc.__cause__ is None)}"
        raise
    except KeyboardInterrupt as exc:
        raise interruption(exc, f"interrupted; {_outcome(events, certain=False)}") from exc


def _outcome(events: Sequence[Event], *, certain: bool) -> str:
    """What stands after these events. It is not certain if a connection was lost, perhaps during a COMMIT."""
    if Replacing.COPY_IN_PLACE in events:
        return "the database is reset"
    if PhaseStarted(_TEMPLATING) in events:
        return "the snapshot is loaded, but there is no template of it yet"
    if Replacing.COPY_READY in events and not certain:
        return "the database is as it was or reset, and nothing in between"
    return "nothing was changed"


def _look_at(server: Server, environment: Environment, manifest: Manifest, *, consent: bool) -> _Database:
    with connected(server.target) as connection:
        identity = identify_allowed(connection, server.target, environment, consent=consent)
        if identity.database == server.identity.database:
            raise UsageError(
                "this database cannot be replaced: others are created from a connection to it",
                where=str(identity),
                next_step="give the environment a database of its own, or use `snapseed load`",
            )
        # Wait for a running load: replacing the database would end its session.
        with locks.waiting(server.target, connection, "waiting for a load", server.listener), connection.transaction():
            locks.lock(connection)
        tables = list(read_tables(connection, [table_name(entity) for entity in manifest.entities]).values())
        kind = f"database, embeddings by {environment.embeddings}"
        schema, surroundings = schema_digest(connection), server.surroundings(identity.database)
        return _Database(
            identity,
            template_name(kind, server.identity.role, identity.database, manifest.identity, schema, surroundings),
            outside_rows(connection, [table.oid for table in tables]),
            tables,
            loaded_tables(connection),
            connection.info.backend_pid,
        )


def _require_nothing_lost(database: _Database, template: Template, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` for rows outside the snapshot that a copy would delete, and that the template lacks."""
    before = template.mark.outside
    changed = sorted(
        name
        for name in before.keys() | database.outside.keys()
        if before.get(name) != database.outside.get(name) or database.outside.get(name) == UNREADABLE
    )
    if changed and not (consent or environment.replace_existing):
        raise RefusedError(
            "tables outside the snapshot have other rows than the template",
            where=str(database.identity),
            observed=f"changed, or not readable: {', '.join(changed)}",
            expected="the rows that were there when the template was made",
            next_step="to put these tables back too, add --yes, or replace_existing = true to"
            f" [environments.{environment.name}]; to keep them as they are, in a new template, add --fresh",
        )


def _template_of(server: Server, database: _Database, manifest: Manifest) -> tuple[Template, int]:
    """A template that is a copy of the database as it is now, and how many sessions were ended to make it."""
    name = database.identity.database
    ended = 0

    def copy() -> dict[str, str]:
        nonlocal ended
        copying = partial(copy_database, server, name, database.template, strategy_for(server, server.size(name)))
        ended = when_unused(server, name, copying, own=database.session, tries=_TRIES)
        return database.outside

    template = hold_template(server, database.template, manifest, copy)
    return template, ended


def schema_digest(connection: Connection) -> str:
    """A digest of everything that the catalogs say about this database, except sizes and files.

    Most objects count with their OIDs, which a copy shares with its template. So a table that was dropped and created
    again counts as another one: the digest may differ for the same schema, but is never the same for different ones.
    """
    rows = _rows_of_all(connection, "catalogs")
    rows += connection.execute(query("definitions", QUERIES)).fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def outside_rows(connection: Connection, inside: Collection[int]) -> dict[str, str]:
    """A fingerprint of the contents of each table and sequence that the snapshot does not fill (`inside` has its OIDs).

    Reads all of their rows, without snapseed's own tables. `UNREADABLE` is for what this role may not read.
    """
    rows = _rows_of_all(connection, "outside", {"inside": list(inside)})
    return {str(name): str(fingerprint) for name, fingerprint in rows}


def _rows_of_all(
    connection: Connection, name: str, parameters: Mapping[str, object] | None = None
) -> list[tuple[object, ...]]:
    """The rows of all queries that the query `name` lists, sorted."""
    listed = connection.execute(query(name, QUERIES), parameters).fetchall()
    together = " UNION ALL ".join(str(statement) for (statement,) in listed)
    return connection.execute(f"{together} ORDER BY 1".encode()).fetchall() if listed else []
