"""What a profile says of columns, against the values themselves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snapseed.errors import SnapshotError
from snapseed.report.profile import ColumnProfile, profile
from snapseed.snapshot.store import open_snapshot
from tests.forged import described, forge, write_manifest
from tests.report.snapshots import ROWS, hostile_snapshot, values


def profiled(folder: Path) -> dict[str, ColumnProfile]:
    """The columns of the first entity in the snapshot `dev`, by name."""
    snapshot = open_snapshot(folder / "snapshots", "dev")
    seen: list[int] = []
    found = profile(snapshot, snapshot.manifest.entities[0], (), seen.append)
    assert sum(seen) == found.entity.rows
    assert found.as_written
    return {each.column.name: each for each in found.columns}


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ColumnProfile]:
    """The columns of `values`."""
    folder = tmp_path_factory.mktemp("profile")
    hostile_snapshot(folder)
    return profiled(folder)


def test_nulls_and_ends_are_those_of_all_rows(columns: dict[str, ColumnProfile]) -> None:
    """They are not taken from the statistics of files, which others may get wrong."""
    table = values()
    for name in table.column_names:
        assert columns[name].nulls == table.column(name).null_count
    assert (columns["id"].low, columns["id"].high) == ("0", str(ROWS - 1))
    assert (columns["amount"].low, columns["amount"].high) == ("0", "99.9")
    assert (columns["made_at"].low, columns["made_at"].high) == ("2025-01-01", "2025-07-28")
    assert (columns["tags"].low, columns["tags"].high, columns["tags"].unit) == ("0", "3", "items")


def test_files_without_statistics_and_with_many_pages_have_the_same_profile(tmp_path: Path) -> None:
    """Writers differ in both, and some get the count of NULLs wrong if a column has several pages."""
    here, texts = tmp_path / "snapshots/dev", pa.array([None, "x", None, "abc"])
    table, types = pa.table({"id": pa.array(range(4)), "h": texts}), {"id": "bigint", "h": "text"}
    here.mkdir(parents=True)
    pq.write_table(table, here / "things.parquet", data_page_size=1, write_batch_size=1, write_statistics=False)
    write_manifest(here, described(here, table, types))
    found = profiled(tmp_path)["h"]
    assert (found.nulls, found.distinct, found.low, found.high) == (2, 2, "1", "3")


def test_few_distinct_values_are_counted_and_many_estimated(columns: dict[str, ColumnProfile]) -> None:
    """An estimate is within five times its error; vectors and arrays have none."""
    for name, expected in {"status": 3, "note": 10, "amount": 1000, "id": ROWS}.items():
        assert (columns[name].distinct, columns[name].exact) == (expected, True)
    for name, expected in {"name": ROWS, "made_at": 5000}.items():
        assert not columns[name].exact
        assert abs((columns[name].distinct or 0) / expected - 1) < 0.11
    assert columns["place"].distinct is columns["tags"].distinct is None


def test_frequent_values_have_their_share_of_all_rows(columns: dict[str, ColumnProfile]) -> None:
    """NULL is none of them."""
    assert dict(columns["status"].values)["done"] == pytest.approx(1 / 3, abs=1e-3)
    assert dict(columns["note"].values)["note 1"] == pytest.approx(0.1)
    assert columns["id"].values == ()


def test_a_frequent_value_among_many_is_found(tmp_path: Path) -> None:
    """Also where there are too many distinct values to count each."""
    rows = 30_000
    texts = pa.array(["often" if at % 4 == 0 else f"rare {at}" for at in range(rows)])
    table = pa.table({"id": pa.array(np.arange(rows)), "text": texts})
    forge(tmp_path / "snapshots/dev", table, {"id": "bigint", "text": "text"})
    found = profiled(tmp_path)["text"]
    assert not found.exact
    ((value, share),) = found.values
    assert value == "often"
    assert share == pytest.approx(0.25, abs=0.04)


def test_a_histogram_has_the_shape_of_the_values(tmp_path: Path) -> None:
    """Whole numbers have bars of whole width, so even values make even bars; one outlier is a bar of its own."""
    rows = 4_000
    even = np.arange(rows) % 50
    skewed = np.where(np.arange(rows) == 7, 1000, np.arange(rows) % 10)
    table = pa.table({"id": pa.array(np.arange(rows)), "even": pa.array(even), "skewed": pa.array(skewed)})
    forge(tmp_path / "snapshots/dev", table, dict.fromkeys(table.column_names, "bigint"))
    found = profiled(tmp_path)
    even_bars, skewed_bars = found["even"].histogram, found["skewed"].histogram
    assert set(even_bars[:-1]) == {max(even_bars)}
    assert sum(even_bars) == rows
    assert skewed_bars[0] == rows - 1
    assert skewed_bars[-1] == 1


@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("numeric", "numeric(6,2)", pa.array([1, None, 3], pa.decimal128(6, 2))),
        ("uuid", "uuid", pa.array([b"0" * 16, b"1" * 16, None], pa.uuid())),
        ("bytea", "bytea", pa.array([b"\x00\xff", b"", None])),
        ("time", "time", pa.array([0, 86_400_000_000, None], pa.time64("us"))),
        ("infinite", "timestamp", pa.array([0, 2**63 - 1, -(2**63)], pa.timestamp("us"))),
        ("not a number", "double precision", pa.array([float("nan"), float("inf"), 1.0])),
        ("half", "real", pa.array(np.array([1, 2, 3], np.float16))),
        ("all null", "text", pa.array([None] * 3, pa.string())),
        ("boxes", "integer[][]", pa.array([[[1]], None, [[1, 2]]], pa.list_(pa.list_(pa.int32())))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_type_has_a_profile(name: str, kind: str, rows: pa.Array, tmp_path: Path) -> None:
    """Whatever its values."""
    forge(tmp_path / "snapshots/dev", pa.table({"id": pa.array([1, 2, 3]), "x": rows}), {"id": "bigint", "x": kind})
    assert profiled(tmp_path)["x"].nulls == rows.null_count, name


def test_a_value_that_postgresql_does_not_have_is_an_error(tmp_path: Path) -> None:
    """Anybody may have written the files."""
    beyond = pa.table({"id": pa.array([1]), "x": pa.array([-(2**63) + 1], pa.timestamp("us"))})
    forge(tmp_path / "snapshots/dev", beyond, {"id": "bigint", "x": "timestamp"})
    with pytest.raises(SnapshotError):
        profiled(tmp_path)


def test_samples_are_rows_of_their_own_as_postgresql_prints_them(tmp_path: Path) -> None:
    """A table with fewer rows than are shown has each once."""
    rows = {
        "id": pa.array([1, 2]),
        "u": pa.array([b"\0" * 16, None], pa.uuid()),
        "t": pa.array([["a b", None], []], pa.list_(pa.string())),
        "n": pa.array([1.5, float("inf")]),
        "m": pa.array([0, 1_500_000], pa.timestamp("us", "UTC")),
        "b": pa.array([True, False]),
    }
    types = dict(zip(rows, ("bigint", "uuid", "text[]", "double precision", "timestamptz", "boolean"), strict=True))
    forge(tmp_path / "snapshots/dev", pa.table(rows), types)
    snapshot = open_snapshot(tmp_path / "snapshots", "dev")
    assert profile(snapshot, snapshot.manifest.entities[0], (), lambda _: None).samples == (
        ("1", "00000000-0000-0000-0000-000000000000", '{"a b",NULL}', "1.5", "1970-01-01 00:00:00+00", "true"),
        ("2", None, "{}", "Infinity", "1970-01-01 00:00:01.5+00", "false"),
    )


def test_an_empty_table_has_a_profile(tmp_path: Path) -> None:
    """With no row there is nothing to say of its columns."""
    (things, _) = hostile_snapshot(tmp_path).entities
    empty = msgspec.structs.replace(things, rows=0, fingerprint="0" * 16, files=())
    write_manifest(tmp_path / "snapshots/dev", empty)
    assert profiled(tmp_path)["name"].distinct is None
