"""The commands around embeddings: `worker`, `queue` and `search`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from snapseed.cli import console
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

queue_app = typer.Typer(
    help="The queue of embedding jobs: what is in it, and mending it.", no_args_is_help=True, rich_markup_mode=None
)
_SHOWN_DEAD = 5
_SHOWN_CHARACTERS = 160


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


@queue_app.command()
def status(
    environment: EnvironmentName,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    allow_host: AllowHost = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show how many jobs wait, are in hand, done and dead, and what the dead died of."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment).allowing(allow_host)
        from snapseed.database.redis import redis_translated
        from snapseed.embeddings.session import embedding_session

        with embedding_session(found, target) as session, redis_translated("looking at the queue", session.redis):
            now, dead = session.queue.status(), list(session.queue.dead(_SHOWN_DEAD))
            name = session.source.queue_name
        age = "" if now.oldest_seconds is None else f", the oldest for {now.oldest_seconds:.0f} s"
        lines = [
            f"queue    {name}",
            f"waiting  {now.waiting:,}{age}",
            f"in hand  {now.in_flight:,}, of {now.workers:,} workers",
            f"done     {now.done:,}, {now.done_last_minute:,} in the last full minute",
            f"dead     {now.dead:,}",
        ]
        lines += [f"  {job.payload.decode('utf-8', 'replace')[:_SHOWN_CHARACTERS]}: {job.error}" for job in dead]
        errors = [{"job": job.payload.decode("utf-8", "replace"), "error": job.error} for job in dead]
        console.show(output, "\n".join(lines), {"queue": name, **vars(now), "oldest_dead": errors})


@queue_app.command()
def retry(
    environment: EnvironmentName,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    allow_host: AllowHost = None,
    verbose: Verbose = False,
) -> None:
    """Put the dead jobs back into the queue."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment).allowing(allow_host)
        from snapseed.database.redis import redis_translated
        from snapseed.embeddings.session import embedding_session

        with embedding_session(found, target) as session, redis_translated("moving jobs", session.redis):
            console.write(f"{session.queue.retry():,} dead jobs are in the queue again")


@queue_app.command()
def purge(
    environment: EnvironmentName,
    yes: Yes = False,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    allow_host: AllowHost = None,
    verbose: Verbose = False,
) -> None:
    """Take all jobs away, dead ones included. `queue repair` makes those again that are needed."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment).allowing(allow_host)
        from snapseed.database.redis import redis_translated
        from snapseed.embeddings.session import embedding_session

        with embedding_session(found, target, consent=yes) as session, redis_translated("purging", session.redis):
            console.write(f"{session.queue.purge():,} jobs are gone")


@queue_app.command()
def repair(
    environment: EnvironmentName,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    allow_host: AllowHost = None,
    verbose: Verbose = False,
) -> None:
    """Put a job into the queue for each text whose chunks are not all in the database."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment).allowing(allow_host)
        from snapseed.embeddings.session import embedding_session, repair_queue

        with embedding_session(found, target) as session:
            jobs = repair_queue(session)
        console.write(f"{jobs:,} texts lack chunks; their jobs are in the queue")


@queue_app.command()
def index(
    environment: EnvironmentName,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    allow_host: AllowHost = None,
    verbose: Verbose = False,
) -> None:
    """Build the index for search that [embeddings] asks for, and those that went before the jobs came."""
    with console.reporting(Format.text, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        from snapseed.embeddings.index import index_embeddings

        lines = index_embeddings(found, target, consent=yes)
        console.write("\n".join(lines) or "there is no index to build: [embeddings] has no `index`")


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
        lines = [
            f"{hit.similarity:6.3f}  {hit.title or hit.key}, chunk {hit.number}"
            f"\n        {(hit.content or '')[:_SHOWN_CHARACTERS]}"
            for hit in hits
        ]
        empty = "nothing found: the database holds no chunks of this model" + (
            f"; workers make them, see `snapseed queue status {target.name}`" if target.embeddings == "queue" else ""
        )
        console.show(output, "\n".join(lines) or empty, {"hits": [vars(hit) for hit in hits]})
