"""Cut a text into the chunks that are embedded: runs of whole words, the same for generators and for workers."""

from __future__ import annotations

import polars as pl

# About the length that retrieval systems embed at a time.
CHUNK_WORDS = 120


def chunk_count(words: pl.Expr) -> pl.Expr:
    """Chunks of a text with this many words: at least one, for an empty text too."""
    return pl.max_horizontal(pl.lit(1), (words + CHUNK_WORDS - 1) // CHUNK_WORDS)


def chunk_of(texts: pl.Series, indexes: pl.Series) -> pl.Series:
    """Chunk number `indexes[i]`, from 0, of text i. Words are what single blanks separate."""
    frame = pl.DataFrame({"text": texts, "index": indexes})
    words = pl.col("text").str.split(" ").list.slice(pl.col("index") * CHUNK_WORDS, CHUNK_WORDS)
    return frame.select(words.list.join(" ")).to_series()
