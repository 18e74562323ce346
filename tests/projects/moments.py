"""The moments of a load at which tests act: its phases, told to a listener, and the statements it sends.

`run_load` runs the whole command line in a forked process that has the libraries imported already, so that a hundred
loads can be killed in the time of a few.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

import psycopg

from snapseed.events import Event, Listener, PhaseEnded, PhaseStarted
from tests.command_line import CONTEXT

COMMITTING = "committing"
COMMITTED = "committed"


def at_moments(reach: Callable[[str], None]) -> Listener:
    """A listener that calls `reach` with the name of each phase as it begins, and with `COMMITTED` after the COMMIT."""

    def listen(event: Event) -> None:
        if isinstance(event, PhaseStarted):
            reach(event.phase)
        elif isinstance(event, PhaseEnded) and event.phase == COMMITTING:
            reach(COMMITTED)

    return listen


@contextmanager
def each_statement(reach: Callable[[str], None]) -> Iterator[None]:
    """Call `reach` before each statement that the driver sends, and with `COMMITTING` and `COMMITTED` around a COMMIT.

    It works without a listener, so also in a process that runs the command line.
    """
    leave, here = psycopg.Transaction.__exit__, threading.get_ident()

    def announced(method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            # Not those of the thread that looks for blockers when the machine is slow.
            if threading.get_ident() == here:
                reach("statement")
            return method(*arguments, **options)

        return call

    def leaving(self: psycopg.Transaction, *error: object) -> bool:
        ends = error[0] is None and not self.savepoint_name
        if ends:
            reach(COMMITTING)
        left = leave(self, *error)  # type: ignore[arg-type]
        if ends:
            reach(COMMITTED)
        return left

    with (
        patch.object(psycopg.Cursor, "execute", announced(psycopg.Cursor.execute)),
        patch.object(psycopg.Cursor, "copy", announced(psycopg.Cursor.copy)),
        patch.object(psycopg.Transaction, "__exit__", leaving),
    ):
        yield


@dataclass
class LoadProcess:
    """`snapseed load` as a process under way; what it prints goes into a file."""

    process: ForkServerProcess
    output: Path

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self.process.pid is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> tuple[int, str]:
        """Its exit code, a negative number for a signal, and all that it printed."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running after {seconds} s: {self.output.read_text()}"
        return self.process.exitcode, self.output.read_text()


def start_load(
    folder: Path, output: Path, variables: dict[str, str], *options: str, die_at: int | None = None
) -> LoadProcess:
    """Run `snapseed load dev` in `folder`; with `die_at`, it gets SIGKILL at the statement of this number, from 0."""
    process = CONTEXT.Process(target=run_load, args=(folder, output, variables, options, die_at), daemon=True)
    process.start()
    return LoadProcess(process, output)


def run_load(
    folder: Path, output: Path, variables: dict[str, str], options: tuple[str, ...], die_at: int | None
) -> None:
    """What the process does: the command line, as its console script would run it."""
    os.chdir(folder)
    os.environ.update(variables)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    from snapseed.cli.app import main

    reached = 0

    def die(_: str) -> None:
        nonlocal reached
        if reached == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        reached += 1

    sys.argv = ["snapseed", "load", "dev", *options]
    with each_statement(die):
        main()
