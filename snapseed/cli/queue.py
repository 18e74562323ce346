"""`snapseed queue`: what is in the queue of embedding jobs, and mending it."""

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
    from snapseed.embeddings.session import Session

queue_app = typer.Typer(
    help="The queue of embedding jobs: what is in it, and mending it.", no_args_is_help=True, rich_markup_mode=None
)
_SHOWN_DEAD = 5


class _Place(NamedTuple):
    """Where a queue is, as the options of a command say it."""

    project: Project
    environment: Environment
    consent: bool


@contextmanager
def _opened(place: _Place, doing: str) -> Iterator[Session]:
    """The queue and the database, open while a command does something."""
    from snapseed.embeddings.session import embedding_session
    from snapseed.servers.targets import redis_translated

    with (
        embedding_session(place.project, place.environment, consent=place.consent) as session,
        redis_translated(doing, session.redis),
    ):
        yield session


def _mending(act: Callable[[_Place], None]) -> Callable[..., None]:
    """Make `act` a command of its name, with the options of all commands that change the queue."""

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
    """Show how many jobs wait, are in hand, done and dead, and what the dead died of."""
    with console.reporting(output, verbose=verbose):
        found = find_project(project, env_file)
        target = found.environment(environment, {"database": database, "snapshot": snapshot}).allowing(allow_host)
        with _opened(_Place(found, target, consent=yes), "looking at the queue") as session:
            now, dead = session.queue.status(), list(session.queue.dead(_SHOWN_DEAD))
            name = session.source.queue_name
        console.show(output, reports.queue_text(name, now, dead), reports.queue_document(name, now, dead))


@_mending
def retry(place: _Place) -> None:
    """Put the dead jobs back into the queue."""
    with _opened(place, "moving jobs") as session:
        console.write(f"{session.queue.retry():,} dead jobs are in the queue again")


@_mending
def purge(place: _Place) -> None:
    """Take all jobs away, dead ones included. `queue repair` makes those again that are needed."""
    with _opened(place, "purging the queue") as session:
        console.write(f"{session.queue.purge():,} jobs are gone")


@_mending
def repair(place: _Place) -> None:
    """Put a job into the queue for each text whose chunks are not in the database; delete chunks without a text."""
    from snapseed.embeddings.session import delete_orphans, repair_queue

    with _opened(place, "putting jobs") as session:
        jobs, orphans = repair_queue(session), delete_orphans(session)
    console.write(f"{jobs:,} texts lack chunks; their jobs are in the queue")
    if orphans:
        console.write(f"{orphans:,} chunks belonged to no text, and are gone")


@_mending
def index(place: _Place) -> None:
    """Build the index for search that [embeddings] asks for, and those that went before the jobs came."""
    from snapseed.embeddings.index import index_embeddings

    lines = index_embeddings(place.project, place.environment, consent=place.consent)
    console.write("\n".join(lines) or "there is no index to build: [embeddings] has no `index`")
