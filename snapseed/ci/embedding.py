"""The CI process where workers create the embeddings: add the jobs, see them done, check that nothing is missing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.embeddings.embedder import HashingEmbedder
from snapseed.embeddings.enqueue import Completeness, completeness, enqueue_load
from snapseed.embeddings.index import index_embeddings
from snapseed.embeddings.service import ServiceOptions, WorkerFailed, run_workers
from snapseed.embeddings.source import EmbeddingSession, embedding_session, resolve_source
from snapseed.embeddings.worker import BatchDone
from snapseed.errors import ServerError, VerificationError
from snapseed.events import Advanced, Event, Listener, Note, ignore
from snapseed.postgres.failures import translated
from snapseed.snapshot.manifest import Manifest

_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Embedding:
    """What became of the jobs: how many this run added, how many died, and what the database holds."""

    jobs: int
    dead: int
    found: Completeness


def embed(
    project: Project,
    environment: Environment,
    *,
    consent: bool = False,
    listener: Listener = ignore,
    nobody_seconds: float = 30.0,
) -> Embedding:
    """Add the jobs of the load, unless they are there, and wait until workers, ours or others, have done them.

    The listener gets `Advanced` as jobs are done. Raises `ServerError` if they are not done in time or no worker shows
    up for `nobody_seconds` (one that starts needs a few), `VerificationError` if something is missing at the end.
    """
    jobs = enqueue_load(project, environment, consent=consent, listener=listener) or 0
    listener(Note(f"{jobs:,} jobs are in the queue"))
    deadline = time.monotonic() + environment.embeddings_timeout
    if environment.workers:
        _work(project, environment, jobs, deadline, consent=consent, listener=listener)
    with embedding_session(project, environment, consent=consent) as session:
        _await_jobs(session, environment.name, deadline, nobody_seconds, listener)
        dead, count = list(session.queue.dead(1)), session.queue.status().dead
        with translated("looking for what is missing", session.target.described):
            found = completeness(session.connection, session.source)
    if findings := found.findings():
        findings += [f"{count:,} jobs are dead, the first with this error: {job.error}" for job in dead]
        raise VerificationError(
            "the embeddings are not complete",
            where=session.target.described,
            observed="; ".join(findings),
            next_step=f"see `snapseed queue status {environment.name}`, then add jobs for what is missing:"
            f" `snapseed queue repair {environment.name}`",
        )
    for line in index_embeddings(project, environment, consent=consent):
        listener(Note(line))
    return Embedding(jobs, count, found)


def comparable_entities(project: Project, environment: Environment, manifest: Manifest) -> list[str]:
    """The entities whose rows must equal the snapshot's, empty for all: another embedder's vectors differ from it."""
    source = resolve_source(project, environment, manifest)
    target = manifest.entity(source.settings.target)
    is_whole = target is not None and len(target.columns) == len(source.target.columns)
    if is_whole and isinstance(source.embedder, HashingEmbedder):
        return []
    return [entity.name for entity in manifest.entities if entity.name != source.settings.target]


def _work(
    project: Project, environment: Environment, jobs: int, deadline: float, *, consent: bool, listener: Listener
) -> None:
    """Drain the queue with workers of our own."""
    done = 0

    def told(event: Event) -> None:
        """Tell how many jobs are done, and of workers that failed."""
        nonlocal done
        if isinstance(event, BatchDone):
            done += event.jobs
            listener(Advanced("embedding", done, max(done, jobs), "jobs"))
        elif isinstance(event, WorkerFailed):
            listener(Note(str(event)))

    options = ServiceOptions(
        drain=True, concurrency=environment.workers, consent=consent, patience_seconds=environment.timeout
    )
    run_workers(project, environment, options, told, lambda: time.monotonic() > deadline)


def _await_jobs(
    session: EmbeddingSession, environment: str, deadline: float, nobody_seconds: float, listener: Listener
) -> None:
    """Wait until no job is waiting or in progress."""
    moved, before, most = time.monotonic(), (-1, -1, -1), 0
    while not (status := session.queue.status()).is_empty:
        now = time.monotonic()
        counts, left = (status.waiting, status.in_flight, status.done), status.waiting + status.in_flight
        if counts != before:
            moved, before, most = now, counts, max(most, left)
            listener(Advanced("embedding", most - left, most, "jobs"))
        nobody = not status.workers and now - moved > nobody_seconds
        if now > deadline or nobody:
            raise ServerError(
                "no worker takes jobs from the queue" if nobody else "the embeddings were not finished in time",
                where=f"queue {session.source.queue_name} in {session.redis.described}",
                observed=f"{status.waiting:,} jobs are waiting, {status.in_flight:,} are in progress,"
                f" {status.workers:,} workers are known",
                next_step=f"start one by `snapseed worker {environment}`, or set workers = 2 in"
                f" [environments.{environment}] to let this command run its own",
            )
        time.sleep(_LOOK_SECONDS)
