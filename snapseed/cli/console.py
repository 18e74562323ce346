"""What the commands print: results on stdout; failures, notes and progress on stderr; and the exit code.

Names and values come from snapshots and servers that nobody may have looked at, so every line passes `printable` here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, Self

import typer

from snapseed.cli.documents import failure
from snapseed.errors import SnapseedError, Terminated, UsageError, interruption
from snapseed.events import Advanced, Event, Note, PhaseEnded, PhaseStarted
from snapseed.printable import printable
from snapseed.redaction import redacted

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
# How a result, and how that of checks, is written to stdout.
ResultFormat = Literal["text", "json"]
Format = Literal["text", "json", "junit", "github"]


def is_in_github_actions() -> bool:
    """Whether GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


# ── Results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(*lines: str) -> None:
    """Write lines for people to stdout. A line break in one of them is shown, not obeyed."""
    typer.echo("\n".join(map(printable, lines)))


def write_as_is(text: str, *, err: bool = False) -> None:
    """Write a document or a workflow command, in which everything is escaped as its format demands."""
    typer.echo(text, err=err)


def as_json(document: dict[str, object]) -> str:
    """The document as it is printed and written to files, with `"format": 1` in front."""
    # `##[` would be a workflow command. In JSON, two # are always in a text.
    return json.dumps({"format": 1, **document}, indent=2, default=str).replace("##", "#\\u0023")


def write_file(path: Path, text: str, mode: Literal["w", "a"] = "w") -> None:
    """Write a result to a file, or append it. Raises `UsageError` if it cannot be written."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise UsageError("the report cannot be written", where=str(path), observed=exc.strerror or str(exc)) from exc


def append_named(variable: str, text: str) -> None:
    """Append a result to the file that a variable names, if it is set."""
    if name := os.environ.get(variable):
        write_file(Path(name), text, "a")


# ── Messages and failures ────────────────────────────────────────────────────────────────────────────────────────────


def note(text: str) -> None:
    """Write a line for people to stderr, or several."""
    typer.echo("\n".join(map(printable, text.split("\n"))), err=True)


def complain(error: SnapseedError) -> None:
    """Write a failure and all that is known about it to stderr."""
    # NO_COLOR wins; otherwise only terminals get colors.
    color = False if os.environ.get("NO_COLOR") else None
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True, color=color)
    note(str(error))


@contextmanager
def reporting(output: Format, *, verbose: bool) -> Iterator[None]:
    """Show a failure in this format and exit with its code. Tracebacks are shown here and nowhere else."""
    _configure_logging(verbose=verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except typer.Exit:
        raise
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): print nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except (Exception, KeyboardInterrupt) as exc:
        error = _failure_of(exc)
        if output == "json":
            write_as_is(as_json({"error": failure(error), "exit_code": error.exit_code}))
        elif output != "text":
            from snapseed.ci.checks import error_check
            from snapseed.cli.formats import error_annotations, junit

            checks = [error_check(error)]
            write_as_is(junit("snapseed", checks) if output == "junit" else error_annotations(checks, None)[0])
        if verbose:
            note(redacted("".join(traceback.format_exception(exc)).rstrip()))
        complain(error)
        raise typer.Exit(error.exit_code) from exc


def _failure_of(exc: Exception | KeyboardInterrupt) -> SnapseedError:
    """What to tell the user."""
    if isinstance(exc, SnapseedError):
        return exc
    if isinstance(exc, KeyboardInterrupt):
        # A use case that knows more about the interrupt, such as a load, has raised an error of its own.
        return interruption(exc, "interrupted; nothing was left half-finished")
    return SnapseedError(
        "an unexpected error: this is a bug in snapseed",
        observed=redacted(f"{type(exc).__name__}: {exc}"),
        next_step="run it again with --verbose, and report what it prints",
    )


def _configure_logging(*, verbose: bool) -> None:
    """Our own warnings are always shown; log messages of libraries only with --verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler if verbose else logging.NullHandler()], force=True)
    own = logging.getLogger("snapseed")
    own.handlers = [] if verbose else [handler]
    own.setLevel(logging.DEBUG if verbose else logging.WARNING)


class _LogFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Meter:
    """Listens to one run and shows where it is. With `quiet` it shows nothing, notes included.

    The clock is a parameter for tests.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._started = self._line_at = clock()
        self._began: dict[str, float] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show an event. Unknown ones are ignored."""
        if self._quiet:
            return
        match event:
            case Note(text):
                note(text)
            case PhaseStarted(phase):
                self._show(phase, None, None, "")
            case PhaseEnded(phase) if self._bars is not None and phase in self._tasks:
                self._bars.remove_task(self._tasks.pop(phase))
            case Advanced():
                self._show(event.what, event.done, event.total, self._progress_text(event))

    def _progress_text(self, event: Advanced) -> str:
        """How far it has come, how fast, and how long it will take from here."""
        seconds = self._clock() - self._began.setdefault(event.what, self._clock())
        scale, unit, digits = (1e6, "MB", 1) if event.unit == "bytes" else (1, event.unit, 0)
        parts = [f"{event.done / scale:,.{digits}f} of {event.total / scale:,.{digits}f} {unit}"]
        if seconds > _MEASURABLE_SECONDS:
            megabytes, units = event.bytes / 1e6 / seconds, event.done / scale / seconds
            parts.append(f"{megabytes:,.1f} MB/s" if event.bytes else f"{units:,.{digits}f} {unit}/s")
            left = seconds * (event.total - event.done) / event.done if event.done else 0
            if left >= 1:
                parts.append(f"{left:.0f} s left" if left < _MINUTES_FROM else f"{left / 60:.0f} min left")
        return ", ".join(parts)

    def _show(self, label: str, done: float | None, total: float | None, text: str) -> None:
        now = self._clock()
        if now - self._started < _PATIENCE_SECONDS:
            return
        if sys.stderr.isatty() and not os.environ.get("CI"):
            self._show_bar(label, done, total, text)
        elif now - self._line_at >= _LINE_SECONDS:
            self._line_at = now
            note(f"{label}: {text}" if text else label)

    def _show_bar(self, label: str, done: float | None, total: float | None, text: str) -> None:
        label = printable(label)
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            label_column = TextColumn("{task.fields[label]:<14}", markup=False)
            columns = (label_column, BarColumn(), TextColumn("{task.fields[text]}", markup=False))
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if label not in self._tasks:
            # Without a total, the bar only shows that something is happening.
            self._tasks[label] = self._bars.add_task(label, total=total, label=label, text=text)
        self._bars.update(self._tasks[label], completed=done, total=total, text=text)
