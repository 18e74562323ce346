"""Vectors to search transcripts by meaning, made by the code that the embedding workers run."""

import polars as pl

from snapseed import HashingEmbedder, Rows, chunk_count, chunk_keys, chunk_of, counted, entity

from .transcripts import transcripts


@entity(
    parent=transcripts,
    per_parent=counted(chunk_count(pl.col("word_count")), maximum=64),
    key="id",
    columns={
        "id": "uuid",
        "transcript_id": "uuid",
        "chunk_index": "integer",
        "content": "text",
        "model": "text",
        "embedding": "vector(384)",
    },
)
def embeddings(rows: Rows, transcripts: pl.DataFrame) -> pl.DataFrame:
    """One vector for each chunk of a transcript's body."""
    embedder = HashingEmbedder()
    content = chunk_of(transcripts["body"], rows.positions)
    return pl.DataFrame(
        {
            "id": chunk_keys(transcripts["id"], rows.positions),
            "transcript_id": transcripts["id"],
            "chunk_index": rows.positions,
            "content": content,
            "model": pl.repeat(embedder.model, len(rows), eager=True),
            "embedding": embedder.embed(content),
        }
    )
