"""How the progress of each kind of run reads on a `Meter`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from snapseed.cli import console
from snapseed.cli.console import Meter
from snapseed.events import Advanced, Event, Listener

if TYPE_CHECKING:
    from snapseed.config import Project
    from snapseed.generate.request import Request
    from snapseed.load.report import Progress as LoadProgress

# From so many parts on, a snapshot takes longer than the tenths of a second that it costs to judge its size.
_MANY_PARTS = 8
# A rate over less than this says nothing.
_SOME_SECONDS = 0.1


def announce_size(project: Project, request: Request) -> None:
    """Say how large a snapshot will be that takes a while, before it is begun."""
    from snapseed.generate.request import Tasks, estimate

    if len(Tasks(project, request, project.snapshots)) < _MANY_PARTS:
        return
    expected = estimate(project, request)
    free = shutil.disk_usage(next(path for path in (project.snapshots, project.folder) if path.exists())).free
    console.note(
        f"to be made: {expected.parts:,} parts, about {expected.rows:,} rows and {gigabytes(expected.bytes)};"
        f" {gigabytes(free)} are free"
    )


def gigabytes(size: int) -> str:
    """Bytes in the unit of large snapshots."""
    return f"{size / 1e9:,.1f} GB"


def generate_progress(meter: Meter) -> Listener:
    """Parts, MB/s and the time that is left."""
    started = time.monotonic()

    def show(event: Event) -> None:
        if isinstance(event, Advanced):
            speed = event.bytes / 1e6 / max(time.monotonic() - started, 1e-9)
            left = meter.time_left(event.done, event.total)
            meter.show(
                "generating", event.done, event.total, f"part {event.done}/{event.total}, {speed:.1f} MB/s, {left}"
            )

    return show


def load_progress(meter: Meter) -> Callable[[LoadProgress], None]:
    """Rows of each entity, and rows per second since its first."""
    started: dict[str, float] = {}

    def show(progress: LoadProgress) -> None:
        seconds = time.monotonic() - started.setdefault(progress.entity, time.monotonic())
        speed = f", {progress.rows / seconds:,.0f} rows/s" if seconds > _SOME_SECONDS else ""
        text = f"{progress.rows:,} of {progress.rows_total:,} rows{speed}"
        meter.show(progress.entity, progress.rows, progress.rows_total, text)

    return show


def verify_progress(meter: Meter) -> Listener:
    """How much of the files and tables has been compared."""

    def show(event: Event) -> None:
        if isinstance(event, Advanced):
            meter.show("verifying", event.done, event.total, f"{event.done:,} of {event.total:,} {event.unit}")

    return show
