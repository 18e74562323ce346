"""When the server or the connection fails, everything stays as it was, and exit code 4 says that a retry may help."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from snapseed import SnapseedError, load_snapshot
from snapseed.errors import ServerError
from snapseed.events import Advanced, Event, Listener
from snapseed.load.outcome import Outcome
from tests.conftest import Sandbox
from tests.load.faults.failing import CANCEL, SLOW, TERMINATE, fail
from tests.load.partitions.test_exchange import RANGES
from tests.load.partitions.test_faults import STAGES, prepared
from tests.load.shapes import Shapes
from tests.projects.moments import COMMITTING, at_moments
from tests.projects.own_server import OwnServer, few_locks_left
from tests.projects.proxy import Cut, Direction, proxied
from tests.projects.state import check_told, load_and_mark, patiently, whole_state

AT_LOCK = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def in_orders(act: Callable[[], object]) -> Listener:
    """Do something once, when the first orders have been sent."""
    done: list[object] = []

    def listen(event: Event) -> None:
        if isinstance(event, Advanced) and event.what == "orders" and not done:
            done.append(act())

    return listen


def is_worth_a_retry(error: SnapseedError, *words: str) -> bool:
    """Whether the error is of the kind that `snapseed ci` retries, with these words in its message."""
    assert (type(error), error.exit_code) == (ServerError, 4)
    assert error.next_step
    for word in words:
        assert word in str(error)
    return True


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        # The server's last message may be lost if it leaves with rows unread (ECONNRESET on a Unix socket).
        (TERMINATE, ("while copying orders",)),
        (CANCEL, ("copying orders", "user request", "57014")),
    ],
    ids=["terminated", "cancelled"],
)
def test_a_session_that_is_ended_in_the_middle_ends_the_load(
    loaded: Sandbox, statement: str, words: tuple[str, ...]
) -> None:
    """An administrator ends the session, or its statement, between two batches."""

    def end() -> None:
        with loaded.connect() as connection:
            connection.execute(statement.encode())

    with loaded.connect() as connection:
        connection.execute(SLOW)
    assert is_worth_a_retry(fail(loaded, listener=in_orders(end)), *words)


def test_a_server_that_stops_at_once_ends_the_load(loaded_there: Sandbox, harmed: OwnServer) -> None:
    """In immediate mode clients are not told, and the next start recovers what was there."""
    error = fail(loaded_there, listener=in_orders(harmed.stop_immediately), recover=harmed.start)
    assert is_worth_a_retry(error, "copying")


def test_a_server_that_is_down_is_worth_a_retry(loaded_there: Sandbox, harmed: OwnServer) -> None:
    """Nothing listens where the URL points."""
    before = whole_state(loaded_there.url)
    harmed.stop_immediately()
    with pytest.raises(ServerError, match="cannot be reached; nothing was changed"):
        load_snapshot(loaded_there.project, loaded_there.environment())
    harmed.start()
    assert whole_state(loaded_there.url) == before


def test_a_process_of_the_server_that_is_killed_ends_the_load(loaded_there: Sandbox, harmed: OwnServer) -> None:
    """After SIGKILL for another session's process, as if memory ran out, PostgreSQL ends all sessions and recovers."""
    url = loaded_there.url
    crash = in_orders(lambda: harmed.crash(url))
    error = fail(loaded_there, listener=crash, recover=lambda: harmed.await_recovery(url))
    assert is_worth_a_retry(error, "copying")


def test_a_full_disk_ends_the_load(loaded_there: Sandbox) -> None:
    """The files of this server have a size limit: a table cannot be extended, as on a full disk."""
    with loaded_there.connect() as connection:
        connection.execute("""
            ALTER TABLE notes ADD filler text, ALTER filler SET STORAGE EXTERNAL;
            ALTER TABLE notes ALTER filler SET DEFAULT repeat('x', 100000);
        """)
    error = fail(loaded_there)
    assert is_worth_a_retry(error, "copying notes", "could not extend file", "Check free disk space")


def test_a_full_disk_ends_a_parallel_load(generated_once: Callable[[str], Path], harmed: OwnServer) -> None:
    """While partitions are filled, over connections of their own. The next load needs no help."""
    shapes = prepared(Shapes(generated_once("shapes"), harmed.make_database("parallel")), RANGES)
    shapes.execute("""
        ALTER TABLE people ADD filler text, ALTER filler SET STORAGE EXTERNAL;
        ALTER TABLE people ALTER filler SET DEFAULT repeat('x', 2000000);
    """)
    error = shapes.refused(connections=2, consent=True)
    assert is_worth_a_retry(error, "filling partition", "could not extend file")
    shapes.execute("ALTER TABLE people ALTER filler DROP DEFAULT")
    shapes.load(connections=2, consent=True, agrees=True)
    assert shapes.execute(STAGES) == []


