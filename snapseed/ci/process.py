"""The CI process: wait for the database, guard, load, embed, verify, compare. A step runs again while it may pass."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from snapseed.ci.embedding import Embedding, comparable_entities, embed
from snapseed.ci.report import Attempt, Baseline, CiReport, CiStep, ServerSettings, read_baseline, slowdowns
from snapseed.config import Environment, Project
from snapseed.embeddings.source import require_queue
from snapseed.errors import SnapseedError, interruption
from snapseed.events import Event, Listener, Note, PhaseStarted, ignore, phase, phase_seconds, recorded
from snapseed.load.outcome import LoadReport, Outcome, report_of
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import finish_if_committed, load_snapshot
from snapseed.postgres import query
from snapseed.postgres.connect import Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import identify_allowed
from snapseed.postgres.retry import Attempted, RetryLimits, retried
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import snapshot_of
from snapseed.verify.database import VerifyReport, verify_snapshot

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CiRequest:
    """What is asked of a run.

    With a `baseline`, the report of an earlier run, whatever takes more than `max_slowdown` times as long is a finding.
    `consent` is the user's yes to replacing rows that snapseed did not load.
    """

    baseline: Path | None = None
    max_slowdown: float = 1.5
    consent: bool = False


def run_ci(
    project: Project, environment: Environment, request: CiRequest = CiRequest(), *, listener: Listener = ignore
) -> CiReport:
    """Bring the environment's database to its snapshot and verify that it is there. Failures are in the report.

    Each step runs again while its failure may pass (`postgres.failures.may_pass`): at most `retries` times, and no
    attempt starts after `timeout` seconds, both of the environment. The listener gets the steps as phases, a `Note` for
    each step and each failed attempt, and whatever loading and verifying tell.
    """
    started = time.monotonic()
    events, tell = recorded(listener)
    steps = _Steps(project, environment, request, listener, started + environment.timeout, events, tell)
    error: SnapseedError | KeyboardInterrupt | None = None
    baseline: Baseline | None = None
    try:
        # Before anything is done: a baseline that cannot be read.
        baseline = read_baseline(request.baseline) if request.baseline else None
        steps.run()
    except (SnapseedError, KeyboardInterrupt) as exc:
        error = exc
    report = _report(environment, request, events)
    if isinstance(error, KeyboardInterrupt):
        outcome = report.load.outcome if report.load else Outcome.UNCHANGED
        error = interruption(error, f"interrupted; {outcome}", where=report.target or None)
    elif error is None and baseline is not None:
        with phase(tell, CiStep.COMPARE):
            slower = tuple(slowdowns(report.metrics, baseline, request.max_slowdown))
        report = replace(report, step=CiStep.COMPARE, steps=phase_seconds(events), slowdowns=slower)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = peak if sys.platform == "darwin" else peak * 1024
    return replace(report, error=error, seconds=time.monotonic() - started, peak_memory_bytes=memory)


def _report(environment: Environment, request: CiRequest, events: Sequence[Event]) -> CiReport:
    """The report of what was told, without an error, a comparison, and the time and memory of the whole."""
    target, started = _last(events, Target), _last(events, PhaseStarted)
    return CiReport(
        environment=environment.name,
        snapshot=environment.snapshot,
        target=target.described if target else "",
        source=target.source if target else "",
        manifest=_last(events, Manifest),
        server=_last(events, ServerSettings),
        step=CiStep(started.phase) if started else CiStep.PREPARE,
        steps=phase_seconds(events),
        attempts=tuple(event for event in events if isinstance(event, Attempt)),
        load=_last(events, LoadReport),
        embedding=_last(events, Embedding),
        verify=_last(events, VerifyReport),
        baseline=str(request.baseline) if request.baseline else None,
    )


def _last(events: Sequence[Event], kind: type[_Result]) -> _Result | None:
    return next((event for event in reversed(events) if isinstance(event, kind)), None)


@dataclass(frozen=True)
class _Steps:
    """The steps of one run. What `tell` is told ends up in `events`, from which the report is made."""

    project: Project
    environment: Environment
    request: CiRequest
    listener: Listener
    deadline: float
    events: list[Event]
    tell: Listener

    def run(self) -> None:
        """Each step in order. Raises what ends the run."""
        with phase(self.tell, CiStep.PREPARE):
            manifest = snapshot_of(self.environment).manifest
            self.tell(manifest)
        self._step(CiStep.WAIT, "", self._wait)
        self._step(CiStep.LOAD, f"{manifest.rows:,} rows", self._load)
        if self.environment.embeddings == "queue":
            consent = self.request.consent
            work = partial(embed, self.project, self.environment, consent=consent, listener=self.listener)
            self._step(CiStep.EMBED, "by workers", work)
        self._step(CiStep.VERIFY, "the committed rows", lambda: self._verify(manifest))

    def _step(self, step: CiStep, what: str, attempt: Callable[[], _Result]) -> None:
        """Run a step, again while its failure may pass, and tell its result."""

        def told(event: Event) -> None:
            """Tell of an attempt: why it failed, and when the next one comes."""
            assert isinstance(event, Attempted)
            error = event.error
            reason = None if error is None else str(error)
            self.tell(Attempt(step, event.number, event.seconds, reason, event.wait_seconds))
            if error is not None:
                why = error.summary + (f": {error.observed.splitlines()[0]}" if error.observed else "")
                then = "" if event.wait_seconds is None else f"; next attempt in {event.wait_seconds:.1f} s"
                self.tell(Note(f"{step}, attempt {event.number} failed: {why}{then}"))

        limits = RetryLimits(self.environment.retries + 1, self.deadline - time.monotonic())
        self.tell(Note(f"{step} {what}".rstrip()))
        with phase(self.tell, step):
            self.tell(retried(attempt, limits, told))

    def _wait(self) -> ServerSettings:
        """Connect, also to Redis if jobs go there. A guard refuses at once what no attempt would be allowed to do."""
        target = resolve_target(self.project, self.environment)
        self.tell(target)
        asking = translated("asking the server for its settings", target.described)
        with connected(target) as connection, asking, connection.transaction():
            identity = identify_allowed(connection, target, self.environment, consent=self.request.consent)
            settings = {str(name): str(value) for name, value in connection.execute(query("speed_settings"))}
        if self.environment.embeddings == "queue":
            require_queue(self.project, self.environment, consent=self.request.consent)
        return ServerSettings(f"PostgreSQL {settings.pop('server_version')}", str(identity), settings)

    def _load(self) -> LoadReport:
        """One attempt; or none, if the last one failed after its commit."""
        last = _last(self.events, LoadReport)
        finished = last and finish_if_committed(self.project, self.environment, last, listener=self.listener)
        if finished:
            self.tell(Note("the last attempt did commit, as its record in the database says; it does not run again"))
            return finished
        try:
            wanted = LoadRequest(consent=self.request.consent)
            return load_snapshot(self.project, self.environment, wanted, listener=self.listener)
        except SnapseedError as exc:
            if (failed := report_of(exc)) is not None:
                self.tell(failed)
            raise

    def _verify(self, manifest: Manifest) -> VerifyReport:
        """The committed rows. The files were checked before they were loaded."""
        by_workers = self.environment.embeddings == "queue"
        only = comparable_entities(self.project, self.environment, manifest) if by_workers else []
        return verify_snapshot(self.project, self.environment, files="skip", only=only, listener=self.listener)
