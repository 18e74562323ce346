"""How the progress of each kind of run reads on a `Meter`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from snapseed.cli.console import Meter

if TYPE_CHECKING:
    from snapseed.generate.run import Progress as GenerateProgress
    from snapseed.load.report import Progress as LoadProgress

# A rate over less than this says nothing.
_SOME_SECONDS = 0.1


def generate_progress(meter: Meter) -> Callable[[GenerateProgress], None]:
    """Parts, rows, MB/s and the time that is left."""
    started = time.monotonic()

    def show(progress: GenerateProgress) -> None:
        speed = progress.bytes / 1e6 / max(time.monotonic() - started, 1e-9)
        left = meter.time_left(progress.parts_done, progress.parts_total)
        text = f"part {progress.parts_done}/{progress.parts_total}, {progress.rows:,} rows, {speed:.1f} MB/s, {left}"
        meter.show("generating", progress.parts_done, progress.parts_total, text)

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


def verify_progress(meter: Meter) -> Callable[[str], None]:
    """What is being looked at."""
    seen: list[str] = []

    def show(what: str) -> None:
        seen.append(what)
        meter.show("verifying", len(seen) - 1, len(seen), what)

    return show
