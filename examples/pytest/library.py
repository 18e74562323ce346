"""The application: what its tests are about."""

from __future__ import annotations

import psycopg


def books_out(connection: psycopg.Connection, member: int) -> int:
    """How many books a member has and not yet brought back."""
    row = connection.execute("SELECT count(*) FROM loans WHERE member_id = %s AND NOT returned", [member]).fetchone()
    assert row is not None
    return int(row[0])


def bring_back(connection: psycopg.Connection, member: int) -> None:
    """Everything that a member has."""
    connection.execute("UPDATE loans SET returned = true WHERE member_id = %s", [member])


def close_account(connection: psycopg.Connection, member: int) -> None:
    """Forget a member. Raises `ValueError` while books are missing."""
    if books_out(connection, member):
        raise ValueError("there are books to bring back")
    connection.execute("DELETE FROM members WHERE id = %s", [member])
