"""Databases with the snapshot for a suite of tests: a template made or found first, clones as they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg

from snapseed.config import Environment, Project
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.failures import translated
from snapseed.servers.targets import EMBEDDED, resolve_target
from snapseed.snapshot.store import open_snapshot
from snapseed.testing.ahead import ClonesAhead
from snapseed.testing.clear import clear
from snapseed.testing.copying import WITHOUT, copy_database
from snapseed.testing.database import SnapseedDatabase
from snapseed.testing.names import KeptMark, Run, lock_key, template_name
from snapseed.testing.schema import Schema, project_schema
from snapseed.testing.server import Server, connected_server
from snapseed.testing.template import Template, hold_template


@dataclass(frozen=True)
class Supply:
    """Hands out databases that hold the snapshot, each to one taker at a time."""

    server: Server
    template: Template
    clones: ClonesAhead

    def take(self) -> SnapseedDatabase:
        """A database that nobody has used. Raises `LoadError` or `ServerError` where the server makes none."""
        with translated("copying the template", self.server.target.described):
            return described(self.server, self.clones.take())

    def give_back(self, database: SnapseedDatabase) -> None:
        """Drop a database, now or within moments, whoever is connected to it."""
        with translated("dropping a test's database", self.server.target.described):
            self.clones.give_back(database.name)

    def keep(self, database: SnapseedDatabase, reason: str) -> None:
        """Leave a database to people. It goes after some days, as templates do."""
        with translated("keeping a test's database", self.server.target.described):
            self.server.set_mark(database.name, KeptMark(reason, int(time.time())))


@contextmanager
def opened_supply(
    project: Project,
    environment: Environment,
    schema: Schema | None = None,
    *,
    ahead: int = 0,
    at_most: int | None = None,
) -> Iterator[Supply]:
    """Databases beside that of `environment`, which itself is neither read nor changed.

    The snapshot is loaded by the first who needs it, into a template. Databases that were taken are dropped at the
    end; those of a process that was killed, by a later one. Raises whatever a load may raise, and `LoadError` where the
    role lacks CREATEDB.
    """
    target = resolve_target(project, environment)
    with connected_server(target, environment) as server:
        run = Run.new()
        with translated("making a template", target.described):
            server.lock(lock_key(run.name))
            template = make_template(server, project, environment, schema, run)
        clones = ClonesAhead(server, template, run, ahead=ahead, at_most=at_most)
        try:
            yield Supply(server, template, clones)
        finally:
            with translated("dropping databases", target.described):
                clones.close()
                server.unlock(lock_key(run.name))
                server.unlock(lock_key(template.name), shared=True)
                clear(server)


def make_template(
    server: Server, project: Project, environment: Environment, schema: Schema | None, run: Run
) -> Template:
    """The template of a snapshot and a schema (default: the project's file), held by the server's connection."""
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    tables = schema or project_schema(project)
    name = template_name("snapshot", server.role, manifest.identity, tables.digest)

    def make() -> dict[str, str]:
        _fill(server, project, environment, tables, name)
        return {}

    return hold_template(server, name, manifest, run, make)


def described(server: Server, name: str) -> SnapseedDatabase:
    """A database by its URL and the parts of it."""
    parts = server.parameters(name)
    return SnapseedDatabase(
        name=name,
        url=server.url(name),
        host=parts.get("host", ""),
        port=int(parts.get("port", "5432")),
        user=parts.get("user", ""),
        password=parts.get("password"),
    )


def _fill(server: Server, project: Project, environment: Environment, schema: Schema, name: str) -> None:
    # On a server of the user's, what an administrator has put into template1 (an extension, say) belongs to it. That of
    # the embedded one holds nothing, and cannot be copied while anybody is connected to it.
    copy_database(server, "template0" if server.target.embedded else "template1", name, WITHOUT)
    if schema.create is not None:
        schema.create(server.url(name))
    load_snapshot(project, _for_template(environment, schema, server, name), LoadRequest(consent=True))
    with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
        connection.execute("UPDATE snapseed.loads SET environment = %s", [environment.name])
        # So that autovacuum finds nothing to do here, and clones have their visibility maps from the beginning.
        connection.execute("VACUUM (ANALYZE)")


def _for_template(environment: Environment, schema: Schema, server: Server, name: str) -> Environment:
    """The environment with the template as its database, whole: no workers come to the databases of tests."""
    environment = replace(environment, embeddings="snapshot")
    make_tables = schema.create is None
    if server.target.embedded is not None:
        # The embedded server's database is named after the environment.
        name_of_environment = name.removeprefix("snapseed_")
        return replace(environment, name=name_of_environment, database=EMBEDDED, create_schema=make_tables)
    return replace(environment, database=server.conninfo(name), create_schema=make_tables)
