"""Taking longer than an earlier run is a finding, unless it is noise."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from snapseed.ci.report import Baseline, EntityMetrics, Metrics, read_baseline, slowdowns
from snapseed.errors import UsageError
from tests.conftest import Sandbox

METRICS = Metrics(
    rows=1000,
    bytes=100_000,
    seconds=10.0,
    rows_per_second=100.0,
    retries=0,
    peak_memory_bytes=1,
    steps={"loading": 9.0},
    phases={"connecting": 1.0, "copying rows": 4.0, "building indexes": 2.0},
    entities={"users": EntityMetrics(1000, 100_000, 4.0, 250.0, 1.0)},
    server="PostgreSQL 18",
    settings={},
)


def report_text(metrics: Metrics = METRICS, **parts: object) -> str:
    """A report with these metrics, and with fields that are not compared."""
    return json.dumps({"format": 1, "outcome": "passed", "metrics": asdict(metrics), "more": [], **parts})


def baseline(tmp_path: Path, metrics: Metrics) -> Baseline:
    """A report with these metrics, written and read."""
    file = tmp_path / "old.json"
    file.write_text(report_text(metrics))
    return read_baseline(file)


def found(metrics: Metrics, old: Baseline, allowed: float = 1.5) -> dict[str, float]:
    """What got slower, and by how much."""
    return {slowdown.what: round(slowdown.factor, 2) for slowdown in slowdowns(metrics, old, allowed)}


def test_the_same_speed_is_no_finding(tmp_path: Path) -> None:
    """Neither is a faster or a slightly slower one."""
    old = baseline(tmp_path, METRICS)
    for factor in (0.1, 1.0, 1.49):
        phases = {name: seconds * factor for name, seconds in METRICS.phases.items()}
        assert found(replace(METRICS, phases=phases), old) == {}


def test_phases_and_entities_that_take_too_long_are_findings(tmp_path: Path) -> None:
    """Phases and entities. Connecting is not compared, because it depends on others."""
    old = baseline(tmp_path, METRICS)
    slow = replace(
        METRICS,
        phases={"connecting": 9.0, "copying rows": 8.0, "building indexes": 2.0, "a new one": 9.0},
        entities={"users": replace(METRICS.entities["users"], seconds=8.0), "new": METRICS.entities["users"]},
    )
    assert found(slow, old) == {"copying users": 2.0, "copying rows": 2.0}
    assert found(slow, old, 2.0) == {}


def test_times_are_scaled_to_the_rows(tmp_path: Path) -> None:
    """Twice the rows may take twice the time."""
    old = baseline(tmp_path, METRICS)
    double = replace(
        METRICS,
        rows=2000,
        phases={name: 2 * seconds for name, seconds in METRICS.phases.items()},
        entities={"users": EntityMetrics(2000, 200_000, 8.0, 250.0, 2.0)},
    )
    assert found(double, old) == {}
    assert found(replace(double, rows=1000), old) == {"copying rows": 2.0, "building indexes": 2.0}


def test_a_tenth_of_a_second_is_noise(tmp_path: Path) -> None:
    """Ten times as long is no finding if it is a tenth of a second."""
    old = baseline(tmp_path, replace(METRICS, phases={"emptying tables": 0.01}, entities={}))
    assert found(replace(METRICS, phases={"emptying tables": 0.1}), old) == {}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        (report_text(format=2), "format 2"),
        (report_text(outcome="failed"), "'failed'"),
        (None, "No such file"),
    ],
    ids=["empty", "something else", "of another format", "of a failed run", "missing"],
)
def test_an_unusable_baseline_is_an_error_before_anything_is_done(
    shop: Sandbox, tmp_path: Path, text: str | None, word: str
) -> None:
    """Exit code 2, with what was observed; nothing is loaded."""
    file = tmp_path / "old.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_baseline(file)
    assert word in str(caught.value)
    assert str(file) in str(caught.value)
    result = shop.run("ci", "--baseline", str(file))
    assert result.returncode == 2
    assert word in result.stderr
    with shop.connect() as connection:
        assert connection.execute("SELECT to_regclass('customers')").fetchone() == (None,)


def test_a_slow_load_is_a_finding_of_the_command(shop: Sandbox, tmp_path: Path) -> None:
    """Exit code 1, with the phase and the entity, and the rows are loaded nevertheless."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    shop.run("ci", "--report", str(old), check=True)
    # As if it had been quick, no matter how busy this machine was.
    report = json.loads(old.read_text())
    report["metrics"]["phases"]["copying rows"] = report["metrics"]["entities"]["orders"]["seconds"] = 0.01
    old.write_text(json.dumps(report))
    with shop.connect() as connection:
        connection.execute("""
            CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS
              $$ BEGIN PERFORM pg_sleep(1); RETURN true; END $$;
            DO $$ BEGIN
              EXECUTE format('ALTER TABLE orders ADD CONSTRAINT slow CHECK (id <> %s OR slow()) NOT VALID',
                             (SELECT min(id) FROM orders));
            END $$;
        """)
    result = shop.run("ci", "--baseline", str(old), "--report", str(new))
    assert result.returncode == 1, result.stderr
    assert "finding: copying orders took" in result.stdout
    document = json.loads(new.read_text())
    assert (document["outcome"], document["baseline"]) == ("failed", str(old))
    assert {slowdown["what"] for slowdown in document["slowdowns"]} >= {"copying orders", "copying rows"}
    assert document["load"]["verified"]
    assert shop.run("ci", "--baseline", str(old), "--max-slowdown", "1000").returncode == 0
