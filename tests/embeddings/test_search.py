"""`snapseed search` finds the chunks nearest to a question, with the titles of their texts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snapseed import HashingEmbedder, load_snapshot
from snapseed.embeddings.search import search
from snapseed.errors import ConfigurationError, SchemaError
from tests.conftest import PROJECTS, Connection, Sandbox

ROOT = PROJECTS.parent.parent


@pytest.fixture
def loaded(make_project: Callable[[str], Sandbox]) -> Sandbox:
    """The example with its committed snapshot `test`, loaded."""
    sandbox = make_project("example")
    shutil.copytree(ROOT / "snapshots" / "test", sandbox.folder / "snapshots" / "test")
    load_snapshot(sandbox.project, sandbox.environment("test"))
    return sandbox


def titled(sandbox: Sandbox, title: str) -> None:
    """Change `title` in [embeddings]."""
    file = Path(sandbox.folder / "snapseed.toml")
    file.write_text(file.read_text().replace('"shares.title"', f'"{title}"'))


def expected(connection: Connection, limit: int) -> list[tuple[Any, ...]]:
    """The chunks nearest to the first one, by SQL alone: itself, and then others."""
    return connection.execute(
        "SELECT s.title, transcript_id::text, chunk_index FROM embeddings e"
        " JOIN transcripts t ON t.id = e.transcript_id JOIN shares s ON s.id = t.share_id"
        " ORDER BY e.embedding <=> (SELECT embedding FROM embeddings ORDER BY id LIMIT 1), 2, 3 LIMIT %s",
        [limit],
    ).fetchall()


def test_a_chunk_is_the_nearest_to_its_own_words(loaded: Sandbox, connection: Connection) -> None:
    """The others follow as PostgreSQL orders them; each has the title of the share that was transcribed."""
    row = connection.execute("SELECT content FROM embeddings ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    hits = search(loaded.project, loaded.environment("test"), str(row[0]), limit=4)
    assert [(hit.title, hit.key, hit.number) for hit in hits] == expected(connection, 4)
    assert hits[0].similarity > 0.99 > hits[1].similarity > hits[3].similarity
    assert hits[0].content == row[0]


def test_the_command_shows_titles(loaded: Sandbox, connection: Connection) -> None:
    """As text and as JSON."""
    [(title, key, number)] = expected(connection, 1)
    row = connection.execute("SELECT content FROM embeddings ORDER BY id LIMIT 1").fetchone()
    assert row is not None
    shown = loaded.run("search", "test", str(row[0]), check=True)
    assert f"{title}, chunk {number}" in shown.stdout
    assert "docs/embeddings.md" in shown.stderr
    document = loaded.run_json("search", "test", str(row[0]), "--limit", "1")
    hits = document["hits"]
    assert isinstance(hits, list)
    assert [(hit["title"], hit["key"]) for hit in hits] == [(title, key)]


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_an_index_finds_the_same(loaded: Sandbox, connection: Connection, method: str) -> None:
    """Among few rows it finds all of them, in the same order."""
    environment = loaded.environment("test")
    before = search(loaded.project, environment, "how to bake bread", limit=60)
    connection.execute(f"CREATE INDEX ON embeddings USING {method} (embedding vector_cosine_ops)")
    connection.execute(f"ALTER DATABASE {connection.info.dbname} SET enable_seqscan = off")
    found = search(loaded.project, environment, "how to bake bread", limit=60)
    assert len(found) == 60
    assert [hit.key for hit in found[:10]] == [hit.key for hit in before[:10]]


def test_arrays_are_searched_as_well(loaded: Sandbox, connection: Connection) -> None:
    """Without pgvector the same order, up to rounding."""
    environment = loaded.environment("test")
    before = search(loaded.project, environment, "how to bake bread")
    connection.execute("ALTER TABLE embeddings ALTER COLUMN embedding TYPE real[] USING embedding::real[]")
    found = search(loaded.project, environment, "how to bake bread")
    assert [(hit.key, hit.title) for hit in found] == [(hit.key, hit.title) for hit in before]
    assert [hit.similarity for hit in found] == pytest.approx([hit.similarity for hit in before], abs=1e-4)


@pytest.mark.parametrize(("title", "column"), [("transcripts.topic", "t.topic"), ("users.username", "u.username")])
def test_a_title_is_a_column_of_the_text_or_of_an_ancestor(
    loaded: Sandbox, connection: Connection, title: str, column: str
) -> None:
    """However many foreign keys lead there."""
    titled(loaded, title)
    [hit] = search(loaded.project, loaded.environment("test"), "anything at all", limit=1)
    row = connection.execute(
        f"SELECT {column} FROM transcripts t JOIN shares s ON s.id = t.share_id JOIN users u ON u.id = s.user_id"  # noqa: S608
        " WHERE t.id = %s",
        [hit.key],
    ).fetchone()
    assert row == (hit.title,)


@pytest.mark.parametrize("title", ["shares.name", "nothing.title", "title", "embeddings.content"])
def test_a_title_that_no_foreign_key_leads_to_is_an_error(loaded: Sandbox, title: str) -> None:
    """In the settings; it names the title."""
    titled(loaded, title)
    with pytest.raises(ConfigurationError) as caught:
        search(loaded.project, loaded.environment("test"), "anything")
    assert repr(title) in str(caught.value)
    assert "[embeddings] title" in str(caught.value)


def test_without_a_table_there_is_nothing_to_search(loaded: Sandbox, connection: Connection) -> None:
    """The error says what to do."""
    connection.execute("DROP TABLE embeddings")
    with pytest.raises(SchemaError, match="nothing to search"):
        search(loaded.project, loaded.environment("test"), "anything")


def test_other_models_are_not_searched(loaded: Sandbox, connection: Connection) -> None:
    """Their vectors mean something else."""
    connection.execute("UPDATE embeddings SET model = 'other' WHERE model = %s", [HashingEmbedder.model])
    assert search(loaded.project, loaded.environment("test"), "anything") == []
