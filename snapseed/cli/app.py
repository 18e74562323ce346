"""The command line: the main commands, and the entry point. Only this package prints.

A command imports what only it needs, so that `--help` and shell completion answer at once.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import typer

from snapseed.cli import console, databases, differences, embeddings, snapshot_text, stores, text, verification
from snapseed.cli.documents import document, failure
from snapseed.cli.init import git_app, init
from snapseed.cli.options import WRITES, Call, Commands, Only, entity_names, environment_names, in_manifests, in_project
from snapseed.cli.progress import Meter
from snapseed.config.settings import suggestion
from snapseed.errors import MachineError, UsageError
from snapseed.redaction import hide_passwords_in_title, redacted
from snapseed.units import parse_scale

app = typer.Typer(
    name="snapseed",
    cls=Commands,
    help="Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and verified there.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(databases.db, name="db")
app.add_typer(embeddings.queue_app, name="queue")
app.add_typer(git_app)


def main() -> None:
    """Run the command line and exit with its code: the console script."""
    hide_passwords_in_title()
    # Imports leave 60,000 objects and hardly any garbage: look for it rarely, and not at all when leaving. This saves
    # 0.1 s, a fifth of the CPU time of loading a few rows.
    gc.set_threshold(100_000)
    # Arrow, which must not have been imported yet, then takes memory from the system's allocator, which returns what a
    # chunk leaves behind. On a load of 770,000 rows: 65 MB less at the peak than with Arrow's own, at the same speed.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # NumPy, too: nothing here multiplies matrices, and its threads cost 25 ms of CPU time to start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = COMMAND(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        console.note("interrupted")
        code = 130
    except Exception as exc:  # noqa: BLE001 - the last resort: no traceback, and an exit code that says what it was
        # click's errors about options and arguments. Where their classes live depends on the version of typer.
        show, message = getattr(exc, "show", None), getattr(exc, "format_message", None)
        error = _mistake(exc, message()) if show and message else console.failure_of(exc)
        code = error.exit_code
        if "--format=json" in sys.argv or ("--format", "json") in pairwise(sys.argv):
            with suppress(MachineError):
                console.to_stdout(console.as_json({"error": failure(error), "exit_code": code}))
        if show:
            usage = io.StringIO()
            show(file=usage)
            if lines := usage.getvalue().partition("Error: ")[0].rstrip("\n"):
                console.note(lines)
        console.complain(error)
    # The system takes all memory back. Looking for garbage in it first, as Python does, takes 50 ms.
    gc.freeze()
    console.leave(code)


def _mistake(exc: Exception, message: str) -> UsageError:
    """An error of click's about the arguments, with the command or the option that was probably meant."""
    # Without a command, click's message is the help, which is shown anyway.
    message = "Missing command" if message.startswith("Usage: ") else message.partition(" (Possible options")[0]
    summary, _, guess = (
        message.replace("valid int range", "whole number")
        .replace("valid float range", "number")
        .partition(". Did you mean ")
    )
    meant = suggestion(getattr(exc, "option_name", ""), getattr(exc, "possibilities", None) or ())
    # It quotes arguments, and one of them may be a URL.
    return UsageError(redacted(summary), next_step=meant or (f"did you mean {guess}" if guess else None))


def _version(wanted: bool) -> None:
    """Show the version, if that is wanted, and exit."""
    if wanted:
        from importlib.metadata import version

        console.write(f"snapseed {version('snapseed')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and verified there."""


app.command()(init)


@app.command()
@in_project("environment", "snapshot", "cluster", "results", "quiet")
def generate(
    call: Call,
    scale: Annotated[str | None, "ROWS", "How many root rows: 500, 10k, 2.5m, 1b."] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**64 - 1, help="Override the project's seed.")] = None,
    only: Only = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core).")] = None,
    check: Annotated[bool, "Regenerate in a temporary folder and compare."] = False,
    part: Annotated[
        int | None, typer.Option(min=0, metavar="NUMBER", help="Only this part, as the snapshot NAME-part-NUMBER.")
    ] = None,
    no_resume: Annotated[bool, "Make parts again that an interrupted run has left in the bucket."] = False,
) -> None:
    """Write the environment's snapshot."""
    environment = call.environment
    rows = None if scale is None else parse_scale(scale)
    # Polars, which must not have been imported yet, then returns freed memory after 50 ms instead of 1.5 seconds, and
    # from one arena for all threads instead of four per core. On a generation of 170,000 rows: 60 MB less at the peak
    # for 0.3 s of 8 more, all in the kernel. Returning it at once would save 10 MB more and cost 1.5 s.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:50,muzzy_decay_ms:0")
    # What generators ask of it is too little to share among threads: without, a tenth less of CPU time, and no later.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from snapseed.generate.parallel import available_cores
    from snapseed.generate.request import resolve_request
    from snapseed.generate.snapshot import check_snapshot, generate_snapshot

    request = resolve_request(call.project, environment, scale=rows, seed=seed, only=entity_names(only), part=part)
    request = replace(request, resume=not no_resume)
    jobs = jobs or available_cores()
    if check:
        with Meter(quiet=call.options.quiet) as meter:
            found = check_snapshot(call.project, request, jobs=jobs, listener=meter)
        call.show(snapshot_text.regenerated(found), document(found))
        raise typer.Exit(0 if found.same_rows else 1)
    with Meter(quiet=call.options.quiet) as meter, call.executor(jobs, meter) as executor:
        report = generate_snapshot(call.project, request, jobs=jobs, executor=executor, listener=meter)
    call.show(snapshot_text.generated(report, quiet=call.options.quiet), document(report))


