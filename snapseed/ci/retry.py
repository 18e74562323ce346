"""Try a step of the CI process again while its failure may pass, with waits that grow and vary, in bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import stamina

from snapseed.ci.report import Attempt, CiReport, Step
from snapseed.errors import SnapseedError
from snapseed.postgres.failures import may_pass

# A database that is starting up answers within seconds, a failover takes half a minute: short waits, and many.
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 3.0
# So that jobs that failed together do not come back together.
_JITTER_SECONDS = 0.5
_Result = TypeVar("_Result")


@dataclass
class Retrying:
    """The bounds of all steps together: so many attempts after the first for each, and none begun after the deadline.

    Every attempt is noted in the report and, where it failed, told to `log`.
    """

    report: CiReport
    retries: int
    deadline: float
    log: Callable[[str], None]
    _goes_on: bool = field(default=False, init=False)

    def run(self, step: Step, attempt: Callable[[], _Result]) -> _Result:
        """What `attempt` returns; raises its last failure, at once where that will not pass."""
        contexts = stamina.retry_context(
            on=lambda _: self._goes_on,
            attempts=self.retries + 1,
            timeout=None,
            wait_initial=_FIRST_WAIT_SECONDS,
            wait_max=_LONGEST_WAIT_SECONDS,
            wait_jitter=_JITTER_SECONDS,
        )
        with self.report.doing(step):
            for context in contexts:
                with context:
                    return self._attempt(step, context, attempt)
        raise AssertionError("stamina makes one attempt at least")

    def _attempt(self, step: Step, context: stamina.Attempt, attempt: Callable[[], _Result]) -> _Result:
        started = time.monotonic()
        try:
            result = attempt()
        except SnapseedError as exc:
            now, wait = time.monotonic(), context.next_wait
            in_bounds = context.num <= self.retries and now + wait + _JITTER_SECONDS <= self.deadline
            self._goes_on = in_bounds and may_pass(exc)
            then = wait if self._goes_on else None
            self.report.attempts.append(Attempt(step, context.num, now - started, str(exc), then))
            self.log(_told(step, context.num, exc, then))
            raise
        self.report.attempts.append(Attempt(step, context.num, time.monotonic() - started))
        return result


def _told(step: Step, number: int, error: SnapseedError, wait: float | None) -> str:
    why = error.summary + (f": {error.observed.splitlines()[0]}" if error.observed else "")
    then = f"; again in {wait:.1f} s or a little more" if wait is not None else ""
    return f"{step}, attempt {number} failed: {why}{then}"
