"""The cost of the fingerprint by column type: nanoseconds per value, and the ratio to a bigint."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from benchmarks.measure import Findings, Table, seconds, spreads_in_turns
from benchmarks.workspace import Workspace
from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.types import ColumnType, parse_type
from snapseed.snapshot.writing import CHUNK_ROWS

# Chunks per measurement, so that each one takes at least a few milliseconds.
_CHUNKS = 4
_PLAIN = "bigint"
_LONG = "Two sentences of text, as they may stand in a description of something. The second one ends here: "


def measure_types(workspace: Workspace) -> Findings:
    """Hash one column of each type, chunk by chunk."""
    actions = {name: partial(_hash, column, kind) for name, column, kind in _columns()}
    results = dict(zip(actions, spreads_in_turns(2 * workspace.rounds, *actions.values()), strict=True))
    plain = results[_PLAIN]
    rows = [
        (name, f"{1e9 * taken.median / (_CHUNKS * CHUNK_ROWS):,.0f} ns", f"{(taken / plain).median:.1f}")
        for name, taken in results.items()
    ]
    text = f"Chunks of {CHUNK_ROWS:,} values without nulls, on one thread. Ratios are to a `{_PLAIN}` in the same run."
    return Findings((), (Table("Fingerprint by type", text, ("column", "per value", "ratio"), rows),))


def _hash(column: pa.Array, kind: ColumnType) -> float:
    def all_chunks() -> None:
        for _ in range(_CHUNKS):
            fingerprint([column], [kind])

    return seconds(all_chunks)


def _columns() -> list[tuple[str, pa.Array, ColumnType]]:
    rows = CHUNK_ROWS
    random = np.random.default_rng(1)
    numbers = pa.array(random.integers(0, 2**40, rows))
    unique = [str(number) for number in numbers.to_pylist()]

    def texts(make: Callable[[str], str]) -> pa.Array:
        return pa.array([make(number) for number in unique])

    uuids = pa.array([random.bytes(16) for _ in range(rows)], pa.binary(16))
    found = {
        _PLAIN: (_PLAIN, numbers),
        "boolean": ("boolean", pa.array(random.integers(0, 2, rows) > 0)),
        "integer": ("integer", pa.array(random.integers(0, 2**30, rows).astype(np.int32))),
        "double precision": ("double precision", pa.array(random.random(rows))),
        "numeric(12,2)": (
            "numeric(12,2)",
            pa.array(random.integers(0, 10**9, rows)).cast(pa.decimal128(19, 0)).cast(pa.decimal128(12, 2)),
        ),
        "uuid": ("uuid", pa.ExtensionArray.from_storage(pa.uuid(), uuids)),
        "timestamptz": ("timestamptz", numbers.cast(pa.timestamp("us", "UTC"))),
        "text, 1 of 4 values": ("text", pa.array(random.choice(["waiting", "running", "finished", "failed"], rows))),
        "text, unique, 12 bytes": ("text", texts(lambda number: number[:12].rjust(12))),
        "text, unique, 110 bytes": ("text", texts(lambda number: _LONG + number)),
        "text, unique, 1 kB": ("text", texts(lambda number: 10 * _LONG + number)),
        "jsonb, 60 bytes": (
            "jsonb",
            texts(lambda number: f'{{"theme": "dark", "digest": "weekly", "count": {number}}}'),
        ),
        "text[], 3 elements": ("text[]", pa.array([[number, "some", "tag"] for number in unique])),
        "vector(384)": (
            "vector(384)",
            pa.FixedSizeListArray.from_arrays(pa.array(random.random(rows * 384, np.float32)), 384),
        ),
    }
    return [(name, column, parse_type(kind)) for name, (kind, column) in found.items()]
