"""Jobs for workers after a command has filled tables, in an environment with a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from snapseed.cli import console
from snapseed.config import Environment, Project
from snapseed.events import Note


@contextmanager
def jobs_after(
    project: Project, environment: Environment, *, consent: bool, log: Callable[[str], None] = console.note
) -> Iterator[None]:
    """Check first that the queue is reachable, and add the jobs of the load afterwards. Without a queue, do nothing."""
    if environment.embeddings != "queue":
        yield
        return
    from snapseed.embeddings.enqueue import enqueue_load
    from snapseed.embeddings.source import require_queue

    require_queue(project, environment, consent=consent)
    yield
    jobs = enqueue_load(
        project,
        environment,
        consent=consent,
        listener=lambda event: log(event.text) if isinstance(event, Note) else None,
    )
    if jobs is None:
        log(f"the jobs of this load were already added; see `snapseed queue status {environment.name}`")
    else:
        log(f"{jobs:,} jobs are in the queue")
