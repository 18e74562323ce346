"""A capture sees one moment, whatever others do meanwhile, and a capture that fails changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg
import pytest
from msgspec import UNSET
from psycopg import sql

from snapseed.capture.request import CaptureRequest, Sizes, subset_request
from snapseed.capture.snapshot import capture_snapshot
from snapseed.errors import ServerError, SnapseedError
from snapseed.events import Advanced, Event
from snapseed.postgres.connect import Session, connected, target_of
from snapseed.postgres.threads import shared_among
from snapseed.snapshot.store import Snapshot, open_snapshot
from tests.capture.conftest import Captured, filled, project_in
from tests.conftest import Connection, new_database
from tests.projects.state import patiently, sessions_of_snapseed

ROWS = CaptureRequest(schema=False, unmasked=True)
# Files of 500 rows, so that several connections share a table.
SHARED = Sizes(part_rows=500, chunk_rows=100)
ACCOUNTS = """
CREATE TABLE accounts(id int PRIMARY KEY, v int NOT NULL); CREATE TABLE branches(id int PRIMARY KEY, v int NOT NULL);
INSERT INTO accounts SELECT g, 100 FROM generate_series(1, 3000) g;
INSERT INTO branches SELECT g, 100 FROM generate_series(1, 10) g;
CREATE TABLE log(id bigserial PRIMARY KEY, v int); INSERT INTO log(v) SELECT 1 FROM generate_series(1, 100);
CREATE TABLE notes(id bigserial PRIMARY KEY, about bigint NOT NULL REFERENCES log);
INSERT INTO notes(about) SELECT id FROM log;
"""
TRANSFER = """
WITH taken AS (UPDATE accounts SET v = v - 1 WHERE id = %(number)s * 7919 %% 3000 + 1),
     logged AS (INSERT INTO log(v) SELECT 1 FROM generate_series(1, 50) RETURNING id),
     noted AS (INSERT INTO notes(about) SELECT id FROM logged),
     past AS (DELETE FROM notes WHERE about < (SELECT max(id) FROM log) - 500 RETURNING about),
     gone AS (DELETE FROM log USING past WHERE id = about)
