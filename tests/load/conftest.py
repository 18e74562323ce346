"""The project `shapes`: three small tables. Each test writes their schema itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import new_database
from tests.load.shapes import Shapes

# Drops whatever a test can create. A new database would take much longer.
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
def shapes_folder(generated_once: Callable[[str], Path]) -> Path:
    """The project with its snapshot; tests only read it."""
    return generated_once("shapes")


@pytest.fixture(scope="session")
def shapes_database(server: str) -> Iterator[str]:
    """One database for all tests of shapes. They run one after the other."""
    with new_database(server) as url:
        yield url


@pytest.fixture
def shapes(shapes_folder: Path, shapes_database: str) -> Shapes:
    """The project on an empty database."""
    found = Shapes(shapes_folder, shapes_database)
    found.execute(_CLEAR)
    return found
