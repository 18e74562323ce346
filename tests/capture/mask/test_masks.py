"""Rows with a masked key come in the order of that key, however many they are."""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa
import pytest

from snapseed.capture.files import MaskedOrder
from snapseed.snapshot.manifest import Column

ROWS = 3_000
COLUMNS = [Column("id", "integer"), Column("code", "text"), Column("key", "uuid"), Column("v", "text")]


def rows() -> pa.Table:
    """Rows in an order that is none."""
    order = [number * 7_919 % ROWS for number in range(ROWS)]
    keys = pa.array([uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes for number in order], pa.binary(16))
    arrays = [
        pa.array([number % 50 - 25 for number in order], pa.int32()),
        pa.array([f"{'é' if number % 3 else 'z'}{number}" for number in order]),
        pa.ExtensionArray.from_storage(pa.uuid(), keys),
        pa.array([None if number % 5 else "v" * (number % 90) for number in order]),
    ]
    return pa.Table.from_arrays(arrays, names=[column.name for column in COLUMNS])


@pytest.mark.parametrize("run_bytes", [1, 9_000, 1 << 30])
@pytest.mark.parametrize("key", [["id", "code"], ["code"], ["key"], []])
def test_rows_are_sorted_by_their_key(key: list[str], run_bytes: int, tmp_path: Path) -> None:
    """By whole numbers, bytes of texts and UUIDs, in memory and through files, which are gone afterwards."""
    found = MaskedOrder(
        COLUMNS, [c for name in key for c in COLUMNS if c.name == name], tmp_path / "runs" / "t", run_bytes
    )
    for batch in rows().to_batches(max_chunksize=100):
        found.add(batch)
    assert (len(list(tmp_path.glob("runs/*"))) > 1) == (run_bytes < 1 << 30)
    made = pa.Table.from_batches(found.batches())
    assert not list(tmp_path.glob("runs/*"))

    def plain(table: pa.Table) -> list[tuple[object, ...]]:
        listed = [column.to_pylist() for column in table.columns]
        return list(zip(*listed, strict=True))

    places = [COLUMNS.index(c) for name in key for c in COLUMNS if c.name == name]
    if key:
        assert plain(made) == sorted(plain(rows()), key=lambda row: [row[place] for place in places])
    else:
        assert sorted(map(str, plain(made))) == sorted(map(str, plain(rows())))


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    """An empty table has no batches."""
    assert list(MaskedOrder(COLUMNS, COLUMNS[:1], tmp_path / "t").batches()) == []
