"""The queue of embedding jobs and its workers, against the same work without a queue, and with other queues.

Every way writes the same rows; each is checked once, and measured in turns.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import msgspec
import polars as pl
import redis

from benchmarks import enqueueing
from benchmarks.measure import Findings, Headline, Spread, Stopwatch, Table, in_turns, seconds, spreads_in_turns
from benchmarks.place import Place
from benchmarks.processes import PROGRAM
from benchmarks.queue_peers import drain_list, drain_rq, put_into_list, put_into_rq, without_queue
from snapseed.config import Environment, Project
from snapseed.embeddings.enqueue import completeness, enqueue_incomplete
from snapseed.embeddings.queue import JobQueue, decode_job, encode_jobs
from snapseed.embeddings.source import Session, embedding_session
from snapseed.embeddings.worker import Worker
from snapseed.generate.processes import available_cores
from snapseed.load.run import load_snapshot
from snapseed.servers import EmbeddedRedis
from snapseed.snapshot.store import Snapshot

Form = Literal["stream", "list"]

_USERS = 6_000
# Jobs that are worked one by one: enough to see what each costs.
_ONE_BY_ONE = 1_000
_LOOK_SECONDS = 0.005
_PARTS = ("form", "enqueue", "claim", "ack", "drain")


@dataclass
class Timed:
    """A queue, with the seconds that each of its methods took."""

    queue: JobQueue
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the queue has
        method = getattr(self.queue, name)

        def timed(*arguments: object) -> object:
            with self.watch.running(name):
                return method(*arguments)

        return timed


@dataclass(frozen=True)
class Drained:
    """Seconds of one drain: putting the jobs into the queue, and working them; of those, in the queue's own methods."""

    enqueue: float
    whole: float
    parts: dict[str, float]

    @property
    def queueing(self) -> float:
        """All that would not be there without a queue."""
        return self.enqueue + sum(self.parts.values())


@dataclass(frozen=True)
class Bench:
    """A loaded database without embeddings, an empty queue, and both open."""

    place: Place
    environment: Environment
    session: Session
    payloads: Sequence[bytes]

    def emptied(self) -> None:
        """As after the load; nothing that an earlier round has left to be written to the disk."""
        self.session.connection.execute("TRUNCATE embeddings")
        self.session.connection.execute("CHECKPOINT")
        self.session.queue.purge()
        os.sync()

    def drained(self) -> Drained:
        """One worker, in this process, until the queue is empty."""
        self.emptied()
        enqueue = seconds(partial(enqueue_incomplete, self.session))
        # As `snapseed worker` does.
        gc.freeze()
        queue = Timed(self.session.queue)
        worker = Worker(replace(self.session, queue=queue))
        whole = seconds(partial(worker.run, drain=True))
        return Drained(enqueue, whole, dict(queue.watch.seconds))

    def worked(self, count: int) -> float:
        """The same, with so many jobs; the seconds of working them."""
        self.emptied()
        self.session.queue.put(self.payloads[:count])
        session = self.session
        worker = Worker(session)
        return seconds(partial(worker.run, drain=True))

    def by(self, put: Callable[[], object], drain: Callable[[], object], count: int) -> float:
        """The seconds of another way to work so many jobs."""
        self.emptied()
        put()
        taken = seconds(drain)
        found = self.session.connection.execute("SELECT count(DISTINCT transcript_id) FROM embeddings").fetchone()
        assert found == (count,), f"{found} of {count} texts have vectors"
        return taken

    def by_processes(self, concurrency: int) -> float:
        """From the moment that the jobs come until all are done, by workers that are waiting for them."""
        self.emptied()
        command = [*PROGRAM, "worker", self.environment.name, "--concurrency", str(concurrency), "--quiet"]
        command += ["--snapshot", self.environment.snapshot]
        with subprocess.Popen(command, cwd=self.place.project.folder) as process:
            while self.session.queue.status().workers < concurrency:
                time.sleep(_LOOK_SECONDS)
            started = time.perf_counter()
            self.session.queue.put(self.payloads)
            while self.session.queue.status().done < len(self.payloads):
                time.sleep(_LOOK_SECONDS)
            taken = time.perf_counter() - started
            process.send_signal(signal.SIGTERM)
        return taken


def measure(place: Place) -> Findings:
    """What the queue costs, what workers reach, and how fast jobs get into it."""
    valkey = EmbeddedRedis(place.project.folder)
    valkey.start()
    try:
        snapshot = place.snapshot(place.rows(_USERS))
        load_snapshot(place.project, _environment(place.project, snapshot), consent=True)
        with bench(place, snapshot, "stream") as streams, bench(place, snapshot, "list") as lists:
            found = [_overhead(streams, lists), _workers(streams), _others(streams, lists)]
        found.append(enqueueing.measure(place, valkey.url()))
    finally:
        valkey.stop()
    return Findings(
        tuple(line for findings in found for line in findings.headlines),
        tuple(table for findings in found for table in findings.tables),
    )


