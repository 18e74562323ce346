"""Texts become rows of the target, and a text that does not fit raises an error of its own."""

from __future__ import annotations

import polars as pl
import pytest

from snapseed import find_project
from snapseed.embeddings.chunks import chunk_rows
from snapseed.embeddings.source import Source, resolve_source
from snapseed.errors import EmbeddingError
from snapseed.snapshot.store import open_snapshot
from tests.conftest import PROJECTS
from tests.embeddings.conftest import Post


@pytest.fixture
def source(post: Post) -> Source:
    """The settings of the letters."""
    project = post.sandbox.project
    return resolve_source(project, post.environment(), open_snapshot(project.snapshots, "dev").manifest)


def test_each_chunk_is_a_row_of_the_targets_columns(source: Source) -> None:
    """In the order of the columns. A null text has one chunk, like an empty one."""
    texts = pl.Series(["a " * 120 + "b", None, ""])
    letter, part, made_by, numbers = chunk_rows(source, pl.Series([1, 2, 3]), texts)
    assert letter.to_pylist() == [1, 1, 2, 3]
    assert part.to_pylist() == [0, 1, 0, 0]
    assert set(made_by.to_pylist()) == {source.embedder.model}
    assert [len(vector) for vector in numbers.to_pylist()] == [384] * 4


def test_a_text_with_too_many_chunks_for_their_keys_is_an_error() -> None:
    """More than 4,096, in the example."""
    project = find_project(PROJECTS.parent.parent)
    environment = project.environment("queue")
    source = resolve_source(project, environment, open_snapshot(project.snapshots, "ci").manifest)
    keys = pl.Series([b"0123456789abcdef"])
    assert len(chunk_rows(source, keys, pl.Series(["a " * 120 * 4094 + "b"]))[0]) == 4095
    with pytest.raises(EmbeddingError, match="cannot be written") as caught:
        chunk_rows(source, keys, pl.Series(["a " * 120 * 4096 + "b"]))
    assert caught.value.observed == "a text has more than 4096 chunks"
