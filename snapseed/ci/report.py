"""What the CI process reports: its steps and attempts, what each came to, and what ended it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from snapseed.ci.embedding import Embedding
from snapseed.errors import InterruptedByUserError, SnapseedError
from snapseed.load.report import LoadReport
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


class Outcome(StrEnum):
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
class ServerFacts:
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


@dataclass
class CiReport:
    """All that happened. `error` is what ended the process, None where each step could be done; `step` the last one."""

    environment: str
    snapshot: str
    target: str = ""
    source: str = ""
    manifest: Manifest | None = None
    server: ServerFacts | None = None
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
    def outcome(self) -> Outcome:
        """Passed: the database holds the snapshot, proved after the commit, and nothing got slower than allowed."""
        if isinstance(self.error, InterruptedByUserError):
            return Outcome.INTERRUPTED
        verified = self.verify is not None and self.verify.agrees
        return Outcome.PASSED if self.error is None and verified and not self.slowdowns else Outcome.FAILED

    @property
    def exit_code(self) -> int:
        """What the process leaves with."""
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.outcome is Outcome.PASSED else 1

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
