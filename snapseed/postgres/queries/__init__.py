"""The long queries of this package, one per file."""

from __future__ import annotations

from pathlib import Path


def query(name: str) -> bytes:
    """The text of a query."""
    return Path(__file__).with_name(f"{name}.sql").read_bytes()
