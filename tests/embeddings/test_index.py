"""Indexes for nearest neighbors are dropped before the jobs of a load, and built once all rows are written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from snapseed import LoadRequest, load_snapshot
from snapseed.ci.process import run_ci
from snapseed.config import Environment
from snapseed.embeddings.enqueue import enqueue_load
from snapseed.embeddings.index import index_embeddings
from snapseed.embeddings.service import ServiceOptions, run_workers
from snapseed.errors import ConfigurationError
from snapseed.events import notes_to
from tests.conftest import PROJECTS, Connection, Sandbox
from tests.projects.own_valkey import OwnValkey

ROOT = PROJECTS.parent.parent
OWN = "embeddings_embedding_snapseed"
THEIRS = "embeddings_nearest"


@dataclass(frozen=True)
class Example(Sandbox):
    """The example with its committed snapshot `test`, with and without workers. Methods return the notes."""

    redis_url: str = ""

    def queue(self, **overrides: object) -> Environment:
        """The environment whose embeddings workers create."""
        return self.environment("queue", snapshot="test", redis=self.redis_url, **overrides)

    def load(self, *, if_changed: bool = False) -> list[str]:
        """Load, and put the jobs into the queue."""
        said: list[str] = []
        load_snapshot(self.project, self.queue(), LoadRequest(if_changed=if_changed))
        jobs = enqueue_load(self.project, self.queue(), consent=True, listener=notes_to(said.append))
        return [*said, f"{jobs} jobs"]

    def work(self) -> None:
        """Empty the queue."""
        run_workers(self.project, self.queue(), ServiceOptions(drain=True))

    def index(self, environment: Environment | None = None) -> list[str]:
        """Build the indexes that are due."""
        return index_embeddings(self.project, environment or self.queue(), consent=True)


@pytest.fixture
def project(make_project: Callable[[str], Sandbox], valkey_server: OwnValkey) -> Example:
    """In the test's own database; its queue is empty."""
    with valkey_server.client() as client:
        client.flushall()
    sandbox = make_project("example")
    shutil.copytree(ROOT / "snapshots" / "test", sandbox.folder / "snapshots" / "test")
    return Example(sandbox.folder, sandbox.url, valkey_server.url)


def replace(sandbox: Sandbox, old: str, new: str) -> None:
    """Change the project's settings."""
    file = sandbox.folder / "snapseed.toml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def asks_for(sandbox: Sandbox, method: str) -> None:
    """Let [embeddings] ask for an index."""
    replace(sandbox, 'vector = "embedding"\n', f'vector = "embedding"\nindex = "{method}"\n')


def indexes(connection: Connection) -> dict[str, str]:
    """The definitions of the indexes for nearest neighbors, by name."""
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'embeddings' AND indexdef ~ 'hnsw|ivfflat'"
    return {str(name): str(definition) for name, definition in connection.execute(query).fetchall()}


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_the_requested_index_is_built_when_the_queue_is_drained(
    project: Example, connection: Connection, method: str
) -> None:
    """Not before; and the next load drops it again."""
    asks_for(project, method)
    loaded: list[str] = []
    for _ in range(2):
        loaded = project.load()
        assert indexes(connection) == {}
        project.work()
        assert any(OWN in line for line in project.index())
        assert list(indexes(connection)) == [OWN]
        assert f"USING {method} (embedding vector_cosine_ops)" in indexes(connection)[OWN]
    assert OWN in loaded[0]


def test_a_worker_that_drains_builds_it(project: Example, connection: Connection) -> None:
    """The command does, before it exits."""
    asks_for(project, "hnsw")
    project.load()
    variables = {"SNAPSEED_SNAPSHOT": "test", "SNAPSEED_REDIS": project.redis_url}
    drained = project.run("worker", "queue", "--drain", "--quiet", check=True, **variables)
    assert OWN in drained.stderr
    assert list(indexes(connection)) == [OWN]


def test_somebody_elses_index_is_restored(project: Example, connection: Connection) -> None:
    """With its options and its comment."""
    project.load()
    connection.execute(f"CREATE INDEX {THEIRS} ON embeddings USING hnsw (embedding vector_l2_ops) WITH (m = 8)")
    connection.execute(f"COMMENT ON INDEX {THEIRS} IS 'ours'")
    before = indexes(connection)
    assert THEIRS in project.load()[0]
    assert indexes(connection) == {}
    assert THEIRS in project.index()[0]
    assert indexes(connection) == before
    assert project.index() == []
    assert connection.execute(f"SELECT obj_description('{THEIRS}'::regclass)").fetchone() == ("ours",)


def test_no_second_index_is_built_if_somebody_else_has_one(project: Example, connection: Connection) -> None:
    """One serves every search."""
    asks_for(project, "hnsw")
    project.load()
    connection.execute(f"CREATE INDEX {THEIRS} ON embeddings USING hnsw (embedding vector_cosine_ops)")
    assert THEIRS in project.index()[0]
    assert list(indexes(connection)) == [THEIRS]


def test_an_index_stays_if_there_are_rows(project: Example, connection: Connection) -> None:
    """Then there are few jobs, such as those of appended rows."""
    asks_for(project, "hnsw")
    project.load()
    project.work()
    project.index()
    connection.execute("DELETE FROM snapseed.enqueued")
    changed = connection.execute("DELETE FROM embeddings WHERE chunk_index > 0 RETURNING transcript_id").fetchall()
    assert project.load(if_changed=True) == [f"{len(set(changed))} jobs"]
    assert list(indexes(connection)) == [OWN]


def test_the_ci_process_builds_it_at_the_end(project: Example, connection: Connection) -> None:
    """After the last job, before the rows are verified."""
    asks_for(project, "hnsw")
    said: list[str] = []
    assert run_ci(project.project, project.queue(workers=1), listener=notes_to(said.append)).exit_code == 0
    assert any(OWN in line for line in said)
    assert list(indexes(connection)) == [OWN]


def test_an_environment_without_a_queue_can_have_it_too(project: Example, connection: Connection) -> None:
    """And a load keeps it."""
    asks_for(project, "hnsw")
    environment = project.environment("test")
    load_snapshot(project.project, environment)
    assert OWN in project.index(environment)[0]
    load_snapshot(project.project, environment)
    assert list(indexes(connection)) == [OWN]


def test_a_column_of_arrays_has_no_index(project: Example, connection: Connection) -> None:
    """That is a note, not an error."""
    asks_for(project, "hnsw")
    project.load()
    connection.execute("ALTER TABLE embeddings ALTER COLUMN embedding TYPE real[] USING embedding::real[]")
    assert "real[]" in project.index()[0]
    assert indexes(connection) == {}


def test_a_method_that_pgvector_does_not_have_is_refused(project: Example) -> None:
    """By the settings."""
    asks_for(project, "btree")
    with pytest.raises(ConfigurationError, match="btree"):
        project.project.environment("queue")
