"""What both forms of a queue can do, and which one the project has chosen.

Every job is delivered at least once: it is gone only when somebody has said that it is done, or dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

from snapseed.errors import ConfigurationError

if TYPE_CHECKING:
    import redis

Form = Literal["stream", "list"]


@dataclass(frozen=True)
class Claim:
    """A job in somebody's hands. `id` is how the queue knows it, `deliveries` how often it was handed out by now."""

    id: bytes
    payload: bytes
    deliveries: int


@dataclass(frozen=True)
class DeadJob:
    """A job that failed too often, or makes no sense, and why."""

    payload: bytes
    error: str
    deliveries: int


@dataclass(frozen=True)
class QueueStatus:
    """How many jobs wait, are in somebody's hands and are dead; how many were done, ever, and in the last full minute.

    `oldest_seconds` is the age of the oldest job that waits or is in hand, None where there is none or nobody knows.
    """

    waiting: int
    in_flight: int
    dead: int
    done: int
    done_last_minute: int
    workers: int
    oldest_seconds: float | None


class JobQueue(Protocol):
    """One queue. Methods raise what the client raises; a queue that was flushed away is made anew, empty."""

    def put(self, payloads: Sequence[bytes]) -> None:
        """Append jobs, all in one round trip."""

    def claim(self, worker: str, count: int, wait_seconds: float) -> list[Claim]:
        """Up to `count` jobs for this worker, no two alike, of dead workers first; waits for the first one."""

    def keep(self, worker: str) -> None:
        """Say that this worker is at work on what it has claimed."""

    def done(self, worker: str, claims: Sequence[Claim]) -> None:
        """Take away jobs that were worked off."""

    def release(self, worker: str, claims: Sequence[Claim], *, tried: bool) -> None:
        """Give back what is still held, to be claimed at once; if it was not `tried`, the delivery does not count."""

    def bury(self, worker: str, claim: Claim, error: str) -> None:
        """Put a job among the dead, unless others have it by now."""

    def leave(self, worker: str) -> None:
        """Say that this worker ends; what it holds is given back, and the delivery does not count."""

    def status(self) -> QueueStatus:
        """The numbers of now."""

    def dead(self, limit: int) -> Iterator[DeadJob]:
        """The oldest dead jobs."""

    def retry(self) -> int:
        """Put the dead jobs back into the queue; how many those were."""

    def purge(self) -> int:
        """Take away everything, waiting, in hand and dead; how many jobs that were."""


def job_queue(client: redis.Redis, form: Form, name: str, claim_after: float) -> JobQueue:
    """The queue called `name`; a job in the hands of a worker silent for `claim_after` seconds is given to others.

    All keys begin with `{name}`, braces included, so that a cluster keeps them on one node.
    """
    from snapseed.embeddings.queues.lists import ListQueue  # noqa: PLC0415 - it needs what stands above
    from snapseed.embeddings.queues.streams import StreamQueue  # noqa: PLC0415 - as above

    return (StreamQueue if form == "stream" else ListQueue)(client, f"{{{name}}}", claim_after)


def require_form(client: redis.Redis, form: Form, name: str, where: str) -> None:
    """Raise `ConfigurationError` where the queue of this name is there in another form."""
    key = f"{{{name}}}:jobs"
    # In the redis client's annotations this may also be something to wait for.
    found = cast("bytes", client.type(key)).decode()
    if found not in {"none", form}:
        raise ConfigurationError(
            "the queue is there in another form",
            where=f"key {key} in {where}",
            observed=f"a {found}",
            expected=f"queue = {form!r}, as [embeddings] says",
            next_step=f"let workers drain it with queue = {found!r} before, or delete it by `redis-cli DEL {key}`",
        )
