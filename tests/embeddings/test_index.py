"""Indexes for nearest neighbours go before the jobs of a load come, and are there again once all is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from snapseed.database.embedded import EmbeddedRedis
from tests.conftest import PROJECTS, Connection, Sandbox

ROOT = PROJECTS.parent.parent
OWN = "embeddings_embedding_snapseed"
THEIRS = "embeddings_nearest"


@pytest.fixture
def project(make_project: Callable[[str], Sandbox]) -> Iterator[Sandbox]:
    """The example with its committed snapshot `test`, which the environment `queue` takes here."""
    sandbox = make_project("example")
    shutil.copytree(ROOT / "snapshots" / "test", sandbox.folder / "snapshots" / "test")
    replace(sandbox, 'snapshot = "ci"\ndatabase = "embedded"\nredis', 'snapshot = "test"\ndatabase = "embedded"\nredis')
    yield sandbox
    EmbeddedRedis(sandbox.folder).stop()


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
    """The definitions of those for nearest neighbours, by name."""
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'embeddings' AND indexdef ~ 'hnsw|ivfflat'"
    return {str(name): str(definition) for name, definition in connection.execute(query).fetchall()}


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_the_index_that_is_asked_for_is_built_when_the_queue_is_drained(
    project: Sandbox, connection: Connection, method: str
) -> None:
    """Not before; and a load that begins anew takes it away again."""
    asks_for(project, method)
    for _ in range(2):
        loaded = project.run("load", "queue", check=True)
        assert indexes(connection) == {}
        drained = project.run("worker", "queue", "--drain", "--quiet", check=True)
        assert f"the index {OWN} was built in" in drained.stderr
        assert list(indexes(connection)) == [OWN]
        assert f"USING {method} (embedding vector_cosine_ops)" in indexes(connection)[OWN]
    assert f"the index {OWN} is gone until all embeddings are there" in loaded.stderr


def test_an_index_of_somebody_else_comes_back_as_it_was(project: Sandbox, connection: Connection) -> None:
    """With its options and its comment; in between it is in nobody's way, and a crash does not forget it."""
    project.run("load", "queue", check=True)
    connection.execute(f"CREATE INDEX {THEIRS} ON embeddings USING hnsw (embedding vector_l2_ops) WITH (m = 8)")
    connection.execute(f"COMMENT ON INDEX {THEIRS} IS 'ours'")
    before = indexes(connection)
    loaded = project.run("load", "queue", check=True)
    assert f"the index {THEIRS} is gone" in loaded.stderr
    assert indexes(connection) == {}
    for said in ("was built again in", "no index to build"):
        assert said in project.run("queue", "index", "queue", check=True).stdout
        assert indexes(connection) == before
    assert connection.execute(f"SELECT obj_description('{THEIRS}'::regclass)").fetchone() == ("ours",)


def test_with_an_index_of_somebody_else_no_second_one_is_built(project: Sandbox, connection: Connection) -> None:
    """One serves every search."""
    asks_for(project, "hnsw")
    project.run("load", "queue", check=True)
    connection.execute(f"CREATE INDEX {THEIRS} ON embeddings USING hnsw (embedding vector_cosine_ops)")
    assert f"the index {THEIRS} is there" in project.run("queue", "index", "queue", check=True).stdout
    assert list(indexes(connection)) == [THEIRS]


def test_an_index_stays_where_there_are_rows(project: Sandbox, connection: Connection) -> None:
    """Few jobs are worked with it; the jobs of rows that were appended, say."""
    asks_for(project, "hnsw")
    project.run("load", "queue", check=True)
    project.run("worker", "queue", "--drain", "--quiet", check=True)
    connection.execute("DELETE FROM snapseed.enqueued")
    connection.execute("DELETE FROM embeddings WHERE chunk_index > 0")
    assert " jobs are in the queue" in project.run("load", "queue", "--if-changed", check=True).stderr
    assert list(indexes(connection)) == [OWN]


def test_the_ci_process_builds_it_at_the_end(project: Sandbox, connection: Connection) -> None:
    """Behind the last job, before the rows are verified."""
    asks_for(project, "hnsw")
    done = project.run("ci", "queue", check=True, SNAPSEED_WORKERS="1")
    assert f"the index {OWN} was built in" in done.stderr
    assert list(indexes(connection)) == [OWN]


def test_an_environment_without_a_queue_can_have_it_too(project: Sandbox, connection: Connection) -> None:
    """And a load keeps it."""
    asks_for(project, "hnsw")
    project.run("load", "test", check=True)
    assert "was built in" in project.run("queue", "index", "test", check=True).stdout
    project.run("load", "test", check=True)
    assert list(indexes(connection)) == [OWN]


def test_a_column_of_arrays_has_none(project: Sandbox, connection: Connection) -> None:
    """It is said, and no error."""
    asks_for(project, "hnsw")
    project.run("load", "queue", check=True)
    connection.execute("ALTER TABLE embeddings ALTER COLUMN embedding TYPE real[] USING embedding::real[]")
    said = project.run("queue", "index", "queue", check=True).stdout
    assert "no index: embedding is real[], and hnsw is of pgvector" in said
    assert indexes(connection) == {}


def test_a_method_that_pgvector_does_not_have_is_refused(project: Sandbox) -> None:
    """With those that it has."""
    asks_for(project, "btree")
    refused = project.run("load", "queue")
    assert refused.returncode == 2
    assert "btree" in refused.stderr
