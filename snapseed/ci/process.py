"""The CI process: wait for the database, guard, check the files, load, verify, measure; again while it may pass."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from snapseed.ci.embedding import Embedding, comparable_entities, embed
from snapseed.ci.report import Baseline, CiReport, ServerSettings, Step, read_baseline, slowdowns
from snapseed.ci.retry import Retrying
from snapseed.config import Environment, Project
from snapseed.embeddings.source import require_queue
from snapseed.errors import SnapseedError, interruption
from snapseed.events import Listener, Note, ignore
from snapseed.load.outcome import LoadReport, report_of
from snapseed.load.outcome import Outcome as LoadOutcome
from snapseed.load.request import LoadRequest
from snapseed.load.snapshot import finish_if_committed, load_snapshot
from snapseed.postgres.connect import connected
from snapseed.postgres.failures import translated
from snapseed.postgres.guard import identify, require_allowed
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.database import VerifyReport, verify_snapshot

# What decides how fast a server takes a bulk load (PostgreSQL manual, "Populating a Database").
_SETTINGS = [
    "autovacuum",
    "checkpoint_timeout",
    "fsync",
    "full_page_writes",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers_per_gather",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "wal_level",
]


@dataclass
class _Process:
    """One run at work."""

    project: Project
    environment: Environment
    consent: bool
    listener: Listener
    report: CiReport
    retrying: Retrying

    def wait(self) -> ServerSettings:
        """Connect, to Redis too where jobs go there, and refuse at once what no attempt would be allowed to do."""
        target = resolve_target(self.project, self.environment)
        self.report.target, self.report.source = target.described, target.source
        with connected(target) as connection, translated("asking the server what it is", target.described):
            identity = identify(connection)
            require_allowed(identity, target, self.environment, consent=self.consent)
            query = "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
            settings = {str(name): str(value) for name, value in connection.execute(query, [_SETTINGS]).fetchall()}
            version = connection.execute("SHOW server_version").fetchone()
        assert version is not None
        if self.environment.embeddings == "queue":
            require_queue(self.project, self.environment, consent=self.consent)
        return ServerSettings(f"PostgreSQL {version[0]}", str(identity), settings)

    def log(self, line: str) -> None:
        """Tell a line."""
        self.listener(Note(line))

    def load(self) -> LoadReport:
        """One attempt; or none, where the last one was committed although it failed."""
        last = self.report.load
        if last is not None and (finished := finish_if_committed(self.project, self.environment, last)):
            self.log("the last attempt was committed, as its record says: it is not run again")
            return finished
        request = LoadRequest(consent=self.consent)
        try:
            return load_snapshot(self.project, self.environment, request, listener=self.listener)
        except SnapseedError as exc:
            self.report.load = report_of(exc)
            raise

    def embed(self) -> Embedding:
        """The embeddings that the load has left to workers."""
        return embed(self.project, self.environment, consent=self.consent, listener=self.listener)

    def verify(self) -> VerifyReport:
        """The committed rows; the files were checked before they were loaded."""
        only: list[str] = []
        if self.environment.embeddings == "queue" and self.report.manifest is not None:
            only = comparable_entities(self.project, self.environment, self.report.manifest)
        return verify_snapshot(self.project, self.environment, files=False, only=only)

    def run(self, baseline: Baseline | None, max_slowdown: float) -> None:
        """All steps."""
        report = self.report
        with report.doing(Step.PREPARE):
            report.manifest = open_snapshot(self.project.snapshots, self.environment.snapshot).manifest
        self.log(Step.WAIT)
        report.server = self.retrying.run(Step.WAIT, self.wait)
        self.log(f"{Step.LOAD} {report.manifest.rows:,} rows")
        report.load = self.retrying.run(Step.LOAD, self.load)
        if self.environment.embeddings == "queue":
            self.log(f"{Step.EMBED} by workers")
            report.embedding = self.retrying.run(Step.EMBED, self.embed)
        self.log(f"{Step.VERIFY} the committed rows")
        report.verify = self.retrying.run(Step.VERIFY, self.verify)
        if baseline is not None:
            with report.doing(Step.COMPARE):
                report.slowdowns = slowdowns(report.metrics, baseline, max_slowdown)


def run_ci(
    project: Project,
    environment: Environment,
    *,
    baseline: Path | None = None,
    max_slowdown: float = 1.5,
    consent: bool = False,
    listener: Listener = ignore,
) -> CiReport:
    """Bring the environment's database to its snapshot and prove it. Failures stand in the report, none is raised.

    Each step is tried again while its failure may pass (`database.failures.may_pass`): at most `retries` times, none
    begun after `timeout` seconds, both of the environment. With a `baseline`, the report of an earlier run, what takes
    more than `max_slowdown` times as long is a finding. The listener gets a `Note` for each step and each failed
    attempt, and what the load tells.
    """
    report = CiReport(environment.name, environment.snapshot)
    started = time.monotonic()
    retrying = Retrying(report, environment.retries, started + environment.timeout, lambda line: listener(Note(line)))
    process = _Process(project, environment, consent, listener, report, retrying)
    try:
        if baseline is not None:
            report.baseline = str(baseline)
        process.run(read_baseline(baseline) if baseline else None, max_slowdown)
    except SnapseedError as exc:
        report.error = exc
    except KeyboardInterrupt as exc:
        outcome = report.load.outcome if report.load else LoadOutcome.UNCHANGED
        report.error = interruption(exc, f"interrupted; {outcome}", where=report.target or None)
    report.seconds = time.monotonic() - started
    report.peak_memory_bytes = _peak_memory_bytes()
    return report


def _peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
