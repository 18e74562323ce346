"""Workers as processes: they stop when told to, come back after failures, and are replaced if they die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from snapseed import load_snapshot
from snapseed.embeddings.service import ServiceOptions, WorkerFailed, run_workers
from snapseed.embeddings.worker import Heartbeat
from snapseed.errors import ServerError, SnapseedError
from snapseed.events import Event
from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.embeddings.test_health import free_port
from tests.projects.own_valkey import own_valkey
from tests.projects.state import is_alive, patiently


def start(post: Post, *options: str) -> subprocess.Popen[str]:
    """Start `snapseed worker dev`."""
    command = [sys.executable, "-m", "snapseed", "worker", "dev", *options]
    variables = os.environ | {"SNAPSEED_DATABASE": post.sandbox.url, "SNAPSEED_REDIS": post.redis_url}
    return subprocess.Popen(command, cwd=post.folder, env=variables, stderr=subprocess.PIPE, text=True)


def waiting(post: Post) -> tuple[int, int]:
    """How many jobs wait, and how many are in progress."""
    with post.session() as session:
        status = session.queue.status()
        return status.waiting, status.in_flight


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_after_its_batch(post: Post, number: signal.Signals) -> None:
    """With exit code 0: the batch is written, the other jobs wait, and none is in progress."""
    post.configure(embedder="'embedders:Held'")
    post.load()
    process = start(post)
    patiently((post.folder / "begun").exists)
    process.send_signal(number)
    assert process.stderr is not None
    assert "ending after this batch" in process.stderr.readline()
    (post.folder / "go").touch()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert waiting(post) == (24, 0)
    done = {row[0] for row in post.parts()}
    assert done == set(range(1, 17))
    (line,) = [line for line in said.splitlines() if line.startswith("batch ")]
    assert json.loads(line.removeprefix("batch "))["jobs"] == 16


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_a_second_signal_ends_a_worker_at_once(post: Post, concurrency: str) -> None:
    """With exit code 130: nothing of its batch is written, no process is left, and all jobs are still there."""
    post.configure(embedder="'embedders:Held'", claim_after="'2s'")
    post.load()
    process = start(post, "--concurrency", concurrency)
    patiently((post.folder / "begun").exists)
    members = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "at once" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert post.parts() == []
    # Python's helper process ends when it notices that no other is left.
    patiently(lambda: not any(map(is_alive, members)))
    assert sum(waiting(post)) == 40


@pytest.mark.slow
def test_a_killed_member_is_replaced(post: Post) -> None:
    """Others do its jobs once it has been silent, and all rows are right."""
    post.configure(embedder="'embedders:Held'", claim_after="'2s'")
    post.load()
    process = start(post, "--concurrency", "2", "--drain")
    patiently((post.folder / "begun").exists)
    victim = next(child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline()))
    victim.kill()
    (post.folder / "go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "a worker process died: exit code -9" in said
    assert post.parts() == post.expected()


def test_a_job_that_kills_its_worker_dies_alone(post: Post) -> None:
    """The other jobs of its batches are done."""
    post.configure(embedder="'embedders:Deadly'", claim_after="'2s'", tries=2)
    post.load()
    post.execute("UPDATE letters SET body = 'deadly' WHERE id = 5")
    post.execute("DELETE FROM letters WHERE id > 12")
    post.drain(concurrency=2)
    post.execute("DELETE FROM letters WHERE id = 5")
    with post.session() as session:
        ((payload, error),) = [(job.payload, job.error) for job in session.queue.dead(10)]
        assert post.parts("vowels") == post.expected(session.source.embedder)
    assert json.loads(payload)["keys"] == ["5"]
    assert "3 times" in error


def test_processes_that_only_die_are_an_error_in_the_end(post: Post) -> None:
    """If patience is limited."""
    post.configure(embedder="'embedders:Deadly'", claim_after="'2s'", tries=1000)
    post.load()
    post.execute("UPDATE letters SET body = 'deadly'")
    options = ServiceOptions(drain=True, concurrency=2, patience_seconds=0.1, restart_seconds=0.01)
    with pytest.raises(ServerError, match="died"):
        run_workers(post.sandbox.project, post.environment(), options)


def test_health_is_told_while_it_works(post: Post, tmp_path: Path) -> None:
    """By file and by HTTP."""
    post.load()
    port, file = free_port(), tmp_path / "health.json"
    process = start(post, "--health-port", str(port), "--health-file", str(file))

    def counted() -> bool:
        return file.exists() and json.loads(file.read_text())["jobs"] == 40

    patiently(counted)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
        assert json.load(answer)["jobs"] == 40
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_a_refused_connection_ends_a_worker(post: Post) -> None:
    """A failure that will not pass ends it at once."""
    post.load()
    assert "does not exist" in post.run("worker", "dev", "--database", f"{post.sandbox.url} dbname=none", code=2)


def working(post: Post, failures: list[SnapseedError], until: Callable[[], bool]) -> threading.Thread:
    """A worker in a thread of this process."""

    def told(event: Event) -> None:
        if isinstance(event, WorkerFailed):
            failures.append(event.error)

    arguments = (post.sandbox.project, post.environment(), ServiceOptions(), told, until)
    thread = threading.Thread(target=run_workers, args=arguments)
    thread.start()
    return thread


def test_patience_starts_with_a_failure(make_generated: Callable[[str], Sandbox]) -> None:
    """A worker that was idle for longer than its patience still comes back."""
    with own_valkey() as server:
        post = Post(make_generated("letters"), server.url)
        load_snapshot(post.sandbox.project, post.environment())
        told: list[Event] = []

        def is_idle() -> bool:
            return sum(isinstance(event, Heartbeat) for event in told) > 1

        def has_failed() -> bool:
            return any(isinstance(event, WorkerFailed) and event.wait_seconds for event in told)

        options = ServiceOptions(patience_seconds=1.5)
        arguments = (post.sandbox.project, post.environment(), options, told.append, has_failed)
        with ThreadPoolExecutor(1) as pool:
            worker = pool.submit(run_workers, *arguments)
            patiently(is_idle)
            server.kill()
            worker.result()
        assert has_failed()


@pytest.mark.parametrize("form", ["stream", "list"])
def test_redis_may_restart_with_its_data(make_generated: Callable[[str], Sandbox], form: str) -> None:
    """The worker comes back, and nothing is missing."""
    with own_valkey() as server:
        post = Post(make_generated("letters"), server.url)
        post.configure(queue=repr(form), claim_after="'2s'")
        post.load()
        failures: list[SnapseedError] = []
        ending: list[bool] = []
        server.kill()
        thread = working(post, failures, lambda: bool(ending))
        patiently(lambda: bool(failures))
        server.start()
        patiently(lambda: len(post.parts()) == len(post.expected()))
        server.kill()
        patiently(lambda: len(failures) > 1)
        server.start()
        post.execute("UPDATE letters SET body = 'changed' WHERE id = 1")
        post.put_keys(1)
        patiently(lambda: post.parts() == post.expected())
        ending.append(True)
        thread.join()
        assert post.parts() == post.expected()
        assert {type(failure) for failure in failures} == {ServerError}


@pytest.mark.parametrize("form", ["stream", "list"])
def test_repair_recreates_lost_jobs(make_generated: Callable[[str], Sandbox], form: str) -> None:
    """If Redis comes back without its data in the middle of the work, only missing texts get jobs."""
    with own_valkey() as server:
        post = Post(make_generated("letters"), server.url)
        post.configure(queue=repr(form))
        post.load()
        with post.session() as session:
            claims = session.queue.claim("a", 16, 0.01)
            server.kill()
            server.lose_data()
            server.start()
            session.queue._client.connection_pool.disconnect()
            session.queue.done("a", claims)
        post.put_keys(1, 2, 3)
        post.drain()
        assert len({row[0] for row in post.parts()}) == 3
        assert "37 texts lack chunks" in post.run("queue", "repair", "dev")
        post.drain()
        assert post.parts() == post.expected()
