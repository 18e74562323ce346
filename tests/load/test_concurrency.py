"""Other sessions and other loads use the same tables: nothing of theirs is lost, and rows never mix."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from snapseed import LoadRequest, load_snapshot, verify_snapshot
from snapseed.errors import RefusedError, ServerError, SnapseedError
from snapseed.events import notes_to
from snapseed.load.outcome import LoadReport
from snapseed.load.request import Mode
from tests.conftest import Connection, Sandbox
from tests.projects.moments import at_moments
from tests.projects.state import contents, patiently

AT_LOCK = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Loading(threading.Thread):
    """A load on another thread: its report or its error, and what it said."""

    def __init__(self, sandbox: Sandbox, **options: object) -> None:
        super().__init__()
        self.sandbox, self.options = sandbox, options
        self.said: list[str] = []
        self.report: LoadReport | None = None
        self.error: SnapseedError | None = None

    def run(self) -> None:
        """Load, and keep the result in the fields."""
        overrides = {"lock_timeout": self.options.pop("lock_timeout", "20s")}
        try:
            environment = self.sandbox.environment(None, **overrides)
            request = LoadRequest(**self.options)  # type: ignore[arg-type]
            self.report = load_snapshot(self.sandbox.project, environment, request, listener=notes_to(self.said.append))
        except SnapseedError as exc:
            self.error = exc


@contextmanager
def waiting_load(sandbox: Sandbox, connection: Connection, **options: object) -> Iterator[Loading]:
    """A load that waits for a lock when the block begins, and has ended when the block ends."""
    loading = Loading(sandbox, **options)
    loading.start()
    try:
        patiently(lambda: connection.execute(AT_LOCK).fetchone() is not None)
        yield loading
    finally:
        connection.execute("ROLLBACK") if connection.info.transaction_status else None
        loading.join(30)
    assert not loading.is_alive()


@pytest.fixture
def created(shop: Sandbox) -> Sandbox:
    """A shop with empty tables, into which snapseed has loaded nothing."""
    assert shop.project.schema is not None
    with shop.connect() as connection:
        connection.execute(shop.project.schema.read_bytes())
    return shop


@pytest.mark.parametrize("mode", [Mode.REPLACE, Mode.UPSERT])
def test_rows_committed_while_a_load_waits_are_guarded_like_others(created: Sandbox, mode: Mode) -> None:
    """They were not visible when the load began, and the load must not delete them."""
    with created.connect() as writer, created.connect() as connection:
        writer.execute("BEGIN; INSERT INTO categories VALUES ('mine', 'precious', 1)")
        with waiting_load(created, connection, mode=mode) as loading:
            writer.execute("COMMIT")
        assert isinstance(loading.error, RefusedError)
        assert "rows in public.categories" in str(loading.error)
        assert connection.execute("SELECT count(*) FROM categories").fetchone() == (1,)


@pytest.mark.parametrize("mode", sorted({*Mode} - {Mode.REPAIR}))
def test_nobody_writes_into_the_tables_until_the_commit(created: Sandbox, mode: Mode) -> None:
    """So what was verified is what is committed, also if rows are only deleted or added."""
    with created.connect() as connection:
        # Its foreign key rules out TRUNCATE.
        connection.execute("CREATE TABLE outside (note integer REFERENCES notes); SET lock_timeout = '50ms'")
        refused = []

        def write(moment: str) -> None:
            if moment == "recording":
                for table in ("notes", "orders", "categories"):
                    try:
                        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                    except Exception as exc:  # noqa: BLE001 - any other would not be refused
                        refused.append(str(exc))

        request = LoadRequest(mode=mode)
        load_snapshot(created.project, created.environment(), request, listener=at_moments(write))
        assert len(refused) == 3
        assert all("lock timeout" in text for text in refused)
    assert verify_snapshot(created.project, created.environment()).agrees


def test_a_load_says_which_session_it_waits_for(created: Sandbox) -> None:
    """While it waits, and again in the error that ends the wait."""
    with created.connect() as writer, created.connect() as connection:
        writer.execute("SET application_name = 'a forgotten shell'; BEGIN; LOCK orders")
        with waiting_load(created, connection, lock_timeout="2500ms") as loading:
            pass
        assert isinstance(loading.error, ServerError)
        assert loading.error.summary.endswith("; nothing was changed")
        for words in (str(writer.info.backend_pid), "a forgotten shell"):
            assert words in str(loading.error)
            assert any(words in line for line in loading.said)
        assert f"pg_terminate_backend({writer.info.backend_pid})" in str(loading.error.next_step)


def test_the_second_of_two_loads_waits_and_then_loads_everything(created: Sandbox) -> None:
    """Also if the database's default isolation would show it the tables as they were before the first load."""
    with created.connect() as connection:
        database = connection.info.dbname
        connection.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'".encode())
    with created.connect() as connection:
        second = Loading(created)

        def start_second(moment: str) -> None:
            if moment == "copying rows" and not second.ident:
                second.start()
                patiently(lambda: connection.execute(AT_LOCK).fetchone() is not None)

        load_snapshot(created.project, created.environment(), listener=at_moments(start_second))
        second.join(30)
        assert second.error is None, second.error
        assert second.report is not None
        assert second.report.phases["waiting for another load"] > 0
        assert connection.execute("SELECT count(*) FROM snapseed.loads").fetchone() == (2,)
        assert contents(connection)
    assert verify_snapshot(created.project, created.environment()).agrees


def test_looking_for_changes_does_not_wait_forever(created: Sandbox) -> None:
    """lock_timeout also applies to --if-changed, which says who is in the way."""
    load_snapshot(created.project, created.environment())
    with created.connect() as writer, created.connect() as connection:
        writer.execute("BEGIN; LOCK orders")
        with waiting_load(created, connection, lock_timeout="1500ms", if_changed=True) as loading:
            pass
        assert isinstance(loading.error, ServerError)
        assert str(writer.info.backend_pid) in str(loading.error)
