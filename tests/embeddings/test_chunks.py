"""Chunks: runs of whole words that together are the text, with derived keys, as rows of the target."""

from __future__ import annotations

import uuid

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import chunk_count, chunk_keys, chunk_of, find_project
from snapseed.embeddings.chunks import CHUNK_WORDS, chunk_rows
from snapseed.embeddings.source import EmbeddingSource, resolve_source
from snapseed.errors import EmbeddingError
from snapseed.snapshot.store import open_snapshot
from tests.conftest import PROJECTS, Connection
from tests.embeddings.conftest import Post


@pytest.fixture
def source(post: Post) -> EmbeddingSource:
    """The settings of the letters."""
    project = post.sandbox.project
    return resolve_source(project, post.environment(), open_snapshot(project.snapshots, "dev").manifest)


def test_each_chunk_is_a_row_of_the_targets_columns(source: EmbeddingSource) -> None:
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


_WORDS = st.lists(st.text(st.characters(exclude_characters=" ", exclude_categories=["Cs"]), min_size=1, max_size=4))


def chunks(text: str) -> list[str]:
    """All chunks of a text, as many as `chunk_count` says."""
    count = counted(text.count(" ") + 1)
    return chunk_of(pl.Series([text] * count), pl.Series(range(count))).to_list()


def counted(words: int) -> int:
    """What `chunk_count` returns for so many words."""
    return int(pl.select(chunk_count(pl.lit(words))).item())


@given(st.integers(0, 400), _WORDS)
def test_chunks_joined_are_the_text(repeated: int, words: list[str]) -> None:
    """No word is lost, doubled or cut, no chunk is too long, and none is much shorter than the others."""
    text = " ".join(["word"] * repeated + words)
    found = chunks(text)
    assert " ".join(found) == text
    lengths = {chunk.count(" ") + 1 for chunk in found}
    assert max(lengths) <= CHUNK_WORDS
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("words", "count"), [(0, 1), (1, 1), (CHUNK_WORDS, 1), (CHUNK_WORDS + 1, 2), (2 * CHUNK_WORDS, 2), (1000, 9)]
)
def test_the_count_is_that_of_chunks_that_are_not_empty(words: int, count: int) -> None:
    """At least one, for an empty text too; a chunk after the last one is empty."""
    assert counted(words) == count
    text = " ".join(["w"] * words)
    found = chunk_of(pl.Series([text] * (count + 1)), pl.Series(range(count + 1))).to_list()
    assert [bool(chunk) for chunk in found] == [bool(words)] + [True] * (count - 1) + [False]


def test_chunks_are_taken_text_by_text() -> None:
    """Each index belongs to the text of the same row."""
    numbers = list(map(str, range(CHUNK_WORDS + 2)))
    long, rest = " ".join(numbers), " ".join(numbers[len(numbers) // 2 :])
    assert chunk_of(pl.Series(["a b", long, "", long]), pl.Series([0, 1, 0, 1])).to_list() == ["a b", rest, "", rest]
    assert chunk_of(pl.Series([long, long, long]), pl.Series([1, 2, 1])).to_list() == [rest, "", rest]
    assert chunk_of(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.Int64)).to_list() == []


# The same in SQL, bit by bit.
IN_SQL = """
SELECT substring(t FROM 1 FOR 48) || '1000' || substring(t FROM 53 FOR 12)
       || '10' || substring(t FROM 67 FOR 12) || number::bit(12) || substring(hash FROM 1 FOR 38)
  FROM (SELECT ('x' || replace(text::text, '-', ''))::bit(128)::text AS t, number,
               hashbyteaextended(uuid_send(text) || int4send(number), 426954288747)::bit(64)::text AS hash
          FROM (VALUES (%(text)s::uuid, %(number)s::integer)) chunk(text, number)) made
"""


def keys(pairs: list[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    """The keys of these chunks."""
    texts = pl.Series([text.bytes for text, _ in pairs], dtype=pl.Binary)
    numbers = pl.Series([number for _, number in pairs], dtype=pl.Int64)
    return [uuid.UUID(bytes=key) for key in chunk_keys(texts, numbers)]


@given(st.lists(st.tuples(st.uuids(), st.integers(0, 4095)), max_size=30))
def test_a_key_depends_on_its_text_and_number_alone(pairs: list[tuple[uuid.UUID, int]]) -> None:
    """Not on the other chunks of the call. Different chunks have different keys of version 8."""
    made = keys(pairs)
    assert made == [keys([pair])[0] for pair in pairs]
    assert len(set(made)) == len(set(pairs))
    assert all((key.version, key.variant) == (8, uuid.RFC_4122) for key in made)


@given(st.uuids(), st.lists(st.integers(0, 4095), unique=True, min_size=2))
def test_keys_of_a_text_sort_by_number(text: uuid.UUID, numbers: list[int]) -> None:
    """As chunks lie in a snapshot."""
    made = keys([(text, number) for number in numbers])
    assert sorted(made) == [key for _, key in sorted(zip(numbers, made, strict=True))]


def test_the_keys_can_be_computed_in_sql(connection: Connection) -> None:
    """So that an application's own workers can write the same rows."""
    for text, number in ((uuid.UUID(int=2**128 - 1), 0), (uuid.UUID("01890000-0000-8000-8000-0123456789ab"), 4095)):
        row = connection.execute(IN_SQL, {"text": text, "number": number}).fetchone()
        assert row is not None
        assert f"{keys([(text, number)])[0].int:0128b}" == row[0]


def test_what_cannot_be_a_key_is_an_error() -> None:
    """Too many chunks, no uuid, null."""
    with pytest.raises(ValueError, match="more than 4096 chunks"):
        keys([(uuid.uuid4(), 4096)])
    for text in (b"short", None):
        with pytest.raises(ValueError, match="not a uuid"):
            chunk_keys(pl.Series([text], dtype=pl.Binary), pl.Series([0]))
