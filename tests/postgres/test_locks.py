"""A load that waits for a lock says who holds it: real sessions, real waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest

from snapseed import load_snapshot, verify_snapshot
from snapseed.errors import LoadError, ServerError
from snapseed.events import Event, Listener, Note, PhaseStarted, ignore
from snapseed.load.outcome import Outcome
from snapseed.load.snapshot import finish_if_committed
from snapseed.postgres.connect import Connection, Session, Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.locks import APPLICATION, QUERY_CHARACTERS, AdvisoryLock, lock, shortened, watching
from snapseed.servers.targets import resolve_target
from snapseed.testing.reset import reset_environment
from snapseed.testing.server import connected_server
from tests.conftest import Sandbox
from tests.projects.state import patiently, sessions_of_snapseed

PATIENCE = 0.05
LOCK_TIMEOUT = "SET lock_timeout = '2500ms'"


@pytest.fixture
def target(shop: Sandbox) -> Target:
    """The shop's database, with its tables."""
    load_snapshot(shop.project, shop.environment())
    return resolve_target(shop.project, shop.environment())


@pytest.fixture
def waiting(target: Target) -> Iterator[Session]:
    """The session of a load, with a short lock_timeout."""
    with connected(target) as connection:
        connection.execute(LOCK_TIMEOUT)
        yield connection


