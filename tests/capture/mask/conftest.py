from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from snapseed.capture.mask.prepare import PreparedMasks, prepare_masks
from snapseed.config import find_project
from snapseed.postgres.catalog import every_table
from snapseed.postgres.connect import pin_settings
from tests.conftest import Connection, new_database

SECRET = "a secret of the tests, long enough"
Prepare = Callable[..., PreparedMasks]


@pytest.fixture(scope="module")
def shared(server: str) -> Iterator[Connection]:
    """One database for all tests of a module."""
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def tables(shared: Connection) -> Callable[[str], None]:
    """Create tables in place of those of other tests."""

    def create(sql: str) -> None:
        shared.execute(sql.encode())

    shared.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; RESET search_path")
    return create


@pytest.fixture
def prepare(shared: Connection, tmp_path: Path) -> Prepare:
    """Prepare masks for the tables that are there, with the lines of `[mask]`."""

    def prepared(lines: str = "", **request: object) -> PreparedMasks:
        (tmp_path / "prefixes.py").write_text("def kept(values):\n    return values.str.head(7)\n")
        (tmp_path / "snapseed.toml").write_text(f"[environments.dev]\n[mask]\n{lines}\n")
        with in_transaction(shared):
            given = {"tables": every_table(shared), "secret": SECRET} | request
            return prepare_masks(shared, find_project(tmp_path), "the source", **given)  # type: ignore[arg-type]

    return prepared


@contextmanager
def in_transaction(connection: Connection) -> Iterator[None]:
    """What a capture reads in: pinned settings, nothing but reads."""
    pin_settings(connection)
    try:
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield
    finally:
        connection.execute("RESET search_path")
