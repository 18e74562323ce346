"""Each test has its own database, so it may change and commit whatever it likes."""

from __future__ import annotations

import psycopg
import pytest
from library import books_out, close_account, return_books


def test_returning_books(snapseed_connection: psycopg.Connection, reader: int) -> None:
    return_books(snapseed_connection, reader)
    snapseed_connection.commit()
    assert books_out(snapseed_connection, reader) == 0


def test_an_account_with_books_cannot_be_closed(snapseed_connection: psycopg.Connection, reader: int) -> None:
    with pytest.raises(ValueError, match="books"):
        close_account(snapseed_connection, reader)


def test_closing_an_account_deletes_its_loans(snapseed_connection: psycopg.Connection, reader: int) -> None:
    return_books(snapseed_connection, reader)
    close_account(snapseed_connection, reader)
    snapseed_connection.commit()
    assert snapseed_connection.execute("SELECT FROM loans WHERE member_id = %s", [reader]).fetchall() == []


@pytest.mark.parametrize("number", range(4))
def test_every_test_starts_with_the_same_rows(snapseed_connection: psycopg.Connection, number: int) -> None:
    assert snapseed_connection.execute("SELECT count(*) FROM members").fetchone() == (40,)
    snapseed_connection.execute("DELETE FROM members WHERE mod(id, 4) = %s", [number])
    snapseed_connection.commit()
