"""Text embeddings without a model: hashed words and parts of words, projected to 384 dimensions of unit length.

A deterministic stand-in for a learned embedder (random projection of a bag of features: Achlioptas 2003, Weinberger et
al. 2009): texts that share words lie close. Integers throughout; one square root and one division at the end.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snapseed.snapshot.lookup3 import hash_bytes_variable

Float16s = npt.NDArray[np.float16]
Int8s = npt.NDArray[np.int8]
Int16s = npt.NDArray[np.int16]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

# A word itself counts as much as three of its parts; words of up to three letters (the, der, que) say little.
_WORD_WEIGHT = 3
_SHORT_WORD = 3
_PART_LENGTH = 4
# Longer "words" are no words; the bound also keeps a word's vector within 16 bits.
_LONGEST_WORD = 64
# Texts, and words, taken at a time: their sums (1.5 MB) stay in the cache while vectors are added.
_BATCH = 1024


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
        # Only what the regular expression calls letters and digits counts, so punctuation and case change nothing.
        words = texts.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
        counts = words.list.len().to_numpy().astype(np.int64)
        flat = words.explode(empty_as_null=False)
        codes, vectors = _word_vectors(flat, self.dimensions)
        vectors_of_texts = np.empty((len(texts), self.dimensions), dtype=np.float16)
        ends = np.cumsum(counts)
        for start in range(0, len(texts), _BATCH):
            stop = min(start + _BATCH, len(texts))
            sums = np.zeros((stop - start, self.dimensions), dtype=np.int32)
            _add_words(sums, codes[ends[start] - counts[start] : ends[stop - 1]], counts[start:stop], vectors)
            vectors_of_texts[start:stop] = _unit_vectors(sums)
        return pl.Series(vectors_of_texts)


def _add_words(sums: Int32s, codes: Int64s, counts: Int64s, vectors: Int8s | Int16s) -> None:
    """Add up the vectors of each text's words, `counts[i]` of `codes` for text i.

    Texts are taken from the longest to the shortest: step n adds the n-th word of all that have one. That is many
    times faster than `np.add.reduceat` along the first axis.
    """
    order = np.argsort(-counts, kind="stable")
    starts = (np.cumsum(counts) - counts)[order]
    totals = np.zeros_like(sums)
    for position in range(int(counts.max(initial=0))):
        active = int(np.count_nonzero(counts > position))
        totals[:active] += vectors.take(codes[starts[:active] + position], axis=0)
    sums[order] = totals


def _word_vectors(words: pl.Series, dimensions: int) -> tuple[Int64s, Int16s]:
    """For each word the row of its vector, and the vectors of the distinct words."""
    encoded = pa.array(words.to_arrow().cast(pa.string())).dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    distinct = pl.Series("word", pl.from_arrow(encoded.dictionary), dtype=pl.String).str.slice(0, _LONGEST_WORD)
    vectors = np.empty((len(distinct), dimensions), dtype=np.int16)
    for start in range(0, len(distinct), _BATCH):
        vectors[start : start + _BATCH] = _vectors_of(distinct.slice(start, _BATCH), dimensions)
    return codes, vectors


def _vectors_of(words: pl.Series, dimensions: int) -> Int16s:
    """The vector of each word: its own signs, and those of its parts."""
    length = words.str.len_chars()
    weight = np.where(length.to_numpy() > _SHORT_WORD, _WORD_WEIGHT, 1).astype(np.int16)
    vectors = _signs(words, dimensions) * weight[:, None]

    # <word> in overlapping parts of four characters; only words long enough to have a part of their own.
    long = np.flatnonzero(length.to_numpy() > _SHORT_WORD)
    framed = pl.DataFrame({"row": long, "word": ("<" + words.gather(long) + ">")})
    parts = (
        framed.with_columns(start=pl.int_ranges(0, pl.col("word").str.len_chars() - _PART_LENGTH + 1))
        .explode("start", empty_as_null=False)
        .select("row", part=pl.col("word").str.slice(pl.col("start"), _PART_LENGTH))
    )
    if len(parts):
        part_counts = np.bincount(parts["row"].to_numpy(), minlength=len(words)).astype(np.int64)
        sums = np.zeros(vectors.shape, dtype=np.int32)
        _add_words(sums, np.arange(len(parts)), part_counts, _signs(parts["part"], dimensions))
        vectors += sums.astype(np.int16)
    return vectors


def _signs(features: pl.Series, dimensions: int) -> Int8s:
    """A vector of +1 and -1 for each feature, made of the bits of its hashes."""
    values = pa.array(features.to_arrow().cast(pa.string())).cast(pa.binary())
    hashes = [hash_bytes_variable(values, seed) for seed in range(1, dimensions // 64 + 1)]
    octets = np.stack(hashes, axis=1).astype("<u8").view(np.uint8)
    signs = np.unpackbits(octets, axis=1).view(np.int8)
    signs *= 2
    signs -= 1
    return signs


def _unit_vectors(sums: Int32s) -> Float16s:
    """Each row divided by its length. The sum of squares is a whole number, so it is exact in any order."""
    squares = (sums.astype(np.int64) ** 2).sum(axis=1)
    lengths = np.sqrt(np.maximum(squares, 1).astype(np.float64))
    vectors: Float16s = (sums / lengths[:, None]).astype(np.float16)
    return vectors
