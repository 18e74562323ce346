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
from snapseed.database.failures import may_pass, translated
from snapseed.embeddings.chunks import chunk_rows
from snapseed.embeddings.jobs import NotAJobError, decode_job
from snapseed.embeddings.queues import Claim, JobQueue
from snapseed.embeddings.source import Source
from snapseed.embeddings.write import Writer, prepare_writer, read_texts, write_chunks
from snapseed.errors import SnapseedError

# A batch should take about this long: shorter ones spend their time on round trips, longer ones are lost with a worker
# that dies and keep one that is told to end from doing so.
_BATCH_SECONDS = 1.0
_FIRST_BATCH = 16
_LARGEST_BATCH = 2048
# How long it waits at an empty queue before it looks whether it is to end.
_WAIT_SECONDS = 1.0
# One that is to leave at the end does not wait there first, unless others have jobs in hand, which may come back.
_DRAIN_WAITS_SECONDS = (0.001, 0.1)


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
        jobs, dead = self._sorted_out(claims)
        try:
            done = self._write(writer, jobs)
        except SnapseedError as exc:
            if may_pass(exc) or self.connection.closed:
                self.queue.release(self.name, list(jobs))
                raise
            done, dead = self._one_by_one(writer, jobs, dead)
        seconds = time.monotonic() - started
        self._adapt(len(claims), seconds)
        self.told(BatchDone(len(claims), done.skipped, done.rows, dead, seconds, done.embed_seconds))

    def _sorted_out(self, claims: Sequence[Claim]) -> tuple[dict[Claim, list[str]], int]:
        """The keys of each job; those that are none, or were tried too often, are buried."""
        jobs, dead = {}, 0
        for claim in claims:
            try:
                keys, _ = decode_job(self.source.form, claim.payload)
                if claim.deliveries <= self.source.settings.tries:
                    jobs[claim] = keys
                    continue
                error = f"handed out {claim.deliveries} times, and never done"
            except NotAJobError as exc:
                error = str(exc)
            self.queue.bury(self.name, claim, error)
            dead += 1
        return jobs, dead

    def _write(self, writer: Writer, jobs: dict[Claim, list[str]]) -> BatchDone:
        """All jobs in one transaction; then they are done."""
        keys = sorted({key for of_job in jobs.values() for key in of_job})
        rows = skipped = 0
        embed_seconds = 0.0
        if keys:
            with translated("writing embeddings", self.where), self.connection.transaction():
                found, texts = read_texts(self.connection, writer, keys)
                skipped = len(keys) - len(found)
                if len(found):
                    embedding = time.monotonic()
                    arrays = chunk_rows(self.source, found, texts)
                    embed_seconds = time.monotonic() - embedding
                    rows = write_chunks(self.connection, writer, arrays)
        self.queue.done(self.name, list(jobs))
        return BatchDone(len(jobs), skipped, rows, 0, 0.0, embed_seconds)

    def _one_by_one(self, writer: Writer, jobs: dict[Claim, list[str]], dead: int) -> tuple[BatchDone, int]:
        """One of them is what the database refuses: each on its own, and who fails is given back or buried."""
        skipped = rows = 0
        embed_seconds = 0.0
        for claim, keys in jobs.items():
            try:
                done = self._write(writer, {claim: keys})
            except SnapseedError as exc:
                if may_pass(exc) or self.connection.closed:
                    raise
                if claim.deliveries >= self.source.settings.tries:
                    self.queue.bury(self.name, claim, str(exc))
                    dead += 1
                else:
                    self.queue.release(self.name, [claim])
            else:
                skipped, rows = skipped + done.skipped, rows + done.rows
                embed_seconds += done.embed_seconds
        return BatchDone(len(jobs), skipped, rows, dead, 0.0, embed_seconds), dead

    def _adapt(self, jobs: int, seconds: float) -> None:
        """Let the next batch take about as long as it should; at most twice as many jobs as this one had."""
        fitting = int(jobs * _BATCH_SECONDS / max(seconds, 1e-3))
        self._batch = max(1, min(fitting, 2 * max(jobs, 1), _LARGEST_BATCH))

    def _is_empty(self) -> bool:
        status = self.queue.status()
        return not status.waiting and not status.in_flight

    def _leave(self) -> None:
        try:
            self.queue.leave(self.name)
        except Exception:  # noqa: BLE001 - it is gone already, and so others will be given what is held
            return
