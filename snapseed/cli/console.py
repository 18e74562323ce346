"""What the commands print: results on stdout; failures and notes on stderr; and the exit code.

Names and values come from snapshots and servers that nobody may have looked at, so every line passes `printable` here.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn, TextIO

import typer

from snapseed.cli.documents import failure
from snapseed.cli.layout import paragraphs
from snapseed.errors import Interrupted, MachineError, SnapseedError, Terminated, UsageError, interruption
from snapseed.printable import printable
from snapseed.redaction import redacted

# Words that say how a check ended: in a column of a table, or where a line begins.
_COLORS = {
    "green": re.compile(r"(?<=  )(same|ok|intact)(?=  |$)|^verified|(?<= s, )verified|^ci \S+: passed"),
    "red": re.compile(r"(?<=  )(DIFFERS|PROBLEM)(?=  |$)|^(error|finding)(?=:)|NOT verified|^ci \S+: [A-Z]+"),
}
# How a result, that of checks, and differences are written to stdout.
ResultFormat = Literal["text", "json"]
Format = Literal["text", "json", "junit", "github"]
DiffFormat = Literal["text", "json", "github", "html", "csv"]


def is_in_github_actions() -> bool:
    """Whether GitHub Actions runs us."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


# ── Results ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(*lines: str) -> None:
    """Write lines for people to stdout. A line break in one of them is shown, not obeyed."""
    to_stdout("\n".join(_colored(printable(line), sys.stdout) for line in lines))


def _colored(line: str, stream: TextIO) -> str:
    """The line with the outcomes of checks in color. NO_COLOR wins; otherwise only terminals get colors."""
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return line
    for color, words in _COLORS.items():
        line = words.sub(lambda found, color=color: typer.style(found[0], fg=color), line)  # type: ignore[misc]
    return line


def as_json(document: dict[str, object]) -> str:
    """The document as it is printed and written to files, with `"format": 1` in front."""
    # `##[` would be a workflow command. In JSON, two # are always in a text.
    return json.dumps({"format": 1, **document}, indent=2, default=str).replace("##", "#\\u0023")


