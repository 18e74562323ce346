"""The commands `worker` and `search`."""

from __future__ import annotations

import json
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
from snapseed.errors import SnapseedError


def worker(
    environment: EnvironmentName,
    drain: Annotated[bool, typer.Option("--drain", help="Leave when no job waits or is in anybody's hands.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    health_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write counts and the time of the last sign of life here.")
    ] = None,
    health_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Answer /healthz and /metrics on this port of loopback.")
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
    """Work the queue of embedding jobs, until SIGTERM or Ctrl-C ends it behind a batch."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        from snapseed.embeddings.health import Health, serving
        from snapseed.embeddings.index import index_embeddings
        from snapseed.embeddings.service import Events, ServiceOptions, run_workers
        from snapseed.embeddings.worker import BatchDone

        health = Health(health_file)
        ending: list[int] = []

        def end(number: int, _frame: FrameType | None) -> None:
            if ending:
                raise KeyboardInterrupt
            ending.append(number)
            console.note("ending behind this batch; once more to end at once")

        def batch(done: BatchDone) -> None:
            health.batch(done)
            if not quiet:
                known = {name: round(value, 3) for name, value in vars(done).items()}
                console.note(f"batch {json.dumps(known | {'environment': target.name})}")

        def failure(error: SnapseedError, pause: float) -> None:
            health.failure(error, pause)
            console.note(f"failure {error.summary}: {error.observed or ''}; again in {pause:.1f} s")

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        patience = target.timeout if drain else None
        options = ServiceOptions(drain, concurrency, yes, patience)
        with serving(health, target.name, health_port):
            run_workers(found, target, options, Events(batch, health.beat, failure), lambda: bool(ending))
        if drain and not ending:
            for line in index_embeddings(found, target, consent=yes):
                console.note(line)
        console.write(f"worked {health.jobs:,} jobs in {health.batches:,} batches, {health.dead:,} of them dead")


def search(
    environment: EnvironmentName,
    question: Annotated[str, typer.Argument(help="What to look for.")],
    limit: Annotated[int, typer.Option(min=1, help="Chunks to show.")] = 5,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show the chunks that are nearest to a question."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot})
        from snapseed.embeddings.search import search as nearest

        hits = nearest(found, target, question, limit)
        empty = "nothing found: the database holds no chunks of this model" + (
            f"; workers make them, see `snapseed queue status {target.name}`" if target.embeddings == "queue" else ""
        )
        console.show(output, reports.search_text(hits) or empty, reports.search_document(hits))
