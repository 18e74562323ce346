"""What a load reports: its plan, what it did, seconds per phase, and how it has left the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from snapseed.load.copying import EntityLoad
from snapseed.load.plan import LoadPlan
from snapseed.postgres.failures import translated
from snapseed.postgres.provenance import LoadMark
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.database import EntityResult
from snapseed.verify.files import FileFinding


@dataclass(frozen=True)
class Progress:
    """Rows of one entity that were handed to the server so far."""

    entity: str
    rows: int
    rows_total: int


class Outcome(StrEnum):
    """How a load has left the database, in the words that end the message of a failure."""

    UNCHANGED = "nothing was changed"
    UNKNOWN = "whether the rows were committed is not known"
    COMMITTED = "the rows are loaded and committed"


@dataclass
class LoadReport:
    """What was done, or with `dry_run` what would be: the plan, and seconds per phase and entity.

    `already_loaded`: with `if_changed` there was nothing to do. `copying` is the entity whose rows are on their way,
    `mark` tells the record of this load from others. Where a load has failed, all that it came to.
    """

    environment: str
    target: str
    source: str
    manifest: Manifest
    dry_run: bool
    server: str = ""
    already_loaded: bool = False
    plan: LoadPlan = field(default_factory=lambda: LoadPlan(()))
    schema_created: bool = False
    phases: dict[str, float] = field(default_factory=dict)
    files: list[FileFinding] = field(default_factory=list)
    entities: list[EntityLoad] = field(default_factory=list)
    copying: str | None = None
    verified: list[EntityResult] = field(default_factory=list)
    mark: LoadMark | None = None
    outcome: Outcome = Outcome.UNCHANGED

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens inside, and translate the driver's errors with the phase's name."""
        started = time.monotonic()
        with translated(name, self.target):
            yield
        self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - started
