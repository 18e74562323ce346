"""Everything about PostgreSQL that several packages share. Long queries are in `queries/`, one file each."""

from __future__ import annotations

from pathlib import Path


def query(name: str, module: str = __file__) -> bytes:
    """The text of a long query, from the folder `queries` next to the module with this `__file__`."""
    return (Path(module).parent / "queries" / f"{name}.sql").read_bytes()
