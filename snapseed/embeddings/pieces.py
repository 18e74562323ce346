"""Texts cut into pieces that recur, phrases and what single blanks separate, and sums over the pieces of each text.

A sum over words is a sum over pieces of words, so what recurs is added up once. Cuts lie behind blanks only, where
neither a word nor a rule of upper and lower case (Greek's final sigma looks at its neighbours) is torn apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.snapshot.arrow import Bytes, data_of

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.int8 | np.int16 | np.int32]

_BLANK, _COMMA, _STOP = b" ,."
# Texts whose pieces are added up at a time: their sums, and what is added to them, stay in the cache.
_BATCH = 512


@dataclass(frozen=True)
class Texts:
    """Some texts one behind the other: text i is the bytes from `offsets[i]` to `offsets[i + 1]`."""

    data: Bytes
    offsets: Int64s

    @classmethod
    def of(cls, array: pa.Array) -> Texts:
        """The values of a large binary or large string array without nulls."""
        raw = np.frombuffer(array.buffers()[1], dtype=np.int64) if array.buffers()[1] else np.zeros(1, dtype=np.int64)
        offsets = raw[array.offset : array.offset + len(array) + 1]
        return cls(data_of(array)[offsets[0] : offsets[-1]], offsets - offsets[0])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def first(self, count: int) -> Texts:
        """The first of them."""
        return Texts(self.data[: self.offsets[count]], self.offsets[: count + 1])

    @property
    def longest(self) -> int:
        """Bytes of the longest text."""
        return int(np.diff(self.offsets).max(initial=0))

    def blanks(self) -> Mask:
        """The bytes that end a word and what stands behind it."""
        mask: Mask = self.data == _BLANK
        return mask

    def phrase_ends(self) -> Mask:
        """The blanks behind a comma or a full stop."""
        mask = self.blanks()
        mask[:1] = False
        mask[1:] &= (self.data[:-1] == _COMMA) | (self.data[:-1] == _STOP)
        return mask

    def cut(self, ends: Mask) -> Pieces:
        """Each text as pieces that reach to the next of these bytes, or to the end."""
        begins = np.zeros(len(self.data) + 1, dtype=bool)
        begins[1:] = ends
        begins[self.offsets] = True
        places = np.flatnonzero(begins)
        buffers = [None, pa.py_buffer(places), pa.py_buffer(np.ascontiguousarray(self.data))]
        encoded = pa.Array.from_buffers(pa.large_binary(), len(places) - 1, buffers).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return Pieces(np.diff(np.searchsorted(places, self.offsets)), codes, encoded.dictionary)


@dataclass(frozen=True)
class Pieces:
    """Texts as their pieces: `counts[i]` of `codes` for text i, which are numbers of the `distinct` pieces."""

    counts: Int64s
    codes: Int64s
    distinct: pa.LargeBinaryArray

    @property
    def recur(self) -> bool:
        """Whether it pays to add up each of the distinct pieces first; not for none."""
        return 0 < 2 * len(self.distinct) <= len(self.codes)

    def sums(self, vectors: Vectors, dtype: npt.DTypeLike) -> Vectors:
        """For each text the sum of its pieces' vectors, given those of the distinct ones; `dtype` must hold it."""
        found: Vectors = np.zeros((len(self.counts), vectors.shape[1]), dtype=dtype)
        ends = np.cumsum(self.counts)
        for start in range(0, len(found), _BATCH):
            counts = self.counts[start : start + _BATCH]
            first = ends[start] - counts[0]
            _add_up(found[start : start + _BATCH], self.codes[first : first + counts.sum()], counts, vectors)
        return found


def _add_up(sums: Vectors, codes: Int64s, counts: Int64s, vectors: Vectors) -> None:
    """Add up the vectors of each text's pieces, `counts[i]` of `codes` for text i.

    Texts are taken from the longest to the shortest: step n adds the n-th piece of all that have one. That is many
    times faster than `np.add.reduceat` along the first axis.
    """
    order = np.argsort(-counts, kind="stable")
    starts = (np.cumsum(counts) - counts)[order]
    totals = np.zeros_like(sums)
    for position in range(int(counts.max(initial=0))):
        active = int(np.count_nonzero(counts > position))
        totals[:active] += vectors.take(codes[starts[:active] + position], axis=0)
    sums[order] = totals
