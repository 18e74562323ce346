"""A member who has books, as the snapshot holds one."""

from __future__ import annotations

import psycopg
import pytest


@pytest.fixture
def reader(snapseed_connection: psycopg.Connection) -> int:
    """Somebody who has to bring back at least one book."""
    row = snapseed_connection.execute("SELECT min(member_id) FROM loans WHERE NOT returned").fetchone()
    assert row is not None
    return int(row[0])
