"""Generating on a real Dask cluster: processes of this machine, whose workers die, come back and serve two projects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import dask
import distributed
import pytest
from distributed.core import Status

from snapseed import LoadRequest, generate_snapshot, load_snapshot, open_snapshot, verify_snapshot
from snapseed.cluster.connect import on_cluster
from snapseed.cluster.executor import ClusterExecutor, require_same_versions
from snapseed.config import Store
from snapseed.errors import GeneratorError, ServerError, UsageError
from snapseed.events import Advanced, Note, PhaseStarted, ignore
from snapseed.generate.code import packed
from snapseed.generate.request import Request
from snapseed.load.request import LoadSettings
from snapseed.verify.files import verify_files
from tests.cluster.conftest import SETTINGS
from tests.generate.making import copy_shop, files_of, make_snapshot, write_project
from tests.load.partitions.test_faults import HASHED
from tests.load.shapes import Shapes

# Dask leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
_LOST = "distributed.deploy.lost-worker-timeout"
_THINGS = """
@entity(key="id", columns={"id": "bigint", "word": "text"})
def things(rows):
    return pl.DataFrame({"id": rows.key(), "word": rows.choice("word", %s)})
"""


def test_the_cluster_makes_the_same_snapshot(client: distributed.Client, tmp_path: Path) -> None:
    """Rows, files and manifest are those of this process, byte by byte."""
    shop = copy_shop(tmp_path / "shop")
    here = files_of(make_snapshot(shop))
    assert files_of(make_snapshot(shop, executor=ClusterExecutor(client, packed(shop), 2))) == here


def test_workers_that_die_lose_and_double_nothing(client: distributed.Client, tmp_path: Path) -> None:
    """After every third of 6 parts a worker is killed, with what it is doing and what it has done."""
    project = write_project(tmp_path, _THINGS % '["a", "b"]', part_rows=10)
    killed = []

    def kill(event: object) -> None:
        if isinstance(event, Advanced) and event.done % 30 == 0:
            # One that has started.
            assert client.cluster
            nannies = [nanny.process for nanny in client.cluster.workers.values() if nanny.process]
            killed.extend([nanny.pid for nanny in nannies if nanny.status is Status.running][:1])
            os.kill(killed[-1], signal.SIGKILL)

    request = Request("dev", project.seed, 60)
    made = generate_snapshot(project, request, executor=ClusterExecutor(client, packed(project), 2), listener=kill)
    assert len(killed) == 2
    assert verify_files(open_snapshot(project.snapshots, "dev")) == []
    assert made.manifest.identity == make_snapshot(project, 60).manifest.identity


def test_a_local_cluster_keeps_its_workers(tmp_path: Path) -> None:
    """Dask drops one that is still starting so long after it died: no worker would be left."""
    project = write_project(tmp_path, _THINGS % '["a"]')
    settings = {"distributed.worker.multiprocessing-method": "forkserver", _LOST: "1ms"}
    with (
        dask.config.set(settings),
        on_cluster("local", project, project.snapshots, jobs=1, listener=ignore) as executor,
    ):
        pids = [executor.submit(os.getpid).result()]
        os.kill(pids[0], signal.SIGKILL)
        assert executor.submit(os.getpid).result(timeout=30) not in pids


def test_a_run_without_workers_ends(tmp_path: Path) -> None:
    """It says that it waits for one, and then that none has come."""
    project, said = write_project(tmp_path, _THINGS % '["a"]'), list[object]()
    with (
        dask.config.set(SETTINGS),
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        executor = ClusterExecutor(client, packed(project), 1, listener=said.append, patience=0.5)
        with pytest.raises(ServerError) as caught:
            make_snapshot(project, executor=executor)
        assert caught.value.where == cluster.scheduler_address
    assert [type(event) for event in said] == [Note]


def test_projects_do_not_mix(client: distributed.Client, tmp_path: Path) -> None:
    """Two projects whose modules have the same names, on the same workers at once, make the rows of their own."""
    projects = [write_project(tmp_path / word, _THINGS % f'["{word}"]', part_rows=50) for word in ("red", "blue")]
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda of: make_snapshot(of, executor=ClusterExecutor(client, packed(of), 2)), projects)
    words = [{row["word"] for row in one.first_rows(one.manifest.entities[0], 250)} for one in made]
    assert words == [{"red"}, {"blue"}]


def test_a_changed_generator_reaches_the_workers(client: distributed.Client, tmp_path: Path) -> None:
    """The code goes by its content: the same workers make the rows of the file as it is when a run begins."""
    project, words = write_project(tmp_path, _THINGS % '["old"]'), []
    for word in ("old", "new"):
        (project.generators / "first.py").write_text("import polars as pl\nfrom snapseed import *\n" + _THINGS % [word])
        made = make_snapshot(project, 1, executor=ClusterExecutor(client, packed(project), 2))
        words += [row["word"] for row in made.first_rows(made.manifest.entities[0], 1)]
    assert words == ["old", "new"]


def test_an_error_names_the_file_of_the_project(client: distributed.Client, tmp_path: Path) -> None:
    """Not that of the worker, which nobody can open."""
    project = write_project(tmp_path, _THINGS % '["a"].missing')
    with pytest.raises(GeneratorError) as caught:
        make_snapshot(project, executor=ClusterExecutor(client, packed(project), 2))
    assert str(caught.value.where).startswith(str(project.generators / "first.py"))


def test_workers_with_other_versions_are_refused(client: distributed.Client, tmp_path: Path) -> None:
    """By the worker itself too, which may have come after the run began."""
    project = write_project(tmp_path, _THINGS % '["a"]')
    code = packed(project)
    other = replace(code, versions={**code.versions, "polars": "0.1", "numpy": "0.2"})
    with pytest.raises(UsageError) as caught:
        make_snapshot(project, executor=ClusterExecutor(client, other, 2))
    assert caught.value.expected == "numpy 0.2, polars 0.1"


def test_all_versions_that_differ_are_listed() -> None:
    """Each with the workers that have it, or with how many more they are; a library that is missing has none."""
    workers = {f"w{number}": {"polars": "1", "numpy": "2"} for number in range(5)} | {"old": {"polars": "0"}}
    with pytest.raises(UsageError) as caught:
        require_same_versions(workers, {"polars": "2", "numpy": "2"})
    assert str(caught.value.observed).splitlines() == [
        "polars 1 on w0, w1, w2 and 2 more",
        "polars 0 on old",
        "numpy none on old",
    ]
    require_same_versions(workers, {})


def test_a_lost_scheduler_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command may succeed when it is run again."""
    # The worker is in this process, and would leave its own place for temporary files.
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    project = write_project(tmp_path, _THINGS % '["a"]')
    with (
        dask.config.set(SETTINGS),
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        result = ClusterExecutor(client, packed(project), 1).submit(pipe.read_text)

        def lose() -> None:
            # Opens once the task reads.
            with pipe.open("w"):
                cluster.sync(cluster.scheduler.close)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(lose)
            with pytest.raises(ServerError):
                result.result()


def test_a_folder_is_refused_for_workers_elsewhere(tmp_path: Path) -> None:
    """They would write into a folder of their own."""
    project = write_project(tmp_path, _THINGS % '["a"]')
    with (
        pytest.raises(UsageError) as caught,
        on_cluster("tcp://127.0.0.1:1", project, project.snapshots, jobs=1, listener=ignore),
    ):
        pass
    assert caught.value.where == str(tmp_path / "snapshots")


@pytest.mark.parametrize("address", ["nonsense", "tcp://nonsense", "http://127.0.0.1:8786", "tls://127.0.0.1:1"])
def test_what_is_no_address_is_a_wrong_option(tmp_path: Path, address: str) -> None:
    """It cannot be reached later either, as the scheduler of a right address might be."""
    project, store = write_project(tmp_path, _THINGS % '["a"]'), Store("s3://bucket")
    with pytest.raises(UsageError) as caught, on_cluster(address, project, store, jobs=1, listener=ignore):
        pass
    assert caught.value.where == address


def test_a_scheduler_that_does_not_answer_may_do_so_later(tmp_path: Path) -> None:
    """What answers at this address hangs up at once."""
    project, store = write_project(tmp_path, _THINGS % '["a"]'), Store("s3://bucket")
    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, poll_interval=0.01)
        address = f"tcp://127.0.0.1:{server.server_address[1]}"
        try:
            with pytest.raises(ServerError) as caught, on_cluster(address, project, store, jobs=1, listener=ignore):
                pass
        finally:
            server.shutdown()
    assert caught.value.where == address


