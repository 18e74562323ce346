"""Everything about PostgreSQL that several packages share. Long queries are in `queries/`, one file each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from psycopg import sql


def query(name: str, folder: Path = Path(__file__).parent / "queries") -> bytes:
    """The text of a long query: `{name}.sql` in a folder."""
    return (folder / f"{name}.sql").read_bytes()


def listed(terms: Iterable[sql.Composable | str]) -> sql.Composed:
    """Terms, separated by commas. Texts among them are names, and get quoted."""
    return sql.SQL(", ").join(sql.Identifier(term) if isinstance(term, str) else term for term in terms)
