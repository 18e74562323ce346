"""What a load tells while it runs, and the report that is made from it once, at the end or at the failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import psycopg
from msgspec import UNSET

from snapseed.errors import SnapseedError, interruption
from snapseed.events import Event, phase_seconds
from snapseed.load.copy import EntityLoad
from snapseed.load.plan import LoadPlan
from snapseed.load.request import Mode
from snapseed.postgres.provenance import LoadMark
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.database import EntityResult
from snapseed.verify.files import FileFinding

# Classes of SQLSTATE that say that the connection or the server is going away. They leave open what a COMMIT did.
_GOING_AWAY = ("08", "57P")
_FOREIGN_KEY_VIOLATION = "23503"
_UNIQUE_VIOLATION = "23505"
# The class of these: rows that a constraint refuses.
_INTEGRITY = "23"
_Kind = TypeVar("_Kind")


class Outcome(StrEnum):
    """How a load left the database, in the words that end the message of a failure. Told before and after COMMIT."""

    UNCHANGED = "nothing was changed"
    UNKNOWN = "it is not known whether the rows were committed"
    COMMITTED = "the rows are loaded and committed"


@dataclass(frozen=True)
class Connected:
    """The load has reached the server, which says this about itself."""

    server: str


@dataclass(frozen=True)
class FilesChecked:
    """The snapshot's files were compared with the manifest; the load goes on only if there are no findings."""

    findings: tuple[FileFinding, ...]


@dataclass(frozen=True)
class AlreadyLoaded:
    """With `if_changed`: the database still holds the snapshot, so the load ends here."""


@dataclass(frozen=True)
class SchemaCreated:
    """The project's schema file was applied, because none of the tables existed."""


@dataclass(frozen=True)
class CopyStarted:
    """An entity's rows are on their way. `EntityLoad` follows when they are in their table."""

    entity: str


@dataclass(frozen=True, kw_only=True)
class LoadTimes:
    """How long a load took, in seconds: its phases, in the order in which they ended, and the COPY of each entity."""

    phases: Mapping[str, float] = field(default_factory=dict)
    entities: tuple[EntityLoad, ...] = ()

    @property
    def seconds(self) -> float:
        """All phases together."""
        return sum(self.phases.values())

    @property
    def bottleneck(self) -> tuple[str, float]:
        """What COPY waited for most, and for which share of its time.

        Reading and encoding run on a thread of their own, so only `starved` counts.
        """
        waits = {
            "the server": sum(load.server for load in self.entities),
            "reading and encoding": sum(load.starved for load in self.entities),
            "sending": sum(load.send for load in self.entities),
        }
        slowest = max(waits, key=lambda name: waits[name])
        copying = sum(load.seconds for load in self.entities)
        return slowest, waits[slowest] / max(copying, 1e-9)


def times_of(events: Sequence[Event]) -> LoadTimes:
    """The times of a load that has told `events` so far."""
    return LoadTimes(phases=phase_seconds(events), entities=_all(events, EntityLoad))


@dataclass(frozen=True)
class LoadReport(LoadTimes):
    """What a load did, or with `dry_run` would do; of a failed load, how far it came.

    `files` is None if the files were not checked. `copying` is the entity whose rows were on their way when the load
    failed. `mark` identifies the load's record in the database.
    """

    environment: str
    target: str
    source: str
    manifest: Manifest
    dry_run: bool
    server: str = ""
    already_loaded: bool = False
    plan: LoadPlan = LoadPlan(())
    schema_created: bool = False
    files: tuple[FileFinding, ...] | None = None
    copying: str | None = None
    verified: tuple[EntityResult, ...] = ()
    mark: LoadMark | None = None
    outcome: Outcome = Outcome.UNCHANGED

    def after(self, events: Sequence[Event]) -> LoadReport:
        """The report of a load that began as this one and has told `events` since."""
        times = times_of(events)
        started = [event.entity for event in _all(events, CopyStarted)]
        return replace(
            self,
            phases=times.phases,
            entities=times.entities,
            server="".join(event.server for event in _all(events, Connected)[-1:]),
            already_loaded=bool(_all(events, AlreadyLoaded)),
            plan=(self.plan, *_all(events, LoadPlan))[-1],
            schema_created=bool(_all(events, SchemaCreated)),
            files=(self.files, *(event.findings for event in _all(events, FilesChecked)))[-1],
            copying=started[-1] if len(started) > len(times.entities) else None,
            verified=_all(events, EntityResult),
            mark=(self.mark, *_all(events, LoadMark))[-1],
            outcome=(self.outcome, *_all(events, Outcome))[-1],
        )


def failed(exc: SnapseedError | KeyboardInterrupt, report: LoadReport, *, only: Sequence[str]) -> SnapseedError:
    """The error that ends a load: it says how the database was left, and carries the report of how far the load came.

    `only` are the entities that were asked for. A row whose parent is missing is then a reason to load parents too.
    """
    error = interruption(exc, "interrupted", where=report.target) if isinstance(exc, KeyboardInterrupt) else exc
    state = exc.__cause__.sqlstate if isinstance(exc.__cause__, psycopg.Error) else None
    if report.outcome is Outcome.UNKNOWN and state and not state.startswith(_GOING_AWAY):
        # The server itself refused the COMMIT.
        report = replace(report, outcome=Outcome.UNCHANGED)
    if report.outcome is Outcome.UNKNOWN:
        error.next_step = f"see what is loaded: snapseed status {report.environment}"
    elif state == _FOREIGN_KEY_VIOLATION and only and (report.copying or report.entities):
        error.next_step = "add --with-parents to load the rows that these refer to as well"
    elif state == _UNIQUE_VIOLATION and report.plan.mode is Mode.APPEND:
        error.next_step = "--mode upsert updates the rows whose keys exist; --mode replace empties the tables first"
    elif state == _FOREIGN_KEY_VIOLATION and report.plan.mode is Mode.REPAIR:
        error.next_step = "rows of tables outside the snapshot refer to rows that it does not have: delete those first"
    elif state and state.startswith(_INTEGRITY) and report.manifest.capture is UNSET and not error.next_step:
        missing = "insert the rows that these refer to; or " * (state == _FOREIGN_KEY_VIOLATION)
        error.next_step = f"{missing}change the draw or the constraint, then `snapseed generate {report.environment}`"
    error.summary += f"; {report.outcome}"
    error.report = report
    return error


def report_of(error: SnapseedError) -> LoadReport | None:
    """The report of the load that this error ended; None if it did not end a load."""
    return error.report if isinstance(error.report, LoadReport) else None


def _all(events: Sequence[Event], kind: type[_Kind]) -> tuple[_Kind, ...]:
    """The events of one kind."""
    return tuple(event for event in events if isinstance(event, kind))
