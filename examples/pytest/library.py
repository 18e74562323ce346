"""The application under test."""

from __future__ import annotations

import psycopg


def books_out(connection: psycopg.Connection, member: int) -> int:
    """How many books a member has borrowed and not returned."""
    row = connection.execute("SELECT count(*) FROM loans WHERE member_id = %s AND NOT returned", [member]).fetchone()
    assert row is not None
    return int(row[0])


def return_books(connection: psycopg.Connection, member: int) -> None:
    """Return all books of a member."""
    connection.execute("UPDATE loans SET returned = true WHERE member_id = %s", [member])


def close_account(connection: psycopg.Connection, member: int) -> None:
    """Delete a member. Raises `ValueError` while the member still has books."""
    if books_out(connection, member):
        raise ValueError("the member still has books")
    connection.execute("DELETE FROM members WHERE id = %s", [member])
