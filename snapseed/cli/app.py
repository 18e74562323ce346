"""The commands. Heavy libraries are imported by the command that needs them, so that `--help` answers at once."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from snapseed.cli import checking, console, embeddings, reports
from snapseed.cli.database import database_app
from snapseed.cli.init import init
from snapseed.cli.jobs import jobs_behind
from snapseed.cli.memory import return_memory_soon, use_system_allocator
from snapseed.cli.options import (
    AllowHost,
    Database,
    EnvFile,
    EnvironmentName,
    Format,
    LoadMode,
    Only,
    OptionalEnvironment,
    OutputFormat,
    ProjectFolder,
    Quiet,
    Snapshot,
    Verbose,
    Yes,
    entity_names,
)
from snapseed.cli.queue import queue_app
from snapseed.cli.reset import reset
from snapseed.config import find_project
from snapseed.redaction import hide_passwords_in_title
from snapseed.units import parse_scale

app = typer.Typer(
    name="snapseed",
    help="Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and proved to be there.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(database_app, name="db")
app.add_typer(queue_app, name="queue")


def main() -> None:
    """The console script."""
    hide_passwords_in_title()
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted; nothing was changed")
        code = 130
    except Exception as exc:
        # What click says about options and arguments; where its classes live depends on the version of typer.
        show, message = getattr(exc, "show", None), getattr(exc, "format_message", None)
        if show is None or message is None:
            raise
        if console.wants_json(sys.argv):
            console.write_json({"error": {"type": "UsageError", "summary": message()}, "exit_code": 2})
        show()
        code = 2
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.write(f"snapseed {version('snapseed')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and proved to be there."""


app.command()(init)


@app.command()
def generate(
    environment: OptionalEnvironment = None,
    scale: Annotated[str | None, typer.Option(metavar="ROWS", help="How many root rows: 500, 10k, 2.5m, 1b.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**64 - 1, help="Another seed than the project's.")] = None,
    only: Only = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core).")] = None,
    check: Annotated[bool, typer.Option("--check", help="Make it elsewhere and compare; write nothing.")] = False,
    part: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="This part alone, as the snapshot NAME-part-NUMBER.")
    ] = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write the environment's snapshot."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"snapshot": snapshot})
        wanted = None if scale is None else parse_scale(scale)
        use_system_allocator()
        return_memory_soon()
        from snapseed.cli.progress import announce_size, generate_progress
        from snapseed.generate.part import available_cores
        from snapseed.generate.request import resolve_check, resolve_request
        from snapseed.generate.snapshot import check_snapshot, generate_snapshot

        resolve = resolve_check if check else resolve_request
        request = resolve(found, target, scale=wanted, seed=seed, only=entity_names(only), part=part)
        if not quiet:
            announce_size(found, request)
        with console.Meter(quiet=quiet) as meter:
            listener = generate_progress(meter)
            processes = jobs or available_cores()
            if check:
                checked = check_snapshot(found, request, jobs=processes, listener=listener)
            else:
                report = generate_snapshot(found, request, jobs=processes, listener=listener)
        if check:
            console.show(output, reports.check_text(checked), reports.check_document(checked))
            raise typer.Exit(0 if checked.same_rows else 1)
        console.show(output, reports.generate_text(report), reports.generate_document(report))


@app.command()
def load(
    environment: EnvironmentName,
    only: Only = None,
    with_parents: Annotated[
        bool, typer.Option("--with-parents", help="With --only: load the entities it refers to as well.")
    ] = False,
    with_children: Annotated[
        bool, typer.Option("--with-children", help="Empty tables outside the load that refer to it.")
    ] = False,
    mode: LoadMode = "replace",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the load plan; change nothing.")] = False,
    if_changed: Annotated[
        bool, typer.Option("--if-changed", help="Do nothing where the database holds the snapshot already.")
    ] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Commit without comparing fingerprints.")] = False,
    unlogged: Annotated[
        bool, typer.Option("--unlogged", help="UNSAFE: make the tables unlogged; a crash of the server empties them.")
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
    """Load the environment's snapshot into its database, in one transaction."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        use_system_allocator()
        from snapseed.cli.progress import load_progress
        from snapseed.load.run import load_snapshot

        with nullcontext() if dry_run else jobs_behind(found, target, consent=yes):
            with console.Meter(quiet=quiet) as meter:
                report = load_snapshot(
                    found,
                    target,
                    only=entity_names(only),
                    mode=mode,
                    with_parents=with_parents,
                    with_children=with_children,
                    if_changed=if_changed,
                    dry_run=dry_run,
                    verify=not no_verify,
                    unlogged=unlogged,
                    consent=yes,
                    progress=load_progress(meter),
                    log=console.note,
                )
            console.show(output, reports.load_text(report), reports.load_document(report))


app.command()(checking.verify)


@app.command()
def diff(
    environment: EnvironmentName,
    only: Only = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to name per entity.")] = 20,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show which rows and columns of the database differ from the snapshot."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot})
        from snapseed.diff.database import diff_snapshot

        report = diff_snapshot(found, target, only=entity_names(only), limit=limit)
        console.show(output, reports.diff_text(report), reports.diff_document(report))
        raise typer.Exit(0 if report.agrees else 1)


app.command()(checking.ci)
app.command()(checking.doctor)


@app.command()
def status(
    environment: OptionalEnvironment = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show what is loaded where: snapshot, when, by which version. Starts no server."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        names = [found.environment(environment).name] if environment else list(found.environments)
        from snapseed.verify.status import status as states_of

        states = states_of(found, names)
        console.show(output, reports.status_text(states), reports.status_document(states))


@app.command()
def show(
    environment: EnvironmentName,
    entity: Annotated[str | None, typer.Argument(help="Rows of this entity alone.")] = None,
    rows: Annotated[int | None, typer.Option(min=0, help="Sample rows (default: 1 each, 5 of one entity).")] = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show what is in a snapshot: entities, rows, bytes, sample rows."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"snapshot": snapshot})
        from snapseed.snapshot.store import open_snapshot

        opened = open_snapshot(found.snapshots, target.snapshot)
        chosen = opened.manifest.chosen([entity] if entity else [])
        count = rows if rows is not None else 5 if entity else 1
        samples = [(record, opened.first_rows(record, count)) for record in chosen]
        width = max(60, shutil.get_terminal_size((120, 24)).columns)
        console.show(
            output, reports.show_text(opened.manifest, samples, width), reports.show_document(opened.manifest, samples)
        )


app.command()(reset)
app.command()(embeddings.worker)
app.command()(embeddings.search)
