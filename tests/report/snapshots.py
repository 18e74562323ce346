"""Snapshots to draw: one with all that may go wrong in a text, and one of many tables."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from snapseed.config import Project, find_project
from snapseed.diff.compare import ChangedRow, DiffReport, EntityDiff
from snapseed.snapshot.manifest import CaptureRecord, Manifest
from tests.forged import described, write_file, write_manifest

# Text that would leave its place in a page, were it not escaped.
HOSTILE = "</td></script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'`{{ 7*7 }}"
ROWS = 20_000
_TYPES = {
    "id": "bigint",
    "name": "text",
    "status": "text",
    "note": "text",
    "amount": "double precision",
    "made_at": "timestamp with time zone",
    "tags": "text[]",
    "place": "vector(8)",
}
# What `snapseed load --format json` says, as far as a page shows it.
LOAD = {
    "phases": {"copying rows": 2.0, "committing": 1.0},
    "entities": [
        {"entity": "things", "rows": 10, "bytes": 9, "seconds": 2.0, "server": 1.5, "starved": 0.25, "send": 0.25}
        | {"read": 0.5, "encode": 0.1}
    ],
}
_CHANGED = ChangedRow("4711", {"name": ("before", HOSTILE), "note": (None, "\x1b")})
# Between this snapshot and another one.
DIFFERENCES = DiffReport("left", HOSTILE, (), (EntityDiff("things", 11, 22, 33, {"name": 33}, changed=(_CHANGED,)),))
_SCHEMA = """\
CREATE TABLE things (id bigint PRIMARY KEY -- REFERENCES parts
, status text REFERENCES states);
CREATE TABLE public.parts (id bigint, thing bigint, FOREIGN KEY (thing) REFERENCES ONLY_OTHERS);
ALTER TABLE ONLY public."parts" ADD CONSTRAINT k FOREIGN KEY (thing) REFERENCES public.things(id) ON DELETE CASCADE;
"""


def project_of(folder: Path) -> Project:
    """A project whose environment `dev` has the snapshot `dev`, and a schema with references."""
    (folder / "schema.sql").write_text(_SCHEMA)
    (folder / "snapseed.toml").write_text(
        '[snapseed]\nschema = "schema.sql"\n[environments.dev]\ndatabase = "embedded"\n'
    )
    return find_project(folder)


def values(rows: int = ROWS) -> pa.Table:
    """Columns of several types: unique and frequent values, NULLs, lists, and vectors in two groups."""
    number = np.arange(rows)
    days = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=int(hour)) for hour in number % 5000]
    vectors = np.where(number[:, None] % 2, 1.0, -1.0) + (number[:, None] * np.arange(1, 9) % 7) / 20
    return pa.table(
        {
            "id": pa.array(number),
            "name": pa.array([f"{HOSTILE} {at}" if at % 5 == 0 else f"name {at}" for at in number]),
            "status": pa.array([("done", "open", HOSTILE)[at % 3] for at in number]),
            "note": pa.array([None if at % 4 == 0 else f"note {at % 10}" for at in number]),
            "amount": pa.array((number * 37 % 1000) / 10),
            "made_at": pa.array(days, pa.timestamp("us", "UTC")),
            "tags": pa.array([["a"] * (at % 4) for at in number], pa.list_(pa.string())),
            "place": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel().astype(np.float32)), 8),
        }
    )


def hostile_snapshot(folder: Path, *, masked: tuple[str, ...] = (), changed: bool = False) -> Manifest:
    """A snapshot with two tables; with `masked`, as if it were captured with these columns masked.

    `changed`: the rows of one table are not those that its fingerprint says.
    """
    here = folder / "snapshots/dev"
    table = values()
    write_file(here / "things.parquet", table)
    parts = pa.table({"id": pa.array([1, 2]), "thing": pa.array([10, 20])})
    write_file(here / "parts.parquet", parts)
    things = described(here, table, _TYPES)
    entities = (things, described(here, parts, {"id": "bigint", "thing": "bigint"}, "parts"))
    if changed:
        chunk = msgspec.structs.replace(entities[1].chunks[0], fingerprint="0" * 16)
        file = msgspec.structs.replace(entities[1].files[0], chunks=(chunk,))
        entities = (things, msgspec.structs.replace(entities[1], fingerprint="0" * 16, files=(file,)))
    if not masked:
        return write_manifest(here, *entities)
    capture = CaptureRecord(schema=None, subset=False, masked=masked, server=18)
    unset = dict.fromkeys(("seed", "scale", "now"), msgspec.UNSET)
    return write_manifest(here, *entities, capture=capture, **unset)


def wide_snapshot(folder: Path, tables: int = 200, columns: int = 50) -> Manifest:
    """A snapshot of many tables of many columns, all with the same rows, in a chain of parents."""
    here, rows = folder / "snapshots/dev", 300
    names = [f"a_column_with_a_name_{at:02}" for at in range(columns - 1)]
    numbers = np.arange(rows)
    kinds = [pa.array(numbers * 7919 % (at * 13 + 2)) for at in range(columns - 1)]
    texts = [pa.array([f"{HOSTILE[:9]} {value}" for value in kind.to_numpy()]) for kind in kinds]
    values = [text if at % 3 == 0 else kind for at, (kind, text) in enumerate(zip(kinds, texts, strict=True))]
    table = pa.table([pa.array(numbers), *values], ["id", *names])
    types = {"id": "bigint"} | {name: "text" if at % 3 == 0 else "bigint" for at, name in enumerate(names)}
    write_file(here / "things.parquet", table)
    first = described(here, table, types)
    entities = []
    for at in range(tables):
        name = f"table_{at:03}"
        shutil.copy(here / "things.parquet", here / f"{name}.parquet")
        (file,) = first.files
        file = msgspec.structs.replace(file, path=f"{name}.parquet")
        parent = f"table_{(at - 1) // 3:03}" if at % 5 else None
        entities.append(msgspec.structs.replace(first, name=name, table=name, files=(file,), parent=parent))
    (here / "things.parquet").unlink()
    return write_manifest(here, *entities)
