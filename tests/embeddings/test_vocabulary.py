"""Sums over pieces are sums over words, whatever the vocabulary remembers and however texts are cut."""

from __future__ import annotations

import itertools
import re

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import HashingEmbedder
from snapseed.embeddings.embedder import TextBuffer, Vocabulary
from tests.examples import examples

DIMENSIONS = HashingEmbedder.dimensions
# Letters, digits, and what ends words, phrases and rules of case: ΑΣ ends in another small sigma than ΑΣΑ.
LETTERS = st.sampled_from(["a", "B", "é", "ΑΣ", "Σ", "İ", "世", "7", " ", " ", ", ", ". ", ".", ",", "-", "\n", "'"])
TEXTS = st.lists(st.lists(LETTERS, max_size=30).map("".join), min_size=1, max_size=12)


def one_by_one(text: str) -> npt.NDArray[np.int64]:
    """The sum over the words of a text, each looked up alone."""
    lowered = pl.select(pl.lit(text).str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")).item()
    words = [Vocabulary(DIMENSIONS).vectors(pa.array([word.encode()], pa.large_binary()))[0] for word in lowered]
    sums: npt.NDArray[np.int64] = np.sum([np.zeros(DIMENSIONS), *words], axis=0).astype(np.int64)
    return sums


def unit(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """The vector of this direction, by the arithmetic of the definition."""
    vector: npt.NDArray[np.float16] = (sums / np.sqrt(max(int((sums**2).sum()), 1))).astype(np.float16)
    return vector


@examples(30)
@given(TEXTS)
def test_a_text_is_the_sum_of_its_words(texts: list[str]) -> None:
    """By phrases, if texts are repeated, or by words."""
    expected = [unit(one_by_one(text)) for text in texts]
    for repeated in (1, 8):
        found = HashingEmbedder().embed(pl.Series(texts * repeated)).to_numpy()
        assert np.array_equal(found, np.array(expected * repeated))


@given(TEXTS)
def test_pieces_are_the_texts(texts: list[str]) -> None:
    """Joined again, whether phrases or words, they are the texts."""
    cut = TextBuffer.of(pa.array(texts, pa.large_string()))
    for ends in (cut.blanks(), cut.phrase_ends()):
        pieces = cut.cut(ends)
        said = [pieces.distinct[code].as_py() for code in pieces.codes.tolist()]
        bounds = [0, *np.cumsum(pieces.counts).tolist()]
        assert [b"".join(said[i:j]).decode() for i, j in itertools.pairwise(bounds)] == texts


def test_forgetting_changes_nothing() -> None:
    """With room for five words, texts of two, four and six words have the vectors they always have."""
    texts = ["one two", "three four one two", "six seven eight nine ten one", "one nine", "two three four five"]
    expected = HashingEmbedder().embed(pl.Series(texts)).to_numpy()
    forgetful = HashingEmbedder(Vocabulary(DIMENSIONS, room=5))
    for text, vector in zip(texts * 2, [*expected, *expected], strict=True):
        assert (forgetful.embed(pl.Series([text])).to_numpy()[0] == vector).all()


@pytest.mark.parametrize("length", [83, 84, 85, 19_999, 20_001, 70_000])
def test_sums_do_not_overflow(length: int) -> None:
    """A text of one word over and over, with blanks between or not, has that word's direction."""
    word = "abcd"
    expected = HashingEmbedder().embed(pl.Series([word])).to_numpy()[0].astype(float)
    for joiner in (" ", "-", ", "):
        text = (word + joiner) * (length // len(word + joiner))
        found = HashingEmbedder().embed(pl.Series([text, "other"])).to_numpy()[0].astype(float)
        assert abs(found - expected).max() < 0.001


def test_words_are_those_of_the_regular_expression() -> None:
    """Whatever is neither a letter nor a digit separates words."""
    text = "don't stop_me now 4ever, well-known"
    words = re.findall(r"[^\W_]+", text)
    assert (one_by_one(text) == sum(one_by_one(word) for word in words)).all()
