"""A capture in an empty database is the source again: its schema, its rows, and where its sequences stood."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapseed.load.outcome import LoadReport
from snapseed.load.snapshot import load_snapshot
from tests.capture.conftest import SOURCE, Captured, filled, project_in
from tests.conftest import new_database
from tests.projects.state import dumped_by_pg_dump, schema_of

EVERYTHING = Path(__file__).with_name("everything.sql").read_text(encoding="utf-8")


def state(url: str) -> list[str]:
    """The schema, then rows and positions of sequences, as pg_dump has them; sorted, since rows have no order."""
    rows = dumped_by_pg_dump(url, "--data-only", "--inserts").splitlines()
    return [*schema_of(url).splitlines(), *sorted(line for line in rows if "restrict " not in line)]


def restored(captured: Captured, url: str, **overrides: object) -> LoadReport:
    """Load the snapshot into an empty database."""
    environment = captured.project.environment("dev", {"database": url, "create_schema": True, **overrides})
    return load_snapshot(captured.project, environment)


def difference(before: str, after: str) -> str:
    """What pg_dump says differently about two databases."""
    return "\n".join(difflib.unified_diff(state(before), state(after), before, after, n=0, lineterm=""))


@pytest.fixture(scope="module")
def everything(server: str) -> Iterator[str]:
    """A database with one of everything that a database can have."""
    with new_database(server) as url:
        yield filled(url, SOURCE + EVERYTHING)


def test_an_empty_database_becomes_the_source(everything: str, database: str, tmp_path: Path) -> None:
    """And a second load, which finds the tables, leaves it so."""
    captured = project_in(tmp_path, everything)
    captured.capture()
    for created in (True, False):
        assert restored(captured, database).schema_created is created
        assert difference(everything, database) == ""
        filled(database, "SELECT nextval('app.untouched'), nextval('app.counted_id_seq'); DELETE FROM app.keyless")
