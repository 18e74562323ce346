"""Capturing by tasks of a Dask cluster, into a bucket: its workers read key ranges over connections of their own."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import distributed
import pytest

from snapseed import capture_snapshot, open_snapshot
from snapseed.capture.request import CaptureRequest, Sizes, subset_request
from snapseed.cluster.executor import ClusterExecutor
from snapseed.config.store import read_store
from snapseed.errors import UsageError
from snapseed.events import Advanced, Listener, ignore
from snapseed.generate.code import packed
from snapseed.postgres.connect import target_of
from snapseed.snapshot.manifest import Manifest
from snapseed.verify.files import verify_files
from tests.capture.conftest import Captured, filled, project_in
from tests.conftest import Sandbox

_SOURCE = """
CREATE TABLE many (id bigint PRIMARY KEY, mail text NOT NULL);
INSERT INTO many SELECT g, g || '@x.org' || repeat('x', g % 70) FROM generate_series(1, 500) g;
CREATE TABLE few (many bigint REFERENCES many, word text);
INSERT INTO few SELECT g, 'w' || g FROM generate_series(1, 9) g;
CREATE TABLE none (id int PRIMARY KEY);
CREATE TABLE turned (code text PRIMARY KEY);
INSERT INTO turned SELECT 'c' || g FROM generate_series(1, 50) g;
"""
_MASKS = """
[environments.dev]
[mask]
"many.mail" = "email"
"turned.code" = "text"
"""


@pytest.fixture
def captured(endpoint: int, database: str, tmp_path: Path) -> Captured:
    """A project whose snapshots are in a bucket, and whose masks bring rows into another order."""
    assert endpoint
    return project_in(tmp_path, filled(database, _SOURCE), _MASKS)


@pytest.fixture
def executor(client: distributed.Client, captured: Captured) -> Executor:
    """That of the cluster."""
    return ClusterExecutor(client, packed(captured.project), 2)


def capture(
    captured: Captured, place: str, request: CaptureRequest, executor: Executor | None, listener: Listener
) -> Manifest:
    """Capture into this place, whose files verify."""
    store = read_store(place, captured.folder, where="test")
    environment = captured.project.environment("dev", {"source": captured.url}).changed(snapshots=store)
    made = capture_snapshot(captured.project, environment, request, executor=executor, listener=listener).manifest
    assert verify_files(open_snapshot(store, "dev"), rows=True) == []
    return made


@pytest.mark.parametrize("subset", [None, subset_request("many", 300)], ids=["all", "subset"])
def test_the_cluster_captures_the_same_snapshot(
    captured: Captured,
    executor: Executor,
    endpoint: int,
    monkeypatch: pytest.MonkeyPatch,
    subset: object,
) -> None:
    """In a bucket and in a folder: ranges of several files, masks, no rows and no key, although a worker dies."""
    monkeypatch.setenv("SNAPSEED_MASK_SECRET", "a secret of more than sixteen characters")
    bucket = f"s3://tests/{captured.folder.name}?endpoint=http://127.0.0.1:{endpoint}"
    request = CaptureRequest(jobs=3, sizes=Sizes(64, 32, 1_500), subset=subset)  # type: ignore[arg-type]
    here = capture(captured, "here", replace(request, jobs=1), None, ignore)
    files = {entity.name: len(entity.files) for entity in here.entities}
    assert files["many"] > 500 // 64
    assert files["few"] == 1
    assert isinstance(executor, ClusterExecutor)
    victims = [min(executor.client.run(os.getpid).values())]

    def kill(event: object) -> None:
        if isinstance(event, Advanced) and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    assert capture(captured, bucket, request, executor, kill).identity == here.identity
    assert not victims
    if not subset:
        assert capture(captured, "there", request, executor, ignore).identity == here.identity


def test_a_mask_that_calls_a_function_is_refused(
    captured: Captured, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have no module of the project that it could be in."""
    monkeypatch.setenv("SNAPSEED_MASK_SECRET", "a secret of more than sixteen characters")
    (captured.folder / "hiding.py").write_text("def hidden(values):\n    return values")
    settings = captured.folder / "snapseed.toml"
    settings.write_text(settings.read_text().replace('"email"', '"hiding:hidden"'))
    with pytest.raises(UsageError) as caught:
        capture(captured, "there", CaptureRequest(jobs=2), executor, ignore)
    assert caught.value.observed == "many.mail"


def test_a_task_does_not_show_the_password() -> None:
    """Dask logs a task that it cannot carry out."""
    target = target_of("postgresql://us:secret@db.example/app", "test")
    assert "secret" in target.conninfo
    assert "secret" not in repr(target)


@pytest.mark.parametrize("command", ["capture", "load"])
def test_one_connection_needs_no_cluster(shop: Sandbox, command: str) -> None:
    """Who asks for one is told which option would give it something to do; one of the project is not used."""
    refused = shop.run(command, "--cluster", "local")
    assert (refused.returncode, "--jobs" in refused.stderr, "--connections" in refused.stderr) == (
        2,
        command == "capture",
        command == "load",
    )