def test_a_worker_dies_during_a_load(
    client: distributed.Client, generated_once: Callable[[str], Path], database: str
) -> None:
    """Its tasks go to another one, and the partitions hold each row once."""
    shapes = Shapes(generated_once("shapes"), database)
    shapes.create(HASHED)
    pid = min(client.run(os.getpid).values())

    def kill(event: object) -> None:
        if isinstance(event, PhaseStarted) and event.phase == "filling partitions":
            os.kill(pid, signal.SIGKILL)

    with ClusterExecutor(client, packed(shapes.project), 2) as executor:
        report = load_snapshot(
            shapes.project,
            shapes.environment(None, connections=2),
            LoadRequest(consent=True),
            listener=kill,
            settings=LoadSettings(parallel_rows=0),
            executor=executor,
        )
    assert report.verified
    assert verify_snapshot(shapes.project, shapes.environment()).agrees


def test_ctrl_c_leaves_the_old_snapshot_and_no_worker(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group; the command ends its workers and says nothing of theirs."""
    project = write_project(tmp_path, _THINGS % '["a"]', part_rows=10)
    old = make_snapshot(project, 20).manifest.identity
    command = [sys.executable, "-m", "snapseed", "generate", "--cluster", "local", "--jobs", "1", "--scale", "1m"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stderr is not None
        while "dashboard" not in running.stderr.readline():
            pass
        os.killpg(running.pid, signal.SIGINT)
        # Until no process has it open any more.
        said = running.stderr.read()
    assert running.returncode == 130
    assert "Traceback" not in said
    assert open_snapshot(project.snapshots, "dev").manifest.identity == old
