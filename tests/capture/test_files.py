"""Where files and chunks end depends on the rows alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapseed.capture.files import FileSeries
from snapseed.capture.request import CaptureRequest, Sizes
from snapseed.snapshot.manifest import Column, PartFile
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import verify_files
from tests.capture.conftest import filled, project_in

COLUMNS = (Column("id", "bigint"), Column("tags", "text[]"), Column("v", "vector(2)"))
SIZES = Sizes(part_rows=20, chunk_rows=5, chunk_bytes=400)


def written(folder: Path, lengths: list[int], cuts: list[int]) -> list[PartFile]:
    """The files of rows with texts of these lengths, which come in batches that end at the cuts."""
    rows = pa.RecordBatch.from_arrays(
        [
            pa.array(range(len(lengths)), pa.int64()),
            pa.array([["x" * length] for length in lengths], pa.list_(pa.string())),
            pa.array([[0.0, 1.0]] * len(lengths), pa.list_(pa.float32(), 2)),
        ],
        names=[column.name for column in COLUMNS],
    )
    (folder / "t").mkdir(exist_ok=True)
    with ThreadPoolExecutor(1) as finisher:
        series = FileSeries(folder, SIZES, "t/range", COLUMNS, COLUMNS[:1], finisher)
        for first, last in pairwise([0, *cuts, len(lengths)]):
            series.add(rows.slice(first, last - first))
        series.end_file()
        return series.files


@settings(max_examples=25)
@given(lengths=st.lists(st.sampled_from([1, 30, 150, 1000]), min_size=1, max_size=90), data=st.data())
def test_files_do_not_depend_on_batches(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], data: st.DataObject
) -> None:
    """The same rows in other batches, or begun anew at a multiple of `part_rows`, give the same files."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(lengths)))))
    folder = tmp_path_factory.mktemp("files")
    files = written(folder, lengths, [])
    assert written(folder, lengths, cuts) == files
    assert sum(file.rows for file in files) == len(lengths)
    ends = list(accumulate(file.rows for file in files))
    assert set(range(20, len(lengths), 20)) <= set(ends)
    for file in files:
        assert all(chunk.rows == SIZES.chunk_rows for chunk in file.chunks[:-1])


def test_a_capture_has_what_other_readers_know(tmp_path: Path) -> None:
    """Floating-point numbers byte by byte, in lists too, and statistics of the key alone; polars reads the same."""
    (file,) = written(tmp_path, [1, 2, 3], [])
    with pq.ParquetFile(tmp_path / file.path) as parquet:
        group, rows = parquet.metadata.row_group(0), pl.from_arrow(parquet.read())
    found = {(leaf := group.column(number)).path_in_schema: leaf for number in range(group.num_columns)}
    assert {name for name, leaf in found.items() if leaf.is_stats_set} == {"id"}
    assert {name for name, leaf in found.items() if "BYTE_STREAM_SPLIT" in leaf.encodings} == {"v.list.element"}
    assert isinstance(rows, pl.DataFrame)
    assert pl.read_parquet(tmp_path / file.path).equals(rows)


WIDE = """
CREATE TABLE wide(id int PRIMARY KEY, t text);
INSERT INTO wide SELECT g, repeat('x', g * 7 % 300) FROM generate_series(1, 95) g;
"""


def test_wide_rows_make_small_files(database: str, tmp_path: Path) -> None:
    """Chunks of rows that take much memory have fewer rows, whatever the number of jobs, and files verify."""
    filled(database, WIDE)
    project = project_in(tmp_path, database)
    found = [project.capture(CaptureRequest(jobs=jobs, sizes=Sizes(40, 20, 2_000))).manifest for jobs in (1, 3)]
    assert found[0] == found[1]
    (entity,) = found[0].entities
    assert len(entity.files) > 95 // 20
    assert verify_files(open_snapshot(project.project.snapshots, "dev"), rows=True) == []