@app.command()
@in_project("environment", "source", "snapshot", "cluster", "results", "quiet")
def capture(
    call: Call,
    only: Annotated[list[str] | None, "TABLE", "Only this table (repeat, or use commas)."] = None,
    exclude: Annotated[list[str] | None, "TABLE", "Leave this table out (repeat, or use commas)."] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Connections to the source, all of which see one moment.")] = 1,
    visible_rows: Annotated[bool, "Capture what row-level security lets this role see."] = False,
    without_large_objects: Annotated[bool, "Leave large objects out, which a snapshot cannot hold."] = False,
    unmasked: Annotated[bool, "Ignore [mask]: copy all values as they are, personal ones too."] = False,
    check: Annotated[bool, "Only check the rules for masks against the catalogs; write nothing."] = False,
    without_schema: Annotated[bool, "Leave the schema out: migrations create the tables elsewhere."] = False,
    schema_only: Annotated[bool, "Capture the schema alone: empty tables."] = False,
    root: Annotated[str | None, "TABLE", "Only rows of this table, and all that they need."] = None,
    rows: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many rows of --root.")] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, metavar="SEED", help="Draw the rows of --root (default: the first ones)."),
    ] = None,
    where: Annotated[list[str] | None, '"TABLE: CONDITION"', "Only rows that meet this SQL (repeat)."] = None,
) -> None:
    """Write the environment's snapshot from a living database. Changes nothing there."""
    from snapseed.capture.request import CaptureRequest, subset_request
    from snapseed.capture.snapshot import capture_snapshot, check_masks

    request = CaptureRequest(
        only=entity_names(only),
        exclude=entity_names(exclude),
        jobs=jobs,
        visible_rows=visible_rows,
        large_objects=not without_large_objects,
        unmasked=unmasked,
        schema=not without_schema,
        schema_only=schema_only,
        subset=subset_request(root, rows, sample, where or ()),
    )
    if check:
        found = check_masks(call.project, call.environment, request)
        call.show(snapshot_text.masks(found), document(found))
        raise typer.Exit(1 if found.personal else 0)
    with Meter(quiet=call.options.quiet) as meter, call.executor(jobs, meter, shared_by="--jobs") as executor:
        report = capture_snapshot(call.project, call.environment, request, listener=meter, executor=executor)
    call.show(snapshot_text.captured(report, quiet=call.options.quiet), document(report))


@app.command()
@in_project(*WRITES, "connections", "cluster", "results", "quiet")
def load(
    call: Call,
    only: Only = None,
    with_parents: Annotated[bool, "With --only: also load the entities it refers to."] = False,
    with_children: Annotated[bool, "Also empty tables that refer to it and are not loaded."] = False,
    # The values of `load.request.Mode`; --help does not import it.
    mode: Annotated[Literal["replace", "append", "upsert"], "What to do with existing rows."] = "replace",
    dry_run: Annotated[bool, "Show the load plan; change nothing."] = False,
    if_changed: Annotated[bool, "Do nothing if the database already holds the snapshot."] = False,
    no_verify: Annotated[bool, "Commit without comparing fingerprints."] = False,
    recreate: Annotated[bool, "Drop all tables first; create them from the schema file."] = False,
    unlogged: Annotated[bool, "UNSAFE: make the tables unlogged. A crash of the server empties them."] = False,
) -> None:
    """Load the snapshot into the environment's database, atomically."""
    environment, names = call.environment, entity_names(only)
    if with_parents and not names:
        raise UsageError("--with-parents needs --only", next_step="leave it out: all entities are loaded")
    from snapseed.load.request import LoadRequest, Mode
    from snapseed.load.snapshot import load_snapshot

    request = LoadRequest(
        only=names,
        mode=Mode(mode),
        with_parents=with_parents,
        with_children=with_children,
        if_changed=if_changed,
        dry_run=dry_run,
        verify=not no_verify,
        unlogged=unlogged,
        recreate=recreate,
        consent=call.options.yes,
    )
    with nullcontext() if dry_run else embeddings.jobs_of_load(call, environment):
        connections = 0 if dry_run else environment.connections
        with (
            Meter(quiet=call.options.quiet) as meter,
            call.executor(connections, meter, shared_by="--connections") as executor,
        ):
            report = load_snapshot(call.project, environment, request, listener=meter, executor=executor)
        verbosity = {"quiet": call.options.quiet, "verbose": call.options.verbose}
        call.show(text.loaded(report, **verbosity), document(report))
    if not dry_run and not all(left.agrees for left in report.plan.left):
        raise typer.Exit(1)


