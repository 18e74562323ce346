"""The CI process where workers make the embeddings: enqueue, see the queue through, and look whether all is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.embeddings.completeness import Completeness, completeness
from snapseed.embeddings.embedder import HashingEmbedder
from snapseed.embeddings.index import index_embeddings
from snapseed.embeddings.queues import QueueStatus
from snapseed.embeddings.service import Events, ServiceOptions, run_workers
from snapseed.embeddings.session import Session, embedding_session, enqueue_load
from snapseed.embeddings.source import resolve_source
from snapseed.embeddings.worker import BatchDone
from snapseed.errors import ServerError, VerificationError
from snapseed.postgres.failures import translated
from snapseed.servers.targets import redis_translated
from snapseed.snapshot.manifest import Manifest

_LOOK_SECONDS = 0.5
_TOLD_SECONDS = 5.0
# A worker that is there takes jobs at once; one that is starting needs seconds.
_NOBODY_SECONDS = 30.0


@dataclass(frozen=True)
class Embedding:
    """What came of the jobs: how many this run has put into the queue, how many died, and what the database holds."""

    jobs: int
    dead: int
    found: Completeness


def embed(project: Project, environment: Environment, *, consent: bool, log: Callable[[str], None]) -> Embedding:
    """Put the jobs of the load into the queue, unless they are there, and wait until workers, ours or others, are done.

    Raises `ServerError` where nobody works, or not in time; `VerificationError` where something is missing at the end.
    """
    jobs = enqueue_load(project, environment, consent=consent, log=log) or 0
    log(f"{jobs:,} jobs are in the queue")
    deadline = time.monotonic() + environment.embeddings_timeout
    if environment.workers:
        _work(project, environment, deadline, consent=consent, log=log)
    with embedding_session(project, environment, consent=consent) as session:
        with redis_translated("looking at the queue", session.redis):
            _see_through(session, deadline, log, environment.name)
            dead, count = list(session.queue.dead(1)), session.queue.status().dead
        with translated("looking for what is missing", session.target.described):
            found = completeness(session.connection, session.source)
    if findings := found.findings():
        findings += [f"{count:,} jobs are dead, the first of: {job.error}" for job in dead]
        raise VerificationError(
            "the embeddings are not complete",
            where=session.target.described,
            observed="; ".join(findings),
            next_step=f"see `snapseed queue status {environment.name}`, then make jobs for what is missing:"
            f" `snapseed queue repair {environment.name}`",
        )
    for line in index_embeddings(project, environment, consent=consent):
        log(line)
    return Embedding(jobs, count, found)


def _work(
    project: Project, environment: Environment, deadline: float, *, consent: bool, log: Callable[[str], None]
) -> None:
    """Drain the queue by workers of our own."""
    done, told_at = 0, time.monotonic()

    def count(batch: BatchDone) -> None:
        """Add up, and tell it now and then."""
        nonlocal done, told_at
        done += batch.jobs
        if time.monotonic() - told_at > _TOLD_SECONDS:
            told_at = time.monotonic()
            log(f"{done:,} jobs are done")

    options = ServiceOptions(
        drain=True, concurrency=environment.workers, consent=consent, patience_seconds=environment.timeout
    )
    told = Events(batch=count, failure=lambda error, pause: log(f"{error.summary}; again in {pause:.1f} s"))
    run_workers(project, environment, options, told, lambda: time.monotonic() > deadline)


def comparable_entities(project: Project, environment: Environment, manifest: Manifest) -> list[str]:
    """The entities whose rows must be those of the snapshot, all for none: not the target of another embedder."""
    source = resolve_source(project, environment, manifest)
    whole = manifest.entity(source.settings.target)
    if (
        isinstance(source.embedder, HashingEmbedder)
        and whole is not None
        and len(whole.columns) == len(source.target.columns)
    ):
        return []
    return [entity.name for entity in manifest.entities if entity.name != source.settings.target]


def _see_through(session: Session, deadline: float, log: Callable[[str], None], environment: str) -> None:
    """Wait until no job waits or is in hand."""
    told = moved = time.monotonic()
    last: QueueStatus | None = None
    while (now := session.queue.status()).waiting or now.in_flight:
        at = time.monotonic()
        if last is None or (now.waiting, now.in_flight, now.done) != (last.waiting, last.in_flight, last.done):
            moved = at
        if at - told > _TOLD_SECONDS:
            told = at
            log(f"{now.waiting:,} jobs wait, {now.in_flight:,} are in hand")
        nobody = not now.workers and at - moved > _NOBODY_SECONDS
        if at > deadline or nobody:
            why = "nobody works the queue" if nobody else "not all was embedded in time"
            raise ServerError(
                why,
                where=f"queue {session.source.queue_name} in {session.redis.described}",
                observed=f"{now.waiting:,} jobs wait, {now.in_flight:,} are in hand, {now.workers:,} workers are known",
                next_step=f"start one by `snapseed worker {environment}`, or set workers = 2 in"
                f" [environments.{environment}] to let this command run its own",
            )
        last = now
        time.sleep(_LOOK_SECONDS)
