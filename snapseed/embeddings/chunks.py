"""Texts as rows of the target: cut into chunks, embedded, with the keys they always have. No I/O."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from snapseed.embeddings.chunking import chunk_count, chunk_of
from snapseed.embeddings.embedder import Embedder
from snapseed.embeddings.keys import chunk_keys
from snapseed.embeddings.source import Source
from snapseed.errors import EmbeddingError
from snapseed.snapshot.types import Family


def chunk_rows(source: Source, keys: pl.Series, texts: pl.Series) -> list[pa.Array]:
    """A row for each chunk of each text, in the columns of `source.target`; `keys` as the types of Arrow have them.

    A text that is null counts as an empty one, which has one chunk. Raises `EmbeddingError` where the embedder fails,
    or what it made does not fit into the columns.
    """
    try:
        return _rows(source, keys, texts)
    except (ValueError, pl.exceptions.PolarsError) as exc:
        # Too many chunks for their keys; numbers, texts or keys that the types of the columns do not hold.
        raise EmbeddingError(
            "the chunks of a text cannot be written", observed=str(exc), where=f"{len(texts)} texts"
        ) from exc


def _rows(source: Source, keys: pl.Series, texts: pl.Series) -> list[pa.Array]:
    settings = source.settings
    given = pl.DataFrame({"key": keys, "text": texts.fill_null("")})
    counted = given.with_columns(count=chunk_count(pl.col("text").str.count_matches(" ", literal=True) + 1))
    rows = counted.select("key", "text", number=pl.int_ranges(0, "count")).explode("number", empty_as_null=False)
    content = chunk_of(rows["text"], rows["number"])
    by_role = {
        settings.parent: rows["key"],
        settings.number: rows["number"],
        settings.model: pl.repeat(source.embedder.model, len(rows), eager=True),
        settings.vector: embedded(source.embedder, content),
    }
    if settings.content is not None:
        by_role[settings.content] = content
    if settings.key is not None:
        by_role[settings.key] = chunk_keys(rows["key"], rows["number"])
    return [_array(by_role[column.name], column.kind().family, column.kind().arrow) for column in source.target.columns]


def embedded(embedder: Embedder, texts: pl.Series) -> pl.Series:
    """What the embedder makes of the texts, which may be anybody's code. Raises `EmbeddingError`."""
    try:
        vectors = embedder.embed(texts)
        width = pl.Array(pl.Float32, embedder.dimensions)
        return vectors.cast(width) if len(vectors) == len(texts) else _wrong(vectors, texts, embedder)
    except EmbeddingError:
        raise
    except Exception as exc:
        raise EmbeddingError(
            f"the embedder of model {embedder.model!r} failed",
            observed=f"{type(exc).__name__}: {exc}",
            where=f"{len(texts)} texts",
        ) from exc


def _wrong(vectors: pl.Series, texts: pl.Series, embedder: Embedder) -> pl.Series:
    raise EmbeddingError(
        f"the embedder of model {embedder.model!r} gave something else",
        observed=f"{len(vectors)} vectors",
        expected=f"{len(texts)} vectors of {embedder.dimensions} numbers",
    )


def _array(series: pl.Series, family: Family, arrow: pa.DataType) -> pa.Array:
    array = series.rechunk().to_arrow()
    if family is Family.UUID:
        return pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(16)))
    return array if family is Family.VECTOR else array.cast(arrow)
