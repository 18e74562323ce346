"""The commands `worker` and `search`."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from snapseed.cli import console, reports
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
from snapseed.events import Event


def worker(
    environment: EnvironmentName,
    drain: Annotated[bool, typer.Option("--drain", help="Exit once no job is waiting or in progress.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    health_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep counts and the time of the last sign of life in this JSON file."),
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve /healthz and /metrics on this port of 127.0.0.1.")
    ] = None,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Process embedding jobs from the queue, until SIGTERM or Ctrl-C ends it after the current batch."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        from snapseed.embeddings.health import Health, serving
        from snapseed.embeddings.index import index_embeddings
        from snapseed.embeddings.service import ServiceOptions, WorkerFailed, run_workers
        from snapseed.embeddings.worker import BatchDone

        health = Health(target.name, health_file)
        ending: list[int] = []

        def end(number: int, _frame: FrameType | None) -> None:
            if ending:
                raise KeyboardInterrupt
            ending.append(number)
            console.note("ending after this batch; send the signal again to end at once")

        def told(event: Event) -> None:
            health(event)
            if isinstance(event, BatchDone) and not quiet:
                known = {name: round(value, 3) for name, value in vars(event).items()}
                console.note(f"batch {json.dumps(known | {'environment': target.name})}")
            elif isinstance(event, WorkerFailed):
                console.note(f"failure {event}")

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        options = ServiceOptions(drain, concurrency, yes, target.timeout if drain else math.inf)
        with serving(health, health_port):
            run_workers(found, target, options, told, lambda: bool(ending))
        if drain and not ending:
            for line in index_embeddings(found, target, consent=yes):
                console.note(line)
        jobs, batches, dead = (int(health.total(name)) for name in ("jobs", "batches", "dead"))
        console.write(f"processed {jobs:,} jobs in {batches:,} batches, {dead:,} of them dead")


def search(
    environment: EnvironmentName,
    question: Annotated[str, typer.Argument(help="Text to look for.")],
    limit: Annotated[int, typer.Option(min=1, help="Number of chunks to show.")] = 5,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show the chunks whose meaning is nearest to a question."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot})
        from snapseed.embeddings.search import search as nearest

        hits = nearest(found, target, question, limit)
        empty = "nothing found: the database has no chunks of this model" + (
            f"; workers create them, see `snapseed queue status {target.name}`" if target.embeddings == "queue" else ""
        )
        console.show(output, reports.search_text(hits) or empty, reports.search_document(hits))
