"""Twenty small tests, each with a database of its own or, with the variable `SHARED`, on the one that is there."""

import os
from collections.abc import Iterator

import psycopg
import pytest

if shared := os.environ.get("SHARED"):

    @pytest.fixture
    def snapseed_connection() -> Iterator[psycopg.Connection]:
        """A connection to the shared database, which stays as it is."""
        with psycopg.connect(str(shared)) as connection:
            yield connection
            connection.rollback()


@pytest.mark.parametrize("number", range(20))
def test_rows_may_go(snapseed_connection: psycopg.Connection, number: int) -> None:
    """Reads, and changes some rows."""
    assert snapseed_connection.execute("SELECT count(*) FROM users").fetchone() == (25,)
    snapseed_connection.execute("DELETE FROM shares WHERE mod(hashtext(id::text), 20) = %s", [number])
