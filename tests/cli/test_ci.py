"""`snapseed ci` and `snapseed verify` in the formats of CI systems, for every outcome."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.conftest import Sandbox
from tests.load.faults.failing import SLOW
from tests.projects.state import outcome, patiently, whole_state

PATIENCE_SECONDS = 30.0


def cases(text: str) -> dict[str, str]:
    """The state of each test case of a JUnit document, by `group name`. Its totals must be right."""
    # Our own output, of a process of ours.
    root = ET.fromstring(text)  # noqa: S314
    found = {}
    for suite in root:
        members = suite.findall("testcase")
        assert suite.get("tests") == str(len(members))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
        for case in members:
            assert float(case.get("time", "x")) >= 0
            state = "failed" if case.find("failure") is not None else "passed"
            state = "skipped" if case.find("skipped") is not None else state
            found[f"{(case.get('classname') or '').split('.')[-1]} {case.get('name')}"] = state
    assert root.get("tests") == str(len(found))
    return found


def test_the_command_writes_its_reports_in_any_case(shop: Sandbox, tmp_path: Path) -> None:
    """--report gets the same document as stdout; JUnit and metrics are written too, on success and on failure."""
    for database, code in ((shop.url, 0), ("postgresql://127.0.0.1:1/none", 4)):
        report, junit, metrics = (tmp_path / name for name in ("ci.json", "ci.xml", "ci.prom"))
        files = ["--report", str(report), "--junit", str(junit), "--openmetrics", str(metrics)]
        result = shop.run("ci", "--retries", "0", *files, "--database", database, "--format", "json")
        assert result.returncode == code, result.stderr
        document = json.loads(report.read_text())
        assert document == json.loads(result.stdout)
        assert (document["outcome"], document["exit_code"]) == ("failed" if code else "passed", code)
        assert ("failed" in cases(junit.read_text()).values()) == bool(code)
        families = {family.name: family for family in text_string_to_metric_families(metrics.read_text())}  # type: ignore[no-untyped-call]
        (passed,) = families["snapseed_ci_passed"].samples
        assert (passed.value, passed.labels) == (float(not code), {"environment": "dev", "snapshot": "dev"})
        rows = {sample.labels["entity"]: sample.value for sample in families["snapseed_entity_rows"].samples}
        assert rows.get("customers") == (None if code else 250)


def test_text_ends_with_a_table_and_the_outcome(shop: Sandbox) -> None:
    """Entities, steps and phases, and one closing line; progress is on stderr."""
    result = shop.run("ci", check=True)
    *_, closing = result.stdout.splitlines()
    assert closing.startswith("ci dev: passed in ")
    assert "customers" in result.stdout
    assert "copying rows" in result.stdout
    assert result.stderr.splitlines()[0] == "waiting for the database"


def test_junit_on_stdout_has_a_case_for_each_check(shop: Sandbox) -> None:
    """For `ci`, for `verify`, and for a command that fails before it has a report."""
    assert set(cases(shop.run("ci", "--format", "junit", check=True).stdout).values()) == {"passed"}
    with shop.connect() as connection:
        connection.execute("UPDATE customers SET name = 'x' WHERE id = (SELECT min(id) FROM customers)")
    result = shop.run("verify", "--format", "junit")
    assert result.returncode == 1
    found = cases(result.stdout)
    assert [name for name, state in found.items() if state == "failed"] == ["rows customers"]
    assert found["files customers"] == "passed"
    result = shop.run("verify", "nowhere", "--format", "junit")
    assert result.returncode == 2
    assert list(cases(result.stdout).values()) == ["failed"]


def test_github_gets_annotations_a_summary_and_outputs(
    shop: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being asked, in GitHub Actions. The annotation names the damaged file, relative to the working folder."""
    summary, outputs = tmp_path / "summary.md", tmp_path / "outputs"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    result = shop.run("ci", "--database", f"{shop.url} password=hidden", check=True)
    assert "::error" not in result.stdout
    assert "::add-mask::hidden" in result.stderr
    assert summary.read_text().startswith("before\n### snapseed ci dev: passed\n")
    assert "| customers | 250 |" in summary.read_text()
    named = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    assert (named["outcome"], named["database-url"]) == ("passed", f"{shop.url} password=hidden")
    assert int(named["rows"]) > 1000
    assert float(named["seconds"]) > 0
    assert len(named["snapshot-digest"]) == 64

    path = shop.project.snapshots.folder / "dev/orders/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    result = shop.run("ci")
    assert result.returncode == 2
    (annotation,) = (line for line in result.stdout.splitlines() if line.startswith("::"))
    assert annotation.startswith(
        "::error file=snapshots/dev/orders/part-00001.parquet,title=snapseed%3A files orders::orders/part-00001.parquet"
    )
    assert "❌ | files | orders |" in summary.read_text()
    assert "outcome=failed" in outputs.read_text()
    result = shop.run("verify", "--offline")
    assert result.returncode == 1
    assert annotation in result.stdout
    assert "### snapseed verify dev: 1 of " in summary.read_text()


def test_a_failure_before_there_is_a_report_is_an_annotation_too(shop: Sandbox) -> None:
    """On one line, with the next step."""
    result = shop.run("ci", "nowhere", GITHUB_ACTIONS="true")
    assert result.returncode == 2
    assert result.stdout.startswith("::error title=snapseed%3A snapseed configuration::there is no environment named")
    assert "%0A" in result.stdout
    assert len(result.stdout.splitlines()) == 1


def test_a_format_that_was_asked_for_wins(shop: Sandbox) -> None:
    """Over the default of GitHub Actions."""
    result = shop.run("verify", "--offline", "--format", "json", GITHUB_ACTIONS="true", check=True)
    assert json.loads(result.stdout)["agrees"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_rolls_back_and_is_reported(
    shop: Sandbox, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """The outcome is `interrupted` in every report, and the database is as before."""
    shop.run("load", "dev", check=True)
    report, junit = tmp_path / "ci.json", tmp_path / "ci.xml"
    with shop.connect() as connection:
        connection.execute(SLOW)
        before = whole_state(shop.url)
        command = [sys.executable, "-m", "snapseed", "ci", "dev", "--report", str(report), "--junit", str(junit)]
        variables = {**os.environ, "SNAPSEED_DATABASE": shop.url}
        with subprocess.Popen(
            command, cwd=shop.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            query = "SELECT FROM pg_stat_progress_copy WHERE relid = 'orders'::regclass"
            patiently(lambda: connection.execute(query).fetchone() is not None)
            process.send_signal(number)
            said, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code, errors
    assert "nothing was changed" in outcome(shop, before)
    document = json.loads(report.read_text())
    assert (document["outcome"], document["exit_code"], document["step"]) == ("interrupted", code, "loading")
    assert cases(junit.read_text())["load orders"] == "failed"
    assert "ci dev: INTERRUPTED in" in said
    assert "interrupted; nothing was changed" in errors


def test_an_interrupt_while_it_waits_is_reported(shop: Sandbox, tmp_path: Path) -> None:
    """Also between two attempts."""
    report = tmp_path / "ci.json"
    command = [sys.executable, "-m", "snapseed", "ci", "dev", "--report", str(report)]
    variables = {**os.environ, "SNAPSEED_DATABASE": "postgresql://127.0.0.1:1/none"}
    with subprocess.Popen(
        command, cwd=shop.folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "attempt 2 failed" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143
    document = json.loads(report.read_text())
    assert (document["outcome"], document["step"]) == ("interrupted", "waiting for the database")
    assert len(document["attempts"]) == 2
