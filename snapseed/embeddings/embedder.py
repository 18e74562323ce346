"""Text embeddings without a model: hashed words and parts of words, projected to 384 dimensions of unit length.

A deterministic stand-in for a learned embedder (random projection of a bag of features: Achlioptas 2003, Weinberger et
al. 2009): texts that share words lie close. Integers throughout; one square root and one division at the end.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from snapseed.embeddings.pieces import Pieces, Texts, Vectors
from snapseed.embeddings.vocabulary import sum_type, vocabulary

Float16s = npt.NDArray[np.float16]

# Texts taken at a time: enough for their phrases to recur, few enough that the vectors of these stay near 20 MB.
_BATCH = 8192
# Of so many texts one is looked at to see whether phrases recur: nobody repeats himself as much as a generator.
_TRIED = 4
# Vectors divided at a time: they stay in the cache.
_DIVIDED = 256


class Embedder(Protocol):
    """What an environment may name in place of the built-in embedder."""

    @property
    def model(self) -> str:
        """The name that is stored beside each embedding."""

    @property
    def dimensions(self) -> int:
        """Numbers per embedding."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """One embedding per text, as `Array(Float16, dimensions)`."""


class HashingEmbedder:
    """The built-in embedder. The same text has the same embedding on every machine and in every version."""

    model = "snapseed-hash-384"
    dimensions = 384

    def embed(self, texts: pl.Series) -> pl.Series:
        """One unit vector per text (a text without words has the zero vector), rounded to float16."""
        if texts.null_count():
            raise ValueError(f"{texts.null_count()} of the texts to embed are null")
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float16)
        for start in range(0, len(texts), _BATCH):
            batch = Texts.of(texts.slice(start, _BATCH).rechunk().to_arrow())
            vectors[start : start + _BATCH] = _unit_vectors(_sums(batch, self.dimensions))
        return pl.Series(vectors)


def _sums(texts: Texts, dimensions: int) -> Vectors:
    """The sum over the words of each text: by phrases where these recur, else by what blanks separate."""
    if _phrases(texts.first(len(texts) // _TRIED)).recur and (phrases := _phrases(texts)).recur:
        vectors = _sums_of_words(Texts.of(phrases.distinct), dimensions)
        return phrases.sums(vectors, sum_type(texts.longest))
    return _sums_of_words(texts, dimensions)


def _phrases(texts: Texts) -> Pieces:
    return texts.cut(texts.phrase_ends())


def _sums_of_words(texts: Texts, dimensions: int) -> Vectors:
    words = texts.cut(texts.blanks())
    return words.sums(vocabulary(dimensions).vectors(words.distinct), sum_type(texts.longest))


def _unit_vectors(sums: Vectors) -> Float16s:
    """Each row divided by its length. The sum of squares is a whole number, so it is exact in any order."""
    vectors = np.empty(sums.shape, dtype=np.float16)
    for start in range(0, len(sums), _DIVIDED):
        rows = sums[start : start + _DIVIDED]
        numbers = rows.astype(np.float64)
        if rows.dtype == np.int16:  # a double holds the sum of the squares of as many of these as there can be
            squares = np.einsum("ij,ij->i", numbers, numbers)
        else:
            squares = (rows.astype(np.int64) ** 2).sum(axis=1).astype(np.float64)
        vectors[start : start + _DIVIDED] = numbers / np.sqrt(np.maximum(squares, 1))[:, None]
    return vectors
