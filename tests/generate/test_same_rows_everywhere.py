"""The same seed gives the same bytes on every machine, at any time and in any order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from snapseed import Project, check_snapshot, find_project, generate_snapshot
from snapseed.generate.part import PartTask, make_part
from snapseed.generate.request import Request
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.snapshot.store_folder import Folder, FolderStaging
from tests.conftest import PROJECTS
from tests.generate.making import BackwardExecutor, copy_shop, files_of, frame_of, make_snapshot, write_project

# Rows and fingerprints of the shop at scale 250 with its own seed. They change only if its generators do.
SHOP = {
    "categories": (3, "8e2e389da546f61f"),
    "customers": (250, "a4d40d22fbb7c966"),
    "shops": (25, "afd7ba1dc7659235"),
    "orders": (775, "0ca8a5cf4f13a052"),
    "notes": (500, "e2d4ac98078b9f5e"),
    "invoices": (390, "b97e04d69aced016"),
}

TWO_COLUMNS = """
@entity(key="id", columns={"id": "uuid", "size": "bigint", "word": "text"})
def things(rows):
    word = rows.choice("word", ["a", "b"])
    return pl.DataFrame({"id": rows.key(), "size": rows.integers("size", 0, 999), "word": word})
"""
THREE_COLUMNS = """
@entity(key="id", columns={"id": "uuid", "colour": "text", "size": "bigint", "word": "text"})
def things(rows):
    colour = rows.choice("colour", ["red", "blue"])
    size = rows.integers("size", 0, 999)
    return pl.DataFrame({"id": rows.key(), "word": rows.choice("word", ["a", "b"]), "size": size, "colour": colour})
"""


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    """The sample project, without a snapshot."""
    return copy_shop(tmp_path / "shop")


def test_fingerprints_of_the_shop_are_the_same_as_in_every_earlier_version(shop: Project) -> None:
    """No change of this package changes the rows that a generator draws."""
    manifest = make_snapshot(shop).manifest
    assert {record.name: (record.rows, record.fingerprint) for record in manifest.entities} == SHOP


def test_a_second_run_writes_the_same_bytes(shop: Project) -> None:
    """Nothing in a snapshot or its manifest depends on the run."""
    assert files_of(make_snapshot(shop)) == files_of(make_snapshot(shop))


def test_two_processes_write_the_same_bytes_as_one(shop: Project) -> None:
    """The number of jobs does not matter."""
    assert files_of(make_snapshot(shop, jobs=2)) == files_of(make_snapshot(shop, jobs=1))


PIDS = """
import os

@entity(key="id", columns={"id": "bigint", "pid": "bigint"})
def users(rows):
    return pl.DataFrame({"id": rows.key(), "pid": os.getpid()})

@entity(key="id", columns={"id": "bigint", "pid": "bigint"}, rows=3)
def plans(rows):
    return pl.DataFrame({"id": rows.key(), "pid": os.getpid()})
