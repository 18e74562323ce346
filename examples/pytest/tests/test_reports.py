"""Tests that only read can share one database."""

from __future__ import annotations

import psycopg

from snapseed import SnapseedDatabase


def test_nobody_borrows_before_joining(snapseed_database_shared: SnapseedDatabase) -> None:
    with psycopg.connect(snapseed_database_shared.url) as connection:
        query = "SELECT count(*) FROM loans JOIN members ON members.id = member_id WHERE taken < joined"
        assert connection.execute(query).fetchone() == (0,)


def test_most_books_are_returned(snapseed_database_shared: SnapseedDatabase) -> None:
    with psycopg.connect(snapseed_database_shared.url) as connection:
        row = connection.execute("SELECT avg(returned::int) FROM loans").fetchone()
        assert row is not None
        assert row[0] > 0.5
