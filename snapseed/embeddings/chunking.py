"""Cut a text into the chunks that are embedded: runs of whole words, the same for generators and for workers.

A text's chunks are of one length, give or take a word: a short rest would be near to whatever has its few words.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.embeddings.pieces import Texts

# The most in a chunk: about the length that retrieval systems embed at a time.
CHUNK_WORDS = 120


def chunk_count(words: pl.Expr) -> pl.Expr:
    """Chunks of a text with this many words: at least one, for an empty text too."""
    return pl.max_horizontal(pl.lit(1), (words + CHUNK_WORDS - 1) // CHUNK_WORDS)


def chunk_of(texts: pl.Series, indexes: pl.Series) -> pl.Series:
    """Chunk number `indexes[i]`, from 0, of text i; empty where the text has no such chunk.

    Words are what single blanks separate. A text in several rows, one behind the other, is cut only once.
    """
    index = indexes.cast(pl.Int64).to_numpy()
    begins = texts.ne_missing(texts.shift()).to_numpy().copy()
    begins[:1] = True
    whole = Texts.of(texts.filter(pl.Series(begins)).rechunk().to_arrow())
    blanks = np.flatnonzero(whole.blanks())
    blanks_before = np.searchsorted(blanks, whole.offsets)
    word_counts = np.diff(blanks_before) + 1
    chunk_counts = -(-word_counts // CHUNK_WORDS)
    first_chunks = np.cumsum(chunk_counts) - chunk_counts

    # A chunk begins behind the blank that is the last of the chunk before, and ends ahead of its own last one.
    of_text = np.repeat(np.arange(len(word_counts)), chunk_counts)
    place = np.arange(len(of_text)) - first_chunks[of_text]
    words_before_next = (place + 1) * word_counts[of_text] // chunk_counts[of_text]
    last_blanks = blanks_before[of_text] + words_before_next - 1
    bounds = np.empty((len(of_text), 2), dtype=np.int64)
    bounds[:, 1] = whole.offsets[1:][of_text]
    inner = place + 1 < chunk_counts[of_text]
    bounds[inner, 1] = blanks[last_blanks[inner]]
    bounds[:, 0] = whole.offsets[:-1][of_text]
    bounds[1:, 0][inner[:-1]] = bounds[:-1, 1][inner[:-1]] + 1
    # Of what lies between these bounds, every second thing is a chunk, the others the blanks between two.
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(whole.data))]
    pieces = pa.Array.from_buffers(pa.large_string(), max(bounds.size - 1, 0), buffers)

    text_number = np.cumsum(begins) - 1
    exists = index < chunk_counts[text_number]
    found = pieces.take(pa.array(2 * (first_chunks[text_number] + index), mask=~exists)).fill_null("")
    result = pl.from_arrow(found)
    assert isinstance(result, pl.Series)
    return result