@contextmanager
def bench(place: Place, snapshot: Snapshot, form: Form) -> Iterator[Bench]:
    """A queue of this form beside the database that `snapshot` was loaded into."""
    assert place.project.embeddings is not None
    settings = place.project.embeddings
    if form != settings.queue:
        # Another name: a key of Redis is a stream or a list.
        settings = msgspec.structs.replace(settings, queue=form, name=f"{settings.name}:{form}")
    project = replace(place.project, embeddings=settings)
    environment = _environment(project, snapshot)
    with embedding_session(project, environment) as session:
        source = session.source
        keys = pl.Series(
            [str(key) for (key,) in session.connection.execute("SELECT id FROM transcripts ORDER BY id").fetchall()]
        )
        payloads = encode_jobs(
            source.form, keys, snapshot=source.identity, entity=source.texts.name, model=source.embedder.model
        )
        yield Bench(place, environment, session, payloads)


def _environment(project: Project, snapshot: Snapshot) -> Environment:
    return replace(project.environment("queue"), snapshot=snapshot.manifest.name)


def _overhead(streams: Bench, lists: Bench) -> Findings:
    """What the queue takes of a drain, by its parts."""
    by_form = dict(zip(("stream", "list"), in_turns(streams.place.rounds, streams.drained, lists.drained), strict=True))
    assert completeness(streams.session.connection, streams.session.source).is_complete
    headlines, rows = [], []
    for form, drains in by_form.items():
        whole = Spread(tuple(drain.whole for drain in drains))
        queueing = Spread(tuple(drain.queueing for drain in drains))
        headlines.append(
            Headline(
                f"enqueue, claim and ack of {len(streams.payloads):,} jobs, {form}",
                "a drain by one worker with the built-in embedder",
                queueing / whole,
                f"{queueing.median:.2f} s ÷ {whole.median:.2f} s",
                0.15,
            )
        )
        parts = [Spread(tuple(drain.parts.get(name, 0.0) for drain in drains)) for name in ("claim", "done")]
        enqueue = Spread(tuple(drain.enqueue for drain in drains))
        rows.append((form, *(f"{part.median:.2f}" for part in (enqueue, *parts, whole))))
    text = (
        "Seconds. Enqueue asks the database for the texts without chunks, and puts a job for each into the queue; claim"
        " and ack are within the drain, which also reads, embeds, writes and commits."
    )
    return Findings(tuple(headlines), (Table("The queue within a drain", text, _PARTS, rows),))


def _workers(streams: Bench) -> Findings:
    """One worker against no queue at all, and two against one."""
    count = len(streams.payloads)
    alone, worker, one, two = spreads_in_turns(
        streams.place.rounds,
        partial(streams.by, lambda: None, partial(without_queue, streams.session), count),
        lambda: streams.drained().whole,
        partial(streams.by_processes, 1),
        partial(streams.by_processes, 2),
    )
    headlines = (
        Headline(
            f"one worker, {count:,} texts",
            "one process without a queue: a cursor, the embedder, COPY into the target",
            worker / alone,
            f"{worker.median:.2f} s ÷ {alone.median:.2f} s",
            # 0.8 times the throughput.
            1.25,
        ),
        Headline(
            f"`snapseed worker --concurrency 2`, {available_cores()} cores for both, PostgreSQL and Valkey",
            "`--concurrency 1`",
            two / one,
            f"{two.median:.2f} s ÷ {one.median:.2f} s",
            # 1.7 times the throughput, where the cores are there.
            0.59,
        ),
    )
    return Findings(headlines)


def _others(streams: Bench, lists: Bench) -> Findings:
    """RQ and `BRPOP`, a job for each text as ours."""
    count = min(_ONE_BY_ONE, len(streams.payloads))
    payloads, session = streams.payloads[:count], streams.session
    keys = [decode_job(session.source.form, payload) for payload in payloads]
    with redis.Redis.from_url(EmbeddedRedis(streams.place.project.folder).url()) as client:
        ways: dict[str, Callable[[], float]] = {
            "snapseed, stream": partial(streams.worked, count),
            "snapseed, list": partial(lists.worked, count),
            "`BRPOP` in a loop": partial(
                streams.by, partial(put_into_list, client, payloads), partial(drain_list, session, client), count
            ),
            "RQ, `SimpleWorker`": partial(
                streams.by, partial(put_into_rq, client, keys), partial(drain_rq, session, client), count
            ),
        }
        times = dict(zip(ways, spreads_in_turns(streams.place.rounds, *ways.values()), strict=True))
    ours = times["snapseed, stream"]
    rows = [
        (name, f"{taken.median:.2f} s", f"{count / taken.median:,.0f}", f"{ratio.median:.2f}", ratio.range)
        for name, taken in times.items()
        for ratio in [taken / ours]
    ]
    text = (
        f"One worker, {count:,} jobs of one text each, which are in the queue before the clock starts. RQ and the loop"
        " do the same for each job that a worker of ours does for a batch: read, embed, COPY, upsert, commit. RQ's"
        " worker is the one that does not fork; the loop loses what it has in hand when it dies."
    )
    return Findings((), (Table("Other queues", text, ("way", "time", "jobs/s", "÷ snapseed", "spread"), rows),))
