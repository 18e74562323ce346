"""The CI process: check the files, load with retries until the database answers, verify, and measure all of it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import stamina

from snapseed.config import Environment, Project
from snapseed.errors import ServerError, SnapseedError
from snapseed.load.report import LoadReport
from snapseed.load.run import load_snapshot
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import require_files
from snapseed.verify.run import VerifyReport, verify_snapshot

# A database that is starting up answers within seconds, so the first waits are short; a failover takes half a minute.
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Attempt:
    """One try at loading: how long it took, and what ended it if it failed."""

    number: int
    seconds: float
    error: str | None


@dataclass
class CiReport:
    """All that happened. `error` is what ended the process, None where every step passed."""

    environment: str
    snapshot: str
    attempts: list[Attempt] = field(default_factory=list)
    load: LoadReport | None = None
    verify: VerifyReport | None = None
    error: SnapseedError | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def passed(self) -> bool:
        """Whether the database now holds the snapshot, proved after the commit."""
        return self.error is None and self.verify is not None and self.verify.agrees

    @property
    def exit_code(self) -> int:
        """What the process leaves with."""
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.passed else 1


def worth_a_retry(error: Exception) -> bool:
    """Whether the same load may pass when it is run again: the server failed, was not reachable or gave up waiting."""
    return isinstance(error, ServerError)


def run_ci(
    project: Project,
    environment: Environment,
    *,
    retries: int = 5,
    timeout: float = 120.0,
    consent: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> CiReport:
    """Bring the environment's database to its snapshot and prove it. Failures stand in the report, none is raised.

    At most `retries` more attempts after the first, within `timeout` seconds, with waits that grow and jitter; only
    for what is `worth_a_retry`. `log` gets a line for each step and each failed attempt.
    """
    report = CiReport(environment.name, environment.snapshot)
    started = time.monotonic()
    try:
        log("checking the files against the manifest")
        require_files(open_snapshot(project.snapshots, environment.snapshot))
        report.load = _load(project, environment, report, retries, timeout, consent=consent, log=log)
        log("verifying the committed rows")
        report.verify = verify_snapshot(project, environment)
    except SnapseedError as exc:
        report.error = exc
    report.seconds = time.monotonic() - started
    report.peak_memory_bytes = _peak_memory_bytes()
    return report


def _load(
    project: Project,
    environment: Environment,
    report: CiReport,
    retries: int,
    timeout: float,
    *,
    consent: bool,
    log: Callable[[str], None],
) -> LoadReport:
    attempts = stamina.retry_context(
        on=worth_a_retry,
        attempts=retries + 1,
        timeout=timeout,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_LONGEST_WAIT_SECONDS,
    )
    for attempt in attempts:
        with attempt:
            return _attempt(project, environment, report, attempt.num, consent=consent, log=log)
    raise AssertionError("stamina makes one attempt at least")


def _attempt(
    project: Project,
    environment: Environment,
    report: CiReport,
    number: int,
    *,
    consent: bool,
    log: Callable[[str], None],
) -> LoadReport:
    started = time.monotonic()
    log(f"loading, attempt {number}")
    try:
        loaded = load_snapshot(project, environment, consent=consent)
    except SnapseedError as exc:
        report.attempts.append(Attempt(number, time.monotonic() - started, str(exc)))
        log(f"attempt {number} failed: {exc.summary}" + (f": {exc.observed}" if exc.observed else ""))
        raise
    report.attempts.append(Attempt(number, time.monotonic() - started, None))
    return loaded


def _peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
