"""A worker: claims jobs, reads their texts, embeds and writes them, commits, and only then says that they are done.

Jobs are delivered at least once, and writing can be repeated: wherever a worker dies, another one finishes its jobs.
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

from snapseed.embeddings.chunks import chunk_rows, embed_texts
from snapseed.embeddings.queue import Claim, NotAJobError, decode_job
from snapseed.embeddings.source import EmbeddingSession
from snapseed.embeddings.write import TextBatch, Writer, lock_texts, prepare_writer, read_texts, write_chunks
from snapseed.errors import EmbedderAwayError, EmbeddingError, LoadError, SnapseedError
from snapseed.events import Listener, ignore
from snapseed.postgres.locks import waiting

# How long a worker waits at an empty queue before it asks whether to stop.
_WAIT_SECONDS = 1.0
# With `drain` it does not wait at first, and later only briefly, for jobs of others that may come back.
_DRAIN_WAITS_SECONDS = (0.0, 0.1)
# Jobs that were handed out before are processed in smaller groups, by this factor for each delivery.
_GROUP_FACTOR = 8
# A text that changes again and again while it is embedded stays locked from this attempt on.
_FREE_TRIES = 3
# Signs of life within the time after which the jobs would go to others.
_SIGNS_OF_LIFE = 3
_JOIN_SECONDS = 0.5
# If not even this can be embedded, no text is to blame.
_ANY_TEXT = pl.Series(["text"])
# SQLSTATE classes for which a job's own values are to blame: data exception, constraint, limit, error by a trigger.
_CLASSES_OF_A_JOB = ("22", "23", "54", "P0")

# A batch should take about a second: shorter ones spend their time on round trips, longer ones lose more with a worker
# that dies and delay one that is told to stop.
_BATCH_SECONDS = 1.0
_FIRST_BATCH = 16
_LARGEST_BATCH = 2048
# The next batch is at most this many times as large: small batches predict the time of large ones badly.
_GROWTH = 8
# Two batches must differ in size by this factor to tell the time per job from the time per batch.
_DIFFERENT_SIZE = 1.25
# The part of a batch's average time per job that a job needs at least.
_LEAST_SHARE = 0.001


@dataclass(frozen=True)
class BatchDone:
    """A batch is done: its jobs, jobs without a text, rows changed, dead jobs, seconds in total and for embedding."""

    jobs: int
    skipped: int
    rows: int
    dead: int
    seconds: float
    embed_seconds: float


@dataclass(frozen=True)
class Heartbeat:
    """A worker is alive, and found no job to do."""


@dataclass(frozen=True)
class Pace:
    """How many jobs the next batch should have, learned from the batches before.

    A batch costs `fixed` seconds however small it is, such as the latency of a remote model, plus a time per job; two
    comparing batches of different sizes separates the two. The jobs of a batch should take at least `fixed` seconds:
    smaller batches would only add latency.
    """

    size: int = _FIRST_BATCH
    fixed: float = 0.0
    last: tuple[int, float] | None = None

    def after(self, jobs: int, seconds: float) -> Pace:
        """The pace after `jobs` jobs took `seconds`."""
        jobs, seconds = max(jobs, 1), max(seconds, 1e-3)
        average = seconds / jobs
        each = (seconds - min(self.fixed, seconds)) / jobs
        if self.last is not None:
            jobs_before, seconds_before = self.last
            if max(jobs, jobs_before) > _DIFFERENT_SIZE * min(jobs, jobs_before):
                each = (seconds - seconds_before) / (jobs - jobs_before)
        each = min(max(each, _LEAST_SHARE * average), average)
        fixed = seconds - each * jobs
        fitting = (max(_BATCH_SECONDS, 2 * fixed) - fixed) / each
        growth = max(2.0, min(_GROWTH, _BATCH_SECONDS / seconds))
        return Pace(max(1, int(min(fitting, growth * jobs, _LARGEST_BATCH))), fixed, (jobs, seconds))


@dataclass(frozen=True)
class _Written:
    """What became of some jobs: rows changed, keys without a text, seconds of embedding."""

    rows: int
    skipped: int
    embed_seconds: float


@dataclass(frozen=True)
class Worker:
    """One worker. The listener gets `BatchDone` and `Heartbeat`; `stopping` is asked between batches."""

    session: EmbeddingSession
    listener: Listener = ignore
    stopping: Callable[[], bool] = lambda: False
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")

    def run(self, *, drain: bool = False) -> None:
        """Process jobs until told to stop, or with `drain` until no job waits or is in progress.

        Raises `ServerError` if the database fails, `EmbedderAwayError` if not even a harmless text can be embedded, and
        what the client of Redis raises. Jobs in progress are given back if that is still possible.
        """
        queue, pace = self.session.queue, Pace()
        with self._translated("preparing to write"):
            writer = prepare_writer(self.session.connection, self.session.source)
        wait_seconds, later = _DRAIN_WAITS_SECONDS if drain else (_WAIT_SECONDS, _WAIT_SECONDS)
        try:
            while not self.stopping():
                claims = queue.claim(self.name, pace.size, wait_seconds)
                if claims:
                    done = self._work(writer, claims)
                    pace = pace.after(done.jobs, done.seconds)
                    self.listener(done)
                elif drain and queue.status().is_empty:
                    return
                else:
                    self.listener(Heartbeat())
                    wait_seconds = later
        finally:
            # If Redis is gone, the jobs go to others after `claim_after`.
            with suppress(Exception):
                queue.leave(self.name)

    def _work(self, writer: Writer, claims: Sequence[Claim]) -> BatchDone:
        """Process all jobs at once. If that fails, halve the batch until the failing job is found."""
        started = time.monotonic()
        claims = self._fewer_if_suspect(claims)
        jobs, doomed = self._decoded(claims)
        groups, written = [list(jobs)] if jobs else [], []
        try:
            with self._kept_alive():
                while groups:
                    smaller: list[list[Claim]] = []
                    try:
                        keys = {key for claim in groups[-1] for key in jobs[claim]}
                        written.append(self._write(writer, sorted(keys)))
                        self.session.queue.done(self.name, groups[-1])
                    except SnapseedError as exc:
                        smaller, dead = self._apart(groups[-1], exc)
                        doomed += dead
                    groups[-1:] = smaller
                # Last, because it needs memory in Redis: if there is none, the finished jobs have made room first.
                for claim, error in doomed:
                    self.session.queue.bury(self.name, claim, error)
        except SnapseedError:
            # A server, the configuration or the embedder is to blame, and no job: this delivery does not count.
            self.session.queue.release(self.name, [claim for group in groups for claim in group], tried=False)
            raise
        return BatchDone(
            len(claims),
            sum(one.skipped for one in written),
            sum(one.rows for one in written),
            len(doomed),
            time.monotonic() - started,
            sum(one.embed_seconds for one in written),
        )

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """Keep telling the queue that the claimed jobs are in progress, however long the embedder takes."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(self.session.source.claim_after / _SIGNS_OF_LIFE):
                # If Redis is away, the worker itself is about to notice.
                with suppress(Exception):
                    self.session.queue.keep(self.name)

        thread = threading.Thread(target=tell, name="sign of life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            # Not for long: it may be waiting for a Redis that hangs.
            thread.join(_JOIN_SECONDS)

    def _fewer_if_suspect(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """The claims to process now; the rest is given back.

        A job that was handed out before may have killed a worker. The fewer tries such a job has left, the smaller its
        group: at its last try it is alone, and no other job dies with it.
        """
        tries = self.session.source.settings.tries
        limits = [_GROUP_FACTOR ** (tries - claim.deliveries) for claim in claims if 1 < claim.deliveries <= tries]
        most = min(limits, default=len(claims))
        if most >= len(claims):
            return claims
        ordered = sorted(claims, key=lambda claim: -claim.deliveries)
        self.session.queue.release(self.name, ordered[most:], tried=False)
        return ordered[:most]

    def _decoded(self, claims: Sequence[Claim]) -> tuple[dict[Claim, list[str]], list[tuple[Claim, str]]]:
        """The valid jobs with their keys, and the rejected claims with the reason."""
        source = self.session.source
        jobs, doomed = {}, []
        for claim in claims:
            try:
                keys = decode_job(source.form, claim.payload)
            except NotAJobError as exc:
                doomed.append((claim, str(exc)))
                continue
            if claim.deliveries <= source.settings.tries:
                jobs[claim] = keys
            else:
                doomed.append((claim, f"handed out {claim.deliveries} times, and never done"))
        return jobs, doomed

    def _write(self, writer: Writer, keys: list[str]) -> _Written:
        """Embed these texts and write their chunks in one transaction.

        Embedding may take long, so nothing is locked meanwhile; if a text changes, its new version is embedded.
        """
        connection, seconds = self.session.connection, 0.0
        for tries_left in reversed(range(_FREE_TRIES)):
            with self._translated("reading texts"):
                texts = read_texts(connection, writer, keys)
            rows, spent = self._rows(texts)
            seconds += spent
            with self._translated("writing embeddings"), connection.transaction():
                if lock_texts(connection, writer, keys) != texts.versions:
                    if tries_left:
                        continue
                    texts = read_texts(connection, writer, keys)
                    rows, spent = self._rows(texts)
                    seconds += spent
                changed = write_chunks(connection, writer, keys, rows)
                break
        return _Written(changed, len(keys) - len(texts.keys), seconds)

    def _rows(self, texts: TextBatch) -> tuple[list[pa.Array], float]:
        """The rows of the texts' chunks, none if there are no texts; and how many seconds that took."""
        started = time.monotonic()
        rows = chunk_rows(self.session.source, texts.keys, texts.texts) if len(texts.keys) else []
        return rows, time.monotonic() - started

    def _apart(self, group: list[Claim], error: SnapseedError) -> tuple[list[list[Claim]], list[tuple[Claim, str]]]:
        """What to do about jobs that failed together: the smaller groups to try next, and jobs to bury.

        A job that failed alone is given back, or buried with its error after its last try. Raises the error if no job
        is to blame, and `EmbedderAwayError` if the embedder fails for any text.
        """
        if not _is_of_a_job(error):
            raise error
        if len(group) > 1:
            half = len(group) // 2
            return [group[half:], group[:half]], []
        if isinstance(error, EmbeddingError):
            try:
                embed_texts(self.session.source.embedder, _ANY_TEXT)
            except EmbeddingError as exc:
                raise EmbedderAwayError(
                    "the embedder fails for any text",
                    where=self.session.target.described,
                    observed=exc.observed,
                    expected=exc.expected,
                    next_step="check the embedder of [embeddings] and what it needs",
                ) from error
        if group[0].deliveries >= self.session.source.settings.tries:
            return [], [(group[0], str(error))]
        self.session.queue.release(self.name, group, tried=True)
        return [], []

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        with waiting(self.session.target, self.session.connection, doing):
            yield


def _is_of_a_job(error: SnapseedError) -> bool:
    """Whether the job is to blame and others may succeed: no table or right is missing, and no server has failed."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, EmbeddingError) or (isinstance(error, LoadError) and state.startswith(_CLASSES_OF_A_JOB))
