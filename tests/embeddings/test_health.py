"""What supervisors and scrapers ask of workers."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from snapseed.embeddings.health import Health, serving
from snapseed.embeddings.service import WorkerFailed
from snapseed.embeddings.worker import BatchDone, Heartbeat
from snapseed.errors import ServerError, UsageError


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def test_counts_are_served_as_openmetrics() -> None:
    """As the reference parser reads them."""
    health, port = Health("dev"), free_port()
    health(BatchDone(10, 1, 30, 2, 0.5, 0.25))
    health(BatchDone(5, 0, 15, 0, 0.25, 0.125))
    health(WorkerFailed(ServerError("gone"), 1.0))
    with serving(health, port):
        status, text = get(port, "/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call]
    values = {name.removeprefix("snapseed_worker_"): family.samples[0].value for name, family in families.items()}
    assert values == {
        "batches": 2,
        "jobs": 15,
        "skipped": 1,
        "rows": 45,
        "dead": 2,
        "failures": 1,
        "busy_seconds": 0.75,
        "embed_seconds": 0.375,
        "alive": 1,
    }
    assert families["snapseed_worker_jobs"].samples[0].labels == {"environment": "dev"}


def test_a_worker_that_hangs_is_not_healthy() -> None:
    """200 if a worker was heard of within five minutes, otherwise 503. Other paths are 404."""
    now, port = [0.0], free_port()
    health = Health("dev", now=lambda: now[0])
    with serving(health, port):
        assert get(port, "/healthz")[0] == 200
        now[0] = 301
        status, text = get(port, "/healthz")
        assert (status, json.loads(text)["alive"]) == (503, False)
        health(Heartbeat())
        assert get(port, "/healthz")[0] == 200
        assert get(port, "/")[0] == 404


def test_the_file_is_whole_at_any_time(tmp_path: Path) -> None:
    """It is replaced after each event, with the counts so far."""
    health = Health("dev", tmp_path / "health.json")
    for jobs in (1, 3):
        health(BatchDone(jobs, 0, 0, 0, 0.0, 0.0))
        document = json.loads((tmp_path / "health.json").read_text())
        assert document["jobs"] == health.total("jobs")
        assert abs(document["heard_at"] - time.time()) < 60
    assert [path.name for path in tmp_path.iterdir()] == ["health.json"]


def test_an_unusable_file_or_port_is_an_error(tmp_path: Path) -> None:
    """A folder that is missing, a port that is taken."""
    with pytest.raises(UsageError, match="health file"):
        Health("dev", tmp_path / "none" / "file")(Heartbeat())
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match="port"),
        serving(Health("dev"), taken.getsockname()[1]),
    ):
        pass
