"""The template for tests: tables from the project's schema file or from migrations, rows from the snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from snapseed.config import Environment, Project
from snapseed.errors import ConfigurationError
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.servers.targets import EMBEDDED
from snapseed.snapshot.store import open_snapshot
from snapseed.testing.server import Server, template_name
from snapseed.testing.template import SERVER_DEFAULT, Template, copy_database, hold_template


@dataclass(frozen=True)
class Schema:
    """How the tables are created, and a digest of every file that this depends on. Another digest, another template.

    `create` gets the URL of an empty database. Without it, the load applies the project's schema file.
    """

    digest: str
    create: Callable[[str], object] | None = None


def project_schema(project: Project) -> Schema:
    """The project's `schema` file. Raises `ConfigurationError` where the project names none, or it cannot be read."""
    if project.schema is None:
        raise ConfigurationError(
            "nothing says how the tables of the snapshot are created",
            where=str(project.file),
            expected="a `schema` file in the project, or the application's own migrations",
            next_step="name a `schema` file, or override the fixture snapseed_schema to run your migrations",
        )
    return Schema(_digest([project.schema], project.folder))


def migrations(create: Callable[[str], object], files: Iterable[Path], folder: Path) -> Schema:
    """Tables that `create(url)` creates, which depends on the contents of `files`; `folder` makes their names relative.

    Raises `ConfigurationError` without any file, because a template would never notice a new migration.
    """
    found = sorted({path.resolve() for path in files if path.is_file()})
    if not found:
        raise ConfigurationError(
            "nothing says when the tables that the application creates have changed",
            where=str(folder),
            observed="no file",
            expected="the files that its migrations consist of",
            next_step="name them by globs, for example snapseed_schema_files = migrations/**/*.py",
        )
    return Schema(_digest(found, folder.resolve()), create)


def hold_snapshot_template(
    server: Server, project: Project, environment: Environment, schema: Schema | None
) -> Template:
    """The template of a snapshot and a schema (default: the project's file), held by the server's connection.

    It is made if it is missing. Raises what a load raises.
    """
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    tables = schema or project_schema(project)
    name = template_name("snapshot", server.identity.role, manifest.identity, tables.digest)

    def make() -> dict[str, str]:
        _fill(server, project, environment, tables, name)
        return {}

    return hold_template(server, name, manifest, make)


def _fill(server: Server, project: Project, environment: Environment, schema: Schema, name: str) -> None:
    if server.target.embedded is None:
        # An administrator may have put something into it, such as an extension.
        source, own_name, database = "template1", environment.name, server.conninfo(name)
    else:
        # Its template1 is empty, and cannot be copied while anybody is connected to it. It names a database after its
        # environment.
        source, own_name, database = "template0", name.removeprefix("snapseed_"), EMBEDDED
    copy_database(server, source, name, SERVER_DEFAULT)
    if schema.create is not None:
        schema.create(server.url(name))
    # Embeddings come from the snapshot, because no worker serves the tests' databases.
    own = replace(environment, name=own_name, database=database, embeddings="snapshot", create_schema=not schema.create)
    load_snapshot(project, own, LoadRequest(consent=True))
    with psycopg.connect(server.conninfo(name), autocommit=True) as connection:
        connection.execute("UPDATE snapseed.loads SET environment = %s", [environment.name])
        # Autovacuum then finds nothing to do here, and clones have their visibility maps from the start.
        connection.execute("VACUUM (ANALYZE)")


def _digest(files: Iterable[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise ConfigurationError(
                "the schema file cannot be read", where=str(path), observed=exc.strerror or str(exc)
            ) from exc
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
