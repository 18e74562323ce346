"""Snapshots with the same chunks: what differs is told however the files were written, and forged rows are an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snapseed.diff.compare import DiffRequest, EntityDiff, compare
from snapseed.diff.sides import SnapshotSide
from snapseed.errors import SnapshotError
from snapseed.snapshot.store import opened_at
from snapseed.snapshot.store_folder import Folder
from tests.forged import CHUNK_ROWS, described, write_manifest

Row = dict[str, Any]
TYPES = {"id": "bigint", "text": "text", "number": "integer", "numbers": "integer[]"}
SCHEMA = pa.schema(
    [("id", pa.int64()), ("text", pa.string()), ("number", pa.int32()), ("numbers", pa.list_(pa.int32()))]
)


def row_of(number: int) -> Row:
    """A row, with NULL and a list here and there."""
    return {
        "id": number,
        "text": None if number % 7 == 0 else f"text {number % 50}",
        "number": number % 100,
        "numbers": [number, None] if number % 5 else None,
    }


def side(
    folder: Path,
    name: str,
    rows: list[Row],
    told: list[Row] | None = None,
    schema: pa.Schema = SCHEMA,
    **options: object,
) -> SnapshotSide:
    """A snapshot of these rows, of which the manifest tells that they are others."""
    place = folder / name
    place.mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows, schema),
        place / "things.parquet",
        **{"row_group_size": CHUNK_ROWS, "compression": "zstd", "version": "2.6", "use_dictionary": False, **options},
    )
    write_manifest(place, described(place, pa.Table.from_pylist(told or rows, SCHEMA), TYPES))
    return SnapshotSide.of(opened_at(Folder(place), name))


def found_in(left: SnapshotSide, right: SnapshotSide) -> EntityDiff:
    """The differences of the only entity."""
    (found,) = compare(left, right, DiffRequest(limit=10**6)).entities
    return found


def changed(rows: list[Row], changes: Mapping[int, Row]) -> list[Row]:
    """The rows with these changes, by their place."""
    return [row | changes.get(place, {}) for place, row in enumerate(rows)]


COUNT = CHUNK_ROWS + 100
LARGE = [row_of(number) | {"text": "x" * 1_000_000} for number in range(40)]
# Rows, what is changed in them by place, and how the right file is written.
CASES: dict[str, tuple[list[Row], Mapping[int, Row], Mapping[str, Any]]] = {
    "one value": ([row_of(n) for n in range(COUNT)], {77: {"number": 500}}, {}),
    "in each chunk another column": (
        [row_of(n) for n in range(COUNT)],
        {1: {"text": "y"}, COUNT - 1: {"numbers": [1]}},
        {},
    ),
    "NULL": ([row_of(n) for n in range(COUNT)], {1: {"text": None}, 7: {"text": ""}, 10: {"numbers": []}}, {}),
    "a key": ([row_of(2 * n) for n in range(COUNT)], {77: {"id": 155}, 80: {"number": 500}}, {}),
    "all rows": ([row_of(n) for n in range(COUNT)], {n: {"number": -n} for n in range(1, COUNT)}, {}),
    "another compression": ([row_of(n) for n in range(COUNT)], {77: {"number": 500}}, {"compression": "snappy"}),
    "dictionaries": ([row_of(n) for n in range(COUNT)], {77: {"number": 500}}, {"use_dictionary": True}),
    "more than a batch": (LARGE, {3: {"number": 500}, 39: {"text": "y"}}, {}),
    "more than a batch on the right": (LARGE[:20], {n: {"text": "y" * 2_500_000} for n in range(20)}, {}),
    "columns without NULL": (
        [row_of(n) for n in range(COUNT)],
        {77: {"number": 500}},
        {"schema": SCHEMA.set(2, pa.field("number", pa.int32(), nullable=False))},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_differs_is_told_with_both_values(name: str, tmp_path: Path) -> None:
    """Whether columns have the same bytes in both files or not, and in how many batches a chunk comes."""
    rows, changes, options = CASES[name]
    after = changed(rows, changes)
    found = found_in(side(tmp_path, "left", rows), side(tmp_path, "right", after, **options))
    before_by_key, after_by_key = ({row["id"]: row for row in each} for each in (rows, after))
    differing = {key for key in before_by_key.keys() & after_by_key.keys() if before_by_key[key] != after_by_key[key]}
    assert {int(str(row.key)) for row in found.removed} == before_by_key.keys() - after_by_key.keys()
    assert {int(str(row.key)) for row in found.added} == after_by_key.keys() - before_by_key.keys()
    assert {int(str(row.key)) for row in found.changed} == differing
    for row in found.changed:
        here, there = before_by_key[int(str(row.key))], after_by_key[int(str(row.key))]
        assert set(row.columns) == {column for column in TYPES if here[column] != there[column]}


ROWS = [row_of(number) for number in range(100)]
# What the files of the left and the right hold, and what their manifests say.
ALTERED = {
    "a shared column of both": (
        changed(ROWS, {5: {"text": "forged"}}),
        ROWS,
        changed(ROWS, {5: {"text": "forged"}, 7: {"number": -1}}),
        changed(ROWS, {7: {"number": -1}}),
    ),
    "the column that differs": (ROWS, ROWS, changed(ROWS, {7: {"number": -2}}), changed(ROWS, {7: {"number": -1}})),
    "the column that differs, on the left": (
        changed(ROWS, {9: {"number": -5}}),
        ROWS,
        changed(ROWS, {7: {"number": -1}}),
        changed(ROWS, {7: {"number": -1}}),
    ),
    "one more row of it": (
        ROWS,
        ROWS,
        changed(ROWS, {7: {"number": -1}, 9: {"number": -1}}),
        changed(ROWS, {7: {"number": -1}}),
    ),
    "nothing, but the manifest differs": (ROWS, ROWS, ROWS, changed(ROWS, {7: {"number": -1}})),
}


@pytest.mark.parametrize("name", ALTERED)
def test_rows_that_are_not_those_of_the_manifest_are_an_error(name: str, tmp_path: Path) -> None:
    """On either side, also where both sides have the same bytes."""
    left, left_told, right, right_told = ALTERED[name]
    with pytest.raises(SnapshotError, match="not what its manifest says"):
        found_in(side(tmp_path, "left", left, left_told), side(tmp_path, "right", right, right_told))
