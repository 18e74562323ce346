"""What an embedder is, and the built-in one: hashed words and parts of words, added up to 384 numbers of unit length.

The built-in embedder stands in for a learned model (random projection of a bag of features: Achlioptas 2003, Weinberger
et al. 2009): texts that share words are close. All arithmetic is on integers up to one square root and one division, so
a text has the same vector everywhere.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.core import sums_of_vectors
from snapseed.snapshot.arrow import Bytes, data_of
from snapseed.snapshot.hashing import hash_bytes

Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]
Float16s = npt.NDArray[np.float16]
Mask = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.int8 | np.int16 | np.int32]

# Texts per batch: enough for phrases to recur, few enough to keep the batch's vectors near 20 MB.
_BATCH_TEXTS = 8192
# One text in this many is tried first, to see whether phrases recur, as they do in generated texts.
_SAMPLE_EVERY = 4
# Vectors per division: they stay in the cache.
_DIVISION_ROWS = 256
# Words per hashing step: fewer, and the overhead of NumPy's calls shows; these need 8 MB for a moment.
_HASHED_WORDS = 4096
# Pieces whose vectors are remembered, in 12 MB: more than a call with texts in five languages has.
_REMEMBERED_PIECES = 32_768

_BLANK, _COMMA, _STOP = b" ,."
# A word counts three times as much as each of its parts. Words of up to three letters (the, der, que) say little.
_WORD_WEIGHT = 3
_SHORT_WORD = 3
_PART_LENGTH = 4
# Anything longer is not a word. The limit also keeps a word's vector within 8 bits.
_LONGEST_WORD = 64
# A word of n characters adds at most n + 2 to a number, a short one at most 1: never more than 1.5 for each byte.
_BYTES_IN_8_BITS = 84
_BYTES_IN_16_BITS = 20_000


class Embedder(Protocol):
    """What `embedder` in [embeddings] may name in place of the built-in embedder."""

    @property
    def model(self) -> str:
        """The name stored with each embedding."""

    @property
    def dimensions(self) -> int:
        """Numbers per embedding."""

    def embed(self, texts: pl.Series) -> pl.Series:
        """One embedding per text, as `Array(Float16 or Float32, dimensions)`."""


class HashingEmbedder:
    """The built-in embedder. A text has the same embedding on every machine and in every version.

    Words are looked up in `vocabulary`, by default one that all embedders of the process share.
    """

    model = "snapseed-hash-384"
    dimensions = 384

    def __init__(self, vocabulary: Vocabulary | None = None, *, batch_texts: int = _BATCH_TEXTS) -> None:
        self._vocabulary = vocabulary or _SHARED
        self._batch_texts = batch_texts

    def embed(self, texts: pl.Series) -> pl.Series:
        """One unit vector per text, rounded to float16; the zero vector for a text without words.

        Raises `ValueError` if a text is null.
        """
        if texts.null_count():
            raise ValueError(f"{texts.null_count()} of the texts to embed are null")
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float16)
        for start in range(0, len(texts), self._batch_texts):
            batch = TextBuffer.of(texts.slice(start, self._batch_texts).rechunk().to_arrow())
            vectors[start : start + self._batch_texts] = _unit_vectors(self._sums(batch))
        return pl.Series(vectors)

    def _sums(self, texts: TextBuffer) -> Vectors:
        """The sum over the words of each text: phrase by phrase if phrases recur, otherwise word by word."""
        if texts.first(len(texts) // _SAMPLE_EVERY).phrases().recur and (phrases := texts.phrases()).recur:
            vectors = self._sums_of_words(TextBuffer.of(phrases.distinct))
            return phrases.sums(vectors, _sum_type(texts.longest))
        return self._sums_of_words(texts)

    def _sums_of_words(self, texts: TextBuffer) -> Vectors:
        """The sum over the words of each text, word by word."""
        words = texts.words()
        return words.sums(self._vocabulary.vectors(words.distinct), _sum_type(texts.longest))


def _unit_vectors(sums: Vectors) -> Float16s:
    """Each row divided by its length. The sum of squares is a whole number, so it is exact in any order."""
    vectors = np.empty(sums.shape, dtype=np.float16)
    for start in range(0, len(sums), _DIVISION_ROWS):
        rows = sums[start : start + _DIVISION_ROWS]
        numbers = rows.astype(np.float64)
        if rows.dtype == np.int16:  # a double holds the sum of the squares of as many of these as there can be
            squares = np.einsum("ij,ij->i", numbers, numbers)
        else:
            squares = (rows.astype(np.int64) ** 2).sum(axis=1).astype(np.float64)
        vectors[start : start + _DIVISION_ROWS] = numbers / np.sqrt(np.maximum(squares, 1))[:, None]
    return vectors


def _sum_type(longest: int) -> type[np.int16 | np.int32]:
    """The type that holds the sum over the words of a text of so many bytes."""
    return np.int16 if longest <= _BYTES_IN_16_BITS else np.int32


# ── Texts in pieces ──────────────────────────────────────────────────────────────────────────────────────────────────
#
# A sum over words is a sum over pieces of text, so a piece that recurs is added up once. Texts are cut after blanks
# only: that splits neither a word nor a rule of upper and lower case (Greek's final sigma depends on its neighbours).


@dataclass(frozen=True)
class TextBuffer:
    """Texts one after another: text i is the bytes from `offsets[i]` to `offsets[i + 1]`."""

    data: Bytes
    offsets: Int64s

    @classmethod
    def of(cls, array: pa.Array) -> TextBuffer:
        """The values of a large binary or large string array without nulls."""
        raw = np.frombuffer(array.buffers()[1], dtype=np.int64) if array.buffers()[1] else np.zeros(1, dtype=np.int64)
        offsets = raw[array.offset : array.offset + len(array) + 1]
        return cls(data_of(array)[offsets[0] : offsets[-1]], offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def first(self, count: int) -> TextBuffer:
        """The first `count` texts."""
        return TextBuffer(self.data[: self.offsets[count]], self.offsets[: count + 1])

    @property
    def longest(self) -> int:
        """Bytes of the longest text."""
        return int(np.diff(self.offsets).max(initial=0))

    def blanks(self) -> Mask:
        """True for each byte that ends a word and whatever follows it."""
        mask: Mask = self.data == _BLANK
        return mask

    def words(self) -> Pieces:
        """Each text as words, with the blank that ends each of them."""
        return self.cut(self.blanks())

    def phrases(self) -> Pieces:
        """Each text as phrases, which reach to the blank after a comma or a full stop."""
        ends = self.blanks()
        ends[:1] = False
        ends[1:] &= (self.data[:-1] == _COMMA) | (self.data[:-1] == _STOP)
        return self.cut(ends)

    def cut(self, ends: Mask) -> Pieces:
        """Each text as pieces that reach to the next of these bytes, or to the end of the text."""
        begins = np.zeros(len(self.data) + 1, dtype=bool)
        begins[1:] = ends
        begins[self.offsets] = True
        places = np.flatnonzero(begins)
        buffers = [None, pa.py_buffer(places), pa.py_buffer(np.ascontiguousarray(self.data))]
        pieces = pa.Array.from_buffers(pa.large_binary(), len(places) - 1, buffers)
        return Pieces.of(pieces, np.diff(np.searchsorted(places, self.offsets)))


@dataclass(frozen=True)
class Pieces:
    """Texts as their pieces: the next `counts[i]` of `codes` are text i, as indexes into `distinct`."""

    counts: Int64s
    codes: Int64s
    distinct: pa.Array

    @classmethod
    def of(cls, pieces: pa.Array, counts: Int64s) -> Pieces:
        """The pieces of all texts, one after another, the first `counts[0]` of the first text."""
        encoded = pieces.dictionary_encode()
        return cls(counts, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary)

    @property
    def recur(self) -> bool:
        """Whether it pays to add up each distinct piece first. False if there are no pieces."""
        return 0 < 2 * len(self.distinct) <= len(self.codes)

    def sums(self, vectors: Vectors, dtype: npt.DTypeLike) -> Vectors:
        """For each text the sum of its pieces' vectors; `vectors` are those of `distinct`, `dtype` must hold a sum."""
        return sums_of_vectors(self.codes, self.counts, vectors, dtype)


