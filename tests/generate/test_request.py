"""The parts of a snapshot are known at once, and each can be made alone."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from snapseed import Project, check_snapshot, generate_snapshot, open_snapshot, resolve_request
from snapseed.errors import UsageError
from snapseed.events import Advanced
from snapseed.generate.parallel import make_parts
from snapseed.generate.part import Slices
from snapseed.generate.request import Request, Tasks, estimate
from snapseed.snapshot.store_folder import FolderStaging
from tests.generate.making import copy_shop, files_of, make_snapshot, write_project

TREE = """
@entity(key="id", columns={"id": "bigint"})
def parents(rows):
    return pl.DataFrame({"id": rows.key()})

@entity(key="id", columns={"id": "bigint", "text": "text"}, parent=parents, per_parent=3)
def children(rows):
    return pl.DataFrame({"id": rows.key(), "text": rows.number().cast(pl.String)})

@entity(key="id", columns={"id": "bigint"}, rows=4)
def kinds(rows):
    return pl.DataFrame({"id": rows.key()})
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A hundred parents per part, three children each, and a lookup entity."""
    return write_project(tmp_path / "project", TREE)


def test_a_part_made_alone_is_the_part_of_the_whole(tmp_path: Path) -> None:
    """The same files, byte for byte, with a manifest of their own."""
    shop = copy_shop(tmp_path / "shop")
    whole = files_of(make_snapshot(shop, 250))
    request = resolve_request(shop, shop.environment("dev"), scale=250, seed=None, part=1)
    assert request.name == "dev-part-1"
    generate_snapshot(shop, request)
    alone = files_of(open_snapshot(shop.snapshots, "dev-part-1"))
    alone.pop("manifest.json")
    assert {path for path in alone if "/" in path} == {path for path in whole if "00001" in path}
    assert all(whole[path] == data for path, data in alone.items())
    assert check_snapshot(shop, request).same_bytes


def test_a_part_includes_trees_of_a_single_part(project: Project) -> None:
    """The part also has the rows of a lookup entity."""
    tasks = Tasks(project, Request("x", 1, 250, part=2), FolderStaging(project.folder))
    assert [(task.first, task.last, task.paths) for task in tasks] == [
        (200, 250, {"parents": "parents/part-00002.parquet", "children": "children/part-00002.parquet"}),
        (0, 4, {"kinds": "kinds.parquet"}),
    ]


@pytest.mark.parametrize("number", [3, 10**9])
def test_a_part_that_does_not_exist_is_refused(project: Project, number: int) -> None:
    """The error says which parts exist."""
    with pytest.raises(UsageError) as caught:
        Tasks(project, Request("x", 1, 250, part=number), FolderStaging(project.folder))
    assert (caught.value.observed, str(caught.value.expected)[:6]) == (str(number), "0 to 2")


def test_a_billion_root_rows_are_planned_at_once(project: Project) -> None:
    """Tasks are created on demand, the last of ten million parts as soon as the first."""
    request = Request("x", 1, 10**9)
    tasks = Tasks(project, request, FolderStaging(project.folder))
    assert len(tasks) == 10**7 + 1
    assert [task.first for task in islice(tasks, 5, 8)] == [500, 600, 700]
    last, kinds = Tasks(project, replace(request, part=10**7 - 1), FolderStaging(project.folder))
    assert (last.last, list(kinds.paths)) == (10**9, ["kinds"])


@pytest.mark.parametrize("size", [1, 1_000, 10**9])
def test_slices_change_no_byte(tmp_path: Path, size: int) -> None:
    """The amount of data made at a time leaves no trace."""
    shop = copy_shop(tmp_path / "shop")
    expected = files_of(make_snapshot(shop, 250))
    request = Request("dev", shop.seed, 250)
    generate_snapshot(shop, replace(request, slices=Slices(bytes=size, first=7, fewest=3)))
    assert files_of(open_snapshot(shop.snapshots, "dev")) == expected


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_is_told_in_root_rows(project: Project, jobs: int) -> None:
    """Slice by slice, in other processes as well, up to all of them."""
    told: list[Advanced] = []
    request = Request("dev", project.seed, 250, slices=Slices(first=7, fewest=3, bytes=1), alone=0)
    generate_snapshot(
        project, request, jobs=jobs, listener=lambda event: told.append(event) if isinstance(event, Advanced) else None
    )
    done = [event.done for event in told]
    assert done == sorted(done)
    assert (done[-1], told[-1].total, told[-1].unit) == (254, 254, "root rows")
    assert jobs > 1 or len(set(done)) > 50


def test_a_part_is_there_before_the_next_one_is_made(project: Project, tmp_path: Path) -> None:
    """So what is known of very many parts can be put into files while they are made."""
    told: list[int] = []
    tasks = Tasks(project, Request("dev", project.seed, 250), FolderStaging(tmp_path))
    with closing(make_parts(tasks, told.append, jobs=1)) as parts:
        next(parts)
    assert sum(told) == 100


def test_an_estimate_is_about_right(project: Project) -> None:
    """Exact if every root row has equally many descendants; and no files are left over."""
    request = Request("dev", project.seed, 2_000)
    expected = estimate(project, request)
    manifest = generate_snapshot(project, request).manifest
    assert (expected.rows, expected.parts) == (manifest.rows, 21) == (2_000 * 4 + 4, 21)
    assert 0.2 < expected.bytes / manifest.bytes < 5
    assert [path.name for path in project.snapshots.folder.iterdir()] == ["dev"]
