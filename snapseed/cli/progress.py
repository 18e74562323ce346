"""Progress of a run on stderr, from its events: bars on a terminal, otherwise a line now and then."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from snapseed.cli.console import note
from snapseed.events import Advanced, Event, Note, PhaseEnded, PhaseStarted
from snapseed.printable import printable
from snapseed.units import size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

# A run that takes less shows no progress.
_PATIENCE_SECONDS = 1.0
# Lines, where stderr is no terminal, come at most this often.
_LINE_SECONDS = 5.0
# A speed measured over less says nothing.
_MEASURABLE_SECONDS = 0.1
# From here on, minutes read better.
_MINUTES_FROM = 120


class Meter:
    """Listens to one run and shows where it is. With `quiet` it shows nothing, notes included.

    A step that tells nothing is shown by its name as soon as it has taken too long to look alive. The clock is a
    parameter for tests.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._started = self._line_at = clock()
        self._began: dict[str, float] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}
        self._phases: list[str] = []
        self._lock = threading.RLock()
        self._has_bars = sys.stderr.isatty() and not os.environ.get("CI")
        self._timer = threading.Timer(_PATIENCE_SECONDS if self._has_bars else _LINE_SECONDS, self._show_phase)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if not self._quiet:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._phases.clear()
            if self._bars is not None:
                self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event. Unknown ones are ignored."""
        if self._quiet:
            return
        with self._lock:
            match event:
                case Note(text):
                    note(text)
                case PhaseStarted(phase):
                    self._phases.append(phase)
                    self._show(phase, None, None, "")
                case PhaseEnded(phase):
                    self._phases = [other for other in self._phases if other != phase]
                    self._hide(phase)
                case Advanced():
                    self._show(event.what, event.done, event.total, self._progress_text(event))
                    if event.done >= event.total:
                        self._hide(event.what)

    def _show_phase(self) -> None:
        with self._lock:
            for phase in self._phases[-1:]:
                self._show(phase, None, None, "")

    def _progress_text(self, event: Advanced) -> str:
        """How far it has come, how fast, and how long it will take from here."""
        seconds = self._clock() - self._began.setdefault(event.what, self._clock())
        is_bytes = event.unit == "bytes"
        done, total = (size(count) if is_bytes else f"{count:,.0f}" for count in (event.done, event.total))
        parts = [f"{done} of {total}" if is_bytes else f"{done} of {total} {event.unit}"]
        if seconds > _MEASURABLE_SECONDS and event.done:
            sent = event.done if is_bytes else event.bytes
            parts.append(f"{size(sent / seconds)}/s" if sent else f"{event.done / seconds:,.0f}/s")
            left = seconds * (event.total - event.done) / event.done
            if left >= 1:
                parts.append(f"{left:.0f} s left" if left < _MINUTES_FROM else f"{left / 60:.0f} min left")
        return ", ".join(parts)

    def _show(self, label: str, done: float | None, total: float | None, text: str) -> None:
        """Show a phase, once the run has taken long enough: as a bar, or as a line now and then."""
        now = self._clock()
        if now - self._started < _PATIENCE_SECONDS:
            return
        if self._has_bars:
            self._show_bar(label, done, total, text)
        elif now - self._line_at >= _LINE_SECONDS:
            self._line_at = now
            note(f"{label}: {text}" if text else label)

    def _show_bar(self, label: str, done: float | None, total: float | None, text: str) -> None:
        """Show a phase as a bar, the first one in a new display."""
        label = printable(label)
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            label_column = TextColumn("{task.fields[label]}", markup=False, table_column=Column(no_wrap=True))
            bar_column = BarColumn(16, complete_style="cyan", finished_style="cyan", pulse_style="cyan")
            text_column = TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True))
            self._bars = Progress(label_column, bar_column, text_column, console=Console(stderr=True), transient=True)
            self._bars.start()
        if label not in self._tasks:
            # Without a total, the bar only shows that something is happening.
            self._tasks[label] = self._bars.add_task(label, total=total, label=label, text=text)
        self._bars.update(self._tasks[label], completed=done, total=total, text=text)

    def _hide(self, label: str) -> None:
        if self._bars is not None and (label := printable(label)) in self._tasks:
            self._bars.remove_task(self._tasks.pop(label))