# ── Vectors of words ─────────────────────────────────────────────────────────────────────────────────────────────────


class Vocabulary:
    """The vectors of pieces of text, each the sum over its words. `room` pieces of the latest calls are remembered."""

    def __init__(self, dimensions: int, room: int = _REMEMBERED_PIECES) -> None:
        self._lock = threading.Lock()
        self._room = room
        self._known = pa.array([], pa.large_binary())
        # The system only gives memory to the part that is written to.
        self._vectors = np.empty((room, dimensions), dtype=np.int8)

    def vectors(self, pieces: pa.LargeBinaryArray) -> Vectors:
        """The vector of each piece. Pieces are UTF-8, and all different."""
        lengths = pc.binary_length(pieces).to_numpy(zero_copy_only=False)
        is_long = lengths > _BYTES_IN_8_BITS
        if len(pieces) <= self._room and not is_long.any():
            return self._remembered(pieces)
        dtype = _sum_type(int(lengths.max()))
        if len(pieces) > self._room:
            return _vectors_of_pieces(pieces, self._vectors.shape[1], dtype)
        vectors = np.empty((len(pieces), self._vectors.shape[1]), dtype=dtype)
        vectors[~is_long] = self._remembered(pieces.filter(pa.array(~is_long)))
        vectors[is_long] = _vectors_of_pieces(pieces.filter(pa.array(is_long)), self._vectors.shape[1], dtype)
        return vectors

    def _remembered(self, pieces: pa.LargeBinaryArray) -> Int8s:
        """The vectors of pieces, computed for those that are new. Others are forgotten when there is no room."""
        with self._lock:
            places = self._places(pieces)
            if len(self._known) + np.count_nonzero(places < 0) > self._room:
                kept = places[places >= 0]
                self._vectors[: len(kept)] = self._vectors.take(kept, axis=0)
                self._known = self._known.take(pa.array(kept))
                places = self._places(pieces)
            new = np.flatnonzero(places < 0)
            if len(new):
                unknown, first = pieces.take(pa.array(new)), len(self._known)
                places[new] = np.arange(first, first + len(new))
                self._vectors[first : first + len(new)] = _vectors_of_pieces(unknown, self._vectors.shape[1], np.int8)
                self._known = pa.concat_arrays([self._known, unknown])
            return self._vectors.take(places, axis=0)

    def _places(self, pieces: pa.LargeBinaryArray) -> Int64s:
        """The row of each piece's vector, -1 if it is not remembered."""
        found = pc.index_in(pieces, value_set=self._known).fill_null(-1)
        places: Int64s = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return places


