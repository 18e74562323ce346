"""Put the database of an environment back to its snapshot: by a copy of a template, made from itself after a load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from snapseed.config import Environment, Project
from snapseed.errors import RefusedError, UsageError
from snapseed.events import notes_to
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres import locks
from snapseed.postgres.catalog import TableFacts, read_tables
from snapseed.postgres.connect import Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import Identity, identify, require_allowed, require_ours
from snapseed.postgres.provenance import loaded_tables
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot
from snapseed.testing.clear import clear
from snapseed.testing.copying import copy_database, strategy_for
from snapseed.testing.names import Run, lock_key, template_name
from snapseed.testing.server import Server, connected_server
from snapseed.testing.state import UNREADABLE, outside_rows, schema_digest
from snapseed.testing.swap import disconnect, read_properties, replace_database, still_in_use
from snapseed.testing.template import Template, find_template, hold_template

_TRIES = 5


@dataclass
class ResetReport:
    """What was done: `loaded` says that the snapshot was loaded, to make a template of it; else it was a copy."""

    environment: str
    target: str
    source: str
    manifest: Manifest
    server: str = ""
    template: str = ""
    loaded: bool = False
    sessions: int = 0
    cleared: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside, and translate the driver's errors with the phase's name."""
        started = time.monotonic()
        with translated(name, self.target):
            yield
        self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True)
class _Found:
    """The database as it is now, told by itself; `session` is the one that has looked."""

    database: str
    identity: Identity
    schema: str
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
    log: Callable[[str], None] = lambda _: None,
) -> ResetReport:
    """Put the environment's database back to its snapshot, with all that was in it when the template was made.

    Without a template for this database, schema and snapshot, or with `fresh`, the snapshot is loaded, and the template
    made of what is there then. Sessions in the database are ended. Raises `RefusedError` where a load would be
    refused, and where tables outside the snapshot have other rows than the template, unless there is `consent`;
    `UsageError` where the role does not own the database; and whatever a load raises.
    """
    target = resolve_target(project, environment)
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    report = ResetReport(environment.name, target.described, target.source, manifest)
    with connected_server(target, environment, consent=consent) as server:
        run = Run.new()
        with report.phase("waiting for another reset"):
            server.lock(lock_key(run.name))
            server.lock(lock_key(f"reset {target.database or target.described}"))
        with report.phase("looking at the database"):
            found = _look(target, environment, manifest, server, consent=consent)
            report.server = f"PostgreSQL {server.version}, {found.identity}"
            read_properties(server, found.database)
            template = None if fresh else find_template(server, _name(server, manifest, found, environment))
        if template is not None:
            _require_nothing_lost(found, template, environment, consent=consent)
            with report.phase("replacing the database"):
                report.sessions = replace_database(server, found.database, template, run, {found.session})
        else:
            report.loaded = True
            with report.phase("loading"):
                load_snapshot(project, environment, LoadRequest(consent=consent), listener=notes_to(log))
            with report.phase("making the template"):
                found = _look(target, environment, manifest, server, consent=consent)
                name = _name(server, manifest, found, environment)
                template, report.sessions = _made(server, name, manifest, found, run, fresh=fresh)
        report.template = template.name
        with report.phase("clearing"):
            server.unlock(lock_key(run.name))
            server.unlock(lock_key(template.name), shared=True)
            report.cleared = clear(server)
    return report


def _look(target: Target, environment: Environment, manifest: Manifest, server: Server, *, consent: bool) -> _Found:
    with connected(target) as connection:
        identity = identify(connection)
        require_allowed(identity, target, environment, consent=consent)
        if identity.database == server.identity.database:
            raise UsageError(
                "this database cannot be replaced: it is the one from which others are made",
                where=str(identity),
                next_step="give the environment a database of its own, or use `snapseed load`",
            )
        with connection.transaction():
            # Not in the middle of a load, which would be ended with its session.
            locks.set_limits(connection, environment)
            locks.lock(connection)
        tables = list(read_tables(connection, [table_name(entity) for entity in manifest.entities]).values())
        return _Found(
            identity.database,
            identity,
            schema_digest(connection),
            outside_rows(connection, [table.oid for table in tables]),
            tables,
            loaded_tables(connection),
            connection.info.backend_pid,
        )


def _name(server: Server, manifest: Manifest, found: _Found, environment: Environment) -> str:
    kind = f"database, embeddings by {environment.embeddings}"
    return template_name(kind, server.role, found.database, manifest.identity, found.schema)


def _require_nothing_lost(found: _Found, template: Template, environment: Environment, *, consent: bool) -> None:
    """Raise `RefusedError` for rows that a copy would take away and that did not come with a load or the template."""
    require_ours(found.tables, found.loaded, found.identity, environment, consent=consent)
    before = template.mark.outside
    changed = sorted(
        name
        for name in before.keys() | found.outside.keys()
        if before.get(name) != found.outside.get(name) or found.outside.get(name) == UNREADABLE
    )
    if changed and not (consent or environment.replace_existing):
        raise RefusedError(
            "tables that the snapshot does not fill have other rows than in the template; nothing was changed",
            where=str(found.identity),
            observed=f"changed, or not readable: {', '.join(changed)}",
            expected="the rows that were there when the template was made",
            next_step="to put these back as well, add --yes, or replace_existing = true to"
            f" [environments.{environment.name}]; to keep them as they are, in a new template, add --fresh",
        )


def _made(
    server: Server, name: str, manifest: Manifest, found: _Found, run: Run, *, fresh: bool
) -> tuple[Template, int]:
    """A template that is a copy of the database as it is, and how many sessions were ended to make it."""
    sessions = 0

    def copy() -> dict[str, str]:
        nonlocal sessions
        row = server.connection.execute("SELECT pg_database_size(%s)", [found.database]).fetchone()
        strategy = strategy_for(server, int(str(row[0])) if row else 0)
        for _ in range(_TRIES):
            sessions += disconnect(server, found.database, {found.session})
            try:
                copy_database(server, found.database, name, strategy)
            except psycopg.errors.ObjectInUse:
                continue
            return found.outside
        raise still_in_use(server, found.database, "the snapshot is loaded, but there is no template yet")

    if fresh:
        server.drop(name)
    return hold_template(server, name, manifest, run, copy), sessions
