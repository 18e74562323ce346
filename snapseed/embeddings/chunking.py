"""Cut a text into the chunks that are embedded: runs of whole words, the same for generators and for workers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

# About the length that retrieval systems embed at a time.
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
    words = texts.filter(pl.Series(begins)).str.split(" ")
    word_counts = words.list.len().to_numpy().astype(np.int64)
    chunk_counts = -(-word_counts // CHUNK_WORDS)
    first_chunks = np.cumsum(chunk_counts) - chunk_counts

    # Each chunk begins CHUNK_WORDS behind the one before, in the words of all texts one behind the other.
    of_text = np.repeat(np.arange(len(word_counts)), chunk_counts)
    place = np.arange(len(of_text)) - first_chunks[of_text]
    starts = (np.cumsum(word_counts) - word_counts)[of_text] + place * CHUNK_WORDS
    offsets = np.append(starts, word_counts.sum())
    flat = words.explode(empty_as_null=False).to_arrow()
    chunks = pl.Series(pl.from_arrow(pa.LargeListArray.from_arrays(pa.array(offsets), flat))).list.join(" ")

    text_number = np.cumsum(begins) - 1
    exists = index < chunk_counts[text_number]
    found = chunks.gather(np.where(exists, first_chunks[text_number] + index, 0))
    return found.zip_with(pl.Series(exists), pl.repeat("", len(found), eager=True))
