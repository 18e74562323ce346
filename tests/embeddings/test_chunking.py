"""Chunks are runs of whole words, and together they are the text."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import chunk_count, chunk_of
from snapseed.embeddings.chunks import CHUNK_WORDS

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