def test_a_lock_table_that_is_full_ends_the_load(loaded_there: Sandbox, harmed: OwnServer) -> None:
    """PostgreSQL says "out of shared memory" and which setting to raise."""
    with ExitStack() as stack:
        starve = in_orders(lambda: stack.enter_context(few_locks_left(harmed.url(), 0)))
        error = fail(loaded_there, listener=starve, recover=stack.close)
    assert is_worth_a_retry(error, "out of shared memory", "max_locks_per_transaction")


def test_a_statement_timeout_ends_the_load(loaded: Sandbox) -> None:
    """The server gives up on a COPY that takes too long."""
    with loaded.connect() as connection:
        connection.execute(SLOW)
    assert is_worth_a_retry(fail(loaded, statement_timeout="200ms"), "statement timeout", "copying orders")


def test_a_second_load_waits_for_the_first_and_not_for_ever(loaded: Sandbox) -> None:
    """Two loads never run in one database at once. The message says what the load waited for."""
    seen: list[SnapseedError] = []

    def load_again(event: Event) -> None:
        if isinstance(event, Advanced) and not seen:
            with pytest.raises(ServerError) as caught:
                load_snapshot(loaded.project, loaded.environment(lock_timeout="200ms"))
            seen.append(caught.value)

    load_snapshot(loaded.project, loaded.environment(), listener=load_again)
    assert is_worth_a_retry(seen[0], "waiting for another load")


def test_a_deadlock_ends_the_load(loaded: Sandbox) -> None:
    """Another session waits for the load's tables, and the load for what that session holds."""
    with loaded.connect() as other, loaded.connect() as connection:
        # The other session checks for deadlocks much later, so it is not the one that is cancelled.
        other.execute("SET deadlock_timeout = '1min'; BEGIN; LOCK snapseed.loads IN SHARE MODE")
        waiting = threading.Thread(target=other.execute, args=(b"LOCK customers; ROLLBACK",))

        def wait_in_return() -> None:
            waiting.start()
            patiently(lambda: connection.execute(AT_LOCK).fetchone() is not None)

        url = make_conninfo(loaded.url, options="-c deadlock_timeout=50ms")
        error = fail(loaded, listener=in_orders(wait_in_return), recover=waiting.join, database=url)
    assert is_worth_a_retry(error, "deadlock detected", "40P01")


def test_a_serialization_failure_ends_the_load(loaded: Sandbox) -> None:
    """A load is READ COMMITTED, so the server raises none. A function that a table calls may."""
    with loaded.connect() as connection:
        connection.execute("""
            CREATE FUNCTION too_late(integer) RETURNS boolean LANGUAGE plpgsql AS
              $$ BEGIN RAISE 'could not serialize access' USING ERRCODE = 'serialization_failure'; END $$;
            ALTER TABLE notes ADD CONSTRAINT late CHECK (too_late(id)) NOT VALID;
        """)
    error = fail(loaded)
    assert is_worth_a_retry(error, "copying notes", "could not serialize access", "40001")


@pytest.mark.parametrize("direction", Direction)
def test_a_connection_that_is_cut_at_any_byte_ends_the_load(loaded: Sandbox, direction: Direction) -> None:
    """At the first byte, the last that matters, and some in between, the database is as the message says."""
    with proxied(loaded.url) as proxy:
        load_snapshot(loaded.project, loaded.environment(database=proxy.url))
    # The last byte that matters is followed by a goodbye to the server and an answer of 19 bytes.
    last = proxy.passed[direction] - 20
    dice = random.Random(7)  # noqa: S311 - no secrets are drawn here
    before: dict[str, object] = {}
    for at in (0, 1, last, *(dice.randrange(last) for _ in range(4))):
        if not before:
            before = whole_state(load_and_mark(loaded).url)
        cut = Cut(direction, at, reset=dice.random() < 0.5)
        with proxied(loaded.url, cut) as proxy, pytest.raises(ServerError) as caught:
            load_snapshot(loaded.project, loaded.environment(database=proxy.url))
        assert is_worth_a_retry(caught.value)
        if check_told(loaded, before, caught.value.summary) is Outcome.COMMITTED:
            before = {}


@pytest.mark.parametrize(
    ("direction", "found"),
    [(Direction.TO_SERVER, Outcome.UNCHANGED), (Direction.FROM_SERVER, Outcome.COMMITTED)],
    ids=["request lost", "answer lost"],
)
def test_a_commit_that_is_not_answered_is_not_called_a_failure(
    loaded: Sandbox, direction: Direction, found: Outcome
) -> None:
    """The client cannot know the outcome. The message leaves it open and says where to look."""
    before = whole_state(loaded.url)
    with proxied(loaded.url) as proxy:

        def cut(moment: str) -> None:
            if moment == COMMITTING:
                proxy.cut = Cut(direction, proxy.passed[direction])

        with pytest.raises(ServerError) as caught:
            load_snapshot(loaded.project, loaded.environment(database=proxy.url), listener=at_moments(cut))
    assert caught.value.summary.endswith(Outcome.UNKNOWN)
    assert is_worth_a_retry(caught.value, "snapseed status dev")
    assert check_told(loaded, before, caught.value.summary) is found
