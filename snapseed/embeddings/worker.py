"""A worker: claims jobs, reads their texts in one query, embeds and writes them, commits, and only then says done.

At least once and idempotent: wherever it dies, the jobs in its hands are given to others, and the rows come out right.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snapseed.database.connect import Connection
from snapseed.database.failures import translated
from snapseed.embeddings.chunks import chunk_rows
from snapseed.embeddings.jobs import NotAJobError, decode_job
from snapseed.embeddings.queues import Claim, JobQueue
from snapseed.embeddings.source import Source
from snapseed.embeddings.write import Writer, prepare_writer, read_texts, write_chunks
from snapseed.errors import EmbeddingError, LoadError, SnapseedError

# A batch should take about this long: shorter ones spend their time on round trips, longer ones are lost with a worker
# that dies and keep one that is told to end from doing so.
_BATCH_SECONDS = 1.0
_FIRST_BATCH = 16
_LARGEST_BATCH = 2048
# Small batches say little about large ones; but they take longer by the job, so what they promise is kept.
_GROWTH = 8
# How long it waits at an empty queue before it looks whether it is to end.
_WAIT_SECONDS = 1.0
# One that is to leave at the end does not wait there first, unless others have jobs in hand, which may come back.
_DRAIN_WAITS_SECONDS = (0.0, 0.1)
# Of jobs that were handed out before, so many times fewer are worked at once with each try.
_FEWER = 8
# So many jobs in a row over which the embedder fails are no coincidence: it is down, and the others are left alone.
_EMBEDDER_IS_DOWN = 3
_FIRST_REST_SECONDS = 0.1
_LONGEST_REST_SECONDS = 5.0
# What PostgreSQL says of values that do not fit: data exception, constraint violation, limit, an error by a trigger.
_OF_A_JOB = ("22", "23", "54", "P0")


@dataclass(frozen=True)
class BatchDone:
    """What became of one batch: jobs, those without a text any more, rows changed, dead jobs, seconds by part."""

    jobs: int
    skipped: int
    rows: int
    dead: int
    seconds: float
    embed_seconds: float


@dataclass
class _Batch:
    """A batch at work: the jobs still in hand with their keys, counts of what became of the others.

    `embedder_failures` is how often the embedder has failed over a single job since it last gave something.
    """

    held: dict[Claim, list[str]] = field(default_factory=dict)
    skipped: int = 0
    rows: int = 0
    dead: int = 0
    embed_seconds: float = 0.0
    embedder_failures: int = 0

    def settle(self, claims: Sequence[Claim]) -> None:
        """These are in hand no longer."""
        for claim in claims:
            del self.held[claim]


@dataclass
class Worker:
    """One worker with its connections. `told` gets each batch; `stopping` is asked between batches."""

    connection: Connection
    queue: JobQueue
    source: Source
    where: str
    told: Callable[[BatchDone], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    _batch: int = field(default=_FIRST_BATCH, init=False)
    _failed_batches: int = field(default=0, init=False)

    def run(self, *, drain: bool = False) -> None:
        """Work until told to stop, or with `drain` until no job waits or is in anybody's hands.

        Raises `ServerError` where the database fails, and what the client of Redis raises; jobs in hand are given back
        where that is still possible.
        """
        with translated("preparing to write", self.where):
            writer = prepare_writer(self.connection, self.source)
        wait_seconds, later = _DRAIN_WAITS_SECONDS if drain else (_WAIT_SECONDS, _WAIT_SECONDS)
        try:
            while not self.stopping():
                claims = self.queue.claim(self.name, self._batch, wait_seconds)
                if claims:
                    self._work(writer, claims)
                elif drain and self._is_empty():
                    return
                else:
                    wait_seconds = later
        finally:
            self._leave()

    def _work(self, writer: Writer, claims: Sequence[Claim]) -> None:
        started = time.monotonic()
        claims = self._few_if_suspect(claims)
        batch = _Batch()
        self._sort_out(batch, claims)
        try:
            self._write_apart(writer, batch, list(batch.held))
        except SnapseedError:
            # A server's fault or the configuration's, and no job's: this delivery does not count.
            self.queue.release(self.name, list(batch.held), tried=False)
            raise
        seconds = time.monotonic() - started
        self._adapt(len(claims), seconds)
        self.told(BatchDone(len(claims), batch.skipped, batch.rows, batch.dead, seconds, batch.embed_seconds))
        self._rest(batch)

    def _few_if_suspect(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """All of them; but of jobs that may have ended workers the fewer at once the fewer tries they have left.

        So the one that does it is alone at its last try, and no other dies with it. The rest is given back.
        """
        tries = self.source.settings.tries
        limits = [_FEWER ** (tries - claim.deliveries) for claim in claims if 1 < claim.deliveries <= tries]
        most = min(limits, default=len(claims))
        if most >= len(claims):
            return claims
        ordered = sorted(claims, key=lambda claim: -claim.deliveries)
        self.queue.release(self.name, ordered[most:], tried=False)
        return ordered[:most]

    def _sort_out(self, batch: _Batch, claims: Sequence[Claim]) -> None:
        """Take the jobs in hand, with their keys; those that are none, or were tried too often, are buried."""
        for claim in claims:
            try:
                keys = decode_job(self.source.form, claim.payload)
                if claim.deliveries <= self.source.settings.tries:
                    batch.held[claim] = keys
                    continue
                error = f"handed out {claim.deliveries} times, and never done"
            except NotAJobError as exc:
                error = str(exc)
            self.queue.bury(self.name, claim, error)
            batch.dead += 1

    def _write_apart(self, writer: Writer, batch: _Batch, claims: list[Claim]) -> None:
        """All of them at once; where one of them fails, by halves, until it is found.

        Raises `SnapseedError` where it is no job's fault.
        """
        if batch.embedder_failures >= _EMBEDDER_IS_DOWN:
            self._give_back(batch, claims, tried=False)
            return
        try:
            self._write(writer, batch, claims)
        except SnapseedError as exc:
            if not _is_of_a_job(exc):
                raise
            if len(claims) == 1:
                self._fail(batch, claims[0], exc)
                return
            half = len(claims) // 2
            self._write_apart(writer, batch, claims[:half])
            self._write_apart(writer, batch, claims[half:])

    def _write(self, writer: Writer, batch: _Batch, claims: list[Claim]) -> None:
        """These jobs in one transaction; then they are done."""
        keys = sorted({key for claim in claims for key in batch.held[claim]})
        rows = skipped = 0
        if keys:
            with translated("writing embeddings", self.where), self.connection.transaction():
                found, texts = read_texts(self.connection, writer, keys)
                skipped = len(keys) - len(found)
                if len(found):
                    embedding = time.monotonic()
                    arrays = chunk_rows(self.source, found, texts)
                    batch.embed_seconds += time.monotonic() - embedding
                    rows = write_chunks(self.connection, writer, keys, arrays)
        self.queue.done(self.name, claims)
        batch.settle(claims)
        batch.rows += rows
        batch.skipped += skipped
        batch.embedder_failures = 0

    def _fail(self, batch: _Batch, claim: Claim, error: SnapseedError) -> None:
        """Over this job it fails: it is given back, or buried at the last try."""
        batch.embedder_failures += isinstance(error, EmbeddingError)
        if claim.deliveries < self.source.settings.tries:
            self._give_back(batch, [claim], tried=True)
            return
        self.queue.bury(self.name, claim, str(error))
        batch.settle([claim])
        batch.dead += 1

    def _give_back(self, batch: _Batch, claims: list[Claim], *, tried: bool) -> None:
        self.queue.release(self.name, claims, tried=tried)
        batch.settle(claims)

    def _rest(self, batch: _Batch) -> None:
        """Pause where the embedder was the last to fail: a model that is away comes back, or its jobs die in time."""
        if not batch.embedder_failures:
            self._failed_batches = 0
            return
        deadline = time.monotonic() + min(_FIRST_REST_SECONDS * 2**self._failed_batches, _LONGEST_REST_SECONDS)
        self._failed_batches += 1
        while not self.stopping() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _FIRST_REST_SECONDS))

    def _adapt(self, jobs: int, seconds: float) -> None:
        """Let the next batch take about as long as it should; at most eight times as many jobs as this."""
        fitting = int(jobs * _BATCH_SECONDS / max(seconds, 1e-3))
        self._batch = max(1, min(fitting, _GROWTH * max(jobs, 1), _LARGEST_BATCH))

    def _is_empty(self) -> bool:
        status = self.queue.status()
        return not status.waiting and not status.in_flight

    def _leave(self) -> None:
        try:
            self.queue.leave(self.name)
        except Exception:  # noqa: BLE001 - it is gone already, and so others will be given what is held
            return


def _is_of_a_job(error: SnapseedError) -> bool:
    """Whether another job may do better: not where a table or a right is missing, or the server has failed."""
    state = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, EmbeddingError) or (isinstance(error, LoadError) and (state or "").startswith(_OF_A_JOB))
