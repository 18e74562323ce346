"""The vectors of words: signs that are hashed from a word and from its parts. Those of the last many are kept."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.embeddings.pieces import Pieces, Vectors
from snapseed.snapshot.hashing import hash_bytes_variable

Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]

# A word itself counts as much as three of its parts; words of up to three letters (the, der, que) say little.
_WORD_WEIGHT = 3
_SHORT_WORD = 3
_PART_LENGTH = 4
# Longer "words" are no words; the bound also keeps a word's vector within 8 bits.
_LONGEST_WORD = 64
# A word of n characters adds at most n + 2 to a number, a short one at most 1: never more than 1.5 for each byte.
_BYTES_IN_8_BITS = 84
_BYTES_IN_16_BITS = 20_000
# Pieces that are remembered, in 12 MB: more than a call has of texts in five languages.
_REMEMBERED = 32_768
# Words hashed at a time: with fewer, the price of calling NumPy shows; these take 8 MB for a moment.
_BATCH = 4096


def sum_type(longest: int) -> type[np.int16 | np.int32]:
    """What holds the sum over the words of a text of so many bytes: 16 bits, or 32."""
    return np.int16 if longest <= _BYTES_IN_16_BITS else np.int32


@cache
def vocabulary(dimensions: int) -> Vocabulary:
    """The one vocabulary of this process for vectors of so many dimensions."""
    return Vocabulary(dimensions)


class Vocabulary:
    """Vectors of pieces of text, each the sum of those of its words. Those of the last calls are not made again."""

    def __init__(self, dimensions: int) -> None:
        self._lock = threading.Lock()
        self._known = pa.array([], pa.large_binary())
        # The system gives memory to what is written to.
        self._vectors = np.empty((_REMEMBERED, dimensions), dtype=np.int8)

    def vectors(self, pieces: pa.LargeBinaryArray) -> Vectors:
        """The vector of each piece. Pieces are UTF-8, and no two are the same."""
        lengths = pc.binary_length(pieces).to_numpy(zero_copy_only=False)
        is_long = lengths > _BYTES_IN_8_BITS
        if len(pieces) <= _REMEMBERED and not is_long.any():
            return self._remembered(pieces)
        dtype = sum_type(int(lengths.max()))
        if len(pieces) > _REMEMBERED:
            return _vectors_of_pieces(pieces, self._vectors.shape[1], dtype)
        vectors = np.empty((len(pieces), self._vectors.shape[1]), dtype=dtype)
        vectors[~is_long] = self._remembered(pieces.filter(pa.array(~is_long)))
        vectors[is_long] = _vectors_of_pieces(pieces.filter(pa.array(is_long)), self._vectors.shape[1], dtype)
        return vectors

    def _remembered(self, pieces: pa.LargeBinaryArray) -> Int8s:
        with self._lock:
            places = self._places(pieces)
            if len(self._known) + np.count_nonzero(places < 0) > _REMEMBERED:
                self._forget_all_but(places[places >= 0])
                places = self._places(pieces)
            new = np.flatnonzero(places < 0)
            if len(new):
                unknown, first = pieces.take(pa.array(new)), len(self._known)
                places[new] = np.arange(first, first + len(new))
                self._vectors[first : first + len(new)] = _vectors_of_pieces(unknown, self._vectors.shape[1], np.int8)
                self._known = pa.concat_arrays([self._known, unknown])
            return self._vectors.take(places, axis=0)

    def _places(self, pieces: pa.LargeBinaryArray) -> Int64s:
        """Where the vector of each piece is, -1 where it is not."""
        found = pc.index_in(pieces, value_set=self._known).fill_null(-1)
        places: Int64s = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return places

    def _forget_all_but(self, places: Int64s) -> None:
        self._vectors[: len(places)] = self._vectors.take(places, axis=0)
        self._known = self._known.take(pa.array(places))


def _vectors_of_pieces(pieces: pa.LargeBinaryArray, dimensions: int, dtype: npt.DTypeLike) -> Vectors:
    """The sum over the words of each piece."""
    texts = pl.Series("piece", pl.from_arrow(pieces.cast(pa.large_string())), dtype=pl.String)
    # Only what the regular expression calls letters and digits counts, so punctuation and case change nothing.
    words = texts.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    counts = words.list.len().to_numpy().astype(np.int64)
    encoded = words.explode(empty_as_null=False).to_arrow().cast(pa.large_binary()).dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    vectors = _vectors_of_words(encoded.dictionary, dimensions)
    return Pieces(counts, codes, encoded.dictionary).sums(vectors, dtype)


def _vectors_of_words(words: pa.LargeBinaryArray, dimensions: int) -> Int8s:
    distinct = pl.Series("word", pl.from_arrow(words.cast(pa.large_string())), dtype=pl.String)
    distinct = distinct.str.slice(0, _LONGEST_WORD)
    vectors = np.empty((len(distinct), dimensions), dtype=np.int8)
    for start in range(0, len(distinct), _BATCH):
        vectors[start : start + _BATCH] = _signs_and_parts(distinct.slice(start, _BATCH), dimensions)
    return vectors


def _signs_and_parts(words: pl.Series, dimensions: int) -> Int8s:
    """The vector of each word: its own signs, and those of its parts."""
    length = words.str.len_chars()
    weight = np.where(length.to_numpy() > _SHORT_WORD, _WORD_WEIGHT, 1).astype(np.int8)
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
        counts = np.bincount(parts["row"].to_numpy(), minlength=len(words)).astype(np.int64)
        encoded = parts["part"].to_arrow().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        signs = _signs(pl.Series("part", pl.from_arrow(encoded.dictionary), dtype=pl.String), dimensions)
        vectors += Pieces(counts, codes, encoded.dictionary).sums(signs, np.int8)
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
