"""What the CI process reports, and what it measured. A report is made once, from the events of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from snapseed.errors import InterruptedByUserError, SnapseedError, UsageError
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.database import VerifyReport

if TYPE_CHECKING:
    # What `verify` does not need: the embedder, the queue and polars.
    from snapseed.ci.embedding import Embedding
    from snapseed.load.outcome import LoadReport

FORMAT = 1
# On a machine that others use too, a difference below this is noise.
_NOISE_SECONDS = 0.25


class CiStep(StrEnum):
    """The steps in their order."""

    PREPARE = "reading the snapshot"
    WAIT = "waiting for the database"
    LOAD = "loading"
    EMBED = "embedding"
    VERIFY = "verifying"
    COMPARE = "comparing with the baseline"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a step: how long it took, and why it failed if it did.

    `wait` is the shortest wait before the next attempt, None if there was none.
    """

    step: CiStep
    number: int
    seconds: float
    error: str | None = None
    wait: float | None = None


@dataclass(frozen=True)
class ServerSettings:
    """The server's version, what it says about itself, and the settings that decide how fast it takes a load."""

    version: str
    identity: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Slowdown:
    """Something that took longer than allowed: seconds now, and seconds in the baseline for the same number of rows."""

    what: str
    seconds: float
    before: float

    @property
    def factor(self) -> float:
        """How many times as long it took."""
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
    """Seconds by step and by phase of the load, entities by name, and the server they were measured on.

    `rows_per_second` is over the whole time of the load; `retries` counts attempts after the first of each step. A load
    that failed has the phases and entities it got to.
    """

    rows: int
    bytes: int
    seconds: float
    rows_per_second: float
    retries: int
    peak_memory_bytes: int
    steps: Mapping[str, float]
    phases: Mapping[str, float]
    entities: Mapping[str, EntityMetrics]
    server: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class CiReport:
    """One run. `error` is what ended it, None if every step was done; `step` is the last one.

    `load` is the report of the last attempt, also if it failed.
    """

    environment: str
    snapshot: str
    target: str = ""
    source: str = ""
    manifest: Manifest | None = None
    server: ServerSettings | None = None
    step: CiStep = CiStep.PREPARE
    steps: Mapping[str, float] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    load: LoadReport | None = None
    embedding: Embedding | None = None
    verify: VerifyReport | None = None
    baseline: str | None = None
    slowdowns: tuple[Slowdown, ...] = ()
    error: SnapseedError | None = None
    seconds: float = 0.0
    peak_memory_bytes: int = 0

    @property
    def outcome(self) -> Literal["passed", "failed", "interrupted"]:
        """Passed: the committed rows are those of the snapshot, and nothing got slower than allowed."""
        if isinstance(self.error, InterruptedByUserError):
            return "interrupted"
        verified = self.verify is not None and self.verify.agrees
        return "passed" if self.error is None and verified and not self.slowdowns else "failed"

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        return self.error.exit_code if self.error else int(self.outcome != "passed")

    @property
    def metrics(self) -> Metrics:
        """What was measured, also of a run that failed."""
        load = self.load
        copies = load.entities if load else ()
        verified = {entity.entity: entity.seconds for entity in self.verify.entities} if self.verify else {}
        rows = sum(copy.rows for copy in copies)
        return Metrics(
            rows=rows,
            bytes=sum(copy.bytes for copy in copies),
            seconds=self.seconds,
            rows_per_second=_rate(rows, load.seconds if load else 0.0),
            retries=sum(attempt.number > 1 for attempt in self.attempts),
            peak_memory_bytes=self.peak_memory_bytes,
            steps=self.steps,
            phases=load.phases if load else {},
            entities={
                copy.entity: EntityMetrics(
                    rows=copy.rows,
                    bytes=copy.bytes,
                    seconds=copy.seconds,
                    rows_per_second=_rate(copy.rows, copy.seconds),
                    verify_seconds=verified.get(copy.entity, 0.0),
                )
                for copy in copies
            },
            server=self.server.version if self.server else "",
            settings=self.server.settings if self.server else {},
        )


def _rate(rows: int, seconds: float) -> float:
    return rows / seconds if seconds > 0 else 0.0


@dataclass(frozen=True)
class Baseline:
    """The part of an earlier report that is compared; it has other fields, which are ignored."""

    format: int
    outcome: str
    metrics: Metrics


def read_baseline(path: Path) -> Baseline:
    """Read a report that `snapseed ci --report` wrote. Raises `UsageError` for anything else, and for a failed run."""
    where, expected = str(path), f"a report of `snapseed ci --report FILE`, format {FORMAT}, of a run that passed"
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (OSError, msgspec.DecodeError) as exc:
        observed = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError("the baseline cannot be read", where=where, observed=observed, expected=expected) from exc
    if baseline.format != FORMAT or baseline.outcome != "passed":
        observed = f"format {baseline.format}, outcome {baseline.outcome!r}"
        raise UsageError("this is not a usable baseline", where=where, observed=observed, expected=expected)
    return baseline


def slowdowns(metrics: Metrics, baseline: Baseline, allowed: float) -> list[Slowdown]:
    """Phases and entities that took more than `allowed` times as long as in the baseline, beyond noise.

    The baseline's times are scaled to the rows of this run. Waiting for the server and connecting are not compared.
    """
    old = baseline.metrics
    pairs = []
    for name, entity in metrics.entities.items():
        before = old.entities.get(name)
        if before is not None and before.rows:
            scale = entity.rows / before.rows
            pairs.append(Slowdown(f"copying {name}", entity.seconds, before.seconds * scale))
            pairs.append(Slowdown(f"verifying {name}", entity.verify_seconds, before.verify_seconds * scale))
    for name, seconds in metrics.phases.items():
        if name in old.phases and name != "connecting":
            pairs.append(Slowdown(name, seconds, old.phases[name] * metrics.rows / old.rows))
    return [pair for pair in pairs if pair.seconds - pair.before > _NOISE_SECONDS and pair.factor > allowed]
