"""What the user sees besides results: failures, log messages and progress, all on stderr, and the exit code."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Self

import typer

from snapseed.cli.options import CheckFormat, Format
from snapseed.errors import SnapseedError, Terminated, UsageError, interruption
from snapseed.redaction import redacted

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


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--format json` stands among arguments that could not be parsed as a whole."""
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)


def write_json(document: dict[str, object]) -> None:
    """A result as the one JSON document on stdout."""
    typer.echo(_as_json(document))


def note(text: str) -> None:
    """A remark for people, on stderr."""
    typer.echo(text, err=True)


def silence(_text: str) -> None:
    """Say nothing, in place of `note`."""


def show(output: Format, text: str, document: dict[str, object]) -> None:
    """A result, for people or for programs."""
    if output is Format.json:
        write_json(document)
    else:
        write(text)


def write_file(path: Path, text: str) -> None:
    """A result, into a file. Raises `UsageError` where it cannot be written."""
    _into_file(path, "w", text)


def write_json_file(path: Path, document: dict[str, object]) -> None:
    """A result as a JSON document, into a file. Raises `UsageError` where it cannot be written."""
    write_file(path, _as_json(document) + "\n")


def append_named(variable: str, text: str) -> None:
    """A result, to the end of the file that a variable names, if it is set. Raises `UsageError` as `write_file`."""
    if name := os.environ.get(variable):
        _into_file(Path(name), "a", text)


def _into_file(path: Path, mode: str, text: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise UsageError("the report cannot be written", where=str(path), observed=exc.strerror or str(exc)) from exc


def is_in_github_actions() -> bool:
    """Whether GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def check_format(asked: CheckFormat | None) -> CheckFormat:
    """The format that was asked for, else the one that suits the place."""
    return asked or (CheckFormat.github if is_in_github_actions() else CheckFormat.text)


def complain(error: SnapseedError) -> None:
    """A failure and what is known of it, on stderr."""
    head, *details = str(error).splitlines()
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True, color=_colour())
    note("\n".join([head, *details]))


def _as_json(document: dict[str, object]) -> str:
    return json.dumps({"format": 1, **document}, indent=2, default=str)


@contextmanager
def reporting(output: Format | CheckFormat, *, verbose: bool) -> Iterator[None]:
    """Show a failure as people or programs want it, and leave with its exit code. Nothing else prints tracebacks."""
    _configure_logging(verbose=verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except typer.Exit:
        raise
    except SnapseedError as exc:
        _fail(exc, output, verbose=verbose)
    except KeyboardInterrupt as exc:
        # Whoever knows more, as a load does, has said it before this.
        error: SnapseedError = interruption(exc, "interrupted; nothing was left half done")
        error.__cause__ = exc
        _fail(error, output, verbose=verbose)
    except BrokenPipeError:
        # The reader of our output has left (`| head`): nobody is there to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except Exception as exc:  # noqa: BLE001 - a traceback reaches a user only with --verbose
        error = SnapseedError(
            "an error that snapseed did not expect; it is a mistake in snapseed",
            observed=redacted(f"{type(exc).__name__}: {exc}"),
            next_step="run again with --verbose, and report what it prints",
        )
        error.__cause__ = exc
        _fail(error, output, verbose=verbose)


def _configure_logging(*, verbose: bool) -> None:
    """Our own warnings always reach people; what libraries log only with --verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler if verbose else logging.NullHandler()], force=True)
    own = logging.getLogger("snapseed")
    own.handlers = [] if verbose else [handler]
    own.setLevel(logging.DEBUG if verbose else logging.WARNING)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _fail(error: SnapseedError, output: Format | CheckFormat, *, verbose: bool) -> None:
    if output in {Format.json, CheckFormat.json}:
        document = {"type": type(error).__name__, "summary": error.summary, **error.details()}
        write_json({"error": document, "exit_code": error.exit_code})
    elif output in {CheckFormat.junit, CheckFormat.github}:
        from snapseed.ci.checks import error_check
        from snapseed.cli.reports.github import error_annotations
        from snapseed.cli.reports.junit import junit

        checks = [error_check(error)]
        write(junit("snapseed", checks).rstrip() if output is CheckFormat.junit else error_annotations(checks, None)[0])
    if verbose:
        note(redacted("".join(traceback.format_exception(error)).rstrip()))
    complain(error)
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
