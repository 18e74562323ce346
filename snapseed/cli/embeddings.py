"""The commands around embeddings: `worker`, `search` and `queue`, and the jobs that a load leaves to workers."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from snapseed.cli import console, text
from snapseed.cli.documents import document
from snapseed.cli.options import WRITES, Call, in_project
from snapseed.config import Environment
from snapseed.config.settings import BUILT_IN_EMBEDDER
from snapseed.errors import UsageError
from snapseed.events import Event, notes_to

if TYPE_CHECKING:
    from snapseed.embeddings.source import EmbeddingSession

queue_app = typer.Typer(help="See and fix the queue of embedding jobs.", no_args_is_help=True, rich_markup_mode=None)
_SHOWN_DEAD = 5


@contextmanager
def jobs_of_load(call: Call, environment: Environment) -> Iterator[None]:
    """Put the jobs of a load into the queue after it; before it, check that the queue can be reached.

    Does nothing in an environment without a queue.
    """
    if environment.embeddings != "queue":
        yield
        return
    from snapseed.embeddings.enqueue import enqueue_load
    from snapseed.embeddings.source import require_queue

    require_queue(call.project, environment, consent=call.options.yes)
    yield
    jobs = enqueue_load(call.project, environment, consent=call.options.yes, listener=notes_to(call.note))
    if jobs is None:
        call.note(f"the jobs of this load are already in the queue; see `snapseed queue status {environment.name}`")
    else:
        call.note(f"put {jobs:,} jobs into the queue")


@in_project(*WRITES, "results", "quiet")
def worker(
    call: Call,
    drain: Annotated[bool, "Exit once no job is waiting or in progress."] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    health_file: Annotated[Path | None, "FILE", "Write counts and the time of the last sign of life here."] = None,
    health_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve /healthz and /metrics on this port of localhost.")
    ] = None,
) -> None:
    """Work on the queue of embedding jobs. SIGTERM or Ctrl-C ends it after the current batch.

    With --format json, each batch is one line of JSON on stdout.
    """
    environment = call.environment
    from snapseed.embeddings.health import Health, serving
    from snapseed.embeddings.index import index_embeddings
    from snapseed.embeddings.service import ServiceOptions, WorkerFailed, run_workers
    from snapseed.embeddings.worker import BatchDone

    health = Health(environment.name, health_file)
    ending: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        """End after this batch; at once if a signal came before."""
        if ending:
            raise KeyboardInterrupt
        ending.append(number)
        console.note("ending after this batch; once more to end at once")

    def told(event: Event) -> None:
        """Show each batch, and each worker that failed."""
        health(event)
        if isinstance(event, BatchDone):
            known = {name: round(value, 3) for name, value in vars(event).items()}
            line = json.dumps(known | {"environment": environment.name})
            if call.output == "json":
                console.to_stdout(line)
            else:
                call.note(f"batch {line}")
        elif isinstance(event, WorkerFailed):
            console.note(f"failure {event}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    options = ServiceOptions(drain, concurrency, call.options.yes, environment.timeout if drain else math.inf)
    with serving(health, health_port):
        run_workers(call.project, environment, options, told, lambda: bool(ending))
    if drain and not ending:
        for line in index_embeddings(call.project, environment, consent=call.options.yes):
            console.note(line)
    jobs, batches, dead = (int(health.total(name)) for name in ("jobs", "batches", "dead"))
    say = console.note if call.output == "json" else console.write
    say(f"finished {jobs:,} jobs in {batches:,} batches, {dead:,} of them dead")


@in_project("environment", "database", "snapshot", "results")
def search(
    call: Call,
    question: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Chunks to show.")] = 5,
) -> None:
    """Show the chunks that are nearest to a question."""
    if question is None:
        # The only argument is the question, not an environment.
        question, call = call.options.environment, call.of(None)
    if question is None:
        raise UsageError("the question is missing", next_step='snapseed search [ENVIRONMENT] "how to bake bread"')
    environment = call.environment
    from snapseed.embeddings.search import search as nearest

    hits = nearest(call.project, environment, question, limit)
    settings = call.project.embeddings
    if settings is not None and settings.embedder == BUILT_IN_EMBEDDER:
        call.note("the built-in embedder compares words, not their meaning; docs/embeddings.md says how to use a model")
    nothing = "nothing found: the database holds no chunks of this model"
    if environment.embeddings == "queue":
        nothing += f"; workers make them, see `snapseed queue status {environment.name}`"
    call.show(text.search(hits) if hits else [nothing], {"hits": document(hits)})


def _session(call: Call, doing: str) -> AbstractContextManager[EmbeddingSession]:
    """The queue and the database, open while a command does something."""
    from snapseed.embeddings.source import embedding_session

    return embedding_session(call.project, call.environment, consent=call.options.yes, doing=doing)


@queue_app.command()
@in_project(*WRITES, "results")
def status(call: Call) -> None:
    """Count the jobs by state, and show why jobs are dead."""
    with _session(call, "reading the queue") as session:
        numbers, dead = session.queue.status(), list(session.queue.dead(_SHOWN_DEAD))
        name = session.source.queue_name
    found = {"queue": name, **document(numbers), "oldest_dead": document(dead)}
    call.show(text.queue(name, numbers, dead), found)


@queue_app.command()
@in_project(*WRITES)
def retry(call: Call) -> None:
    """Put the dead jobs back into the queue."""
    with _session(call, "moving jobs") as session:
        console.write(f"put {session.queue.retry():,} dead jobs back into the queue")


@queue_app.command()
@in_project(*WRITES)
def purge(call: Call) -> None:
    """Remove all jobs, including dead ones. `queue repair` recreates those that are needed."""
    with _session(call, "purging the queue") as session:
        console.write(f"removed {session.queue.purge():,} jobs")


@queue_app.command()
@in_project(*WRITES)
def repair(call: Call) -> None:
    """Add jobs for texts without chunks; delete chunks without a text."""
    from snapseed.embeddings.enqueue import delete_orphans, enqueue_incomplete

    with _session(call, "adding jobs") as session:
        jobs, orphans = enqueue_incomplete(session), delete_orphans(session)
    console.write(f"{jobs:,} texts lack chunks; their jobs are in the queue")
    if orphans:
        console.write(f"deleted {orphans:,} chunks that belonged to no text")


@queue_app.command()
@in_project(*WRITES)
def index(call: Call) -> None:
    """Build the search index, and indexes that were dropped before."""
    from snapseed.embeddings.index import index_embeddings

    lines = index_embeddings(call.project, call.environment, consent=call.options.yes)
    console.write(*(lines or ["there is no index to build: [embeddings] has no `index`"]))