UPDATE branches SET v = v + 1 WHERE id = %(number)s %% 10 + 1
"""
# Too much for the buffers between server and client, so that a capture that was told of rows is still reading.
LARGE = """
CREATE TABLE large(id int PRIMARY KEY, t text);
INSERT INTO large SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 5000) g;
"""


@contextmanager
def transfers(url: str) -> Iterator[None]:
    """Somebody who moves amounts from one table to the other, one transaction after the other."""
    done = threading.Event()

    def run() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in count():
                if done.is_set():
                    return
                connection.execute(TRANSFER, {"number": number})

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_sums_are_equal_while_others_write(database: str, tmp_path: Path) -> None:
    """With one connection and with four, a table read in parts; and each sequence is past the rows."""
    project = project_in(tmp_path, filled(database, ACCOUNTS))
    with transfers(database):
        seen = set[str]()
        for jobs in (1, 4, 4):
            manifest = project.capture(CaptureRequest(schema=False, jobs=jobs, sizes=SHARED)).manifest
            seen.add(manifest.identity)
            snapshot = open_snapshot(project.project.snapshots, "dev")
            total = sum(sum(values_of(snapshot, name, "v")) for name in ("accounts", "branches"))
            assert total == 100 * 3010
            log = manifest.entity("log")
            assert log is not None
            assert log.sequences is not UNSET
            assert log.sequences[0].last_value >= max(values_of(snapshot, "log", "id"))
        assert len(seen) == 3, "nobody has written"


def values_of(snapshot: Snapshot, table: str, column: str) -> list[int]:
    """The values of a column in the files."""
    entity = next(entity for entity in snapshot.manifest.entities if entity.name == table)
    return [value for batch in snapshot.batches(entity, [column]) for value in batch.column(0).to_pylist()]


def test_a_subset_is_of_one_moment_too(database: str, tmp_path: Path) -> None:
    """Although rows that it needs, and those that refer to them, are deleted while it is chosen and read."""
    project = project_in(tmp_path, filled(database, ACCOUNTS))
    request = CaptureRequest(schema=False, subset=subset_request("notes", 400))
    with transfers(database):
        seen = set[str]()
        for jobs in (1, 3, 1, 3):
            seen.add(project.capture(replace(request, jobs=jobs)).manifest.identity)
            snapshot = open_snapshot(project.project.snapshots, "dev")
            assert sorted(values_of(snapshot, "notes", "about")) == values_of(snapshot, "log", "id")
        assert len(seen) == 4, "nobody has written"


@pytest.fixture(scope="module")
def large(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    """A project with a snapshot of a table that takes a while to read."""
    with new_database(server) as url:
        project = project_in(tmp_path_factory.mktemp("large"), filled(url, LARGE))
        project.capture(ROWS)
        yield project


def failing(project: Captured, jobs: int, fail: Callable[[Connection], object]) -> SnapseedError | BaseException:
    """The error of a capture to which this happened once the first rows were there; the snapshot before stays."""
    before = open_snapshot(project.project.snapshots, "dev").manifest
    environment = project.project.environment("dev", {"source": project.url})
    happened = threading.Event()
    with psycopg.connect(project.url, autocommit=True) as connection:

        def listen(event: Event) -> None:
            if isinstance(event, Advanced) and not happened.is_set():
                happened.set()
                fail(connection)

        request = CaptureRequest(schema=False, jobs=jobs, sizes=Sizes(part_rows=4096, chunk_rows=1024))
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - the caller looks at it
            capture_snapshot(project.project, environment, request, listener=listen)
        assert sessions_of_snapseed(connection) == 0
    assert open_snapshot(project.project.snapshots, "dev").manifest == before
    assert [path.name for path in project.project.snapshots.folder.iterdir()] == ["dev"]
    return caught.value


def all_sessions(function: str) -> Callable[[Connection], object]:
    """Call a function of the server for each session of the capture."""
    query = sql.SQL(
        "SELECT {}(pid) FROM pg_stat_activity WHERE application_name = 'snapseed' AND datname = current_database()"
    )
    return lambda connection: connection.execute(query.format(sql.Identifier(function)))


def interrupt(_: Connection) -> None:
    """As the command line does on Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("function", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_capture_that_the_server_ends_changes_nothing(large: Captured, jobs: int, function: str) -> None:
    """It says what was being done, and that the same command may work the next time."""
    error = failing(large, jobs, all_sessions(function))
    assert isinstance(error, ServerError)
    assert error.exit_code == 4
    assert error.next_step


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupt_changes_nothing(large: Captured, jobs: int) -> None:
    """All threads and sessions are gone."""
    threads = threading.active_count()
    assert isinstance(failing(large, jobs, interrupt), KeyboardInterrupt)
    patiently(lambda: threading.active_count() <= threads)


def test_what_begins_after_a_failure_is_cancelled_too(database: str) -> None:
    """Another thread may be between two statements when the server is told to cancel."""
    target, started, cancelled = target_of(database, "test"), threading.Event(), []

    def fail(_session: Session, _stop: threading.Event) -> None:
        started.wait()
        raise ZeroDivisionError

    def go_on(session: Session, _stop: threading.Event) -> None:
        started.set()
        for _ in range(2):
            try:
                session.execute("SELECT pg_sleep(5)")
            except psycopg.errors.QueryCanceled as exc:
                cancelled.append(exc)

    with connected(target) as first, connected(target) as second, pytest.raises(ZeroDivisionError):
        shared_among([first, second], [fail, go_on])
    assert len(cancelled) == 2


def test_a_table_is_put_in_place_while_others_are_read(database: str, tmp_path: Path) -> None:
    """So a snapshot in a bucket takes no more room here than the tables that are being read."""
    project, read = project_in(tmp_path, filled(database, ACCOUNTS)), dict[str, bool]()
    staging = tmp_path / "snapshots/.dev.partial"

    def listen(event: Event) -> None:
        if isinstance(event, Advanced) and event.what not in read:
            patiently(lambda: all((staging / f"{entity}.parquet").exists() for entity in read))
            read[event.what] = True

    # With two at a time, the one that waits could keep the other from going on.
    request = replace(ROWS, jobs=1)
    capture_snapshot(
        project.project, project.project.environment("dev", {"source": database}), request, listener=listen
    )
    assert len(read) == 4


def test_nothing_is_changed_on_the_source(large: Captured) -> None:
    """A database in which every transaction is read-only can be captured."""
    with psycopg.connect(large.url, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        try:
            for jobs in (1, 3):
                assert large.capture(CaptureRequest(schema=False, jobs=jobs)).manifest.rows == 5000
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))
