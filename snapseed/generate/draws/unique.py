"""Values that no two rows share, by construction: keys, codes, numbered texts. Nothing is drawn twice or compared.

They rest on a row's number or identity, which is unique; a keyed permutation makes neighbors look unrelated.
"""

from __future__ import annotations

import string

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.generate.draws.bits import Int64s, UInt64s, below, mixed, numbered

LETTERS = string.digits + string.ascii_lowercase
_ROUNDS = 4
# 2^63 has this many digits.
_DIGITS = 19
_KEY_DIGITS = 12
# The bits of an ordinal in a key.
_ORDINAL_BITS = 24
_ROOT_BITS = 48


def uuid_keys(roots: UInt64s, ordinals: UInt64s, hashes: UInt64s) -> pl.Series:
    """UUIDs of version 8 (RFC 9562, section 5.8) that sort by (root row, ordinal), as 16 bytes each.

    48 bits root row, version, 12 bits of the ordinal, variant, 12 more, 50 bits hash. Raises `ValueError` for a root
    row or an ordinal with more bits.
    """
    if len(ordinals) and (int(ordinals.max()) >= 2**_ORDINAL_BITS or int(roots.max()) >= 2**_ROOT_BITS):
        raise ValueError(
            f"more than {2**_ORDINAL_BITS} descendants of a root row in one entity, or 2^{_ROOT_BITS} root rows"
        )
    half = np.uint64(_ORDINAL_BITS // 2)
    first = (roots << np.uint64(16)) | np.uint64(0x8000) | (ordinals >> half)
    second = np.uint64(1 << 63) | ((ordinals & np.uint64(0xFFF)) << np.uint64(50)) | (hashes >> np.uint64(14))
    return _binary16(first, second)


def text_keys(name: str, numbers: Int64s, longest: int | None = None) -> pl.Series:
    """Texts that sort by their bytes as the numbers do: `orders-000000000001`, or the digits alone if that is too long.

    Raises `ValueError` for a number with more digits.
    """
    before = f"{name}-" if longest is None or longest >= len(name) + 1 + _KEY_DIGITS else ""
    width = min(_KEY_DIGITS, longest or _KEY_DIGITS)
    if len(numbers) and int(numbers.max()) >= 10**width:
        raise ValueError(f"{name}: there are more rows than texts of {width} digits for keys; make its key longer")
    return before + pl.Series(numbers).cast(pl.String).str.zfill(width)


def random_uuids(bits: UInt64s) -> pl.Series:
    """UUIDs of version 4 (RFC 9562, section 5.4), as 16 bytes each."""
    first = (bits & ~np.uint64(0xF000)) | np.uint64(0x4000)
    second = (numbered(bits, np.zeros(1, dtype=np.uint64)) >> np.uint64(2)) | np.uint64(1 << 63)
    return _binary16(first, second)


def codes(bits: UInt64s, numbers: Int64s, key: np.uint64 | None, length: int, alphabet: str) -> pl.Series:
    """What `Rows.code` documents; `numbers` count from 1. Without a key they are written as they are."""
    base = len(alphabet)
    if length < 1 or base < 2 or len(set(alphabet)) != base or not alphabet.isascii():  # noqa: PLR2004
        raise ValueError("needs a length of at least 1, and an alphabet of different ASCII characters")
    numbers = numbers - 1
    # As many characters as fit into 63 bits are enough to be unique; those before them are drawn freely.
    places = next(count for count in range(length, 0, -1) if base**count < 2**63)
    if len(numbers) and int(numbers.max()) >= base**places:
        raise ValueError(f"there are more rows than {base}^{length} texts; make them longer")
    right = places // 2
    ascending = numbers.astype(np.uint64)
    if key is None:
        bits, sides = np.zeros_like(bits), np.divmod(ascending, np.uint64(base**right))
    else:
        sides = permuted(ascending, key, base ** (places - right), base**right)
    letters = np.frombuffer(alphabet.encode(), dtype=np.uint8)
    written = np.empty((len(bits), length), dtype=np.uint8)
    place = length
    for side, count in ((sides[1], right), (sides[0], places - right), (bits, length - places)):
        rest = side
        for _ in range(count):
            place -= 1
            rest, digit = np.divmod(rest, np.uint64(base))
            written[:, place] = letters[digit]
    offsets = pa.py_buffer(np.arange(len(bits) + 1, dtype=np.int64) * length)
    return pl.Series(pa.Array.from_buffers(pa.large_string(), len(bits), [None, offsets, pa.py_buffer(written)]))


def numbered_texts(texts: pl.Series, numbers: Int64s, key: np.uint64, separator: str, longest: int | None) -> pl.Series:
    """What `Rows.unique` documents; `numbers` count from 1."""
    if separator[-1:].isdigit():
        raise ValueError("the separator must not end in a digit, which would look like part of the number")
    texts, ends = texts.cast(pl.String), pl.Series(shuffled_within_digits(numbers, key)).cast(pl.String)
    if longest is not None:
        room = longest - ends.str.len_bytes().cast(pl.Int64) - max(1, len(separator))
        if (room < 0).any():
            raise ValueError(f"{longest} characters leave no room for the rows' numbers")
        texts = texts.str.head(room)
    return (texts + separator if separator else texts.str.replace("([0-9])$", "$1-")) + ends


def permuted(numbers: UInt64s, key: np.uint64, left: UInt64s | int, right: UInt64s | int) -> tuple[UInt64s, UInt64s]:
    """A permutation of the numbers below `left` · `right`, as a pair of one number below each.

    A Feistel network over two whole numbers, in which each in turn is moved by a hash of the other (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", 2002). Every round can be undone, so no two pairs collide.
    """
    left, right = np.asarray(left, dtype=np.uint64), np.asarray(right, dtype=np.uint64)
    high, low = np.divmod(numbers, right)
    for number in range(_ROUNDS):
        round_key = mixed(key + np.arange(number, number + 1, dtype=np.uint64))
        high = _moved(high, below(mixed(low ^ round_key), left), left)
        low = _moved(low, below(mixed(high ^ ~round_key), right), right)
    return high, low


def shuffled_within_digits(numbers: Int64s, key: np.uint64) -> UInt64s:
    """The numbers, from 1 on, permuted among those with the same number of digits."""
    powers = np.array([10**digits for digits in range(_DIGITS)], dtype=np.uint64)
    given = numbers.astype(np.uint64)
    digits = np.searchsorted(powers, given, side="right") - 1  # one less than the number has
    right = powers[(digits + 1) // 2]
    left = powers[digits // 2] * np.uint64(9)
    high, low = permuted(given - powers[digits], key, left, right)
    return high * right + low + powers[digits]


def _moved(numbers: UInt64s, steps: UInt64s, limit: UInt64s) -> UInt64s:
    """(numbers + steps) modulo `limit`, where both are below it."""
    total = numbers + steps
    return np.where(total >= limit, total - limit, total)


def _binary16(first: UInt64s, second: UInt64s) -> pl.Series:
    """Two 64-bit words as 16 bytes, most significant byte first."""
    words = np.empty((len(first), 2), dtype=">u8")
    words[:, 0], words[:, 1] = first, second
    return pl.Series(pa.Array.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(words)]))