def write_file(path: Path, render: Callable[[], str], mode: Literal["w", "a"] = "w") -> None:
    """Write a result to a file, or append it. Raises `UsageError` if it cannot be written."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(render())
    except OSError as exc:
        raise UsageError("the report cannot be written", where=str(path), observed=exc.strerror or str(exc)) from exc


def append_named(variable: str, text: str) -> None:
    """Append a result to the file that a variable names, if it is set."""
    if name := os.environ.get(variable):
        write_file(Path(name), lambda: text, "a")


# ── Messages and failures ────────────────────────────────────────────────────────────────────────────────────────────


def note(text: str) -> None:
    """Write a line for people to stderr, or several, wrapped."""
    lines = [printable(line) for line in paragraphs(text, sys.stderr)]
    to_stderr("\n".join(_colored(line, sys.stderr) for line in lines))


def to_stderr(text: str) -> None:
    """Write text to stderr as it is. Where that takes none, nobody can be told, and the work goes on."""
    try:
        typer.echo(text, err=True)
    except OSError:
        _discard(sys.stderr)


def to_stdout(text: str) -> None:
    """Write a document or a command in which all is escaped as its format demands.

    Raises `MachineError` if it cannot be written, `BrokenPipeError` if its reader left.
    """
    try:
        typer.echo(text)
    except OSError as exc:
        _discard(sys.stdout)
        if isinstance(exc, BrokenPipeError):
            raise
        raise MachineError(
            "the output cannot be written", where="stdout", observed=exc.strerror, next_step="send it somewhere else"
        ) from exc


def _discard(stream: TextIO) -> None:
    """Send what is still to be written nowhere. Python would report it at its end, and change the exit code."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def leave(code: int) -> NoReturn:
    """End the process. From here on, Ctrl-C has nothing more to interrupt."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(code))
    try:
        sys.stdout.flush()
    except OSError as exc:
        _discard(sys.stdout)
        complain(failure_of(exc))
        code = code or MachineError.exit_code
    gc.freeze()
    # While Python ends, it gives its handlers back to the system, and SIGINT would end it with another code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def complain(error: SnapseedError) -> None:
    """Write a failure and all that is known about it to stderr."""
    note(f"error: {error}")


def failures(*outputs: Callable[[], object]) -> list[SnapseedError]:
    """Write each output, whatever becomes of the others; returns the errors of those that could not be written."""
    found = []
    for output in outputs:
        try:
            output()
        except SnapseedError as exc:
            found.append(exc)
        except BrokenPipeError:  # its reader needs no more of it
            continue
    return found


@contextmanager
def reporting(
    output: Format | DiffFormat, *, verbose: bool, report: Path | None = None, junit: Path | None = None
) -> Iterator[None]:
    """Show a failure in this format and exit with its code. Tracebacks are shown here and nowhere else.

    It also goes to the files that were to get a report, as JSON and as JUnit.
    """
    _configure_logging(verbose=verbose)
    signal.signal(signal.SIGTERM, _raise)
    signal.signal(signal.SIGINT, _raise)
    sys.unraisablehook = _raise_again
    try:
        yield
    except typer.Exit:
        raise
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): print nothing.
        _discard(sys.stdout)
        raise typer.Exit(141) from None
    except (Exception, KeyboardInterrupt) as exc:
        error = failure_of(exc)
        lost = failures(*_failure_outputs(error, output, report, junit))
        if verbose:
            shown = redacted("".join(traceback.format_exception(exc)).rstrip())
            to_stderr("\n".join(map(printable, shown.split("\n"))))
        for each in (error, *lost):
            complain(each)
        raise typer.Exit(error.exit_code) from exc


def _failure_outputs(
    error: SnapseedError, output: Format | DiffFormat, report: Path | None, junit: Path | None
) -> Iterator[Callable[[], object]]:
    """Writes a failure to stdout and to each file that was to get a report."""
    text = as_json({"error": failure(error), "exit_code": error.exit_code})
    if report is not None:
        yield partial(write_file, report, lambda: text + "\n")
    if output == "json":
        yield partial(to_stdout, text)
    if junit is not None or output in {"junit", "github"}:
        from snapseed.ci.checks import error_check
        from snapseed.cli import formats

        checks = [error_check(error)]
        document = formats.junit("snapseed", checks)
        if junit is not None:
            yield partial(write_file, junit, lambda: document + "\n")
        if output in {"junit", "github"}:
            yield partial(to_stdout, document if output == "junit" else formats.error_annotations(checks, None)[0])


def failure_of(exc: Exception | KeyboardInterrupt) -> SnapseedError:
    """What to tell the user."""
    if isinstance(exc, SnapseedError):
        return exc
    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    if cause is not None:
        # What else fails while an interrupt is handled, as a generator of a driver that it cut short, follows from it.
        # A use case that knows more about the interrupt, such as a load, has raised an error of its own.
        return interruption(cause, "interrupted; nothing was left half-finished")
    return _machine_error(exc) or SnapseedError(
        "an unexpected error: this is a bug in snapseed",
        observed=f"{type(exc).__name__}: {exc}",
        next_step="run it again with --verbose, and report what it prints",
    )


def _machine_error(exc: BaseException) -> MachineError | None:
    """The error for what this machine lacks or does not allow; None for any other exception."""
    number = exc.errno if isinstance(exc, OSError) else None
    said = str(exc)
    # A library that cannot be loaded is an ImportError that quotes the system.
    if isinstance(exc, MemoryError) or number == errno.ENOMEM or "failed to map segment" in said:
        summary = "the memory is used up"
        advice = "free memory, raise the limit (`ulimit -v`, that of the container), or use fewer --jobs"
    elif number in {errno.EMFILE, errno.ENFILE} or os.strerror(errno.EMFILE) in said:
        summary, advice = "too many open files for the limit of this process", "raise the limit: `ulimit -n 1024`"
    elif number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        summary, advice = "there is no space left", "free some space"
    elif number is not None:
        summary = "the system refused access to a file or a device"
        advice = "check that it exists, its permissions, and that it is not read-only"
    else:
        return None
    where = str(exc.filename) if isinstance(exc, OSError) and exc.filename is not None else None
    observed = (isinstance(exc, OSError) and exc.strerror) or f"{type(exc).__name__}: {exc}"
    return MachineError(summary, where=where, observed=observed, next_step=advice)


def _configure_logging(*, verbose: bool) -> None:
    """Our own warnings are always shown; log messages of libraries only with --verbose."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler if verbose else logging.NullHandler()], force=True)
    own = logging.getLogger("snapseed")
    own.handlers = [] if verbose else [handler]
    own.setLevel(logging.DEBUG if verbose else logging.WARNING)


class _LogFormatter(logging.Formatter):
    """Log records as lines that fit the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, made harmless."""
        return "\n".join(map(printable, paragraphs(super().format(record), sys.stderr)))


def _raise(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into its exception."""
    raise Terminated if number == signal.SIGTERM else Interrupted


def _raise_again(ignored: sys.UnraisableHookArgs) -> None:
    """A signal came during a callback of Python's own, such as those of imports, from which no exception gets out."""
    if not isinstance(ignored.exc_value, Interrupted):
        sys.__unraisablehook__(ignored)
        return
    number = signal.SIGTERM if isinstance(ignored.exc_value, Terminated) else signal.SIGINT
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
