"""The queue of embedding jobs and the hits of a search, as text and as documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapseed.cli.reports.layout import Document

if TYPE_CHECKING:
    from snapseed.embeddings.queue import DeadJob, QueueStatus
    from snapseed.embeddings.search import Hit

# A job or a chunk takes one line or two.
_SHOWN_CHARACTERS = 160


def queue_text(name: str, status: QueueStatus, dead: Sequence[DeadJob]) -> str:
    """The counts of a queue, and why the oldest dead jobs died."""
    age = "" if status.oldest_seconds is None else f", the oldest for {status.oldest_seconds:.0f} s"
    lines = [
        f"queue    {name}",
        f"waiting  {status.waiting:,}{age}",
        f"working  {status.in_flight:,}, by {status.workers:,} workers",
        f"done     {status.done:,}, {status.done_last_minute:,} in the last full minute",
        f"dead     {status.dead:,}",
    ]
    return "\n".join([*lines, *(f"  {_shown(job)[:_SHOWN_CHARACTERS]}: {job.error}" for job in dead)])


def queue_document(name: str, status: QueueStatus, dead: Sequence[DeadJob]) -> Document:
    """The same for programs, with whole jobs."""
    return {
        "queue": name,
        **vars(status),
        "oldest_dead": [{"job": _shown(job), "error": job.error} for job in dead],
    }


def search_text(hits: Sequence[Hit]) -> str:
    """How near each chunk is, which text it belongs to, and how it begins."""
    return "\n".join(
        f"{hit.similarity:6.3f}  {hit.title or hit.key}, chunk {hit.number}"
        f"\n        {(hit.content or '')[:_SHOWN_CHARACTERS]}"
        for hit in hits
    )


def search_document(hits: Sequence[Hit]) -> Document:
    """The same for programs, with whole chunks."""
    return {"hits": [vars(hit) for hit in hits]}


def _shown(job: DeadJob) -> str:
    return job.payload.decode("utf-8", "replace")
