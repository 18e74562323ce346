"""Everything about PostgreSQL that several packages share. Long queries are in `queries/`, one file each."""

from __future__ import annotations

from pathlib import Path


def query(name: str, folder: Path = Path(__file__).parent / "queries") -> bytes:
    """The text of a long query: `{name}.sql` in a folder."""
    return (folder / f"{name}.sql").read_bytes()
