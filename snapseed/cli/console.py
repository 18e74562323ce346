"""What the user sees besides results: failures, log messages and progress, all on stderr, and the exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Self

import typer

from snapseed.cli.options import Format
from snapseed.errors import InterruptedByUserError, SnapseedError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

# What takes less than this shows no progress.
_PATIENCE_SECONDS = 1.0
# Plain progress lines, where stderr is no terminal, come at most this often.
_LINE_SECONDS = 5.0
# Times from here on read better in minutes.
_MINUTES_FROM = 120


def write(text: str) -> None:
    """A result, on stdout."""
    typer.echo(text)


def write_json(document: dict[str, object]) -> None:
    """A result as the one JSON document on stdout."""
    typer.echo(json.dumps({"format": 1, **document}, indent=2, default=str))


def note(text: str) -> None:
    """A remark for people, on stderr."""
    typer.echo(text, err=True)


@contextmanager
def reporting(output: Format, *, verbose: bool) -> Iterator[None]:
    """Show a failure as people or programs want it, and leave with its exit code. Nothing else prints tracebacks."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="snapseed: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except typer.Exit:
        raise
    except SnapseedError as exc:
        _fail(exc, output, verbose=verbose)
    except KeyboardInterrupt as exc:
        error = InterruptedByUserError("interrupted; what was under way has been undone")
        error.__cause__ = exc
        _fail(error, output, verbose=verbose)
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(error: SnapseedError, output: Format, *, verbose: bool) -> None:
    if output is Format.json:
        document = {"type": type(error).__name__, "summary": error.summary, **error.details()}
        write_json({"error": document, "exit_code": error.exit_code})
    if verbose:
        note("".join(traceback.format_exception(error)).rstrip())
    head, *details = str(error).splitlines()
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True, color=_colour())
    note("\n".join([head, *details]))
    raise typer.Exit(error.exit_code)


def _colour() -> bool | None:
    """NO_COLOR wins; otherwise colours go to terminals only."""
    return False if os.environ.get("NO_COLOR") else None


class Meter:
    """Progress of one run: bars on a terminal, a line now and then elsewhere, nothing in the first second."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._started = time.monotonic()
        self._line_at = self._started
        self._bars: Bars | None = None
        self._tasks: dict[str, object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, label: str, done: float, total: float, text: str) -> None:
        """`done` of `total` of what `label` names; `text` says the same with units."""
        now = time.monotonic()
        if self._quiet or now - self._started < _PATIENCE_SECONDS:
            return
        if sys.stderr.isatty() and not os.environ.get("CI"):
            self._show_bar(label, done, total, text)
        elif now - self._line_at >= _LINE_SECONDS:
            self._line_at = now
            note(f"{label}: {text}")

    def time_left(self, done: float, total: float) -> str:
        """How long it will take from here, judged by the time so far."""
        if not done:
            return "…"
        seconds = (time.monotonic() - self._started) * (total - done) / done
        return f"{seconds:.0f} s left" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min left"

    def _show_bar(self, label: str, done: float, total: float, text: str) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.fields[label]:<14}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total, label=label, text=text)
        self._bars.update(self._tasks[label], completed=done, total=total, text=text)  # type: ignore[arg-type]
