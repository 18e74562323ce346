"""When the client is killed or interrupted, at any moment, the server rolls back what was not committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snapseed import load_snapshot
from snapseed.errors import InterruptedByUserError
from snapseed.events import Advanced, Event
from snapseed.load.outcome import Outcome
from tests.conftest import Connection, Sandbox
from tests.load.faults.failing import SLOW, fail
from tests.projects.moments import COMMITTED, COMMITTING, at_moments, each_statement, start_load
from tests.projects.state import load_and_mark, outcome, whole_state

PATIENCE_SECONDS = 30.0
# Nothing is changed in these phases.
READING = {"checking files", "connecting", "planning", "waiting for another load", "waiting for the tables"}


def test_kill_9_at_every_moment_leaves_all_or_nothing(loaded: Sandbox, tmp_path: Path) -> None:
    """At the start of each phase that changes something, before and after COMMIT: all rows are there from then on."""
    statements: list[str] = []
    # The first statement of each phase.
    moments: dict[int, str] = {}

    def begin(phase: str) -> None:
        if phase not in READING:
            moments.setdefault(len(statements), phase)

    with each_statement(statements.append):
        load_snapshot(loaded.project, loaded.environment(), listener=at_moments(begin))
    moments |= {statements.index(moment): moment for moment in (COMMITTING, COMMITTED)}
    assert len(moments) > 7
    load_and_mark(loaded)
    before = whole_state(loaded.url)
    for number, moment in sorted(moments.items()):
        load = start_load(loaded.folder, tmp_path / "output", {"SNAPSEED_DATABASE": loaded.url}, die_at=number)
        assert load.wait(PATIENCE_SECONDS) == (-signal.SIGKILL, ""), moment
        is_committed = number >= statements.index(COMMITTED)
        assert outcome(loaded, before) is (Outcome.COMMITTED if is_committed else Outcome.UNCHANGED), moment


def test_an_interrupt_in_the_middle_ends_the_load(loaded: Sandbox) -> None:
    """Ctrl-C between two batches: exit code 130."""

    def interrupt(event: Event) -> None:
        if isinstance(event, Advanced) and event.what == "orders":
            raise KeyboardInterrupt

    error = fail(loaded, listener=interrupt)
    assert (type(error), error.exit_code) == (InterruptedByUserError, 130)


def started(sandbox: Sandbox, **variables: str) -> subprocess.Popen[str]:
    """A load in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snapseed", "load", "dev"],
        cwd=sandbox.folder,
        env={**os.environ, "SNAPSEED_DATABASE": sandbox.url, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(connection: Connection, query: str, process: subprocess.Popen[str]) -> None:
    """Wait until the query returns a row. Fail if the process ends before that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while connection.execute(query.encode()).fetchone() is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


# A row is being checked right now. The row count would not do: PostgreSQL 18 updates it only once per batch.
IN_COPY = """SELECT FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)
              WHERE relid = 'orders'::regclass AND wait_event = 'PgSleep'"""
AT_LOCK = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_process_that_is_stopped_in_the_middle_of_copy_changes_nothing(
    loaded: Sandbox, number: signal.Signals
) -> None:
    """After SIGKILL the server rolls back. SIGINT ends with exit code 130 and SIGTERM with 143, and both say so."""
    with loaded.connect() as connection:
        connection.execute(SLOW)
        before = whole_state(loaded.url)
        with started(loaded) as process:
            wait_until(connection, IN_COPY, process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert outcome(loaded, before) is Outcome.UNCHANGED
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        assert "interrupted; nothing was changed" in errors
        assert "Traceback" not in errors


def test_a_process_that_waits_for_a_lock_can_be_interrupted(loaded: Sandbox) -> None:
    """Ctrl-C ends the wait; nothing else would within the patience of this test."""
    with loaded.connect() as holder, loaded.connect() as connection:
        holder.execute("BEGIN; SELECT FROM orders")
        with started(loaded, SNAPSEED_LOCK_TIMEOUT="1h") as process:
            wait_until(connection, AT_LOCK, process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "interrupted; nothing was changed" in errors
