"""`snapseed db`: the embedded servers of a project, and a psql for any environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from snapseed.cli import console
from snapseed.cli.options import (
    Database,
    EnvFile,
    EnvironmentName,
    Format,
    OptionalEnvironment,
    OutputFormat,
    ProjectFolder,
    Verbose,
)
from snapseed.config import Environment, Project, find_project
from snapseed.errors import UsageError
from snapseed.redaction import redacted

database_app = typer.Typer(
    help="The embedded servers: start, stop, where they are, and psql.", no_args_is_help=True, rich_markup_mode=None
)


@database_app.command()
def start(
    environment: OptionalEnvironment = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Start the embedded servers that the environment uses, and make its database."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment)
        from snapseed.postgres.connect import connected
        from snapseed.servers import EmbeddedRedis
        from snapseed.servers.targets import EMBEDDED, resolve_target

        urls = {}
        database = resolve_target(found, target)
        if database.embedded is not None:
            with connected(database):
                urls["postgres"] = database.conninfo
        if target.redis == EMBEDDED:
            redis = EmbeddedRedis(found.folder)
            redis.start()
            urls["redis"] = redis.url()
        if not urls:
            raise UsageError(f"environment {target.name!r} uses no embedded server", observed=database.described)
        _show(output, urls)


@database_app.command()
def stop(
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Stop the project's embedded servers. Their data stays."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        from snapseed.servers import EmbeddedPostgres, EmbeddedRedis

        stopped = {
            "postgres": EmbeddedPostgres(found.folder).stop(),
            "redis": EmbeddedRedis(found.folder).stop(),
        }
        _show(output, {name: "stopped" if was_running else "was not running" for name, was_running in stopped.items()})


@database_app.command()
def url(
    environment: OptionalEnvironment = None,
    show_password: Annotated[bool, typer.Option("--show-password", help="With the password, if it has one.")] = False,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Print the URL of the environment's database."""
    with console.reporting(output, verbose=verbose):
        from snapseed.servers.targets import resolve_target

        found = find_project(project, env_file)
        target = resolve_target(found, found.environment(environment))
        shown = target.conninfo if show_password else redacted(target.conninfo)
        if output is Format.json:
            console.write_json({"url": shown})
        else:
            console.write(shown)


@database_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    environment: EnvironmentName,
    database: Database = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Open psql on the environment's database; further arguments go to psql."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        program, conninfo = _psql(found, found.environment(environment, {"database": database}))
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        # By its environment, which others cannot see as they can its arguments.
        parts = conninfo_to_dict(conninfo)
        if password := parts.pop("password", None):
            os.environ["PGPASSWORD"] = str(password)
            conninfo = make_conninfo("", **parts)
        os.execv(program, [str(program), conninfo, *context.args])  # noqa: S606 - psql takes our place, no shell between


def _psql(project: Project, environment: Environment) -> tuple[Path, str]:
    from snapseed.postgres.connect import connected
    from snapseed.servers.targets import resolve_target

    target = resolve_target(project, environment)
    if target.embedded is not None:
        with connected(target):
            return target.embedded.psql(), target.conninfo
    program = shutil.which("psql")
    if program is None:
        raise UsageError("psql is not on the PATH", next_step="install PostgreSQL's client programs")
    return Path(program), target.conninfo


def _show(output: Format, values: dict[str, str]) -> None:
    if output is Format.json:
        console.write_json(dict(values))
    else:
        console.write("\n".join(f"{name}: {value}" for name, value in values.items()))
