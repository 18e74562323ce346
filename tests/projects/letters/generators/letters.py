"""Letters of up to three chunks, empty ones and none at all among them."""

import polars as pl

from snapseed import HashingEmbedder, Rows, entity


@entity(key="id", columns={"id": "bigint", "body": "text"})
def letters(rows: Rows) -> pl.DataFrame:
    """One for each of the scale."""
    words = pl.Series(rows.integers("words", 0, 300))
    word = rows.choice("word", ["apple", "house", "river", "cloud", "stone"])
    frame = pl.DataFrame({"id": rows.key(), "word": word, "words": words})
    body = pl.concat_str("word", pl.lit(" "), "id").repeat_by("words").list.join(" ")
    return frame.select("id", body=pl.when(pl.col("words") % 10 > 0).then(body))


@entity(
    parent=letters,
    per_parent=1,
    key="id",
    columns={
        "id": "bigint",
        "letter": "bigint",
        "part": "smallint",
        "made_by": "varchar(40)",
        "numbers": "real[]",
        "content": "text",
    },
)
def parts(rows: Rows, letters: pl.DataFrame) -> pl.DataFrame:
    """Stand-ins: workers make the real ones."""
    return pl.DataFrame(
        {
            "id": rows.key(),
            "letter": letters["id"],
            "part": pl.repeat(0, len(rows), dtype=pl.Int16, eager=True),
            "made_by": pl.repeat(HashingEmbedder.model, len(rows), eager=True),
            "numbers": pl.repeat([0.5], len(rows), dtype=pl.List(pl.Float32), eager=True),
            "content": pl.repeat(None, len(rows), dtype=pl.String, eager=True),
        }
    )
