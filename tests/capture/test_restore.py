"""A capture in an empty database is the source again: its schema, its rows, and where its sequences stood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.conftest import SOURCE, difference, filled, project_in, restored
from tests.conftest import new_database

EVERYTHING = Path(__file__).with_name("everything.sql").read_text(encoding="utf-8")


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
