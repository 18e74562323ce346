"""The embedding queue and its workers, against the same work without a queue and with other queues.

Every way writes the same rows.
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
from typing import Any, Literal, cast

import msgspec
import polars as pl
import redis

from benchmarks import enqueue
from benchmarks.measure import Findings, Spread, Stopwatch, Table, in_seconds, in_turns, seconds, spreads_in_turns
from benchmarks.processes import PROGRAM
from benchmarks.queue_peers import drain_list, drain_rq, embed_without_queue, enqueue_rq, push_list
from benchmarks.workspace import Workspace
from snapseed.config import Environment, Project
from snapseed.embeddings.enqueue import completeness, enqueue_incomplete
from snapseed.embeddings.queue import JobQueue, decode_job, encode_jobs
from snapseed.embeddings.source import EmbeddingSession, embedding_session
from snapseed.embeddings.worker import Worker
from snapseed.generate.parallel import available_cores
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import load_snapshot
from snapseed.servers import EmbeddedRedis
from snapseed.snapshot.store import Snapshot

Form = Literal["stream", "list"]

_USERS = 6_000
# Jobs for queues that work them one by one.
_ONE_BY_ONE = 1_000
_POLL_SECONDS = 0.005


@dataclass
class TimedQueue:
    """A queue that measures the seconds spent in each of its methods."""

    queue: JobQueue
    watch: Stopwatch = field(default_factory=Stopwatch)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of the queue
        method = getattr(self.queue, name)

        def timed(*arguments: object) -> object:
            with self.watch.running(name):
                return method(*arguments)

        return timed


@dataclass(frozen=True)
class Drained:
    """Seconds of enqueueing, of draining the queue, and of the queue's own methods while draining."""

    enqueue: float
    drain: float
    methods: dict[str, float]

    @property
    def queueing(self) -> float:
        """The time that a queue adds to the work."""
        return self.enqueue + sum(self.methods.values())


@dataclass(frozen=True)
class Bench:
    """Open connections to a loaded database without embeddings and to an empty queue; the jobs, encoded."""

    workspace: Workspace
    environment: Environment
    session: EmbeddingSession
    payloads: Sequence[bytes]

    def reset(self) -> None:
        """Return to the state after the load, with nothing from earlier rounds left to write to disk."""
        self.session.connection.execute("TRUNCATE embeddings")
        self.session.connection.execute("CHECKPOINT")
        self.session.queue.purge()
        os.sync()

    def drained(self) -> Drained:
        """Fill the queue and let one worker in this process drain it."""
        self.reset()
        enqueue = seconds(partial(enqueue_incomplete, self.session))
        # `snapseed worker` does the same.
        gc.freeze()
        queue = TimedQueue(self.session.queue)
        worker = Worker(replace(self.session, queue=cast("JobQueue", queue)))
        drain = seconds(partial(worker.run, drain=True))
        return Drained(enqueue, drain, dict(queue.watch.seconds))

    def worked(self, count: int) -> float:
        """Seconds that one worker in this process takes for `count` jobs, without enqueueing."""
        self.reset()
        self.session.queue.put(self.payloads[:count])
        session = self.session
        worker = Worker(session)
        return seconds(partial(worker.run, drain=True))

    def other(self, enqueue: Callable[[], object], drain: Callable[[], object], count: int) -> float:
        """Seconds that another queue takes for `count` jobs, without enqueueing."""
        self.reset()
        enqueue()
        taken = seconds(drain)
        found = self.session.connection.execute("SELECT count(DISTINCT transcript_id) FROM embeddings").fetchone()
        assert found == (count,), f"{found} of {count} texts have embeddings"
        return taken

    def by_processes(self, concurrency: int) -> float:
        """Seconds that waiting `snapseed worker` processes take, from enqueueing until all jobs are done."""
        self.reset()
        command = [*PROGRAM, "worker", self.environment.name, "--concurrency", str(concurrency), "--quiet"]
        command += ["--snapshot", self.environment.snapshot]
        with subprocess.Popen(command, cwd=self.workspace.project.folder, stdout=subprocess.DEVNULL) as process:
            while self.session.queue.status().workers < concurrency:
                time.sleep(_POLL_SECONDS)
            started = time.perf_counter()
            self.session.queue.put(self.payloads)
            while self.session.queue.status().done < len(self.payloads):
                time.sleep(_POLL_SECONDS)
            taken = time.perf_counter() - started
            process.send_signal(signal.SIGTERM)
        return taken


def measure_embeddings(workspace: Workspace) -> Findings:
    """The cost of the queue, the speed of workers, other queues, and enqueueing."""
    valkey = EmbeddedRedis(workspace.project.folder)
    valkey.start()
    try:
        snapshot = workspace.snapshot(workspace.rows(_USERS))
        load_snapshot(workspace.project, _environment(workspace.project, snapshot), LoadRequest(consent=True))
        with _bench(workspace, snapshot, "stream") as streams, _bench(workspace, snapshot, "list") as lists:
            found = [_overhead(streams, lists), _workers(streams), _other_queues(streams, lists)]
        found.append(enqueue.measure_enqueue(workspace, valkey.url()))
    finally:
        valkey.stop()
    return Findings(
        tuple(line for findings in found for line in findings.comparisons),
        tuple(table for findings in found for table in findings.tables),
    )


