"""The CI process tries again what may pass, fails at once on what cannot, and reports both."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from snapseed.ci.process import run_ci
from snapseed.database.embedded import EmbeddedPostgres
from tests.conftest import Sandbox


def test_the_process_loads_and_verifies(shop: Sandbox) -> None:
    """One attempt where nothing is wrong, with both reports inside and memory measured."""
    report = run_ci(shop.project, shop.environment())
    assert report.outcome == "passed"
    assert report.exit_code == 0
    assert [attempt.error for attempt in report.attempts] == [None]
    assert report.load is not None
    assert report.verify is not None
    assert report.peak_memory_bytes > 10_000_000


def test_a_server_that_starts_late_is_waited_for(shop: Sandbox, tmp_path: Path) -> None:
    """The first attempts fail, a later one passes, and each is in the report."""
    (tmp_path / "late").mkdir()
    late = EmbeddedPostgres(tmp_path / "late")
    late.start()  # makes the data folder, so that the second start takes no longer than a restart
    late.stop()

    def start() -> None:
        time.sleep(1.0)
        late.start()

    starter = threading.Thread(target=start)
    starter.start()
    try:
        environment = shop.environment(database=late.url("postgres"), retries=20, timeout="60s")
        report = run_ci(shop.project, environment)
    finally:
        starter.join()
        late.stop()
    assert report.outcome == "passed"
    assert len(report.attempts) > 1
    assert report.attempts[0].error is not None
    assert "cannot be reached" in report.attempts[0].error
    assert report.attempts[-1].error is None


def test_a_server_that_never_answers_ends_with_exit_code_4(shop: Sandbox) -> None:
    """The number of attempts is bounded."""
    environment = shop.environment(database="postgresql://nobody:hidden@127.0.0.1:1/none", retries=2)
    report = run_ci(shop.project, environment)
    assert report.exit_code == 4
    assert len(report.attempts) == 3
    assert "hidden" not in str(report)


def test_a_schema_that_does_not_fit_is_not_tried_twice(shop: Sandbox) -> None:
    """One attempt, exit code 2, and the error names the table."""
    report = run_ci(shop.project, shop.environment(create_schema=False))
    assert report.exit_code == 2
    assert len(report.attempts) == 1
    assert report.error is not None
    assert "customers" in str(report.error)


def test_the_command_writes_its_report_whatever_happens(shop: Sandbox, tmp_path: Path) -> None:
    """--report gets the same document as stdout, on success and on failure."""
    for database, code in ((shop.url, 0), ("postgresql://127.0.0.1:1/none", 4)):
        file = tmp_path / f"report-{code}.json"
        result = shop.run("ci", "--retries", "0", "--report", str(file), "--database", database, "--format", "json")
        assert result.returncode == code, result.stderr
        document = json.loads(file.read_text())
        assert document == json.loads(result.stdout)
        assert document["outcome"] == ("passed" if code == 0 else "failed")


@pytest.mark.parametrize("broken", ["snapshot", "server", "nothing"])
def test_the_doctor_names_what_is_missing(shop: Sandbox, broken: str) -> None:
    """Exit code 1 and the failing check where something is missing, 0 where nothing is."""
    options = {
        "snapshot": ["--snapshot", "none"],
        "server": ["--database", "postgresql://127.0.0.1:1/none"],
        "nothing": [],
    }[broken]
    result = shop.run("doctor", "--format", "json", *options)
    document = json.loads(result.stdout)
    assert document["ready"] == (broken == "nothing")
    assert result.returncode == (0 if broken == "nothing" else 1)
    failing = {check["name"] for check in document["checks"] if check["error"] is not None}
    assert failing == {"snapshot": {"snapshot"}, "server": {"server"}, "nothing": set()}[broken]
