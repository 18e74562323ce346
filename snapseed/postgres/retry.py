"""Run something again while its failure may pass: the project's one place for waits and limits, on top of stamina."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina

from snapseed.errors import SnapseedError
from snapseed.events import Listener, ignore
from snapseed.postgres.failures import may_pass

# A server that starts answers within seconds, a failover takes half a minute: short waits, and many of them.
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 3.0
# Spreads out the retries of processes that failed together.
_JITTER_SECONDS = 0.5
_Result = TypeVar("_Result")

# The listener hears of each attempt; without a handler Python would also print stamina's own warnings.
logging.getLogger("stamina").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Attempted:
    """Attempt `number`, from 1, ended after `seconds`. `error` is why it failed, None if it succeeded.

    The next attempt starts `wait_seconds` later, or a little more; None if there is no next one.
    """

    number: int
    seconds: float
    error: SnapseedError | None = None
    wait_seconds: float | None = None


@dataclass(frozen=True)
class RetryLimits:
    """At most this many attempts, the first included, and none that starts after `seconds`. Infinite by default."""

    attempts: float = math.inf
    seconds: float = math.inf


def retried(
    attempt: Callable[[], _Result],
    limits: RetryLimits,
    listener: Listener = ignore,
    *,
    passes: Callable[[SnapseedError], bool] = may_pass,
) -> _Result:
    """Return what `attempt` returns; it runs again while it fails with an error that `passes`, within the limits.

    Raises the last error. The listener gets an `Attempted` for each attempt. The waits grow from 0.2 to 3 seconds.
    """
    deadline = time.monotonic() + limits.seconds
    once_more = False
    contexts = stamina.retry_context(
        on=lambda exc: once_more and isinstance(exc, SnapseedError),
        attempts=None,
        timeout=None,
        wait_initial=_FIRST_WAIT_SECONDS,
        wait_max=_LONGEST_WAIT_SECONDS,
        wait_jitter=_JITTER_SECONDS,
    )
    for context in contexts:
        with context:
            started = time.monotonic()
            try:
                result = attempt()
            except SnapseedError as exc:
                now, wait = time.monotonic(), context.next_wait
                once_more = context.num < limits.attempts and now + wait + _JITTER_SECONDS <= deadline and passes(exc)
                listener(Attempted(context.num, now - started, exc, wait if once_more else None))
                raise
            listener(Attempted(context.num, time.monotonic() - started))
            return result
    raise AssertionError("stamina makes at least one attempt")
