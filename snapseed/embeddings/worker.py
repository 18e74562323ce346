"""A worker: claims jobs, reads their texts in one query, embeds and writes them, commits, and only then says done.

At least once and idempotent: wherever it dies, the jobs in its hands are given to others, and the rows come out right.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from snapseed.embeddings.chunks import chunk_rows, embedded
from snapseed.embeddings.jobs import NotAJobError, decode_job
from snapseed.embeddings.pace import Pace
from snapseed.embeddings.queues import Claim, JobQueue
from snapseed.embeddings.source import Source
from snapseed.embeddings.write import Texts, Writer, lock_texts, prepare_writer, read_texts, write_chunks
from snapseed.errors import EmbedderAwayError, EmbeddingError, LoadError, SnapseedError
from snapseed.postgres.connect import Connection
from snapseed.postgres.failures import translated

# How long it waits at an empty queue before it looks whether it is to end.
_WAIT_SECONDS = 1.0
# One that is to leave at the end does not wait there first, unless others have jobs in hand, which may come back.
_DRAIN_WAITS_SECONDS = (0.0, 0.1)
# Of jobs that were handed out before, so many times fewer are worked at once with each try.
_FEWER = 8
# A text that somebody changes again and again while it is embedded is kept from being changed, after so many times.
_FREE_TRIES = 3
# Whoever works is heard of so many times before its jobs would be given to others.
_SIGNS = 3
_JOIN_SECONDS = 0.5
# Where even this one cannot be embedded, no text is at fault.
_ANY_TEXT = pl.Series(["text"])
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
    """A batch at work: the jobs still in hand with their keys, those to bury, counts of what became of the others."""

    held: dict[Claim, list[str]] = field(default_factory=dict)
    doomed: list[tuple[Claim, str]] = field(default_factory=list)
    skipped: int = 0
    rows: int = 0
    dead: int = 0
    embed_seconds: float = 0.0

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
    _pace: Pace = field(default_factory=Pace, init=False)

    def run(self, *, drain: bool = False) -> None:
        """Work until told to stop, or with `drain` until no job waits or is in anybody's hands.

        Raises `ServerError` where the database fails, and what the client of Redis raises; jobs in hand are given back
        where that is still possible. `EmbedderAwayError` where no text can be embedded.
        """
        with translated("preparing to write", self.where):
            writer = prepare_writer(self.connection, self.source)
        wait_seconds, later = _DRAIN_WAITS_SECONDS if drain else (_WAIT_SECONDS, _WAIT_SECONDS)
        try:
            while not self.stopping():
                claims = self.queue.claim(self.name, self._pace.size, wait_seconds)
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
        try:
            with self._heard_of():
                self._sort_out(batch, claims)
                self._write_apart(writer, batch, list(batch.held))
                # Last, for what needs room in a Redis that has none left must not keep from what makes room.
                self._bury(batch)
        except SnapseedError:
            # A server's fault or the configuration's, and no job's: this delivery does not count.
            self.queue.release(self.name, list(batch.held), tried=False)
            raise
        seconds = time.monotonic() - started
        self._pace.took(len(claims), seconds)
        self.told(BatchDone(len(claims), batch.skipped, batch.rows, batch.dead, seconds, batch.embed_seconds))

    @contextmanager
    def _heard_of(self) -> Iterator[None]:
        """Say again and again that the jobs in hand are worked, however long the embedder takes for them."""
        over = threading.Event()

        def say() -> None:
            while not over.wait(self.source.claim_after / _SIGNS):
                # Where Redis is away, the worker itself is about to find out.
                with suppress(Exception):
                    self.queue.keep(self.name)

        thread = threading.Thread(target=say, name="sign of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            # It may be at the mercy of a Redis that hangs.
            thread.join(_JOIN_SECONDS)

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
        """Take the jobs in hand, with their keys; those that are none, or were tried too often, are doomed."""
        for claim in claims:
            try:
                keys = decode_job(self.source.form, claim.payload)
                if claim.deliveries <= self.source.settings.tries:
                    batch.held[claim] = keys
                    continue
                error = f"handed out {claim.deliveries} times, and never done"
            except NotAJobError as exc:
                error = str(exc)
            batch.doomed.append((claim, error))

    def _bury(self, batch: _Batch) -> None:
        for claim, error in batch.doomed:
            self.queue.bury(self.name, claim, error)
            batch.dead += 1

    def _write_apart(self, writer: Writer, batch: _Batch, claims: list[Claim]) -> None:
        """All of them at once; where one of them fails, by halves, until it is found.

        Raises `SnapseedError` where it is no job's fault.
        """
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
            rows, found = self._embed(writer, batch, keys)
            skipped = len(keys) - found
        self.queue.done(self.name, claims)
        batch.settle(claims)
        batch.rows += rows
        batch.skipped += skipped

    def _embed(self, writer: Writer, batch: _Batch, keys: list[str]) -> tuple[int, int]:
        """Write the chunks of these texts; returns how many rows changed, and how many texts there are.

        Embedding may take long, so nothing is locked meanwhile; what was changed by then is embedded again.
        """
        for _ in range(_FREE_TRIES):
            with translated("reading texts", self.where):
                texts = read_texts(self.connection, writer, keys)
            arrays = self._arrays(batch, texts)
            with translated("writing embeddings", self.where), self.connection.transaction():
                if lock_texts(self.connection, writer, keys) == texts.versions:
                    return self._replace(writer, keys, arrays), len(texts.keys)
        with translated("writing embeddings", self.where), self.connection.transaction():
            lock_texts(self.connection, writer, keys)
            texts = read_texts(self.connection, writer, keys)
            return self._replace(writer, keys, self._arrays(batch, texts)), len(texts.keys)

    def _arrays(self, batch: _Batch, texts: Texts) -> list[pa.Array]:
        started = time.monotonic()
        try:
            return chunk_rows(self.source, texts.keys, texts.texts) if len(texts.keys) else []
        finally:
            batch.embed_seconds += time.monotonic() - started

    def _replace(self, writer: Writer, keys: list[str], arrays: list[pa.Array]) -> int:
        return write_chunks(self.connection, writer, keys, arrays) if arrays else 0

    def _fail(self, batch: _Batch, claim: Claim, error: SnapseedError) -> None:
        """Over this job it fails: it is given back, or buried at the last try.

        Raises `EmbedderAwayError` where the embedder fails over any text, which is no job's fault.
        """
        if isinstance(error, EmbeddingError):
            self._require_embedder(error)
        if claim.deliveries < self.source.settings.tries:
            self.queue.release(self.name, [claim], tried=True)
        else:
            batch.doomed.append((claim, str(error)))
        batch.settle([claim])

    def _require_embedder(self, error: EmbeddingError) -> None:
        try:
            embedded(self.source.embedder, _ANY_TEXT)
        except EmbeddingError as exc:
            raise EmbedderAwayError(
                "the embedder fails over any text",
                where=self.where,
                observed=exc.observed,
                expected=exc.expected,
                next_step="check the embedder of [embeddings] and what it needs",
            ) from error

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
