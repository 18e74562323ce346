"""Everything about PostgreSQL that several packages share. Long queries are in `queries/`, one file each."""

from __future__ import annotations

from pathlib import Path


def query(name: str) -> bytes:
    """The text of a long query."""
    return (Path(__file__).parent / "queries" / f"{name}.sql").read_bytes()