@contextmanager
def _bench(workspace: Workspace, snapshot: Snapshot, form: Form) -> Iterator[Bench]:
    """A queue of this form for the database that `snapshot` was loaded into."""
    assert workspace.project.embeddings is not None
    settings = workspace.project.embeddings
    if form != settings.queue:
        # A key in Redis is either a stream or a list, so the other form needs another name.
        settings = msgspec.structs.replace(settings, queue=form, name=f"{settings.name}:{form}")
    project = replace(workspace.project, embeddings=settings)
    environment = _environment(project, snapshot)
    with embedding_session(project, environment) as session:
        source = session.source
        keys = pl.Series(
            [str(key) for (key,) in session.connection.execute("SELECT id FROM transcripts ORDER BY id").fetchall()]
        )
        payloads = encode_jobs(
            source.form, keys, snapshot=source.identity, entity=source.texts.name, model=source.embedder.model
        )
        yield Bench(workspace, environment, session, payloads)


def _environment(project: Project, snapshot: Snapshot) -> Environment:
    return replace(project.environment("queue"), snapshot=snapshot.manifest.name)


def _overhead(streams: Bench, lists: Bench) -> Findings:
    """How much of a drain is the queue."""
    by_form = dict(
        zip(("stream", "list"), in_turns(streams.workspace.rounds, streams.drained, lists.drained), strict=True)
    )
    assert not completeness(streams.session.connection, streams.session.source).findings()
    comparisons, rows = [], []
    for form, drains in by_form.items():
        drain = Spread(tuple(each.drain for each in drains))
        queueing = Spread(tuple(each.queueing for each in drains))
        what = f"enqueue, claim and ack of {len(streams.payloads):,} jobs, {form}"
        least = "a drain by one worker with the built-in embedder"
        comparisons.append(in_seconds(what, least, queueing, drain, 0.15))
        methods = [Spread(tuple(each.methods.get(name, 0.0) for each in drains)) for name in ("claim", "done")]
        enqueued = Spread(tuple(each.enqueue for each in drains))
        rows.append((form, *(f"{spread.median:.2f}" for spread in (enqueued, *methods, drain))))
    text = (
        "Seconds. *Enqueue* asks the database for texts without chunks and enqueues a job for each. *Claim* and *ack*"
        " are part of the drain, which also reads, embeds, writes and commits."
    )
    header = ("form", "enqueue", "claim", "ack", "drain")
    return Findings(tuple(comparisons), (Table("The queue's share of a drain", text, header, rows),))


def _workers(streams: Bench) -> Findings:
    """One worker against no queue at all, and two workers against one."""
    count = len(streams.payloads)
    without, worker, one, two = spreads_in_turns(
        streams.workspace.rounds,
        partial(streams.other, lambda: None, partial(embed_without_queue, streams.session), count),
        lambda: streams.drained().drain,
        partial(streams.by_processes, 1),
        partial(streams.by_processes, 2),
    )
    comparisons = (
        in_seconds(
            f"one worker, {count:,} texts",
            "one process without a queue: a cursor, the embedder, COPY into the target",
            worker,
            without,
            # 0.8 times the throughput.
            1.25,
        ),
        in_seconds(
            f"`snapseed worker --concurrency 2`, on {available_cores()} cores with PostgreSQL and Valkey",
            "`--concurrency 1`",
            two,
            one,
            # 1.7 times the throughput, if there are enough cores.
            0.59,
        ),
    )
    return Findings(comparisons)


def _other_queues(streams: Bench, lists: Bench) -> Findings:
    """RQ and `BRPOP`, with one text per job as in snapseed."""
    count = min(_ONE_BY_ONE, len(streams.payloads))
    payloads, session = streams.payloads[:count], streams.session
    keys = [decode_job(session.source.form, payload) for payload in payloads]
    with redis.Redis.from_url(EmbeddedRedis(streams.workspace.project.folder).url()) as client:
        ways: dict[str, Callable[[], float]] = {
            "snapseed, stream": partial(streams.worked, count),
            "snapseed, list": partial(lists.worked, count),
            "`BRPOP` in a loop": partial(
                streams.other, partial(push_list, client, payloads), partial(drain_list, session, client), count
            ),
            "RQ, `SimpleWorker`": partial(
                streams.other, partial(enqueue_rq, client, keys), partial(drain_rq, session, client), count
            ),
        }
        times = dict(zip(ways, spreads_in_turns(streams.workspace.rounds, *ways.values()), strict=True))
    ours = times["snapseed, stream"]
    rows = [
        (name, f"{taken.median:.2f} s", f"{count / taken.median:,.0f}", f"{ratio.median:.2f}", ratio.range)
        for name, taken in times.items()
        for ratio in [taken / ours]
    ]
    text = (
        f"One worker and {count:,} jobs of one text each, enqueued before the clock starts. RQ and the loop do for each"
        " job what a snapseed worker does for a batch: read, embed, COPY, upsert, commit. RQ's worker is the one that"
        " does not fork. The loop loses the job that it is working on if it dies."
    )
    return Findings((), (Table("Other queues", text, ("way", "time", "jobs/s", "÷ snapseed", "spread"), rows),))
