"""The built-in embedder: the same vector for the same text, for ever, and near vectors for similar texts."""

from __future__ import annotations

import itertools
import re

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapseed import HashingEmbedder
from snapseed.embeddings.embedder import TextBuffer, Vocabulary
from tests.examples import examples

TEXTS = ["The quick brown fox", "", "Grüße, 世界!", "the QUICK brown fox?", "a b c", "x" * 200, "... --- ..."]


def embed(*texts: str) -> npt.NDArray[np.float16]:
    """Vectors as rows."""
    return HashingEmbedder().embed(pl.Series(texts, dtype=pl.String)).to_numpy()


def test_vectors_are_those_of_every_earlier_version() -> None:
    """Golden values, exact to the bit, so that stored embeddings stay comparable."""
    assert embed("The quick brown fox")[0, :6].tolist() == [
        0.0,
        -0.11517333984375,
        -0.03839111328125,
        0.057586669921875,
        0.0767822265625,
        -0.057586669921875,
    ]
    assert embed("Grüße, 世界!")[0, :6].tolist() == [
        0.02728271484375,
        0.0545654296875,
        -0.0545654296875,
        0.02728271484375,
        -0.02728271484375,
        -0.02728271484375,
    ]


def test_vectors_are_of_unit_length_and_declared_type() -> None:
    """384 numbers in float16; a text without words is the zero vector."""
    series = HashingEmbedder().embed(pl.Series(TEXTS))
    assert series.dtype == pl.Array(pl.Float16, 384) == pl.Array(pl.Float16, HashingEmbedder.dimensions)
    lengths = np.linalg.norm(series.to_numpy().astype(float), axis=1)
    assert abs(lengths - [1, 0, 1, 1, 1, 1, 0]).max() < 0.001


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_a_text_has_the_same_vector_in_any_company(texts: list[str]) -> None:
    """Alone, or among others."""
    together = embed(*texts)
    assert np.isfinite(together).all()
    for text, vector in zip(texts, together, strict=True):
        assert (embed(text)[0] == vector).all()


def test_batches_leave_no_trace() -> None:
    """Vectors are the same in batches of three texts, of 64, and all together."""
    texts = pl.Series([f"word{number} and number {number % 13} of many " * (number % 4) for number in range(200)])
    whole = HashingEmbedder().embed(texts)
    for batch_texts in (3, 64):
        assert HashingEmbedder(batch_texts=batch_texts).embed(texts).equals(whole)


def test_no_texts_have_no_vectors() -> None:
    """Nothing in, nothing out."""
    assert HashingEmbedder().embed(pl.Series([], dtype=pl.String)).len() == 0


def test_a_text_that_is_null_is_an_error() -> None:
    """It has no vector."""
    with pytest.raises(ValueError, match="1 of the texts to embed are null"):
        HashingEmbedder().embed(pl.Series(["a", None]))


def test_case_and_punctuation_change_nothing() -> None:
    """Only words count."""
    assert (embed(TEXTS[0]) == embed(TEXTS[3])).all()


def test_texts_that_share_words_are_near() -> None:
    """Words that share parts are nearer than words that do not, too."""
    base, near, related, far = embed(
        "how to bake sourdough bread at home",
        "bake bread at home with sourdough",
        "baking breads at homes",
        "quarterly tax filing for small firms",
    ).astype(float)
    assert base @ near > 0.8 > base @ related > 0.15 > abs(base @ far)


def test_unrelated_texts_are_nearly_orthogonal() -> None:
    """Over many pairs; no dimension leans to one side."""
    vectors = embed(*(f"q{number}zx" for number in range(600))).astype(float)
    products = vectors @ vectors.T - np.eye(600)
    assert abs(products.mean()) < 0.01
    assert abs(vectors.mean(axis=0)).max() < 0.2 / 384**0.5 * 5


DIMENSIONS = HashingEmbedder.dimensions


# Letters, digits, and what ends words, phrases and rules of case: ΑΣ ends in another small sigma than ΑΣΑ.
LETTERS = st.sampled_from(["a", "B", "é", "ΑΣ", "Σ", "İ", "世", "7", " ", " ", ", ", ". ", ".", ",", "-", "\n", "'"])


ANY_TEXTS = st.lists(st.lists(LETTERS, max_size=30).map("".join), min_size=1, max_size=12)


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
@given(ANY_TEXTS)
def test_a_text_is_the_sum_of_its_words(texts: list[str]) -> None:
    """By phrases, if texts are repeated, or by words."""
    expected = [unit(one_by_one(text)) for text in texts]
    for repeated in (1, 8):
        found = HashingEmbedder().embed(pl.Series(texts * repeated)).to_numpy()
        assert np.array_equal(found, np.array(expected * repeated))


@given(ANY_TEXTS)
def test_pieces_are_the_texts(texts: list[str]) -> None:
    """Joined again, whether phrases or words, they are the texts."""
    cut = TextBuffer.of(pa.array(texts, pa.large_string()))
    for pieces in (cut.words(), cut.phrases()):
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