# Sharing is safe: a vector depends on its word alone, and a lock guards the memory.
_SHARED = Vocabulary(HashingEmbedder.dimensions)


def _vectors_of_pieces(pieces: pa.LargeBinaryArray, dimensions: int, dtype: npt.DTypeLike) -> Vectors:
    """The sum over the words of each piece."""
    texts = pl.Series(pl.from_arrow(pieces.cast(pa.large_string())), dtype=pl.String)
    # Only what the regular expression calls letters and digits counts, so punctuation and case make no difference.
    found = texts.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    counts = found.list.len().to_numpy().astype(np.int64)
    words = Pieces.of(found.explode(empty_as_null=False).to_arrow(), counts)
    distinct = pl.Series(pl.from_arrow(words.distinct), dtype=pl.String).str.slice(0, _LONGEST_WORD)
    vectors = np.empty((len(distinct), dimensions), dtype=np.int8)
    for start in range(0, len(distinct), _HASHED_WORDS):
        vectors[start : start + _HASHED_WORDS] = _vectors_of_words(distinct.slice(start, _HASHED_WORDS), dimensions)
    return words.sums(vectors, dtype)


def _vectors_of_words(words: pl.Series, dimensions: int) -> Int8s:
    """The vector of each word: its own signs, and those of its parts."""
    is_long = words.str.len_chars() > _SHORT_WORD
    weight = np.where(is_long, _WORD_WEIGHT, 1).astype(np.int8)
    vectors = _signs(words.to_arrow(), dimensions) * weight[:, None]

    # <word> in overlapping parts of four characters. Shorter words have no parts.
    framed = pl.select(row=is_long.arg_true(), word="<" + words.filter(is_long) + ">")
    starts = pl.int_ranges(0, pl.col("word").str.len_chars() - _PART_LENGTH + 1)
    parts = (
        framed.with_columns(start=starts)
        .explode("start", empty_as_null=False)
        .select("row", part=pl.col("word").str.slice(pl.col("start"), _PART_LENGTH))
    )
    counts = np.bincount(parts["row"].to_numpy(), minlength=len(words)).astype(np.int64)
    pieces = Pieces.of(parts["part"].to_arrow(), counts)
    vectors += pieces.sums(_signs(pieces.distinct, dimensions), np.int8)
    return vectors


def _signs(features: pa.Array, dimensions: int) -> Int8s:
    """A vector of +1 and -1 for each feature: the bits of its hashes."""
    values = features.cast(pa.string()).cast(pa.binary())
    hashes = [hash_bytes(values, seed) for seed in range(1, dimensions // 64 + 1)]
    octets = np.stack(hashes, axis=1).astype("<u8").view(np.uint8)
    signs = np.unpackbits(octets, axis=1).view(np.int8)
    signs *= 2
    signs -= 1
    return signs
