"""Two small tables for `benchmarks/enqueue.py`, which then adds up to a million notes by SQL."""

import polars as pl

from snapseed import HashingEmbedder, Rows, chunk_keys, counted, entity


@entity(key="id", columns={"id": "uuid", "body": "text"})
def notes(rows: Rows) -> pl.DataFrame:
    """Short texts."""
    return pl.DataFrame({"id": rows.key(), "body": rows.choice("body", ["red", "green", "blue"])})


@entity(
    parent=notes,
    per_parent=counted(pl.lit(1), maximum=1),
    key="id",
    columns={
        "id": "uuid",
        "note_id": "uuid",
        "number": "integer",
        "model": "text",
        "embedding": "vector(384)",
    },
)
def vectors(rows: Rows, notes: pl.DataFrame) -> pl.DataFrame:
    """One embedding per note."""
    embedder = HashingEmbedder()
    return pl.DataFrame(
        {
            "id": chunk_keys(notes["id"], rows.positions),
            "note_id": notes["id"],
            "number": rows.positions,
            "model": pl.repeat(embedder.model, len(rows), eager=True),
            "embedding": embedder.embed(notes["body"]),
        }
    )
