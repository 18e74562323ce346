"""A subset as a snapshot: it loads with all foreign keys, and that nothing dangles is proved and not assumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import psycopg
import pytest
from typer.testing import CliRunner

from snapseed.capture.prepare import prepare
from snapseed.capture.request import CaptureRequest, subset_request
from snapseed.capture.snapshot import CaptureReport
from snapseed.capture.subset.plan import SubsetPlan, choose_rows, prove_references
from snapseed.cli.app import app
from snapseed.errors import SnapshotError
from snapseed.postgres.connect import Session
from snapseed.snapshot.store import Snapshot, open_snapshot
from tests.capture.conftest import Captured, filled, project_in
from tests.capture.subset.choosing import session_with
from tests.conftest import new_database
from tests.projects.state import schema_of

# A reference whose values have other texts than the keys, one through a generated column, one that the server has not
# checked, a cycle of tables, and a convention.
SOURCE = """
CREATE TABLE regions(id uuid PRIMARY KEY, capital int);
CREATE TABLE prices(amount numeric PRIMARY KEY);
CREATE TABLE users(id int PRIMARY KEY, region uuid REFERENCES regions, price numeric(6, 3) REFERENCES prices);
ALTER TABLE regions ADD FOREIGN KEY (capital) REFERENCES users;
CREATE TABLE orders(id int PRIMARY KEY, user_id int, half int GENERATED ALWAYS AS (id / 2) STORED REFERENCES users);
CREATE TABLE logs(user_id int, order_id bigint, what text);
INSERT INTO prices VALUES (1.0), (2.50); INSERT INTO regions SELECT gen_random_uuid() FROM generate_series(1, 3);
INSERT INTO users SELECT g, (SELECT id FROM regions OFFSET g % 3 LIMIT 1), 2.5 FROM generate_series(0, 60) g;
UPDATE regions SET capital = (SELECT max(id) FROM users WHERE region = regions.id);
INSERT INTO orders SELECT g, CASE WHEN g % 10 = 3 THEN 99 ELSE g % 60 END FROM generate_series(1, 100) g;
ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID;
INSERT INTO logs SELECT g % 60, g, 'made' FROM generate_series(1, 120) g;
"""
SETTINGS = """
[environments.dev]
[capture]
whole = ["prices"]
[[capture.references]]
table = "logs"
columns = ["order_id"]
to = "orders"
"""


@pytest.fixture(scope="module")
def url(server: str) -> Iterator[str]:
    """A database with these tables."""
    with new_database(server) as made:
        yield filled(made, SOURCE)


@pytest.fixture
def small(url: str, tmp_path: Path) -> Captured:
    """A project that captures it."""
    return project_in(tmp_path, url, SETTINGS)


@pytest.fixture(scope="module")
def taken(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Captured, CaptureReport]:
    """A project that has captured the first orders, and its report; tests only read them."""
    project = project_in(tmp_path_factory.mktemp("taken"), url, SETTINGS)
    return project, project.capture(request())


def request(rows: int = 4, jobs: int = 1) -> CaptureRequest:
    """The first orders."""
    return CaptureRequest(jobs=jobs, subset=subset_request("orders", rows, None, []))


def test_a_subset_loads(taken: tuple[Captured, CaptureReport], small: Captured, database: str) -> None:
    """With its foreign keys, all validated; over several connections, it is the same bytes."""
    _, report = taken
    assert report.manifest.capture
    assert report.manifest.capture.subset
    assert small.capture(request(jobs=3)).manifest == report.manifest
    assert report.subset
    assert {(found.reference, found.rows) for found in report.subset.orphans} == {("orders (user_id) → users", 1)}
    loaded = small.load(filled(database, schema_of(small.url)))
    rows = {entity.name: entity.rows for entity in report.manifest.entities}
    assert {entity.entity: entity.rows for entity in loaded.entities} == rows
    assert rows["orders"] == 4
    assert rows["prices"] == 2
    assert 4 < rows["users"] < 12
    assert {table.entity: table.why for table in report.tables}["orders"] == "4 roots"
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM orders WHERE user_id = 99")
        connection.execute("ALTER TABLE orders VALIDATE CONSTRAINT orders_user_id_fkey")


def chosen(session: Session, small: Captured) -> SubsetPlan:
    """The rows of the same subset."""
    tables = prepare(session, CaptureRequest(), "the source").tables
    subset = request().subset
    assert subset
    return choose_rows(session, tables, small.project, subset)


def test_what_dangles_is_found(taken: tuple[Captured, CaptureReport]) -> None:
    """A row that others need is missed in the files, whether or not it was chosen."""
    small, report = taken
    snapshot = open_snapshot(small.project.snapshots, "dev")
    with session_with(small.url) as session, session.transaction():
        plan = chosen(session, small)
        assert [found.rows for found in prove_references(session, plan, snapshot)] == [1]
        for table in ("users", "regions", "prices"):
            without = [
                msgspec.structs.replace(entity, rows=0, files=()) if entity.name == table else entity
                for entity in report.manifest.entities
            ]
            damaged = Snapshot(snapshot.place, msgspec.structs.replace(report.manifest, entities=tuple(without)))
            emptied = {**plan.closure.rows, table: plan.closure.rows[table].clear()}
            forgotten = replace(plan, closure=replace(plan.closure, rows=emptied))
            for wrong in (plan, forgotten):
                with pytest.raises(SnapshotError):
                    prove_references(session, wrong, damaged)


def test_a_mask_of_one_side_is_found(taken: tuple[Captured, CaptureReport]) -> None:
    """What only the server knows to be equal does not count if a rule has replaced it."""
    small, _ = taken
    snapshot = open_snapshot(small.project.snapshots, "dev")
    with session_with(small.url) as session, session.transaction():
        plan = chosen(session, small)
        with pytest.raises(SnapshotError, match="users \\(price\\) → prices"):
            prove_references(session, plan, snapshot, {"prices.amount"})


def test_the_command(small: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells why, and misused options end with exit code 2."""
    monkeypatch.chdir(small.folder)
    arguments = ["capture", "--from", small.url, "--where", "users: id < 2 AND region IS NOT NULL", "--format", "json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    document = msgspec.json.decode(result.stdout)
    assert {reason["reason"] for reason in document["subset"]["reasons"] if reason["table"] == "users"} >= {"roots"}
    assert document["subset"]["missing_indexes"]
    for wrong in (["--rows", "3"], ["--where", "users: true); DROP TABLE logs; --"], ["--where", "nobody: true"]):
        result = CliRunner().invoke(app, ["capture", "--from", small.url, *wrong])
        assert type(result.exception).__name__ == "UsageError" or result.exit_code == 2, wrong
    with psycopg.connect(small.url) as connection:
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (120,)
