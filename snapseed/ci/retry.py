"""Run a step of the CI process again while its failure may pass, and note each attempt in the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from snapseed.ci.report import Attempt, CiReport, Step
from snapseed.events import Event
from snapseed.postgres.retry import Attempted, RetryLimits, retried

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Retrying:
    """The limits of all steps together: so many attempts after the first for each, and none started after the deadline.

    Every attempt is noted in the report; `log` gets a line for each that failed.
    """

    report: CiReport
    retries: int
    deadline: float
    log: Callable[[str], None]

    def run(self, step: Step, attempt: Callable[[], _Result]) -> _Result:
        """Return what `attempt` returns. Raises its last failure, at once if that will not pass."""
        limits = RetryLimits(self.retries + 1, self.deadline - time.monotonic())
        with self.report.doing(step):
            return retried(attempt, limits, lambda event: self._note(step, event))

    def _note(self, step: Step, event: Event) -> None:
        assert isinstance(event, Attempted)
        error = event.error
        known = None if error is None else str(error)
        self.report.attempts.append(Attempt(step, event.number, event.seconds, known, event.wait_seconds))
        if error is not None:
            why = error.summary + (f": {error.observed.splitlines()[0]}" if error.observed else "")
            then = "" if event.wait_seconds is None else f"; next attempt in {event.wait_seconds:.1f} s"
            self.log(f"{step}, attempt {event.number} failed: {why}{then}")
