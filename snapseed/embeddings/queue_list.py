"""The queue as plain lists: `LPUSH` at one end, `BLMOVE` from the other end into the list of a worker.

`{NAME}:jobs` holds the jobs that wait, `{NAME}:held:WORKER` those of a worker, `{NAME}:workers` the names of all
workers. `{NAME}:alive:WORKER` expires when a worker is silent. `{NAME}:tries` counts how often a job, by its SHA-1, was
given back. `{NAME}:dead` holds JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from snapseed.embeddings.queue import Claim, DeadJob, JobQueue, QueueStatus, script

if TYPE_CHECKING:
    import redis

_RIGHT, _LEFT = "RIGHT", "LEFT"
# LREM with this count removes one, searching from the end where the first job of a batch is: it is found at once.
_FROM_THE_END = -1
_RELEASE, _BURY, _DISMISS = map(script, ("list_release", "list_bury", "list_dismiss"))


class ListQueue(JobQueue):
    """A queue in lists; see `JobQueue` for the methods. The jobs of a silent worker go to the front of the queue."""

    form = "list"

    def __init__(self, client: redis.Redis, name: str, claim_after: float) -> None:
        super().__init__(client, name, claim_after)
        self._workers, self._tries = f"{self._name}:workers", f"{self._name}:tries"

    def put(self, payloads: Sequence[bytes]) -> None:
        if payloads:
            self._client.lpush(self._jobs, *payloads)

    def claim(self, worker: str, count: int, wait_seconds: float) -> list[Claim]:
        self.keep(worker)
        for silent in self._known_workers():
            if not self._client.exists(self._alive(silent)):
                self._dismiss(silent, "dead")
        held = self._held(worker)
        first = self._client.lmove(self._jobs, held, _RIGHT, _LEFT)
        if first is None and wait_seconds:
            first = self._client.blmove(self._jobs, held, wait_seconds, _RIGHT, _LEFT)
        if first is None:
            return []
        with self._client.pipeline(transaction=False) as pipeline:
            for _ in range(count - 1):
                pipeline.lmove(self._jobs, held, _RIGHT, _LEFT)
            moved = [first, *(payload for payload in pipeline.execute() if payload is not None)]
        payloads = self._each_once(held, moved)
        # Again: if this took long, others may have taken this worker for dead and given its jobs back.
        self.keep(worker)
        tries = self._client.hmget(self._tries, [_digest(payload) for payload in payloads])
        return [Claim(payload, payload, int(tried or 0) + 1) for payload, tried in zip(payloads, tries, strict=True)]

    def keep(self, worker: str) -> None:
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.sadd(self._workers, worker)
            pipeline.set(self._alive(worker), 1, px=self._silent_ms)
            pipeline.execute()

    def done(self, worker: str, claims: Sequence[Claim]) -> None:
        if claims:
            with self._client.pipeline(transaction=True) as pipeline:
                for claim in claims:
                    pipeline.lrem(self._held(worker), _FROM_THE_END, claim.payload)
                pipeline.hdel(self._tries, *[_digest(claim.payload) for claim in claims])
                *removed, _ = pipeline.execute()
            self._count_done(sum(removed))
        self.keep(worker)

    def release(self, worker: str, claims: Sequence[Claim], *, tried: bool) -> None:
        payloads = [claim.payload for claim in claims]
        keys = [self._held(worker), self._jobs, self._tries]
        self._client.eval(_RELEASE, len(keys), *keys, "tried" if tried else "", *payloads)

    def bury(self, worker: str, claim: Claim, error: str) -> None:
        text = base64.b64encode(claim.payload).decode()
        record = json.dumps({"job": text, "error": error, "deliveries": claim.deliveries})
        keys = [self._held(worker), self._dead, self._tries]
        self._client.eval(_BURY, len(keys), *keys, claim.payload, record)

    def leave(self, worker: str) -> None:
        self._dismiss(worker, "")

    def status(self) -> QueueStatus:
        while True:
            workers = self._known_workers()
            with self._client.pipeline(transaction=True) as pipeline:
                for worker in workers:
                    pipeline.llen(self._held(worker))
                    pipeline.exists(self._alive(worker))
                pipeline.llen(self._jobs)
                pipeline.llen(self._dead)
                *of_workers, waiting, dead = pipeline.execute()
            # A worker that joined in between may hold jobs that have left the queue.
            if self._known_workers() <= workers:
                break
        done, done_last_minute = self._done_counts()
        return QueueStatus(
            waiting=waiting,
            in_flight=sum(of_workers[::2]),
            dead=dead,
            done=done,
            done_last_minute=done_last_minute,
            workers=sum(of_workers[1::2]),
            oldest_seconds=None,
        )

    def dead(self, limit: int) -> Iterator[DeadJob]:
        for record in reversed(self._client.lrange(self._dead, -limit, -1)):
            yield _dead_job(record)

    def retry(self) -> int:
        moved = 0
        while (record := self._client.lindex(self._dead, -1)) is not None:
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.lpush(self._jobs, _dead_job(record).payload)
                pipeline.lrem(self._dead, -1, record)
                pipeline.execute()
            moved += 1
        return moved

    def purge(self) -> int:
        lists = [self._jobs, self._dead, *map(self._held, self._known_workers())]
        with self._client.pipeline(transaction=True) as pipeline:
            for name in lists:
                pipeline.llen(name)
            pipeline.delete(*lists, self._tries, self._done)
            lengths = pipeline.execute()[: len(lists)]
        return sum(map(int, lengths))

    def _each_once(self, held: str, moved: Sequence[bytes]) -> list[bytes]:
        """The jobs without repetitions, which are dropped: a job has no identity other than its payload."""
        counts = Counter(moved)
        if len(counts) < len(moved):
            with self._client.pipeline(transaction=False) as pipeline:
                for payload, count in counts.items():
                    if count > 1:
                        pipeline.lrem(held, count - 1, payload)
                pipeline.execute()
        return list(counts)

    def _known_workers(self) -> set[str]:
        """The names of all workers, silent ones included."""
        return {worker.decode() for worker in self._client.smembers(self._workers)}

    def _dismiss(self, worker: str, why: str) -> None:
        """Forget a worker and give its jobs back. If `why` is "dead", do so only while it is silent."""
        keys = [self._held(worker), self._jobs, self._tries, self._workers, self._alive(worker)]
        self._client.eval(_DISMISS, len(keys), *keys, worker, why)

    def _held(self, worker: str) -> str:
        """The list of the jobs that a worker holds."""
        return f"{self._name}:held:{worker}"

    def _alive(self, worker: str) -> str:
        """The key that exists while a worker is heard of."""
        return f"{self._name}:alive:{worker}"


def _dead_job(record: bytes) -> DeadJob:
    """A dead job. A foreign record is shown as it is."""
    try:
        found = json.loads(record)
        return DeadJob(base64.b64decode(found["job"]), str(found["error"]), int(found["deliveries"]))
    except (ValueError, LookupError, TypeError):
        return DeadJob(record, "not a dead job of this queue", 0)


def _digest(payload: bytes) -> str:
    """The SHA-1 of a job, as `redis.sha1hex` in the scripts."""
    return hashlib.sha1(payload, usedforsecurity=False).hexdigest()
