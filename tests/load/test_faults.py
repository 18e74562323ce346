"""Whatever fails, and whoever is killed: the database is as it was, no session stays, and the message says why."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from snapseed import SnapseedError, load_snapshot, open_snapshot
from snapseed.errors import (
    InterruptedByUserError,
    LoadError,
    SchemaError,
    ServerError,
    SnapshotError,
    VerificationError,
)
from snapseed.load.report import Progress
from tests.conftest import Connection, Sandbox
from tests.projects.state import contents, sessions_of_snapseed

# A check that takes its time and lets every row pass: the load spends seconds in COPY.
SLOW = """
CREATE FUNCTION slowly(bigint) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(0.002); RETURN true; END $$;
ALTER TABLE orders ADD CONSTRAINT slow CHECK (slowly(id)) NOT VALID;
"""
PATIENCE_SECONDS = 30.0


@pytest.fixture
def loaded(shop: Sandbox) -> Sandbox:
    """A shop whose tables hold rows that a second load would replace."""
    load_snapshot(shop.project, shop.environment())
    with shop.connect() as connection:
        connection.execute("UPDATE customers SET name = 'before'")
        connection.execute("SELECT setval('customers_id_seq', 4711)")
    return shop


@pytest.fixture
def role(loaded: Sandbox) -> Iterator[str]:
    """A role that may fill the tables and does not own them, so that their triggers stay on."""
    name = f"loader_{uuid.uuid4().hex[:8]}"
    with loaded.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        for schema in ("public", "snapseed"):
            for what in ("USAGE ON SCHEMA {}", "ALL ON ALL TABLES IN SCHEMA {}"):
                grant = sql.SQL("GRANT " + what + " TO {}").format(sql.Identifier(schema), sql.Identifier(name))
                connection.execute(grant)
        yield name
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def fail(
    sandbox: Sandbox,
    *,
    only: tuple[str, ...] = (),
    progress: Callable[[Progress], None] = lambda _: None,
    **overrides: object,
) -> SnapseedError:
    """The error of a load that changed nothing, left no session, and says so."""
    with sandbox.connect() as connection:
        before = contents(connection)
        with pytest.raises(SnapseedError) as caught:
            load_snapshot(sandbox.project, sandbox.environment(None, **overrides), only=only, progress=progress)
        assert contents(connection) == before
        assert sessions_of_snapseed(connection) == 0
    assert caught.value.summary.endswith("; nothing was changed")
    return caught.value


@dataclass(frozen=True)
class Fault:
    """Something done to the database, the error that a load then ends with, and words of its message."""

    statements: str
    error: type[SnapseedError]
    exit_code: int
    words: tuple[str, ...]


FAULTS = {
    "missing table": Fault("DROP TABLE notes", SchemaError, 2, ("table notes does not exist",)),
    "another type": Fault(
        "ALTER TABLE orders ALTER paid TYPE text", SchemaError, 2, ("orders.paid is text, expected boolean",)
    ),
    "unique violation in the last row": Fault(
        "DELETE FROM notes WHERE id = 500; CREATE UNIQUE INDEX last_two ON notes (least(id, 499))",
        LoadError,
        2,
        ("copying notes", "constraint 'last_two'", "(499)"),
    ),
    "check violation": Fault(
        "ALTER TABLE orders ADD CONSTRAINT free CHECK (total < 0) NOT VALID",
        LoadError,
        2,
        ("copying orders", "table 'orders'", "constraint 'free'"),
    ),
    "null where none may be": Fault(
        "UPDATE customers SET mood = 'glad'; ALTER TABLE customers ALTER mood SET NOT NULL",
        SchemaError,
        2,
        ("customers.mood is NOT NULL, and NULL in", 'ALTER COLUMN "mood" DROP NOT NULL;'),
    ),
    "label that an enum lacks": Fault(
        "UPDATE customers SET mood = NULL; ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        SchemaError,
        2,
        ("customers.mood: the type mood has no label 'sad'", "ALTER TYPE mood ADD VALUE 'sad';"),
    ),
    "foreign key violation": Fault(
        "CREATE TABLE elsewhere (id bigint PRIMARY KEY);"
        "ALTER TABLE shops ADD CONSTRAINT away FOREIGN KEY (owner) REFERENCES elsewhere NOT VALID",
        LoadError,
        2,
        ("copying shops", "constraint 'away'", "elsewhere"),
    ),
    "failure behind the rows": Fault(
        "ALTER TABLE snapseed.loads ADD CONSTRAINT once CHECK (id < 2)",
        LoadError,
        2,
        ("recording", "constraint 'once'"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_refused_load_changes_nothing_and_names_what_stood_in_the_way(loaded: Sandbox, name: str) -> None:
    """Entity, table, column and constraint stand in the message, and the exit code tells the kind of failure."""
    fault = FAULTS[name]
    with loaded.connect() as connection:
        connection.execute(fault.statements.encode())
    error = fail(loaded)
    assert (type(error), error.exit_code) == (fault.error, fault.exit_code)
    for word in fault.words:
        assert word in str(error)


def test_a_damaged_file_is_found_before_anybody_connects(loaded: Sandbox) -> None:
    """The load fails on the file; the server that it would have connected to has not heard of it."""
    snapshot = open_snapshot(loaded.project.snapshots, "dev")
    file = snapshot.manifest.entities[-1].files[0]
    data = bytearray(snapshot.path(file).read_bytes())
    data[len(data) // 2] ^= 1
    snapshot.path(file).write_bytes(data)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        url = f"postgresql://nobody@127.0.0.1:{listening.getsockname()[1]}/none"
        error = fail(loaded, database=url)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert (type(error), error.exit_code) == (SnapshotError, 2)
    assert f"{file.path}" in str(error)
    assert "altered" in str(error)


def test_a_trigger_that_raises_stops_the_load(loaded: Sandbox, role: str) -> None:
    """Where the role does not own the table its triggers stay on, and one of them may object."""
    with loaded.connect() as connection:
        connection.execute("""
            CREATE FUNCTION objects() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed on Sundays'; END $$;
            CREATE TRIGGER sunday BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION objects();
        """)
    error = fail(loaded, only=("notes",), database=f"{loaded.url} user={role}")
    assert isinstance(error, LoadError)
    assert "closed on Sundays" in str(error)
    assert "copying notes" in str(error)


def test_a_trigger_that_changes_rows_is_found_by_the_verification(loaded: Sandbox, role: str) -> None:
    """One value that is not the snapshot's, and the load ends with exit code 1 and the chunk's number."""
    with loaded.connect() as connection:
        connection.execute("""
            CREATE FUNCTION meddles() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.number := 9; RETURN NEW; END $$;
            CREATE TRIGGER meddling BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.id = 500) EXECUTE FUNCTION meddles();
        """)
    error = fail(loaded, only=("notes",), database=f"{loaded.url} user={role}")
    assert (type(error), error.exit_code) == (VerificationError, 1)
    assert "notes chunk 2" in str(error)
    assert "notes chunk 1" not in str(error)


def test_a_statement_timeout_ends_the_load(loaded: Sandbox) -> None:
    """The server gives up, which may pass: exit code 4."""
    with loaded.connect() as connection:
        connection.execute(SLOW)
    error = fail(loaded, statement_timeout="200ms")
    assert (type(error), error.exit_code) == (ServerError, 4)
    assert "statement timeout" in str(error)
    assert "copying orders" in str(error)


def test_a_lock_that_somebody_holds_ends_the_load_after_the_lock_timeout(loaded: Sandbox) -> None:
    """A reader in a transaction keeps the tables from being emptied; the load does not wait for ever."""
    with loaded.connect() as holder:
        holder.execute("BEGIN; SELECT FROM orders")
        before = contents(holder)
        with pytest.raises(ServerError, match="nothing was changed") as caught:
            load_snapshot(loaded.project, loaded.environment(lock_timeout="200ms"))
        assert contents(holder) == before
    assert "lock timeout" in str(caught.value)


def test_a_second_load_waits_for_the_first_and_not_for_ever(loaded: Sandbox) -> None:
    """Two loads never work in one database at once; the message says what was waited for."""
    seen: list[SnapseedError] = []

    def load_again(_: Progress) -> None:
        if not seen:
            with pytest.raises(ServerError) as caught:
                load_snapshot(loaded.project, loaded.environment(lock_timeout="200ms"))
            seen.append(caught.value)

    load_snapshot(loaded.project, loaded.environment(), progress=load_again)
    assert "waiting for another load" in str(seen[0])


def test_a_session_that_is_terminated_in_the_middle_ends_the_load(loaded: Sandbox) -> None:
    """An administrator ends the session between two batches: exit code 4, worth a retry."""

    def terminate(step: Progress) -> None:
        if step.entity == "orders":
            with loaded.connect() as connection:
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'snapseed'"
                connection.execute(query + " AND datname = current_database()")

    error = fail(loaded, progress=terminate)
    assert (type(error), error.exit_code) == (ServerError, 4)
    assert "copying orders" in str(error)


def test_an_interrupt_in_the_middle_ends_the_load(loaded: Sandbox) -> None:
    """Ctrl-C between two batches: exit code 130."""

    def interrupt(step: Progress) -> None:
        if step.entity == "orders":
            raise KeyboardInterrupt

    error = fail(loaded, progress=interrupt)
    assert (type(error), error.exit_code) == (InterruptedByUserError, 130)


def test_a_server_that_is_not_there_is_named(loaded: Sandbox) -> None:
    """Exit code 4, with the address that was tried and no password."""
    error = fail(loaded, database="postgresql://somebody:secret@127.0.0.1:1/nothing")
    assert (type(error), error.exit_code) == (ServerError, 4)
    assert "postgresql://somebody:***@127.0.0.1:1/nothing" in str(error)
    assert "secret" not in str(error)


def started(sandbox: Sandbox) -> subprocess.Popen[str]:
    """A load as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snapseed", "load", "dev"],
        cwd=sandbox.folder,
        env={**os.environ, "SNAPSEED_DATABASE": sandbox.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(connection: Connection, query: str, process: subprocess.Popen[str]) -> None:
    """Wait until the query returns a row, and fail where the process ends before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while connection.execute(query.encode()).fetchone() is None:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


# A row is being checked at this moment. The count of rows would not do: PostgreSQL 18 shows it only batch by batch.
IN_COPY = """SELECT FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)
              WHERE relid = 'orders'::regclass AND wait_event = 'PgSleep'"""
AT_LOCK = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_process_that_is_stopped_in_the_middle_of_copy_changes_nothing(
    loaded: Sandbox, number: signal.Signals
) -> None:
    """SIGKILL leaves the rollback to the server; SIGINT and SIGTERM end with exit code 130 and a word about it."""
    with loaded.connect() as connection:
        connection.execute(SLOW)
        before = contents(connection)
        with started(loaded) as process:
            wait_until(connection, IN_COPY, process)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert sessions_of_snapseed(connection) == 0
        assert contents(connection) == before
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "interrupted; nothing was changed" in errors
        assert "Traceback" not in errors


def test_a_process_that_waits_for_a_lock_can_be_interrupted(loaded: Sandbox) -> None:
    """Ctrl-C ends the wait at once, not after the lock timeout."""
    with loaded.connect() as holder, loaded.connect() as connection:
        holder.execute("BEGIN; SELECT FROM orders")
        with started(loaded) as process:
            wait_until(connection, AT_LOCK, process)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert time.monotonic() - begun < 5
    assert process.returncode == 130
    assert "interrupted; nothing was changed" in errors


def test_a_commit_that_is_not_answered_is_not_called_a_failure(
    loaded: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection is lost at the COMMIT, the message leaves open what is not known, and says where to look."""
    leave = psycopg.Transaction.__exit__

    def lost(self: psycopg.Transaction, *exc: object) -> bool:
        leave(self, *exc)  # type: ignore[arg-type]
        raise psycopg.OperationalError("the connection is gone")

    monkeypatch.setattr(psycopg.Transaction, "__exit__", lost)
    with pytest.raises(ServerError) as caught:
        load_snapshot(loaded.project, loaded.environment())
    assert caught.value.summary.endswith("whether the rows were committed is not known")
    assert "snapseed status dev" in (caught.value.next_step or "")
