"""Texts as rows of the target: cut into chunks, embedded, with the keys they always have. No I/O."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from snapseed.embeddings.chunking import chunk_count, chunk_of
from snapseed.embeddings.keys import chunk_keys
from snapseed.embeddings.source import Source
from snapseed.snapshot.types import Family


def chunk_rows(source: Source, keys: pl.Series, texts: pl.Series) -> list[pa.Array]:
    """A row for each chunk of each text, in the columns of `source.target`; `keys` as the types of Arrow have them.

    A text that is null counts as an empty one, which has one chunk.
    """
    settings = source.settings
    given = pl.DataFrame({"key": keys, "text": texts.fill_null("")})
    counted = given.with_columns(count=chunk_count(pl.col("text").str.count_matches(" ", literal=True) + 1))
    rows = counted.select("key", "text", number=pl.int_ranges(0, "count")).explode("number")
    content = chunk_of(rows["text"], rows["number"])
    by_role = {
        settings.parent: rows["key"],
        settings.number: rows["number"],
        settings.model: pl.repeat(source.embedder.model, len(rows), eager=True),
        settings.vector: source.embedder.embed(content),
    }
    if settings.content is not None:
        by_role[settings.content] = content
    if settings.key is not None:
        by_role[settings.key] = chunk_keys(rows["key"], rows["number"])
    return [_array(by_role[column.name], column.kind().family, column.kind().arrow) for column in source.target.columns]


def _array(series: pl.Series, family: Family, arrow: pa.DataType) -> pa.Array:
    array = series.rechunk().to_arrow()
    if family is Family.UUID:
        return pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(16)))
    return array if family is Family.VECTOR else array.cast(arrow)