for command in (verification.verify, differences.diff, verification.ci, verification.doctor):
    app.command()(command)


@app.command()
@in_project("results")
def status(
    call: Call,
    environment: Annotated[
        str | None, typer.Argument(help="Only this environment (default: all).", autocompletion=environment_names)
    ] = None,
) -> None:
    """Show what is loaded where: snapshot, time, version of snapseed. Starts no server."""
    names = [call.project.environment(environment).name] if environment else list(call.project.environments)
    from snapseed.verify.status import status as status_of

    found = status_of(call.project, names)
    call.show(text.status(found), {"environments": document(found)})


@app.command()
@in_project("environment", "snapshot", "results")
def show(
    call: Call,
    entity: Annotated[
        str | None,
        typer.Argument(help="Show rows of this entity only.", autocompletion=in_manifests(entities=True)),
    ] = None,
    rows: Annotated[int | None, typer.Option(min=0, help="Sample rows (default: 1 each, 5 of one entity).")] = None,
) -> None:
    """Show what is in a snapshot: entities, rows, bytes, sample rows."""
    call, entity = call.with_second(entity)
    from snapseed.snapshot.store import snapshot_of

    snapshot = snapshot_of(call.environment)
    count = rows if rows is not None else 5 if entity else 1
    chosen = snapshot.manifest.chosen([entity] if entity else [])
    samples = [(record, snapshot.first_rows(record, count)) for record in chosen]
    notes = snapshot_text.read_notes(call.project.generators)
    found = {
        **document(snapshot.manifest),
        "notes": {record.name: notes[record.name] for record in chosen if record.name in notes},
        "samples": {record.name: document(sample) for record, sample in samples},
    }
    call.show(snapshot_text.contents(snapshot.manifest, samples, notes), found)


@app.command()
@in_project("environment", "database", "snapshot", "results", "quiet")
def report(
    call: Call,
    output: Annotated[Path | None, "FILE", "Where to write the page (default: SNAPSHOT-report.html)."] = None,
    show_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    no_samples: Annotated[bool, "Show no value of any row."] = False,
    load: Annotated[Path | None, "FILE", "Show this load: JSON of `load`, or of `ci --report`."] = None,
    against: Annotated[str | None, "SIDE", "Show how this differs from the snapshot: a side as in `diff`."] = None,
) -> None:
    """Draw what is in the snapshot as one HTML page. It needs nothing else."""
    from snapseed.diff.compare import DiffRequest, compare
    from snapseed.diff.sides import SnapshotSide, find_side
    from snapseed.report.page import PageRequest, make_page, read_load
    from snapseed.snapshot.store import snapshot_of

    with Meter(quiet=call.options.quiet) as meter:
        found = None
        if against:
            sides = SnapshotSide.of(snapshot_of(call.environment)), find_side(call.project, against)
            found = compare(*sides, DiffRequest(limit=5), meter)
        request = PageRequest(not no_samples, read_load(load) if load else None, found)
        page = make_page(call.project, call.environment, request, listener=meter)
    path = output or Path(f"{page.manifest.name}-report.html")
    console.write_file(path, lambda: page.html)
    call.show(snapshot_text.page(page, path), {"file": str(path), **document(page)})
    if show_page:
        typer.launch(path.resolve().as_uri())


for command in (stores.push, stores.pull, stores.prune, databases.reset, databases.save, databases.states):
    app.command()(command)
for command in (embeddings.worker, embeddings.search):
    app.command()(command)

# What `main` runs. Made on import: processes forked after that, as the tests fork theirs, save its 30 ms.
COMMAND = typer.main.get_command(app)
