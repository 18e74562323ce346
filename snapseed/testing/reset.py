"""`snapseed reset`: put a database back to its snapshot, by a copy of a template made from it after a load."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from snapseed.config import Environment, Project
from snapseed.errors import RefusedError
from snapseed.events import Listener, ignore
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres import query
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import Identity, require_consent_to_replace, require_ours
from snapseed.postgres.provenance import loaded_tables
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import snapshot_of
from snapseed.testing.replace import COPY_TRIES, replace_database, require_replaceable, when_unused
from snapseed.testing.server import QUERIES, Server, template_name
from snapseed.testing.template import Template, copy_database, drop_unused, find_template, hold_template, strategy_for
from snapseed.testing.turn import TEMPLATING, Turn, TurnReport, taking_turns

# The fingerprint of what this role may not read.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class ResetReport(TurnReport):
    """What was done: the snapshot was `loaded` and a template made of it, or the database replaced by a copy of one.

    `dropped` has the tables outside the snapshot that are gone.
    """

    manifest: Manifest
    template: str
    loaded: bool
    dropped: tuple[TableName, ...]

    @property
    def sessions(self) -> int:
        """How many sessions of others were ended."""
        return len(self.ended)


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
    manifest = snapshot_of(environment).manifest
    with taking_turns(project, environment, "the database is reset", consent=consent, listener=listener) as turn:
        server = turn.server
        with turn.step("looking at the database"):
            database = _look_at(turn, manifest)
            name = database.identity.database
            require_replaceable(server, name)
            if not recreate:
                require_ours(database.tables, database.loaded, database.identity, environment, consent=consent)
            template = None if fresh or recreate else find_template(server, database.template)
        with turn.step("clearing"):
            # First: what a killed reset left takes as much room as the copy that is about to be made.
            cleared = drop_unused(server)
        loaded, dropped = template is None, tuple[TableName, ...]()
        if template is not None:
            _require_nothing_lost(database, template, environment, consent=consent)
            with turn.step("replacing the database"):
                strategy = template.mark.strategy
                ended = replace_database(server, name, template.name, strategy, database.session, turn.tell)
        else:
            with turn.step("loading"):
                # What others have changed in tables that a load has filled is what a reset is for. A load with
                # `recreate` loses all tables, and asks about each.
                request = LoadRequest(consent=consent or not recreate, recreate=recreate)
                dropped = load_snapshot(project, environment, request, listener=listener).plan.dropped
            with turn.step(TEMPLATING):
                database = _look_at(turn, manifest)
                if fresh:
                    server.drop(database.template)
                template, ended = _template_of(server, database, manifest)
        told = vars(turn.told(database.identity, ended, cleared))
        return ResetReport(**told, manifest=manifest, template=template.name, loaded=loaded, dropped=dropped)


def _look_at(turn: Turn, manifest: Manifest) -> _Database:
    """Read everything that decides whether a template fits the database."""
    with turn.database() as (connection, identity):
        tables = list(read_tables(connection, [table_name(entity) for entity in manifest.entities]).values())
        kind = f"database, embeddings by {turn.environment.embeddings}"
        schema, surroundings = schema_digest(connection), turn.server.surroundings(identity.database)
        return _Database(
            identity,
            template_name(kind, turn.server.identity.role, identity.database, manifest.identity, schema, surroundings),
            outside_rows(connection, [table.oid for table in tables]),
            tables,
            loaded_tables(connection),
            connection.backend_pid,
        )


def _require_nothing_lost(database: _Database, template: Template, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` for rows outside the snapshot that a copy would delete, and that the template lacks."""
    before = template.mark.outside
    changed = sorted(
        name
        for name in before.keys() | database.outside.keys()
        if before.get(name) != database.outside.get(name) or database.outside.get(name) == UNREADABLE
    )
    if changed:
        refusal = RefusedError(
            "tables outside the snapshot have other rows than the template",
            where=str(database.identity),
            observed=f"changed, or not readable: {', '.join(changed)}",
            expected="the rows that were there when the template was made",
            next_step="to keep these tables as they are, in a new template, add --fresh; to put them back too",
        )
        require_consent_to_replace(refusal, environment, consent=consent)


def _template_of(server: Server, database: _Database, manifest: Manifest) -> tuple[Template, list[str]]:
    """A template that is a copy of the database as it is now, and the sessions that were ended to make it."""
    name = database.identity.database
    ended: list[str] = []

    def copy() -> dict[str, str]:
        copying = partial(copy_database, server, name, database.template, strategy_for(server, server.size(name)))
        ended.extend(when_unused(server, name, copying, own=database.session, tries=COPY_TRIES))
        return database.outside

    return hold_template(server, database.template, manifest, copy), ended


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
