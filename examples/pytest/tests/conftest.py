"""Fixtures for all tests."""

from __future__ import annotations

import psycopg
import pytest


@pytest.fixture
def reader(snapseed_connection: psycopg.Connection) -> int:
    """A member who has at least one book to return."""
    row = snapseed_connection.execute("SELECT min(member_id) FROM loans WHERE NOT returned").fetchone()
    assert row is not None
    return int(row[0])
