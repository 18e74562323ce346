"""What the CI process reports: its steps and attempts, what each came to, and what ended it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from time import monotonic

import msgspec

from snapseed.ci.embedding import Embedding
from snapseed.errors import InterruptedByUserError, SnapseedError, UsageError
from snapseed.load.outcome import LoadReport
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.database import VerifyReport


class Step(StrEnum):
    """The steps in their order."""

    PREPARE = "reading the snapshot"
    WAIT = "waiting for the database"
    LOAD = "loading"
    EMBED = "embedding"
    VERIFY = "verifying"
    COMPARE = "comparing with the baseline"


class Verdict(StrEnum):
    """How the process ended."""

    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Attempt:
    """One try at a step: how long it took, what ended it if it failed, and the shortest wait before the next one.

    `wait` is None where none followed.
    """

    step: Step
    number: int
    seconds: float
    error: str | None = None
    wait: float | None = None


@dataclass
class ServerSettings:
    """The server: its version, where it is, and the settings on which the speed of a load depends."""

    version: str
    identity: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slowdown:
    """Something that took longer than allowed: seconds now, and seconds that the baseline took for as many rows."""

    what: str
    seconds: float
    before: float

    @property
    def factor(self) -> float:
        """How many times as long."""
        return self.seconds / self.before if self.before > 0 else float("inf")

    def __str__(self) -> str:
        return f"{self.what} took {self.seconds:.2f} s, {self.factor:.1f} × the baseline's {self.before:.2f} s"


@dataclass(frozen=True)
class EntityMetrics:
    """One entity: rows, bytes of COPY data, seconds of its COPY and of its verification after the commit."""

    rows: int
    bytes: int
    seconds: float
    rows_per_second: float
    verify_seconds: float


@dataclass(frozen=True)
class Metrics:
    """Seconds by step and by phase of the load, entities by name, and what they were measured on.

    A load that failed has the phases and entities it came to.
    """

    rows: int
    bytes: int
    seconds: float
    rows_per_second: float
    retries: int
    peak_memory_bytes: int
    steps: dict[str, float]
    phases: dict[str, float]
    entities: dict[str, EntityMetrics]
    server: str
    settings: dict[str, str]


@dataclass
class CiReport:
    """All that happened. `error` is what ended the process, None where each step could be done; `step` the last one."""

    environment: str
    snapshot: str
    target: str = ""
    source: str = ""
    manifest: Manifest | None = None
    server: ServerSettings | None = None
    step: Step = Step.PREPARE
    steps: dict[Step, float] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    load: LoadReport | None = None
    embedding: Embedding | None = None
    verify: VerifyReport | None = None
    baseline: str | None = None
    slowdowns: list[Slowdown] = field(default_factory=list)
    error: SnapseedError | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def verdict(self) -> Verdict:
        """Passed: the database holds the snapshot, proved after the commit, and nothing got slower than allowed."""
        if isinstance(self.error, InterruptedByUserError):
            return Verdict.INTERRUPTED
        verified = self.verify is not None and self.verify.agrees
        return Verdict.PASSED if self.error is None and verified and not self.slowdowns else Verdict.FAILED

    @property
    def exit_code(self) -> int:
        """What the process leaves with."""
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.verdict is Verdict.PASSED else 1

    @property
    def retries(self) -> int:
        """Attempts after the first of each step."""
        return sum(attempt.number > 1 for attempt in self.attempts)

    @contextmanager
    def doing(self, step: Step) -> Iterator[None]:
        """Measure a step, whether it fails or not."""
        self.step, started = step, monotonic()
        try:
            yield
        finally:
            self.steps[step] = monotonic() - started

    @property
    def metrics(self) -> Metrics:
        """What was measured, also of a run that failed. `rows_per_second` is over the whole time of the load."""
        load = self.load
        copies = load.entities if load else ()
        checked = {entity.entity: entity.seconds for entity in self.verify.entities} if self.verify else {}
        rows = sum(copy.rows for copy in copies)
        return Metrics(
            rows=rows,
            bytes=sum(copy.bytes for copy in copies),
            seconds=self.seconds,
            rows_per_second=_rate(rows, load.seconds if load else 0.0),
            retries=self.retries,
            peak_memory_bytes=self.peak_memory_bytes,
            steps={str(step): seconds for step, seconds in self.steps.items()},
            phases=dict(load.phases) if load else {},
            entities={
                copy.entity: EntityMetrics(
                    rows=copy.rows,
                    bytes=copy.bytes,
                    seconds=copy.seconds,
                    rows_per_second=_rate(copy.rows, copy.seconds),
                    verify_seconds=checked.get(copy.entity, 0.0),
                )
                for copy in copies
            },
            server=self.server.version if self.server else "",
            settings=dict(self.server.settings) if self.server else {},
        )


def _rate(rows: int, seconds: float) -> float:
    return rows / seconds if seconds > 0 else 0.0


FORMAT = 1
# What takes this much longer is the noise of a machine that others use as well.
_NOISE_SECONDS = 0.25


class _Entity(msgspec.Struct, frozen=True):
    rows: int
    seconds: float
    verify_seconds: float


class _Metrics(msgspec.Struct, frozen=True):
    rows: int
    phases: dict[str, float]
    entities: dict[str, _Entity]


class Baseline(msgspec.Struct, frozen=True):
    """What is read of an earlier report; whatever else stands there is no concern."""

    format: int
    outcome: str
    metrics: _Metrics


def read_baseline(path: Path) -> Baseline:
    """A report that `snapseed ci --report` has written. Raises `UsageError` for anything else and for a failed run."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (OSError, msgspec.DecodeError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError(
            "the baseline cannot be read",
            where=str(path),
            observed=reason,
            expected="a report of `snapseed ci --report FILE`",
        ) from exc
    if baseline.format != FORMAT or baseline.outcome != Verdict.PASSED:
        raise UsageError(
            "the baseline is no report that can be compared with",
            where=str(path),
            observed=f"format {baseline.format}, outcome {baseline.outcome!r}",
            expected=f"format {FORMAT}, of a run that has passed",
        )
    return baseline


def slowdowns(metrics: Metrics, baseline: Baseline, allowed: float) -> list[Slowdown]:
    """Phases and entities that took more than `allowed` times as long as in the baseline, beyond noise.

    Times of the baseline are scaled to the rows of this run. Waiting for the server and connecting are not compared.
    """
    return [
        slowdown
        for slowdown in _pairs(metrics, baseline)
        if slowdown.seconds > allowed * slowdown.before and slowdown.seconds - slowdown.before > _NOISE_SECONDS
    ]


def _pairs(metrics: Metrics, baseline: Baseline) -> Iterator[Slowdown]:
    old = baseline.metrics
    for name, entity in metrics.entities.items():
        before = old.entities.get(name)
        if before is not None and before.rows:
            scale = entity.rows / before.rows
            yield Slowdown(f"copying {name}", entity.seconds, before.seconds * scale)
            yield Slowdown(f"verifying {name}", entity.verify_seconds, before.verify_seconds * scale)
    for name, seconds in metrics.phases.items():
        if name in old.phases and name != "connecting":
            yield Slowdown(name, seconds, old.phases[name] * metrics.rows / old.rows)
