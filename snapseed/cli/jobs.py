"""Jobs for workers behind a command that fills tables, in an environment with a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from snapseed.cli import console
from snapseed.config import Environment, Project


@contextmanager
def jobs_behind(
    project: Project, environment: Environment, *, consent: bool, log: Callable[[str], None] = console.note
) -> Iterator[None]:
    """See before that the queue can be reached, and put the jobs of the load there behind; without a queue, nothing."""
    if environment.embeddings != "queue":
        yield
        return
    from snapseed.embeddings.session import enqueue_load, require_queue

    require_queue(project, environment, consent=consent)
    yield
    jobs = enqueue_load(project, environment, consent=consent, log=log)
    if jobs is None:
        log(f"the jobs of this load were put into the queue before; see `snapseed queue status {environment.name}`")
    else:
        log(f"{jobs:,} jobs are in the queue")
