"""The queue as a Redis stream with a consumer group: `XADD`, `XREADGROUP`, `XACK` and `XDEL`.

`{NAME}:jobs` holds the jobs that wait and those in progress, with one field `job`, for the group `workers`.
`{NAME}:dead` holds the dead ones, with the fields `job`, `error` and `deliveries`. Redis counts deliveries and knows
who holds what for how long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from snapseed.embeddings.queue import Claim, DeadJob, JobQueue, QueueStatus, script

GROUP = "workers"
FIELD = b"job"
_PUT = script("stream_put")
# Longer than any `claim_after`, so that XAUTOCLAIM hands the job out at once.
_LONG_IDLE_MS = 2**31


class StreamQueue(JobQueue):
    """A queue in a stream; see `JobQueue` for the methods."""

    form = "stream"

    def put(self, payloads: Sequence[bytes]) -> None:
        if payloads:
            self._client.eval(_PUT, 1, self._jobs, *payloads)

    def claim(self, worker: str, count: int, wait_seconds: float) -> list[Claim]:
        try:
            return self._claim(worker, count, wait_seconds)
        except Exception as exc:
            if not _is_flushed_away(exc):
                raise
            self._client.eval(_PUT, 1, self._jobs)
            return self._claim(worker, count, wait_seconds)

    def keep(self, worker: str) -> None:
        with self._or_flushed_away():
            if held := self._held(worker):
                self._client.xclaim(self._jobs, GROUP, worker, 0, list(held), justid=True)

    def done(self, worker: str, claims: Sequence[Claim]) -> None:  # noqa: ARG002 - a list needs it
        if claims:
            ids = [claim.id for claim in claims]
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.xack(self._jobs, GROUP, *ids)
                pipeline.xdel(self._jobs, *ids)
                _, removed = pipeline.execute()
            self._count_done(removed)

    def release(self, worker: str, claims: Sequence[Claim], *, tried: bool) -> None:
        with self._or_flushed_away(), self._client.pipeline(transaction=False) as pipeline:
            held = self._held(worker) if claims else {}
            for claim in (claim for claim in claims if claim.id in held):
                # The next claim adds one.
                count = claim.deliveries if tried else claim.deliveries - 1
                idle = {"idle": _LONG_IDLE_MS, "retrycount": count, "justid": True}
                pipeline.xclaim(self._jobs, GROUP, worker, 0, [claim.id], **idle)
            pipeline.execute()

    def bury(self, worker: str, claim: Claim, error: str) -> None:
        if claim.id not in self._held(worker):
            return
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(self._dead, {"job": claim.payload, "error": error, "deliveries": claim.deliveries})
            pipeline.xack(self._jobs, GROUP, claim.id)
            pipeline.xdel(self._jobs, claim.id)
            pipeline.execute()

    def leave(self, worker: str) -> None:
        with self._or_flushed_away():
            held = [Claim(entry, b"", deliveries) for entry, deliveries in self._held(worker).items()]
            self.release(worker, held, tried=False)
            if not held:
                # Deleting a consumer deletes what it holds.
                self._client.xgroup_delconsumer(self._jobs, GROUP, worker)

    def status(self) -> QueueStatus:
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xlen(self._jobs)
            pipeline.xlen(self._dead)
            pipeline.xinfo_consumers(self._jobs, GROUP)
            length, dead, known = pipeline.execute(raise_on_error=False)
        for answer in (length, dead):
            if isinstance(answer, Exception):
                raise answer
        consumers: list[dict[str, Any]] = [] if isinstance(known, Exception) else known
        in_flight = sum(int(consumer["pending"]) for consumer in consumers)
        done, done_last_minute = self._done_counts()
        return QueueStatus(
            waiting=max(0, length - in_flight),
            in_flight=min(length, in_flight),
            dead=dead,
            done=done,
            done_last_minute=done_last_minute,
            workers=sum(int(consumer["idle"]) < self._silent_ms for consumer in consumers),
            oldest_seconds=self._oldest_seconds(),
        )

    def dead(self, limit: int) -> Iterator[DeadJob]:
        for _, fields in self._client.xrange(self._dead, count=limit):
            error = fields.get(b"error", b"not a dead job of this queue").decode("utf-8", "replace")
            yield DeadJob(_payload(fields), error, int(fields.get(b"deliveries", 0)))

    def retry(self) -> int:
        moved = 0
        while entries := self._client.xrange(self._dead, count=1000):
            with self._client.pipeline(transaction=True) as pipeline:
                for _, fields in entries:
                    pipeline.xadd(self._jobs, {FIELD: _payload(fields)})
                pipeline.xdel(self._dead, *[entry for entry, _ in entries])
                pipeline.execute()
            moved += len(entries)
        return moved

    def purge(self) -> int:
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xlen(self._jobs)
            pipeline.xlen(self._dead)
            pipeline.delete(self._jobs, self._dead, self._done)
            waiting, dead, *_ = pipeline.execute()
        return int(waiting) + int(dead)

    def _claim(self, worker: str, count: int, wait_seconds: float) -> list[Claim]:
        """As `claim`, if the group exists."""
        entries = self._stale(worker, count)
        if not entries:
            # The server may check its clock only ten times a second: even a wait of 1 ms takes up to 100 ms.
            block = max(1, int(wait_seconds * 1000)) if wait_seconds else None
            answer = self._client.xreadgroup(GROUP, worker, {self._jobs: ">"}, count=count, block=block)
            return [Claim(entry, _payload(fields), 1) for entry, fields in (answer[0][1] if answer else [])]
        deliveries = self._held(worker)
        return [Claim(entry, _payload(fields), deliveries.get(entry, 1)) for entry, fields in entries]

    def _stale(self, worker: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Jobs that were held for too long, by anyone, or given back."""
        start: bytes | str = "0-0"
        while True:
            # Each call looks at ten times `count` jobs in progress, and returns where it stopped.
            start, entries, *_ = self._client.xautoclaim(
                self._jobs, GROUP, worker, self._silent_ms, start_id=start, count=count
            )
            if entries or start == b"0-0":
                return list(entries)

    def _held(self, worker: str) -> dict[bytes, int]:
        """The jobs that a worker holds, and how often each one was handed out."""
        found = self._client.xpending_range(self._jobs, GROUP, "-", "+", 100_000, worker)
        return {entry["message_id"]: entry["times_delivered"] for entry in found}

    def _oldest_seconds(self) -> float | None:
        """The age of the oldest job, by the server's clock."""
        first = self._client.xrange(self._jobs, count=1)
        if not first:
            return None
        seconds, microseconds = self._client.time()
        age: float = seconds + microseconds / 1e6 - int(first[0][0].split(b"-")[0]) / 1000
        return max(0.0, age)

    @contextmanager
    def _or_flushed_away(self) -> Iterator[None]:
        """Ignore that the stream is gone. `queue repair` creates its jobs again."""
        try:
            yield
        except Exception as exc:
            if not _is_flushed_away(exc):
                raise


def _payload(fields: dict[bytes, bytes]) -> bytes:
    """The job of an entry. Of a foreign entry all fields, for people to look at."""
    return fields[FIELD] if FIELD in fields else repr(fields).encode()


def _is_flushed_away(error: Exception) -> bool:
    """Whether the stream or its group is missing, in the words of the server: not created yet, or gone."""
    return "NOGROUP" in str(error) or "no such key" in str(error)
