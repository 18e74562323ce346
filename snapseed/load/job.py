"""One load: what is asked of it, and what its steps share while it is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from snapseed.config import Environment, Project
from snapseed.load.plan import LoadOptions
from snapseed.load.report import LoadReport, Progress
from snapseed.postgres.connect import Connection, Target
from snapseed.postgres.locks import Watch
from snapseed.snapshot.hashing import Fingerprint
from snapseed.snapshot.store import Snapshot


@dataclass(frozen=True)
class LoadRequest:
    """What is asked of one load.

    `only`: these entities alone; `with_parents`: and those that their rows refer to; `with_children`: other tables'
    rows that refer to replaced rows may be deleted. `queued` is an entity whose rows workers make: it is emptied along
    with the others, and not loaded. `consent` is the user's yes to losing rows that no load of ours put there.
    """

    only: Sequence[str] = ()
    options: LoadOptions = field(default_factory=LoadOptions)
    with_parents: bool = False
    with_children: bool = False
    dry_run: bool = False
    queued: str | None = None
    consent: bool = False


@dataclass
class Job:
    """One load at work.

    `changes` are, by table, how many rows were inserted, updated or deleted in it, this load's own included as they
    come; `fingerprints` are those of the rows that were there before an append.
    """

    project: Project
    environment: Environment
    snapshot: Snapshot
    target: Target
    request: LoadRequest
    connection: Connection
    report: LoadReport
    watch: Watch
    progress: Callable[[Progress], None]
    changes: dict[str, int] = field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A phase of the report; what it may wait for is another thing than what the last one waited for."""
        self.watch.moved()
        with self.report.phase(name):
            yield
