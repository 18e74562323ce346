"""Reports on the queue of embedding jobs, and on a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document

if TYPE_CHECKING:
    from snapseed.embeddings.queues import DeadJob, QueueStatus
    from snapseed.embeddings.search import Hit

# A job or a chunk stands on one line or two.
_SHOWN_CHARACTERS = 160


def queue_text(name: str, status: QueueStatus, dead: Sequence[DeadJob]) -> str:
    """The numbers of a queue, and what the oldest dead jobs died of."""
    age = "" if status.oldest_seconds is None else f", the oldest for {status.oldest_seconds:.0f} s"
    lines = [
        f"queue    {name}",
        f"waiting  {status.waiting:,}{age}",
        f"in hand  {status.in_flight:,}, of {status.workers:,} workers",
        f"done     {status.done:,}, {status.done_last_minute:,} in the last full minute",
        f"dead     {status.dead:,}",
    ]
    return "\n".join([*lines, *(f"  {_shown(job)[:_SHOWN_CHARACTERS]}: {job.error}" for job in dead)])


def queue_document(name: str, status: QueueStatus, dead: Sequence[DeadJob]) -> Document:
    """The same for programs, the jobs whole."""
    return {
        "queue": name,
        **vars(status),
        "oldest_dead": [{"job": _shown(job), "error": job.error} for job in dead],
    }


def search_text(hits: Sequence[Hit]) -> str:
    """How near each chunk is, of which text it is, and how it begins."""
    return "\n".join(
        f"{hit.similarity:6.3f}  {hit.title or hit.key}, chunk {hit.number}"
        f"\n        {(hit.content or '')[:_SHOWN_CHARACTERS]}"
        for hit in hits
    )


def search_document(hits: Sequence[Hit]) -> Document:
    """The same for programs, the chunks whole."""
    return {"hits": [vars(hit) for hit in hits]}


def _shown(job: DeadJob) -> str:
    return job.payload.decode("utf-8", "replace")
