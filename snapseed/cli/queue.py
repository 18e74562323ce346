"""`snapseed queue`: what is in the queue of embedding jobs, and mending it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
    Snapshot,
    Verbose,
    Yes,
)
from snapseed.config import Environment, Project, find_project

if TYPE_CHECKING:
    from snapseed.embeddings.session import Session

queue_app = typer.Typer(
    help="The queue of embedding jobs: what is in it, and mending it.", no_args_is_help=True, rich_markup_mode=None
)
_SHOWN_DEAD = 5
_SHOWN_CHARACTERS = 160


@queue_app.command()
def status(
    environment: EnvironmentName,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    output: OutputFormat = Format.text,
    verbose: Verbose = False,
) -> None:
    """Show how many jobs wait, are in hand, done and dead, and what the dead died of."""
    with console.reporting(output, verbose=verbose):
        place = _place(environment, project, env_file, allow_host, database, snapshot)
        with _opened(place, "looking at the queue", consent=yes) as session:
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
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Put the dead jobs back into the queue."""
    with console.reporting(Format.text, verbose=verbose):
        place = _place(environment, project, env_file, allow_host, database, snapshot)
        with _opened(place, "moving jobs", consent=yes) as session:
            console.write(f"{session.queue.retry():,} dead jobs are in the queue again")


@queue_app.command()
def purge(
    environment: EnvironmentName,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Take all jobs away, dead ones included. `queue repair` makes those again that are needed."""
    with console.reporting(Format.text, verbose=verbose):
        place = _place(environment, project, env_file, allow_host, database, snapshot)
        with _opened(place, "purging the queue", consent=yes) as session:
            console.write(f"{session.queue.purge():,} jobs are gone")


@queue_app.command()
def repair(
    environment: EnvironmentName,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Put a job into the queue for each text whose chunks are not in the database; delete chunks without a text."""
    with console.reporting(Format.text, verbose=verbose):
        place = _place(environment, project, env_file, allow_host, database, snapshot)
        from snapseed.embeddings.session import delete_orphans, repair_queue

        with _opened(place, "putting jobs", consent=yes) as session:
            jobs, orphans = repair_queue(session), delete_orphans(session)
        console.write(f"{jobs:,} texts lack chunks; their jobs are in the queue")
        if orphans:
            console.write(f"{orphans:,} chunks belonged to no text, and are gone")


@queue_app.command()
def index(
    environment: EnvironmentName,
    allow_host: AllowHost = None,
    yes: Yes = False,
    database: Database = None,
    snapshot: Snapshot = None,
    project: ProjectFolder = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Build the index for search that [embeddings] asks for, and those that went before the jobs came."""
    with console.reporting(Format.text, verbose=verbose):
        found, target = _place(environment, project, env_file, allow_host, database, snapshot)
        from snapseed.embeddings.index import index_embeddings

        lines = index_embeddings(found, target, consent=yes)
        console.write("\n".join(lines) or "there is no index to build: [embeddings] has no `index`")


def _place(
    environment: str,
    project: Path | None,
    env_file: Path | None,
    allow_host: list[str] | None,
    database: str | None,
    snapshot: str | None,
) -> tuple[Project, Environment]:
    found = find_project(project, env_file)
    return found, found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)


@contextmanager
def _opened(place: tuple[Project, Environment], doing: str, *, consent: bool) -> Iterator[Session]:
    """The queue and the database, open while a command does something."""
    from snapseed.database.redis import redis_translated
    from snapseed.embeddings.session import embedding_session

    with embedding_session(*place, consent=consent) as session, redis_translated(doing, session.redis):
        yield session
