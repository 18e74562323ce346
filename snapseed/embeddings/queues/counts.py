"""Counts of jobs done, ever and by the minute of the server's clock, beside a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

_MINUTES_KEPT_SECONDS = 180


class DoneCounts:
    """`NAME:done`, and `NAME:done:MINUTE`, which expire by themselves."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._client, self._name = client, name

    def add(self, count: int) -> None:
        """Count jobs that were taken away; not where the server lacks memory, as taking away is what mends that."""
        minute = f"{self._name}:done:{self._minute()}"
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.incrby(f"{self._name}:done", count)
            pipeline.incrby(minute, count)
            pipeline.expire(minute, _MINUTES_KEPT_SECONDS)
            pipeline.execute(raise_on_error=False)

    def ever(self) -> int:
        """All that were done since the queue was made or purged."""
        return int(self._client.get(f"{self._name}:done") or 0)

    def last_minute(self) -> int:
        """Those of the last full minute."""
        return int(self._client.get(f"{self._name}:done:{self._minute() - 1}") or 0)

    def clear(self, pipeline: Pipeline) -> None:
        """Begin at zero."""
        pipeline.delete(f"{self._name}:done")

    def _minute(self) -> int:
        return int(self._client.time()[0]) // 60
