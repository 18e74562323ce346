"""Deterministic snapshots of realistic rows, loaded into PostgreSQL by COPY and proved to be there.

This is the whole public API: what a generator imports, and one function for each thing the command line does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapseed.config import Environment, Project, find_project
    from snapseed.embeddings.chunking import chunk_count, chunk_of
    from snapseed.embeddings.embedder import Embedder, HashingEmbedder
    from snapseed.embeddings.keys import chunk_keys
    from snapseed.errors import SnapseedError
    from snapseed.generate.draws.numbers import as_decimals
    from snapseed.generate.draws.texts import filled, json_array, json_object, json_raw, slug
    from snapseed.generate.draws.times import Rhythm
    from snapseed.generate.entity import Entity, FanOut, counted, entity, exactly, fan_out, scale
    from snapseed.generate.request import resolve_request
    from snapseed.generate.rows import Items, Rows
    from snapseed.generate.snapshot import check_snapshot, generate_snapshot
    from snapseed.load.run import load_snapshot
    from snapseed.snapshot.store import open_snapshot
    from snapseed.testing.database import SnapseedDatabase
    from snapseed.testing.reset import reset_environment
    from snapseed.verify.database import verify_snapshot

# Where each name lives. They are imported on first use, so that `import snapseed`, and with it the command line, does
# not pay for polars, pyarrow and the driver.
_HOMES = {
    "Embedder": "snapseed.embeddings.embedder",
    "Entity": "snapseed.generate.entity",
    "Environment": "snapseed.config",
    "FanOut": "snapseed.generate.entity",
    "HashingEmbedder": "snapseed.embeddings.embedder",
    "Items": "snapseed.generate.rows",
    "Project": "snapseed.config",
    "Rhythm": "snapseed.generate.draws.times",
    "Rows": "snapseed.generate.rows",
    "SnapseedDatabase": "snapseed.testing.database",
    "SnapseedError": "snapseed.errors",
    "as_decimals": "snapseed.generate.draws.numbers",
    "check_snapshot": "snapseed.generate.snapshot",
    "chunk_count": "snapseed.embeddings.chunking",
    "chunk_keys": "snapseed.embeddings.keys",
    "chunk_of": "snapseed.embeddings.chunking",
    "counted": "snapseed.generate.entity",
    "entity": "snapseed.generate.entity",
    "exactly": "snapseed.generate.entity",
    "fan_out": "snapseed.generate.entity",
    "filled": "snapseed.generate.draws.texts",
    "find_project": "snapseed.config",
    "generate_snapshot": "snapseed.generate.snapshot",
    "json_array": "snapseed.generate.draws.texts",
    "json_object": "snapseed.generate.draws.texts",
    "json_raw": "snapseed.generate.draws.texts",
    "load_snapshot": "snapseed.load.run",
    "open_snapshot": "snapseed.snapshot.store",
    "reset_environment": "snapseed.testing.reset",
    "resolve_request": "snapseed.generate.request",
    "scale": "snapseed.generate.entity",
    "slug": "snapseed.generate.draws.texts",
    "verify_snapshot": "snapseed.verify.database",
}

__all__ = [
    "Embedder",
    "Entity",
    "Environment",
    "FanOut",
    "HashingEmbedder",
    "Items",
    "Project",
    "Rhythm",
    "Rows",
    "SnapseedDatabase",
    "SnapseedError",
    "as_decimals",
    "check_snapshot",
    "chunk_count",
    "chunk_keys",
    "chunk_of",
    "counted",
    "entity",
    "exactly",
    "fan_out",
    "filled",
    "find_project",
    "generate_snapshot",
    "json_array",
    "json_object",
    "json_raw",
    "load_snapshot",
    "open_snapshot",
    "reset_environment",
    "resolve_request",
    "scale",
    "slug",
    "verify_snapshot",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'snapseed' has no attribute {name!r}")
