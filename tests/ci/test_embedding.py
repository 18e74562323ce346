"""The CI process if workers compute the embeddings."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from snapseed import load_snapshot
from snapseed.ci.embedding import embed
from snapseed.ci.process import run_ci
from snapseed.ci.report import CiReport, CiStep
from snapseed.errors import ServerError, VerificationError
from snapseed.events import notes_to
from tests.conftest import Sandbox
from tests.embeddings.conftest import Post
from tests.projects.own_valkey import OwnValkey, own_valkey
from tests.projects.state import generated


@pytest.fixture(scope="module")
def valkey() -> Iterator[OwnValkey]:
    """A server for these tests."""
    with own_valkey() as server:
        yield server


@pytest.fixture
def post(make_generated: Callable[[str], Sandbox], valkey: OwnValkey) -> Post:
    """Letters, generated and not yet loaded."""
    with valkey.client() as client:
        client.flushall()
    return Post(make_generated("letters"), valkey.url)


def ci(post: Post, log: Callable[[str], None] = lambda _: None, **overrides: object) -> CiReport:
    """One run in this process."""
    return run_ci(post.sandbox.project, post.environment(**overrides), listener=notes_to(log))


def test_its_own_workers_do_all_jobs(post: Post) -> None:
    """Two of them. The result is in the document and among the checks."""
    junit = post.folder / "ci.xml"
    file = post.folder / "snapseed.toml"
    file.write_text(file.read_text() + "workers = 2\n")
    said = post.run("ci", "dev", "--report", "ci.json", "--junit", str(junit))
    assert "40 jobs" in said
    document = json.loads((post.folder / "ci.json").read_text())
    found = {"texts": 40, "incomplete": 0, "rows": len(post.expected()), "orphans": 0, "wrong_dimension": 0}
    assert document["embedding"] == {"jobs": 40, "dead": 0, "found": found}
    assert document["metrics"]["steps"]["embedding"] > 0
    assert 'name="complete"' in junit.read_text()
    assert post.parts() == post.expected()


def test_it_waits_for_workers_elsewhere(post: Post) -> None:
    """Until all jobs are done."""
    logged: list[str] = []
    process = threading.Thread(target=lambda: post.run("worker", "dev", "--drain", "--quiet"))

    def log(text: str) -> None:
        logged.append(text)
        if "jobs are in the queue" in text:
            process.start()

    report = ci(post, log)
    process.join()
    assert report.exit_code == 0, report.error
    assert report.embedding is not None
    assert not report.embedding.found.findings()


def test_without_any_worker_it_ends_and_says_how_to_start_one(post: Post) -> None:
    """After a limited time."""
    post.load()
    with pytest.raises(ServerError, match="no worker") as caught:
        embed(post.sandbox.project, post.environment(), nobody_seconds=0.5)
    assert str(caught.value.observed).startswith("40 jobs are waiting, 0 are in progress")
    assert "snapseed worker dev" in str(caught.value.next_step)


def test_embeddings_have_a_deadline(post: Post) -> None:
    """Set in the environment. Missing it is a failure that is not retried."""
    report = ci(post, embeddings_timeout="500ms")
    assert isinstance(report.error, ServerError)
    assert (report.exit_code, report.step) == (4, CiStep.EMBED)
    assert "not finished in time" in report.error.summary
    assert [attempt.step for attempt in report.attempts].count(CiStep.EMBED) == 1
    assert report.embedding is None


def test_what_is_missing_at_the_end_is_a_finding(post: Post) -> None:
    """With the count of dead jobs and the error of the first."""
    post.configure(embedder="'embedders:Picky'", tries=1)
    post.load()
    post.execute("UPDATE letters SET body = 'poison' WHERE id = 9")
    with pytest.raises(VerificationError, match="not complete") as caught:
        embed(post.sandbox.project, post.environment(workers=1))
    observed = str(caught.value.observed)
    assert observed.startswith("1 of 40 texts lack chunks; 1 jobs are dead, the first with this error: ")
    assert observed.count("that is poison") == 1


def test_a_crash_after_the_commit_is_healed_by_the_next_run(post: Post) -> None:
    """The load is recorded and its jobs are not, as if the process had been killed in between."""
    load_snapshot(post.sandbox.project, post.environment())
    with post.session() as session:
        assert session.queue.status().is_empty
    report = ci(post, workers=1)
    assert report.exit_code == 0, report.error
    assert post.parts() == post.expected()


def test_it_waits_for_redis_to_start(post: Post) -> None:
    """As for a database."""
    with own_valkey() as late:
        late.kill()
        failed: list[str] = []

        def log(text: str) -> None:
            if "failed" in text and not failed:
                failed.append(text)
                late.start()

        report = run_ci(post.sandbox.project, post.environment(workers=1, redis=late.url), listener=notes_to(log))
        assert report.exit_code == 0, report.error
        assert failed
        assert report.metrics.retries >= 1


def test_vectors_of_the_built_in_embedder_are_verified_against_the_snapshot(
    make_project: Callable[[str], Sandbox], valkey: OwnValkey
) -> None:
    """They are rows like any others."""
    sandbox = make_project("example")
    file = sandbox.folder / "snapseed.toml"
    file.write_text(file.read_text().replace('queue]\nsnapshot = "ci"', 'queue]\nsnapshot = "dev"'))
    environment = generated(sandbox, 30).environment("queue", redis=valkey.url, workers=1)
    report = run_ci(sandbox.project, environment)
    assert report.exit_code == 0, report.error
    assert report.verify is not None
    assert "embeddings" in [result.entity for result in report.verify.entities]
