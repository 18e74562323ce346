"""Values that no two rows share, by construction: nothing is drawn twice or compared, at any scale.

A row's number is unique; a keyed permutation moves it to another place, so that neighbours do not look alike.
"""

from __future__ import annotations

import string

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.generate import draws
from snapseed.generate.drawing.identity import Identities, Int64s

_ROUNDS = 4
_LETTERS = string.digits + string.ascii_lowercase
# The most digits that a number has: those of 2^63.
_DIGITS = 19


class UniqueDraws(Identities):
    """Keys, numbers, codes and texts that are unique."""

    def key(self) -> pl.Series:
        """The keys of these rows, in the type that the entity declares for its key column, in ascending order.

        A uuid is of version 8 (RFC 9562): 48 bits root row, 24 bits ordinal, 50 bits hash. An integer is `number()`.
        Raises `ValueError` for a key of another type: such keys the generator makes itself.

        >>> rows.key().to_list()
        [1, 2, 3, 4]
        """
        return self.entity.keys_of(self.roots, self.ordinals, self.seed)

    def number(self, first: int = 1, step: int = 1) -> pl.Series:
        """A sequence: `first`, and for each number behind it a `step` more; the same at every scale (Int64).

        No other row of the entity has the same. Those of a root entity have no gaps; a child's have, where parents
        have fewer children than the most they may have.

        >>> rows.number(first=1000, step=10).to_list()
        [1000, 1010, 1020, 1030]
        """
        numbers = pl.Series(self.entity.numbers_of(self.roots, self.ordinals))
        return numbers if (first, step) == (1, 1) else (numbers - 1) * step + first

    def code(self, column: str, length: int, alphabet: str = _LETTERS) -> pl.Series:
        """Texts of `length` characters from `alphabet` (ASCII, none twice), unique, in no visible order (String).

        Raises `ValueError` where there are more rows than such texts.

        >>> rows.code("voucher", 8, "ABCDEFGHJKLMNPQRSTUVWXYZ23456789").to_list()
        ['372YH7MN', 'ZR985WK2', 'BTVRK646', 'QUYZ3SDN']
        """
        what, base = f"code({column!r})", len(alphabet)
        if length < 1 or base < 2 or len(set(alphabet)) != base or not alphabet.isascii():  # noqa: PLR2004
            raise ValueError(f"{what}: needs a length, and an alphabet of different ASCII characters")
        numbers = self._own_numbers(what).astype(np.uint64) - np.uint64(1)
        # As many places as 64 bits hold are more than enough to be unique; those before them are drawn freely.
        places = next(count for count in range(length, 0, -1) if base**count < 2**63)
        if len(numbers) and int(numbers.max()) >= base**places:
            raise ValueError(f"{what}: there are more rows than {base}^{length} texts; make them longer")
        right = places // 2
        sides = permuted(numbers, draws.key(self.seed, self.entity.name, column), base ** (places - right), base**right)
        letters = np.frombuffer(alphabet.encode(), dtype=np.uint8)
        written = np.empty((len(self), length), dtype=np.uint8)
        place = length
        for side, count in ((sides[1], right), (sides[0], places - right), (self.bits(column), length - places)):
            rest = side
            for _ in range(count):
                place -= 1
                rest, digit = np.divmod(rest, np.uint64(base))
                written[:, place] = letters[digit]
        return _texts(written)

    def unique(self, column: str, texts: pl.Series, separator: str = "", longest: int | None = None) -> pl.Series:
        """`texts` with a number behind each that makes it unique: for usernames, mail addresses, slugs, URLs (String).

        The number has as many digits as the row's own, so early rows have short ones. Between the two stands
        `separator`, and where a text ends in a digit at least a "-", so that `a1` + `2` is not `a` + `12`. A text is
        cut so that nothing is longer than `longest` characters. A null stays null. Raises `ValueError` for a separator
        that ends in a digit, and where `longest` leaves no room for the number.

        >>> rows.unique("username", rows.choice("nickname", ["bee", "fox"])).to_list()
        ['fox7', 'bee8', 'bee9', 'bee1']
        """
        what = f"unique({column!r})"
        if separator[-1:].isdigit():
            raise ValueError(f"{what}: a separator that ends in a digit cannot be told from the number")
        numbers = self._own_numbers(what)
        key = draws.key(self.seed, self.entity.name, column)
        frame = pl.DataFrame({"text": texts.cast(pl.String), "number": shuffled_within_digits(numbers, key)})
        frame = frame.with_columns(pl.col("number").cast(pl.String))
        if longest is not None:
            room = longest - frame["number"].str.len_bytes().cast(pl.Int64) - max(1, len(separator))
            if (room < 0).any():
                raise ValueError(f"{what}: {longest} characters leave no room for the numbers of the rows")
            frame = frame.with_columns(pl.col("text").str.head(room))
        dash = pl.when(pl.col("text").str.contains("[0-9]$")).then(pl.lit("-")).otherwise(pl.lit(""))
        return frame.select(
            pl.concat_str("text", pl.lit(separator) if separator else dash, "number").alias(column)
        ).to_series()

    def _own_numbers(self, what: str) -> Int64s:  # noqa: ARG002 - `Items` have none, and say for what
        return self.entity.numbers_of(self.roots, self.ordinals)

    def uuids(self, column: str) -> pl.Series:
        """Random UUIDs, of version 4 as `gen_random_uuid()` makes them (16 bytes); for columns other than the key.

        >>> [str(uuid.UUID(bytes=token))[:13] for token in rows.uuids("token")]
        ['d56b5a72-9e67', '6d19d6a5-8179', 'ef320e96-445c', '4f93da1e-9e02']
        """
        words = np.empty((len(self), 2), dtype=">u8")
        bits = self.bits(column)
        words[:, 0] = (bits & ~np.uint64(0xF000)) | np.uint64(0x4000)
        words[:, 1] = (draws.numbered(bits, np.zeros(1, dtype=np.uint64)) >> np.uint64(2)) | np.uint64(1 << 63)
        return _series(pa.Array.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(words)]))


