"""Measure times in turns, compare them as ratios, and print the results as tables.

Absolute times on one machine drift by half within hours; ratios of times measured in turns do not.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Spread:
    """The same thing measured several times."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value, which a single disturbed round does not change much."""
        return statistics.median(self.values)

    @property
    def range(self) -> str:
        """From the lowest to the highest value."""
        return f"{min(self.values):.2f} – {max(self.values):.2f}"

    def __truediv__(self, other: Spread) -> Spread:
        """Ratios round by round, so that a slow round slows both sides and cancels out.

        A quick look may divide by a CPU time that is shorter than the clock's tick: then the ratio is infinite.
        """
        pairs = zip(self.values, other.values, strict=True)
        return Spread(tuple(mine / yours if yours else math.inf for mine, yours in pairs))

    def __add__(self, other: Spread) -> Spread:
        """Sums round by round."""
        return Spread(tuple(mine + yours for mine, yours in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Comparison:
    """One line in a table of ratios: `what` takes `ratio` times as long as `baseline`.

    `absolute` shows the values that were divided. The ratio should not exceed `target`.
    """

    what: str
    baseline: str
    ratio: Spread
    absolute: str
    target: float | None = None


def in_seconds(
    what: str, baseline: str, ours: Spread, theirs: Spread, target: float | None = None, *, digits: int = 2
) -> Comparison:
    """A comparison of two times in seconds."""
    absolute = f"{ours.median:.{digits}f} s ÷ {theirs.median:.{digits}f} s"
    return Comparison(what, baseline, ours / theirs, absolute, target)


def in_milliseconds(
    what: str, baseline: str, ours: Spread, theirs: Spread, target: float | None = None, *, digits: int = 0
) -> Comparison:
    """A comparison of two times in seconds, shown in milliseconds."""
    absolute = f"{1000 * ours.median:.{digits}f} ms ÷ {1000 * theirs.median:.{digits}f} ms"
    return Comparison(what, baseline, ours / theirs, absolute, target)


@dataclass(frozen=True)
class Table:
    """A table with a heading; `text` explains it."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        return f"### {self.title}\n\n{self.text}\n\n{aligned(self.header, self.rows)}\n"


@dataclass(frozen=True)
class Findings:
    """The results of one benchmark."""

    comparisons: tuple[Comparison, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass
class Stopwatch:
    """Adds up seconds by name; wall-clock time unless given another clock."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - started


def seconds(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long `action` takes."""
    started = clock()
    action()
    return clock() - started


def in_turns(rounds: int, *actions: Callable[[], _Result]) -> list[list[_Result]]:
    """The results of each action, called A B C A B C …, so that other load on the machine affects all of them."""
    results: list[list[_Result]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, mine in zip(actions, results, strict=True):
            mine.append(action())
    return results


def spreads_in_turns(rounds: int, *actions: Callable[[], float]) -> list[Spread]:
    """Like `in_turns`, for actions that return a number."""
    return [Spread(tuple(values)) for values in in_turns(rounds, *actions)]


def aligned(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table that also lines up as plain text; all columns except the first are right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(line(cells) for cells in (header, rule, *rows))
