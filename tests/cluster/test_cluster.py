"""Generating on a real Dask cluster: processes of this machine, whose workers die, come back and serve two projects."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dask
import distributed
import pytest

from snapseed import generate_snapshot, open_snapshot
from snapseed.cluster.connect import on_cluster
from snapseed.cluster.executor import ClusterExecutor
from snapseed.config import Project
from snapseed.errors import GeneratorError, ServerError, UsageError
from snapseed.events import ignore
from snapseed.generate.code import packed
from snapseed.generate.request import Request
from tests.generate.making import copy_shop, files_of, make_snapshot, write_project

_THINGS = """
@entity(key="id", columns={"id": "bigint", "word": "text"})
def things(rows):
    return pl.DataFrame({"id": rows.key(), "word": rows.choice("word", %s)})
"""


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    """Two workers, which come back when they die."""
    # A worker that is forked from a process with all imports is there at once.
    quiet = {"logging": {"distributed": "critical"}, "distributed.worker.multiprocessing-method": "forkserver"}
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_the_cluster_makes_the_same_snapshot(client: distributed.Client, tmp_path: Path) -> None:
    """Rows, files and manifest are those of this process, byte by byte."""
    shop = copy_shop(tmp_path / "shop")
    here = files_of(make_snapshot(shop))
    assert files_of(make_snapshot(shop, executor=ClusterExecutor(client, packed(shop), 2))) == here


def test_workers_that_die_lose_and_double_nothing(client: distributed.Client, tmp_path: Path) -> None:
    """Every third of 60 parts kills its worker at the first try."""
    died = tmp_path / "died"
    died.mkdir()
    things = _THINGS % '["a", "b"]'
    project = write_project(tmp_path / "calm", things, part_rows=10)
    deadly = write_project(
        tmp_path / "deadly",
        "import os\nfrom pathlib import Path\n"
        + things.replace(
            "    return",
            f"    first, died = int(rows.roots[0]) // 10, Path({str(died)!r})\n"
            "    if first % 3 == 0 and not (died / str(first)).exists():\n"
            "        (died / str(first)).touch()\n"
            "        os.kill(os.getpid(), 9)\n"
            "    return",
        ),
        part_rows=10,
    )
    import time; t=time.time()
    made = make_snapshot(deadly, 600, executor=ClusterExecutor(client, packed(deadly), 2))
    print(time.time()-t)
    assert len(list(died.iterdir())) == 20
    assert made.manifest.identity == make_snapshot(project, 600).manifest.identity


def test_projects_do_not_mix(client: distributed.Client, tmp_path: Path) -> None:
    """Two projects whose modules have the same names, on the same workers at once, make the rows of their own."""
    projects = [write_project(tmp_path / word, _THINGS % f'["{word}"]', part_rows=10) for word in ("red", "blue")]
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda of: make_snapshot(of, executor=ClusterExecutor(client, packed(of), 2)), projects)
    words = [{row["word"] for row in one.first_rows(one.manifest.entities[0], 250)} for one in made]
    assert words == [{"red"}, {"blue"}]
