"""Measured values: their median and spread, and tables of them that read well in a terminal and in Markdown.

Times of one machine drift by half between hours, so what is compared was measured in turns, and stands as a ratio.
"""

from __future__ import annotations

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
        """The middle value: one disturbed round does not move it."""
        return statistics.median(self.values)

    @property
    def range(self) -> str:
        """From the lowest to the highest value."""
        return f"{min(self.values):.2f} – {max(self.values):.2f}"

    def __add__(self, other: Spread) -> Spread:
        """The sums round by round."""
        return Spread(tuple(mine + yours for mine, yours in zip(self.values, other.values, strict=True)))

    def __truediv__(self, other: Spread) -> Spread:
        """The ratios round by round: what slowed a whole round down cancels out."""
        return Spread(tuple(mine / yours for mine, yours in zip(self.values, other.values, strict=True)))


@dataclass(frozen=True)
class Headline:
    """One line of a table of ratios, with the absolute numbers behind it for a feeling of the size.

    `bar` is what the ratio should not exceed.
    """

    what: str
    floor: str
    ratio: Spread
    absolute: str
    bar: float | None = None


@dataclass(frozen=True)
class Table:
    """A table under its own heading; `text` says what its columns are."""

    title: str
    text: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        return f"### {self.title}\n\n{self.text}\n\n{aligned(self.header, self.rows)}\n"


@dataclass(frozen=True)
class Findings:
    """What one benchmark found."""

    headlines: tuple[Headline, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass
class Stopwatch:
    """Seconds by name, counted up by `running`; by default wall-clock seconds."""

    clock: Callable[[], float] = time.perf_counter
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Count what happens inside under `name`."""
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
    """The results of each action, called A B C A B C …: whatever else the machine does meets all of them alike."""
    results: list[list[_Result]] = [[] for _ in actions]
    for _ in range(rounds):
        for action, mine in zip(actions, results, strict=True):
            mine.append(action())
    return results


def spreads_in_turns(rounds: int, *actions: Callable[[], float]) -> list[Spread]:
    """As `in_turns`, for actions that return a number."""
    return [Spread(tuple(values)) for values in in_turns(rounds, *actions)]


def aligned(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns also line up as plain text; all but the first are flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(line(cells) for cells in (header, rule, *rows))
