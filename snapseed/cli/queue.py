"""`snapseed queue`: show, repair and empty the queue of embedding jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

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
    Snapshot,
    Verbose,
    Yes,
)
from snapseed.config import Environment, Project, find_project

if TYPE_CHECKING:
    from snapseed.embeddings.source import Session

queue_app = typer.Typer(
    help="Show, repair and empty the queue of embedding jobs.", no_args_is_help=True, rich_markup_mode=None
)
_SHOWN_DEAD = 5


class _Place(NamedTuple):
    """Whose queue the options of a command mean."""

    project: Project
    environment: Environment
    consent: bool


@contextmanager
def _opened(place: _Place, doing: str) -> Iterator[Session]:
    """The queue and the database, open."""
    from snapseed.embeddings.source import embedding_session
    from snapseed.servers.redis_connection import redis_translated

    with (
        embedding_session(place.project, place.environment, consent=place.consent) as session,
        redis_translated(doing, session.redis),
    ):
        yield session


def _queue_command(act: Callable[[_Place], None]) -> Callable[..., None]:
    """Turn `act` into a command of the same name, with the options that commands on the queue share."""

    def command(
        environment: EnvironmentName,
        allow_host: AllowHost = None,
        yes: Yes = False,
        database: Database = None,
        snapshot: Snapshot = None,
        project: ProjectFolder = None,
        env_file: EnvFile = None,
        verbose: Verbose = False,
    ) -> None:
        with console.reporting(Format.text, verbose=verbose):
            found = find_project(project, env_file)
            target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
            act(_Place(found, target, consent=yes))

    return queue_app.command(act.__name__, help=act.__doc__)(command)


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
    """Show how many jobs are waiting, in progress, done and dead, and why jobs died."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        with _opened(_Place(found, target, consent=yes), "looking at the queue") as session:
            now, dead = session.queue.status(), list(session.queue.dead(_SHOWN_DEAD))
            name = session.source.queue_name
        console.show(output, reports.queue_text(name, now, dead), reports.queue_document(name, now, dead))


@_queue_command
def retry(place: _Place) -> None:
    """Put the dead jobs back into the queue."""
    with _opened(place, "moving jobs") as session:
        console.write(f"{session.queue.retry():,} dead jobs are back in the queue")


@_queue_command
def purge(place: _Place) -> None:
    """Remove all jobs, dead ones included. `queue repair` recreates those that are needed."""
    with _opened(place, "purging the queue") as session:
        console.write(f"{session.queue.purge():,} jobs were removed")


@_queue_command
def repair(place: _Place) -> None:
    """Add a job for each text whose chunks are missing or outdated, and delete chunks without a text."""
    from snapseed.embeddings.enqueue import delete_orphans, enqueue_incomplete

    with _opened(place, "adding jobs") as session:
        jobs, orphans = enqueue_incomplete(session), delete_orphans(session)
    console.write(f"{jobs:,} texts lack chunks; their jobs are in the queue")
    if orphans:
        console.write(f"{orphans:,} chunks belonged to no text, and were deleted")


@_queue_command
def index(place: _Place) -> None:
    """Build the search index that [embeddings] asks for, and rebuild those that were dropped before the jobs."""
    from snapseed.embeddings.index import index_embeddings

    lines = index_embeddings(place.project, place.environment, consent=place.consent)
    console.write("\n".join(lines) or "there is no index to build: [embeddings] has no `index`")
