"""The CI process waits, loads, verifies and measures; it retries what may pass, and nothing else."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from snapseed.ci.process import run_ci
from snapseed.ci.report import Attempt, CiReport, CiStep
from snapseed.events import Advanced, Event, notes_to
from snapseed.load.outcome import Outcome as LoadOutcome
from tests.conftest import Sandbox, WithData
from tests.load.faults.failing import TERMINATE
from tests.projects.moments import COMMITTED, COMMITTING, at_moments
from tests.projects.own_server import OwnServer


def attempts(report: CiReport, step: CiStep) -> list[Attempt]:
    """The attempts at a step."""
    return [attempt for attempt in report.attempts if attempt.step is step]


def loads(sandbox: Sandbox) -> int:
    """The number of loads that were committed."""
    with sandbox.connect() as connection:
        row = connection.execute("SELECT count(*) FROM snapseed.loads").fetchone()
    assert row is not None
    return int(str(row[0]))


def test_the_process_loads_and_verifies(shop: Sandbox) -> None:
    """If nothing is wrong, one attempt at each step, in order; the report has both inner reports and the memory."""
    said: list[str] = []
    report = run_ci(shop.project, shop.environment(), listener=notes_to(said.append))
    assert (report.outcome, report.exit_code, report.error) == ("passed", 0, None)
    assert [(attempt.step, attempt.number, attempt.error) for attempt in report.attempts] == [
        (CiStep.WAIT, 1, None),
        (CiStep.LOAD, 1, None),
        (CiStep.VERIFY, 1, None),
    ]
    assert list(report.steps) == [CiStep.PREPARE, CiStep.WAIT, CiStep.LOAD, CiStep.VERIFY]
    assert report.load is not None
    assert report.verify is not None
    assert report.server is not None
    assert report.server.version.startswith("PostgreSQL ")
    assert "wal_level" in report.server.settings
    assert report.peak_memory_bytes > 10_000_000
    assert len(said) == 3


def test_a_server_that_starts_late_is_waited_for(shop: Sandbox, tmp_path: Path, with_data: WithData) -> None:
    """The first attempts fail and a later one passes. Each is in the report, with its reason and its wait."""
    (tmp_path / "late").mkdir()
    late = with_data(tmp_path / "late")

    said: list[str] = []

    def start(line: str) -> None:
        said.append(line)
        if "attempt 2 failed" in line:
            late.start()

    try:
        report = run_ci(shop.project, shop.environment(database=late.url("postgres")), listener=notes_to(start))
    finally:
        late.stop()
    assert report.outcome == "passed"
    first, *_, last = attempts(report, CiStep.WAIT)
    assert "cannot be reached" in (first.error or "")
    assert (first.wait, last.error, last.wait) == (0.2, None, None)
    assert len(attempts(report, CiStep.LOAD)) == 1
    assert report.metrics.retries == last.number - 1
    assert "waiting for the database, attempt 1 failed: the database cannot be reached" in said[1]


def test_a_server_that_never_answers_ends_with_exit_code_4(shop: Sandbox) -> None:
    """The number of attempts is bounded, and no password is shown."""
    environment = shop.environment(database="postgresql://nobody:hidden@127.0.0.1:1/none", retries=2)
    report = run_ci(shop.project, environment)
    assert (report.outcome, report.exit_code, report.step) == ("failed", 4, CiStep.WAIT)
    assert [attempt.wait is None for attempt in report.attempts] == [False, False, True]
    assert "hidden" not in str(report)


def test_no_attempt_begins_after_the_timeout(shop: Sandbox) -> None:
    """The time of all steps together has a limit too."""
    environment = shop.environment(database="postgresql://127.0.0.1:1/none", timeout="1s")
    report = run_ci(shop.project, environment)
    assert report.exit_code == 4
    *before, last = report.attempts
    assert sum(attempt.seconds + (attempt.wait or 0) for attempt in before) <= 1
    assert last.wait is None
    assert len(before) + 1 < environment.retries


def test_a_refused_password_is_not_retried(shop_there: Sandbox, harmed: OwnServer) -> None:
    """Exit code 2 at once; the password is not shown."""
    access = harmed.embedded.data_directory / "pg_hba.conf"
    with psycopg.connect(harmed.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'correct'")
        access.write_text("local all guest scram-sha-256\n" + access.read_text())
        connection.execute("SELECT pg_reload_conf()")
    for password, refusal in (("wrong", "password authentication failed"), (None, "no password supplied")):
        url = make_conninfo(shop_there.url, user="guest", password=password)
        report = run_ci(shop_there.project, shop_there.environment(database=url))
        assert (report.outcome, report.exit_code, report.step) == ("failed", 2, CiStep.WAIT)
        assert len(report.attempts) == 1
        assert refusal in str(report.error)
        assert "password=wrong" not in str(report)


def test_a_guard_refuses_before_anything_is_loaded(shop: Sandbox) -> None:
    """Exit code 3, while waiting for the database, and at once."""
    with shop.connect() as connection:
        connection.execute("CREATE ROLE ops_production SUPERUSER LOGIN")
    try:
        environment = shop.environment(database=f"{shop.url} user=ops_production")
        report = run_ci(shop.project, environment)
    finally:
        with shop.connect() as connection:
            connection.execute("DROP ROLE ops_production")
    assert (report.exit_code, report.step, len(report.attempts)) == (3, CiStep.WAIT, 1)


def test_a_schema_that_does_not_fit_is_not_retried(shop: Sandbox) -> None:
    """One attempt, exit code 2, and the error names the table."""
    report = run_ci(shop.project, shop.environment(create_schema=False))
    assert (report.exit_code, report.step) == (2, CiStep.LOAD)
    assert len(attempts(report, CiStep.LOAD)) == 1
    assert "customers" in str(report.error)


def test_a_missing_snapshot_is_an_error_before_the_database_is_asked(shop: Sandbox) -> None:
    """Exit code 2, and no attempt."""
    report = run_ci(shop.project, shop.environment(snapshot="none", database="postgresql://127.0.0.1:1/none"))
    assert (report.exit_code, report.step, report.attempts) == (2, CiStep.PREPARE, ())


def test_a_restart_during_the_load_is_survived(shop_there: Sandbox, harmed: OwnServer) -> None:
    """The whole load runs again, and one is committed."""
    struck: list[str] = []

    def strike(moment: str) -> None:
        if moment == "building indexes" and not struck:
            struck.append(moment)
            harmed.stop_immediately()
            harmed.start()

    report = run_ci(shop_there.project, shop_there.environment(), listener=at_moments(strike))
    assert report.outcome == "passed"
    first, second = attempts(report, CiStep.LOAD)
    assert (first.error is not None, second.error) == (True, None)
    assert loads(shop_there) == 1


@pytest.mark.parametrize("moment", [COMMITTING, COMMITTED, "analyzing"])
def test_an_attempt_that_was_committed_does_not_run_again(shop: Sandbox, moment: str) -> None:
    """Its record tells, whether the answer to the COMMIT was lost or the connection after it."""
    reached: list[str] = []

    def strike(now: str) -> None:
        reached.append(now)
        if now == moment and reached.count(moment) == 1:
            if moment == "analyzing":
                with shop.connect() as connection:
                    connection.execute(TERMINATE)
            else:
                raise psycopg.OperationalError("server closed the connection unexpectedly")

    report = run_ci(shop.project, shop.environment(), listener=at_moments(strike))
    assert moment in reached
    assert report.outcome == "passed", report.error
    assert len(attempts(report, CiStep.LOAD)) == 2
    assert report.load is not None
    assert report.load.outcome is LoadOutcome.COMMITTED
    assert loads(shop) == 1
    # Nothing was committed before the COMMIT, so then it has to run again.
    assert reached.count("emptying tables") == (2 if moment == COMMITTING else 1)
    with shop.connect() as connection:
        analyzed = connection.execute("SELECT reltuples > 0 FROM pg_class WHERE relname = 'orders'").fetchone()
    assert analyzed == (True,)


def test_a_connection_lost_while_verifying_repeats_only_the_verification(shop: Sandbox) -> None:
    """The load does not run again."""
    struck: list[Event] = []

    def strike(event: Event) -> None:
        if isinstance(event, Advanced) and event.unit == "tables" and not struck:
            struck.append(event)
            with shop.connect() as connection:
                connection.execute(TERMINATE)

    report = run_ci(shop.project, shop.environment(), listener=strike)
    assert struck
    assert report.outcome == "passed", report.error
    assert (len(attempts(report, CiStep.LOAD)), len(attempts(report, CiStep.VERIFY))) == (1, 2)
    assert loads(shop) == 1


def test_rows_that_change_after_the_commit_are_findings(shop: Sandbox) -> None:
    """Exit code 1, and the entity is named."""

    def strike(moment: str) -> None:
        if moment == "analyzing":
            with shop.connect() as connection:
                connection.execute("UPDATE customers SET name = 'x' WHERE id = (SELECT min(id) FROM customers)")

    report = run_ci(shop.project, shop.environment(), listener=at_moments(strike))
    assert (report.outcome, report.exit_code, report.error) == ("failed", 1, None)
    assert report.verify is not None
    assert [entity.entity for entity in report.verify.entities if not entity.agrees] == ["customers"]
