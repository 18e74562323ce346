"""`snapseed reset`: an environment's database back to its snapshot, in a fraction of a second."""

from __future__ import annotations

from typing import Annotated

import typer

from snapseed.cli import console, reports
from snapseed.cli.jobs import jobs_after
from snapseed.cli.memory import use_system_allocator
from snapseed.cli.options import (
    AllowHost,
    Database,
    EnvFile,
    EnvironmentName,
    Format,
    OutputFormat,
    ProjectFolder,
    Quiet,
    Snapshot,
    Verbose,
    Yes,
)
from snapseed.config import find_project


def reset(
    environment: EnvironmentName,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Load the snapshot, and make a new template of what is there then.")
    ] = False,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Put the environment's database back to its snapshot, by a copy of a template; ends the sessions in it."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        use_system_allocator()
        from snapseed.testing.reset import reset_environment

        log = console.silence if quiet else console.note
        with jobs_after(found, target, consent=yes, log=log):
            report = reset_environment(found, target, consent=yes, fresh=fresh, log=log)
            console.show(output, reports.reset_text(report), reports.reset_document(report))