def permuted(
    numbers: draws.UInt64s, key: np.uint64, left: draws.UInt64s | int, right: draws.UInt64s | int
) -> tuple[draws.UInt64s, draws.UInt64s]:
    """A permutation of the numbers below `left` · `right`, as a pair of a number below each.

    A Feistel network over two whole numbers, each of which in turn is moved by a hash of the other (Black and Rogaway,
    "Ciphers with Arbitrary Finite Domains", 2002); either round is undone by moving back, so no two pairs meet.
    """
    left, right = np.asarray(left, dtype=np.uint64), np.asarray(right, dtype=np.uint64)
    high, low = np.divmod(numbers, right)
    for number in range(_ROUNDS):
        round_key = draws.mixed(key + np.arange(number, number + 1, dtype=np.uint64))
        high = _moved(high, draws.below(draws.mixed(low ^ round_key), left), left)
        low = _moved(low, draws.below(draws.mixed(high ^ ~round_key), right), right)
    return high, low


def shuffled_within_digits(numbers: Int64s, key: np.uint64) -> draws.UInt64s:
    """Each number from 1 on in another's place among those that have as many digits."""
    powers = np.array([10**digits for digits in range(_DIGITS)], dtype=np.uint64)
    given = numbers.astype(np.uint64)
    digits = np.searchsorted(powers, given, side="right") - 1  # behind the first
    right = powers[(digits + 1) // 2]
    left = powers[digits // 2] * np.uint64(9)
    high, low = permuted(given - powers[digits], key, left, right)
    return high * right + low + powers[digits]


def _moved(numbers: draws.UInt64s, steps: draws.UInt64s, limit: draws.UInt64s) -> draws.UInt64s:
    """(numbers + steps) modulo `limit`, for both below it."""
    total = numbers + steps
    return np.where(total >= limit, total - limit, total)


def _texts(characters: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> pl.Series:
    """Each row of ASCII characters as a text."""
    count, length = characters.shape
    offsets = np.arange(count + 1, dtype=np.int64) * length
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    return _series(pa.Array.from_buffers(pa.large_string(), count, buffers))


def _series(array: pa.Array) -> pl.Series:
    result = pl.from_arrow(array)
    assert isinstance(result, pl.Series)
    return result
