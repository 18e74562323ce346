"""The project of shapes: three small tables whose schema each test writes for itself."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.conftest import PROJECTS, Sandbox
from tests.load.shapes import Shapes
from tests.projects.state import generated

# Everything that a test can have made, in a fraction of the time that a new database takes.
_CLEAR = """
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('DROP EXTENSION %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
        UNION ALL SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication
        UNION ALL SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace
                   WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    LOOP
        EXECUTE statement;
    END LOOP;
END $$;
CREATE SCHEMA public;
"""


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its snapshot, made once; tests only read it."""
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    shutil.copytree(PROJECTS / "shapes", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return generated(Sandbox(folder, "")).folder


@pytest.fixture(scope="session")
def shapes_database(server: str) -> Iterator[str]:
    """A database for all tests of shapes, one after the other."""
    name = f"snapseed_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(server, dbname=name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def shapes(shapes_folder: Path, shapes_database: str) -> Shapes:
    """The project on a database that is empty."""
    found = Shapes(shapes_folder, shapes_database)
    found.execute(_CLEAR)
    return found
