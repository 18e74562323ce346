"""What the commands print: results on stdout; failures, notes and progress on stderr; and the exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import typer

from snapseed.cli.documents import failure
from snapseed.errors import SnapseedError, Terminated, UsageError, interruption
from snapseed.events import Advanced, Event, Note, PhaseEnded, PhaseStarted
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


class ResultFormat(StrEnum):
    """How a result is written to stdout."""

    text = "text"
    json = "json"


class Format(StrEnum):
    """How the result of checks is written to stdout."""

    text = "text"
    json = "json"
    junit = "junit"
    github = "github"


def chosen_format(asked: ResultFormat | Format | None) -> Format:
    """The format that was asked for; by default that of GitHub Actions if it runs us, otherwise text."""
    if asked is None:
        return Format.github if is_in_github_actions() else Format.text
    return Format(asked.value)


def is_in_github_actions() -> bool:
    """Whether GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether arguments that could not be parsed contain `--format json`."""
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)


# ── Results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(text: str) -> None:
    """Write a result to stdout."""
    typer.echo(text)


def write_json(document: dict[str, object]) -> None:
    """Write a result to stdout, as its only JSON document."""
    write(as_json(document))


def as_json(document: dict[str, object]) -> str:
    """The document as it is printed and written to files, with `"format": 1` in front."""
    return json.dumps({"format": 1, **document}, indent=2, default=str)


def show(output: Format, text: str, document: dict[str, object]) -> None:
    """Write a result for people or for programs."""
    if output is Format.json:
        write_json(document)
    else:
        write(text)


def write_file(path: Path, text: str) -> None:
    """Write a result to a file. Raises `UsageError` if it cannot be written."""
    _into_file(path, "w", text)


def append_named(variable: str, text: str) -> None:
    """Append a result to the file that a variable names, if it is set. Raises `UsageError` as `write_file` does."""
    if name := os.environ.get(variable):
        _into_file(Path(name), "a", text)


def _into_file(path: Path, mode: str, text: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise UsageError("the report cannot be written", where=str(path), observed=exc.strerror or str(exc)) from exc


# ── Messages and failures ────────────────────────────────────────────────────────────────────────────────────────────


def note(text: str) -> None:
    """Write a line for people to stderr."""
    typer.echo(text, err=True)


def complain(error: SnapseedError) -> None:
    """Write a failure and all that is known about it to stderr."""
    head, *details = str(error).splitlines()
    # NO_COLOR wins; otherwise only terminals get colors.
    color = False if os.environ.get("NO_COLOR") else None
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True, color=color)
    note("\n".join([head, *details]))


@contextmanager
def reporting(output: Format, *, verbose: bool) -> Iterator[None]:
    """Show a failure in this format and exit with its code. Tracebacks are shown here and nowhere else."""
    _configure_logging(verbose=verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except typer.Exit:
        raise
    except SnapseedError as exc:
        _fail(exc, output, verbose=verbose)
    except KeyboardInterrupt as exc:
        # A use case that knows more about the interrupt, such as a load, has raised an error of its own.
        error: SnapseedError = interruption(exc, "interrupted; nothing was left half done")
        error.__cause__ = exc
        _fail(error, output, verbose=verbose)
    except BrokenPipeError:
        # The reader of our output has left (`| head`), so there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except Exception as exc:  # noqa: BLE001 - only --verbose shows a traceback
        error = SnapseedError(
            "an unexpected error: this is a bug in snapseed",
            observed=redacted(f"{type(exc).__name__}: {exc}"),
            next_step="run it again with --verbose, and report what it prints",
        )
        error.__cause__ = exc
        _fail(error, output, verbose=verbose)


def _configure_logging(*, verbose: bool) -> None:
    """Our own warnings are always shown; log messages of libraries only with --verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler if verbose else logging.NullHandler()], force=True)
    own = logging.getLogger("snapseed")
    own.handlers = [] if verbose else [handler]
    own.setLevel(logging.DEBUG if verbose else logging.WARNING)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _fail(error: SnapseedError, output: Format, *, verbose: bool) -> None:
    if output is Format.json:
        write_json({"error": failure(error), "exit_code": error.exit_code})
    elif output is not Format.text:
        from snapseed.ci.checks import error_check
        from snapseed.cli.formats import error_annotations, junit

        checks = [error_check(error)]
        write(junit("snapseed", checks) if output is Format.junit else error_annotations(checks, None)[0])
    if verbose:
        note(redacted("".join(traceback.format_exception(error)).rstrip()))
    complain(error)
    raise typer.Exit(error.exit_code)


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
            case PhaseEnded(phase):
                self._end(phase)
            case Advanced():
                self._show(event.what, event.done, event.total, self._progress_text(event))
            case _:
                pass

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
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.fields[label]:<14}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if label not in self._tasks:
            # Without a total, the bar only shows that something is happening.
            self._tasks[label] = self._bars.add_task(label, total=total, label=label, text=text)
        self._bars.update(self._tasks[label], completed=done, total=total, text=text)

    def _end(self, label: str) -> None:
        if self._bars is not None and label in self._tasks:
            self._bars.remove_task(self._tasks.pop(label))
