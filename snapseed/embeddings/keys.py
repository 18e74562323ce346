"""Keys of chunks, made of the key of their text and their number: the same by a generator, a worker or anybody else."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.snapshot.arrow import binary_array, data_of, offsets_of
from snapseed.snapshot.hashing import hash_bytes_variable

_UUID_BYTES = 16
# Of 122 bits the 72 leading ones are those of the text's key; number and hash share the rest.
_NUMBER_BITS = 12
_HASH_BITS = 38
# "chunk": any seed but that of fingerprints, with which this has nothing to do.
_SEED = 0x6368756E6B


def chunk_keys(texts: pl.Series, numbers: pl.Series) -> pl.Series:
    """A uuid of version 8 (RFC 9562, section 5.8) for chunk `numbers[i]` of the text with key `texts[i]`, as 16 bytes.

    Keys sort by text and chunk: the leading 72 bits of the text's key, 12 bits number, 38 bits hash; in SQL the upper
    bits of `hashbyteaextended(uuid_send(text) || int4send(number), 426954288747)`. Raises `ValueError` for a number
    beyond 4,095 and for a text's key that is no uuid.
    """
    number = numbers.cast(pl.UInt64).to_numpy()
    if len(number) and int(number.max()) >= 2**_NUMBER_BITS:
        raise ValueError(f"a text has more than {2**_NUMBER_BITS} chunks")
    binary = pa.array(texts.to_arrow()).cast(pa.binary())
    offsets = offsets_of(binary)
    if binary.null_count or np.any(np.diff(offsets) != _UUID_BYTES):
        raise ValueError("the key of a text is no uuid of 16 bytes")
    framed = np.empty((len(binary), _UUID_BYTES + 4), dtype=np.uint8)
    framed[:, :_UUID_BYTES] = data_of(binary)[offsets[0] : offsets[-1]].reshape(-1, _UUID_BYTES)
    framed[:, _UUID_BYTES:] = number.astype(">u4").view(np.uint8).reshape(-1, 4)
    places = np.arange(len(binary) + 1, dtype=np.int64) * framed.shape[1]
    hashes = hash_bytes_variable(binary_array(framed.ravel(), places), _SEED)

    words = np.ascontiguousarray(framed[:, :_UUID_BYTES]).view(">u8").astype(np.uint64)
    keys = np.empty(words.shape, dtype=">u8")
    # 48 bits, 4 of version, 12 bits; 2 of variant, 12 bits: of those the text's, the version and the variant our own.
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