def sessions(connection: Connection, application: str = APPLICATION) -> int:
    """How many sessions of this name are in the database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    row = connection.execute(query, (application,)).fetchone()
    assert row is not None
    return int(str(row[0]))


def into(told: list[str]) -> Listener:
    """A listener that keeps the notes."""
    return lambda event: told.append(event.text) if isinstance(event, Note) else None


def wait_for_orders(target: Target, connection: Session, told: list[str]) -> ServerError:
    """The error of a step that cannot lock the table `orders`."""
    with (
        pytest.raises(ServerError) as caught,
        watching(target, connection, into(told), patience=PATIENCE),
        translated("emptying tables", "here"),
    ):
        connection.execute("TRUNCATE public.orders CASCADE")
    return caught.value


def test_a_wait_names_who_blocks_and_how_to_end_it(shop: Sandbox, target: Target, waiting: Session) -> None:
    """Process, application, role, state, since when, and the statement: in the note, and in the error afterwards."""
    told: list[str] = []
    with psycopg.connect(shop.url, application_name="a report") as holder:
        holder.execute("SELECT /* a long one */ count(*) FROM orders")
        error = wait_for_orders(target, waiting, told)
        pid, role = holder.info.backend_pid, holder.info.user
    with shop.connect() as connection:
        patiently(lambda: sessions(connection) == 0)
    (line,) = told
    assert line.startswith(f"waiting for a lock on public.orders, blocked by process {pid} (a report, role {role}, ")
    assert "idle in transaction, since " in line
    assert line.endswith(" s)): SELECT /* a long one */ count(*) FROM orders")
    assert "lock timeout" in (error.observed or "")
    assert f"blocked by process {pid} (a report" in (error.observed or "")
    assert f"SELECT pg_terminate_backend({pid})" in (error.next_step or "")
    assert "lock_timeout" in (error.next_step or "")


def test_all_who_block_are_named(shop: Sandbox, target: Target, waiting: Session) -> None:
    """Two readers, two processes."""
    with ExitStack() as stack:
        holders = [stack.enter_context(psycopg.connect(shop.url)) for _ in range(2)]
        for holder in holders:
            holder.execute("SELECT FROM orders")
        error = wait_for_orders(target, waiting, [])
        for holder in holders:
            assert f"process {holder.info.backend_pid} (" in (error.observed or "")
            assert f"pg_terminate_backend({holder.info.backend_pid})" in (error.next_step or "")


def test_another_load_is_called_by_its_name(target: Target, waiting: Session) -> None:
    """The second of two loads learns that it waits for the first."""
    told: list[str] = []
    with connected(target) as first, first.transaction():
        lock(first)
        pid = first.info.backend_pid
        with (
            pytest.raises(ServerError) as caught,
            watching(target, waiting, into(told), patience=PATIENCE),
            translated("waiting for another load", "here"),
            waiting.transaction(),
        ):
            lock(waiting)
    words = f"waiting for a lock of snapseed, blocked by process {pid} (another command of snapseed, "
    assert [line.startswith(words) for line in told] == [True]
    assert f"process {pid} (another command of snapseed" in (caught.value.observed or "")


def test_every_version_takes_the_same_lock() -> None:
    """An older snapseed must wait for this one."""
    assert int(AdvisoryLock.LOADS) == 0x736E617073656564
    assert int(AdvisoryLock.EMBEDDING_INDEXES) == 0x736E6170696E6478


def test_no_wait_no_second_connection(shop: Sandbox, target: Target, waiting: Session) -> None:
    """A quick step and one that makes progress open none. A step that stands still, for whatever reason, does."""
    told: list[str] = []
    with shop.connect() as connection:
        with watching(target, waiting, into(told)) as watch:
            waiting.execute("SELECT 1")
            assert sessions(connection) == 0
        with watching(target, waiting, into(told), patience=0.2) as watch:
            for _ in range(8):
                time.sleep(0.05)
                watch.tell(PhaseStarted("copying rows"))
                assert sessions(connection) == 0
        with watching(target, waiting, into(told), patience=PATIENCE):
            patiently(lambda: sessions(connection) == 1)
        patiently(lambda: sessions(connection) == 0)
        assert sessions_of_snapseed(connection, besides=1) == 1
    assert told == []


def test_other_failures_stay_as_they_are(target: Target, waiting: Session) -> None:
    """An error that was not caused by a lock says nothing about blockers."""
    with (
        pytest.raises(LoadError) as caught,
        watching(target, waiting, ignore, patience=0),
        translated("dividing", "here"),
    ):
        waiting.execute("SELECT 1 / (pg_sleep(0.2) IS NULL)::int")
    assert caught.value.observed == "division by zero [SQLSTATE 22012]"


def test_watching_that_fails_does_not_fail_the_load(shop: Sandbox, target: Target, waiting: Session) -> None:
    """If the second connection or the listener fails, the step ends as usual, and no thread stays."""

    def refuse(_: Event) -> None:
        raise ZeroDivisionError

    nowhere = Target(f"{target.conninfo} user=no_such_role", "", "", None, "")
    with psycopg.connect(shop.url) as holder:
        holder.execute("SELECT FROM orders")
        error = wait_for_orders(nowhere, waiting, [])
        assert error.observed == "canceling statement due to lock timeout [SQLSTATE 55P03]"
        with (
            pytest.raises(ServerError, match="blocked by process"),
            watching(target, waiting, refuse, patience=0),
            translated("emptying", "here"),
        ):
            waiting.execute("TRUNCATE public.orders CASCADE")
    patiently(lambda: not any(thread.name == "watch for blockers" for thread in threading.enumerate()))


def test_a_watch_lets_the_process_end(target: Target, waiting: Session) -> None:
    """Its thread is a daemon."""
    with watching(target, waiting, ignore):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "watch for blockers"]
        assert thread.daemon


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT  1\n  FROM t", "SELECT 1 FROM t"),
        ("ALTER ROLE a PASSWORD 'correct ''horse'' battery' LOGIN", "ALTER ROLE a PASSWORD *** LOGIN"),
        ("CREATE ROLE a password E'correct", "CREATE ROLE a password ***"),
        ("SELECT dblink('host=h password=correct dbname=d')", "SELECT dblink(***)"),
        ("UPDATE t_2024 SET x = $1, y = $q$Ann's$q$, z = $$Ann", "UPDATE t_2024 SET x = $1, y = ***, z = ***"),
        (
            "DELETE FROM t WHERE a = E'it\\'s Ann' AND b IN (5551234, 7.25)",
            "DELETE FROM t WHERE a = *** AND b IN (***, 7.25)",
        ),
        ("INSERT INTO t VALUES ('Ann\\", "INSERT INTO t VALUES (***"),
    ],
)
def test_a_query_is_shown_without_its_values(query: str, shown: str) -> None:
    """Spaces and line breaks become one space."""
    assert shortened(query) == shown


def test_a_long_query_is_cut() -> None:
    """To what fits on a line, after the redaction, so that no half of a password is left."""
    assert shortened("x" * 500) == "x" * (QUERY_CHARACTERS - 1) + "…"
    assert "sec" not in shortened("ALTER ROLE " + "r" * 55 + " PASSWORD 'secret'")


@pytest.mark.parametrize("command", ["verify", "reset", "finish"])
def test_every_wait_ends_and_names_who_holds_the_lock(shop: Sandbox, command: str) -> None:
    """Not only a load's: of readers for a table, of resets for each other and for a load. A note tells it meanwhile."""
    environment = shop.environment(lock_timeout="1500ms")
    report = load_snapshot(shop.project, environment)
    told: list[str] = []
    commands: dict[str, Callable[[], object]] = {
        "verify": lambda: verify_snapshot(shop.project, environment, files="skip", listener=into(told)),
        "reset": lambda: reset_environment(shop.project, environment, listener=into(told)),
        "finish": lambda: finish_if_committed(
            shop.project, environment, replace(report, outcome=Outcome.UNKNOWN), listener=into(told)
        ),
    }
    with psycopg.connect(shop.url, application_name="a migration") as holder:
        if command == "verify":
            holder.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        else:
            lock(holder)
        with pytest.raises(ServerError) as caught:
            commands[command]()
        pid = holder.info.backend_pid
    assert f"blocked by process {pid} (a migration" in str(caught.value.observed)
    assert f"pg_terminate_backend({pid})" in str(caught.value.next_step)
    assert [f"blocked by process {pid}" in line for line in told] == [True]


def test_a_reset_waits_for_another_and_not_for_ever(shop: Sandbox) -> None:
    """It says who holds the lock, and its error too."""
    environment = shop.environment(lock_timeout="1500ms")
    load_snapshot(shop.project, environment)
    target = resolve_target(shop.project, environment)
    told: list[str] = []
    with connected_server(target, environment) as other:
        other.lock(f"reset {target.database}")
        with pytest.raises(ServerError) as caught:
            reset_environment(shop.project, environment, listener=into(told))
        assert f"process {other.connection.info.backend_pid} (another command of snapseed" in str(caught.value.observed)
    assert [line.startswith("waiting for a lock of snapseed") for line in told] == [True]
