"""The built-in embedder: the same vector for the same text, for ever, and near vectors for similar texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapseed import HashingEmbedder

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
