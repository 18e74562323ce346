"""What may pass is tried again, within limits, and each attempt is told."""

from __future__ import annotations

import math

import pytest

from snapseed.errors import LoadError, ServerError, SnapseedError
from snapseed.events import Event
from snapseed.postgres.retry import Attempted, RetryLimits, retried


def run(errors: list[SnapseedError], limits: RetryLimits) -> tuple[object, list[Attempted]]:
    """The result, or the error raised, of an attempt that fails with these errors first; and what was told."""
    told: list[Event] = []
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    try:
        result: object = retried(attempt, limits, told.append, passes=lambda error: isinstance(error, ServerError))
    except SnapseedError as exc:
        result = exc
    return result, [event for event in told if isinstance(event, Attempted)]


def test_a_failure_that_may_pass_is_tried_again() -> None:
    """After a wait that grows; the listener gets the failures and the success."""
    errors: list[SnapseedError] = [ServerError("gone"), ServerError("still gone")]
    result, told = run(errors, RetryLimits())
    assert result == "done"
    assert [(event.number, event.error, event.wait_seconds) for event in told] == [
        (1, errors[0], 0.2),
        (2, errors[1], 0.4),
        (3, None, None),
    ]


@pytest.mark.parametrize(
    ("errors", "limits", "attempts"),
    [
        ([LoadError("refused"), ServerError("gone")], RetryLimits(), 1),
        ([ServerError("gone")] * 9, RetryLimits(attempts=2), 2),
        ([ServerError("gone")] * 9, RetryLimits(seconds=0), 1),
        ([ServerError("gone")] * 9, RetryLimits(seconds=-math.inf), 1),
    ],
    ids=["will not pass", "attempts", "no time", "past the deadline"],
)
def test_the_last_failure_is_raised(errors: list[SnapseedError], limits: RetryLimits, attempts: int) -> None:
    """Once it will not pass, or a limit is reached; no further attempt is announced."""
    result, told = run(errors, limits)
    assert result is errors[attempts - 1]
    assert len(told) == attempts
    assert told[-1].wait_seconds is None


@pytest.mark.parametrize("in_listener", [False, True])
def test_an_interrupt_is_not_retried(*, in_listener: bool) -> None:
    """Neither during an attempt that follows a failure, nor while a failure is told."""
    attempts: list[int] = []

    def attempt() -> None:
        attempts.append(1)
        if len(attempts) > 1:
            raise KeyboardInterrupt
        raise ServerError("gone")

    def listen(_: Event) -> None:
        if in_listener:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retried(attempt, RetryLimits(attempts=9), listen, passes=lambda _: True)
    assert len(attempts) == (1 if in_listener else 2)
