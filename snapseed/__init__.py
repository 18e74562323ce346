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
    from snapseed.generate.check import check_snapshot
    from snapseed.generate.drawing.numbers import as_decimals
    from snapseed.generate.drawing.texts import filled, slug
    from snapseed.generate.drawing.times import Rhythm
    from snapseed.generate.entity import Entity, entity, scale
    from snapseed.generate.fan_out import FanOut, counted, exactly, fan_out
    from snapseed.generate.json import json_array, json_object, json_raw
    from snapseed.generate.rows import Items, Rows
    from snapseed.generate.run import generate_snapshot, resolve_request
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
    "FanOut": "snapseed.generate.fan_out",
    "HashingEmbedder": "snapseed.embeddings.embedder",
    "Items": "snapseed.generate.rows",
    "Project": "snapseed.config",
    "Rhythm": "snapseed.generate.drawing.times",
    "Rows": "snapseed.generate.rows",
    "SnapseedDatabase": "snapseed.testing.database",
    "SnapseedError": "snapseed.errors",
    "as_decimals": "snapseed.generate.drawing.numbers",
    "check_snapshot": "snapseed.generate.check",
    "chunk_count": "snapseed.embeddings.chunking",
    "chunk_keys": "snapseed.embeddings.keys",
    "chunk_of": "snapseed.embeddings.chunking",
    "counted": "snapseed.generate.fan_out",
    "entity": "snapseed.generate.entity",
    "exactly": "snapseed.generate.fan_out",
    "fan_out": "snapseed.generate.fan_out",
    "filled": "snapseed.generate.drawing.texts",
    "find_project": "snapseed.config",
    "generate_snapshot": "snapseed.generate.run",
    "json_array": "snapseed.generate.json",
    "json_object": "snapseed.generate.json",
    "json_raw": "snapseed.generate.json",
    "load_snapshot": "snapseed.load.run",
    "open_snapshot": "snapseed.snapshot.store",
    "reset_environment": "snapseed.testing.reset",
    "resolve_request": "snapseed.generate.run",
    "scale": "snapseed.generate.entity",
    "slug": "snapseed.generate.drawing.texts",
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