"""


def test_little_work_starts_no_process(tmp_path: Path) -> None:
    """The first parts are made here; other processes share the rest if it takes longer than starting them."""
    project = write_project(tmp_path / "project", PIDS, part_rows=100)
    for alone, is_here in ((60.0, True), (0.0, False)):
        generate_snapshot(project, Request("dev", 1, 250, alone=alone), jobs=2)
        snapshot = open_snapshot(project.snapshots, "dev")
        pids = [*frame_of(snapshot, "users")["pid"], *frame_of(snapshot, "plans")["pid"]]
        assert pids[0] == os.getpid()
        assert ({*pids} == {os.getpid()}) == is_here


def test_parts_made_backwards_are_the_same_bytes(shop: Project) -> None:
    """Parts do not depend on each other, so their order does not matter."""
    executor = BackwardExecutor()
    backward = files_of(make_snapshot(shop, executor=executor))
    firsts = [task.first for task in executor.order if isinstance(task, PartTask) and "customers" in task.paths]
    assert firsts == sorted(firsts, reverse=True) != sorted(firsts)
    assert backward == files_of(make_snapshot(shop))


def test_another_folder_gives_the_same_bytes(shop: Project, tmp_path: Path) -> None:
    """The path of a project is not part of its rows."""
    assert files_of(make_snapshot(shop)) == files_of(make_snapshot(copy_shop(tmp_path / "a b" / "ö")))


def test_another_process_environment_gives_the_same_bytes(shop: Project, tmp_path: Path) -> None:
    """Working folder, time zone, language, hash seed and number of threads do not matter."""
    other = copy_shop(tmp_path / "other")
    variables = {
        "TZ": "Pacific/Chatham",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "POLARS_MAX_THREADS": "1",
    }
    command = [sys.executable, "-m", "snapseed", "generate", "--project", str(other.folder), "--jobs", "1"]
    subprocess.run(command, check=True, cwd="/", env=os.environ | variables, capture_output=True, timeout=60)
    there = Snapshot(Folder(other.snapshots.folder / "dev"), make_snapshot(shop).manifest)
    assert files_of(there) == files_of(make_snapshot(shop))


def test_a_scale_is_a_prefix_of_a_larger_one(shop: Project, tmp_path: Path) -> None:
    """A larger scale only adds rows and files."""
    small, large = make_snapshot(shop, 300), make_snapshot(copy_shop(tmp_path / "large"), 600)
    for record in small.manifest.entities:
        twice = large.manifest.entity(record.name)
        assert twice is not None
        rows, more = frame_of(small, record.name), frame_of(large, record.name)
        assert more.head(len(rows)).equals(rows), record.name
        assert len(more) == 3 if record.name == "categories" else len(more) > len(rows)
        if len(record.files) > 1:
            assert twice.files[: len(record.files)] == record.files


def test_a_new_column_changes_no_other(tmp_path: Path) -> None:
    """Neither its draws nor its position affect the others."""
    before = frame_of(make_snapshot(write_project(tmp_path / "before", TWO_COLUMNS)), "things")
    after = frame_of(make_snapshot(write_project(tmp_path / "after", THREE_COLUMNS)), "things")
    assert after.columns == ["id", "colour", "size", "word"]
    assert after.drop("colour").equals(before)


def test_another_seed_changes_every_drawn_column(tmp_path: Path) -> None:
    """All draws depend on the seed, and so do the hash bits of uuid keys."""
    project = write_project(tmp_path / "project", TWO_COLUMNS)
    one, two = (frame_of(make_snapshot(project, seed=seed), "things") for seed in (1, 2))
    for column in one.columns:
        assert 0.3 < (one[column] != two[column]).mean() <= 1, column  # type: ignore[operator]


def test_a_range_of_root_rows_made_alone_is_that_of_a_whole_run(shop: Project, tmp_path: Path) -> None:
    """Rows 40 to 71 and their descendants do not need the other rows."""
    whole = make_snapshot(shop)
    names = ["customers", "orders", "invoices", "notes"]
    make_part(PartTask(shop, shop.seed, 40, 71, {name: f"{name}.parquet" for name in names}, FolderStaging(tmp_path)))
    kept: dict[str, pl.Series] = {}
    for name, parent in zip(names, [None, "customers", "orders", "customers"], strict=True):
        alone, rows = pl.read_parquet(tmp_path / f"{name}.parquet"), frame_of(whole, name)
        if parent is None:
            expected = rows[40:71]
        else:
            expected = rows.filter(pl.col(f"{parent.removesuffix('s')}_id").is_in(kept[parent].implode()))
        kept[name] = expected["id"]
        assert len(alone)
        assert alone.equals(expected), name


def test_the_size_of_parts_changes_files_and_no_row(shop: Project, tmp_path: Path) -> None:
    """Many files have the same rows as one file that was made in several slices."""
    other = write_project(tmp_path / "one", (shop.generators / "shop.py").read_text(), part_rows=10_000)
    (other.generators / "pools").mkdir()
    (other.generators / "pools/names.csv").write_bytes((shop.generators / "pools/names.csv").read_bytes())
    many, one = make_snapshot(shop, 2_300), make_snapshot(other, 2_300, seed=shop.seed)
    assert [len(record.files) for record in one.manifest.entities] == [1] * 6
    assert len(many.manifest.entities[1].files) == 23
    for a, b in zip(many.manifest.entities, one.manifest.entities, strict=True):
        assert (a.name, a.rows, a.fingerprint) == (b.name, b.rows, b.fingerprint)


def test_whole_numbers_are_packed_and_other_readers_know_how(tmp_path: Path) -> None:
    """Whole numbers of all types are packed, in arrays too; lists have no statistics; polars reads the same values."""
    project = tmp_path / "kinds"
    shutil.copytree(PROJECTS / "kinds", project)
    snapshot = make_snapshot(find_project(project), 50)
    packed = set()
    for record in snapshot.manifest.entities:
        path = Path(snapshot.path(record.files[0]))
        with pq.ParquetFile(path) as file:
            group, rows = file.metadata.row_group(0), pl.from_arrow(file.read())
        for column in map(group.column, range(group.num_columns)):
            assert not column.has_dictionary_page
            assert column.is_stats_set == (column.path_in_schema in [known.name for known in record.columns])
            if "DELTA_BINARY_PACKED" in column.encodings:
                packed.add(column.path_in_schema)
        assert isinstance(rows, pl.DataFrame)
        comparable = [name for name, dtype in rows.schema.items() if dtype in pl.read_parquet_schema(path).values()]
        assert pl.read_parquet(path, columns=comparable).equals(rows.select(comparable))
    numbers = {"small", "whole", "big", "amount", "day", "hour", "local", "moment"}
    assert packed >= numbers | {"numbers.list.element", "grid.list.element.list.element"}


def test_the_pools_of_a_manifest_do_not_depend_on_earlier_runs(shop: Project, tmp_path: Path) -> None:
    """It names only the pools of this snapshot, whatever the process has read before."""
    assert list(make_snapshot(shop).manifest.pools) == ["names"]
    word = '@entity(key="id", columns={"id": "uuid"})\ndef things(rows):\n    return pl.DataFrame({"id": rows.key()})\n'
    assert make_snapshot(write_project(tmp_path / "plain", word)).manifest.pools == {}


def test_a_check_finds_the_same_and_says_what_differs(shop: Project) -> None:
    """The same request gives the same bytes. Another seed or scale is a difference, and not its rows."""
    make_snapshot(shop)
    same = check_snapshot(shop, Request("dev", shop.seed, 250))
    assert same.same_rows
    assert same.same_bytes
    other = check_snapshot(shop, Request("dev", 8, 300))
    assert not other.same_rows
    assert [text.partition(":")[0] for text in other.different] == ["seed", "scale"]
