"""Chunks of texts: where a text is cut, a chunk's key, and its row in the target. Generators and workers share it.

All chunks of a text have the same length, give or take a word: a short rest would be near to any text with its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.embeddings.embedder import Embedder, TextBuffer
from snapseed.errors import EmbeddingError
from snapseed.snapshot.arrow import data_of, offsets_of
from snapseed.snapshot.hashing import hash_bytes
from snapseed.snapshot.types import ColumnType, Family

if TYPE_CHECKING:
    # Generators import this module, and need no driver for it.
    from snapseed.embeddings.source import EmbeddingSource

# Words in a chunk, at most: about what retrieval systems embed at a time.
CHUNK_WORDS = 120

_UUID_BYTES = 16
# Of the 122 free bits of a uuid the first 72 are those of the text's key; number and hash share the rest.
_NUMBER_BITS = 12
_HASH_BITS = 38
# "chunk". Any seed other than the fingerprint's would do.
_KEY_SEED = 0x6368756E6B


def chunk_count(words: pl.Expr) -> pl.Expr:
    """The number of chunks of a text with this many words: at least one, for an empty text too."""
    return pl.max_horizontal(pl.lit(1), (words + CHUNK_WORDS - 1) // CHUNK_WORDS)


def chunk_of(texts: pl.Series, indexes: pl.Series) -> pl.Series:
    """Chunk number `indexes[i]`, from 0, of text i; empty if the text has no such chunk.

    Words are separated by single blanks. A text repeated in consecutive rows is cut only once.
    """
    index = indexes.cast(pl.Int64).to_numpy()
    begins = texts.ne_missing(texts.shift()).to_numpy().copy()
    begins[:1] = True
    whole = TextBuffer.of(texts.filter(pl.Series(begins)).rechunk().to_arrow())
    blanks = np.flatnonzero(whole.blanks())
    blanks_before = np.searchsorted(blanks, whole.offsets)
    word_counts = np.diff(blanks_before) + 1
    chunk_counts = -(-word_counts // CHUNK_WORDS)
    first_chunks = np.cumsum(chunk_counts) - chunk_counts

    # A chunk begins after the blank that ends the chunk before it, and ends before its own last blank.
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
    # These bounds delimit chunks and the blanks between them in turn: every second piece is a chunk.
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(whole.data))]
    pieces = pa.Array.from_buffers(pa.large_string(), max(bounds.size - 1, 0), buffers)

    text_number = np.cumsum(begins) - 1
    exists = index < chunk_counts[text_number]
    found = pieces.take(pa.array(2 * (first_chunks[text_number] + index), mask=~exists)).fill_null("")
    result = pl.from_arrow(found)
    assert isinstance(result, pl.Series)
    return result


def chunk_keys(texts: pl.Series, numbers: pl.Series) -> pl.Series:
    """A uuid of version 8 (RFC 9562, section 5.8) for chunk `numbers[i]` of the text with key `texts[i]`, as 16 bytes.

    Keys sort by text and number: the first 72 bits of the text's key, 12 bits number, 38 bits hash, which in SQL are
    the upper bits of `hashbyteaextended(uuid_send(text) || int4send(number), 426954288747)`. Raises `ValueError` for a
    number above 4,095 and for a text's key that is not a uuid.
    """
    number = numbers.cast(pl.UInt64).to_numpy()
    if len(number) and int(number.max()) >= 2**_NUMBER_BITS:
        raise ValueError(f"a text has more than {2**_NUMBER_BITS} chunks")
    binary = pa.array(texts.to_arrow()).cast(pa.binary())
    offsets = offsets_of(binary)
    if binary.null_count or np.any(np.diff(offsets) != _UUID_BYTES):
        raise ValueError("the key of a text is not a uuid of 16 bytes")
    framed = np.empty((len(binary), _UUID_BYTES + 4), dtype=np.uint8)
    framed[:, :_UUID_BYTES] = data_of(binary)[offsets[0] : offsets[-1]].reshape(-1, _UUID_BYTES)
    framed[:, _UUID_BYTES:] = number.astype(">u4").view(np.uint8).reshape(-1, 4)
    rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(framed.shape[1]), len(framed), [None, pa.py_buffer(framed)])
    hashes = hash_bytes(rows.cast(pa.binary()), _KEY_SEED)

    words = np.ascontiguousarray(framed[:, :_UUID_BYTES]).view(">u8").astype(np.uint64)
    keys = np.empty(words.shape, dtype=">u8")
    # 48 bits of the text's key, 4 of version, 12 of the key; then 2 of variant, 12 of the key, number and hash.
    keys[:, 0] = (words[:, 0] & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x8000)
    keys[:, 1] = (
        np.uint64(1 << 63)
        | (words[:, 1] & np.uint64(0xFFF << 50))
        | (number << np.uint64(_HASH_BITS))
        | (hashes >> np.uint64(64 - _HASH_BITS))
    )
    series = pl.from_arrow(pa.Array.from_buffers(pa.binary(_UUID_BYTES), len(keys), [None, pa.py_buffer(keys)]))
    assert isinstance(series, pl.Series)
    return series


def chunk_rows(source: EmbeddingSource, keys: pl.Series, texts: pl.Series) -> list[pa.Array]:
    """A row for each chunk of each text, as the columns of `source.target`; `keys` are in the types of Arrow.

    A null text counts as empty, and has one chunk. Raises `EmbeddingError` if the embedder fails or the rows do not fit
    into the columns.
    """
    settings = source.settings
    given = pl.DataFrame({"key": keys, "text": texts.fill_null("")})
    counted = given.with_columns(count=chunk_count(pl.col("text").str.count_matches(" ", literal=True) + 1))
    rows = counted.select("key", "text", number=pl.int_ranges(0, "count")).explode("number", empty_as_null=False)
    content = chunk_of(rows["text"], rows["number"])
    by_column = {
        settings.parent: rows["key"],
        settings.number: rows["number"],
        settings.model: pl.repeat(source.embedder.model, len(rows), eager=True),
        settings.vector: embed_texts(source.embedder, content),
    }
    if settings.content is not None:
        by_column[settings.content] = content
    try:
        if settings.key is not None:
            by_column[settings.key] = chunk_keys(rows["key"], rows["number"])
        return [_array(by_column[column.name], column.kind()) for column in source.target.columns]
    except (ValueError, pl.exceptions.PolarsError) as exc:
        # Too many chunks for their keys; numbers, texts or keys that the types of the columns do not hold.
        raise EmbeddingError(
            "the chunks of a text cannot be written", observed=str(exc), where=f"{len(texts)} texts"
        ) from exc


def embed_texts(embedder: Embedder, texts: pl.Series) -> pl.Series:
    """The embedder's vectors as float32. Raises `EmbeddingError` for whatever goes wrong: it may be anybody's code."""
    try:
        vectors = embedder.embed(texts)
        if len(vectors) == len(texts):
            return vectors.cast(pl.Array(pl.Float32, embedder.dimensions))
    except EmbeddingError:
        raise
    except Exception as exc:
        raise EmbeddingError(
            f"the embedder of model {embedder.model!r} failed",
            observed=f"{type(exc).__name__}: {exc}",
            where=f"{len(texts)} texts",
        ) from exc
    raise EmbeddingError(
        f"the embedder of model {embedder.model!r} returned the wrong number of vectors",
        observed=f"{len(vectors)} vectors",
        expected=f"{len(texts)} vectors of {embedder.dimensions} numbers",
    )


def _array(series: pl.Series, kind: ColumnType) -> pa.Array:
    array = series.rechunk().to_arrow()
    if kind.family is Family.UUID:
        return pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(_UUID_BYTES)))
    return array if kind.family is Family.VECTOR else array.cast(kind.arrow)
