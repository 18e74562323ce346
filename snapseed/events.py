"""What happens during a run, told to a listener as it happens. Progress bars, reports and metrics are made from it.

Events are values that a listener may keep. It is called on the thread that does the work and should return at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseStarted:
    """A phase of the run began."""

    phase: str


@dataclass(frozen=True)
class PhaseEnded:
    """A phase of the run ended after `seconds`, whether it succeeded or not."""

    phase: str
    seconds: float


@dataclass(frozen=True)
class PhaseShare:
    """Of the seconds of a phase, these were spent on `share`, which counts as a phase of its own."""

    phase: str
    share: str
    seconds: float


@dataclass(frozen=True)
class Advanced:
    """`done` of `total` units of `what` are finished; `unit` is what is counted: "rows", "parts", "files"."""

    what: str
    done: int
    total: int
    unit: str = "rows"
    bytes: int = 0


@dataclass(frozen=True)
class Note:
    """A line for the user, for example who the run is waiting for."""

    text: str


# A use case may have events of its own. A listener ignores events that it does not know.
Event = object
Listener = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A listener for a run that nobody watches."""


def notes_to(log: Callable[[str], None]) -> Listener:
    """A listener that passes on the text of each `Note` and nothing else."""
    return lambda event: log(event.text) if isinstance(event, Note) else None


def recorded(listener: Listener) -> tuple[list[Event], Listener]:
    """An empty list, and a listener that passes each event on and adds it to the list, except `Advanced`."""
    events: list[Event] = []

    def tell(event: Event) -> None:
        if not isinstance(event, Advanced):
            events.append(event)
        listener(event)

    return events, tell


@contextmanager
def phase(listener: Listener, name: str) -> Iterator[None]:
    """Tell the listener when a phase starts and when it ends, whether it succeeded or not."""
    listener(PhaseStarted(name))
    started = time.monotonic()
    try:
        yield
    finally:
        listener(PhaseEnded(name, time.monotonic() - started))


def phase_seconds(events: Sequence[Event]) -> dict[str, float]:
    """The seconds of each phase, in the order in which they first ended. If a phase ran twice, the sum."""
    seconds: dict[str, float] = {}
    for event in events:
        match event:
            case PhaseEnded(name, spent):
                seconds[name] = seconds.get(name, 0.0) + spent
            case PhaseShare(name, share, spent):
                seconds[share] = seconds.get(share, 0.0) + spent
                seconds[name] = seconds.get(name, 0.0) - spent
    return seconds
