"""What replaces values, rule by rule: pure functions from one Arrow array to another. NULL stays NULL.

All but `date` depend on nothing but the value itself, so that equal values stay equal wherever the rule is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.capture.mask.keyed import MaskKey, with_nulls_of
from snapseed.config.settings import MaskRule
from snapseed.generate.draws.bits import Int64s, UInt64s, below, column_bits
from snapseed.generate.words import WORDS
from snapseed.snapshot.arrow import numbers_of, of_characters, of_numbers, of_texts, pc
from snapseed.snapshot.types import ColumnType, Family, parse_type

# Rules that need polars import it, the others start without.
if TYPE_CHECKING:
    import polars as pl

TEXT = parse_type("text")
Function = Callable[["pl.Series"], "pl.Series"]
Float64s = npt.NDArray[np.float64]

# Letters and digits of a token, without those that look like others (Crockford's base 32), and how many a token has:
# 80 bits. Among 10^8 different values, two share a token with a probability below 10^-8.
_ALPHABET = np.frombuffer(b"0123456789abcdefghjkmnpqrstvwxyz", dtype=np.uint8)
TOKEN = 16
_LETTER_BITS, _LETTERS_PER_WORD = 5, 12
# Two letters for each ten bits, the first for the low ones: half as many lookups.
_PAIRS = np.stack([np.tile(_ALPHABET, 32), np.repeat(_ALPHABET, 32)], axis=1).view(np.uint16)[:, 0]
_PER_MILLE = 1000
# As many digits fit into 64 bits, whatever they are.
MOST_DIGITS = 18
_NO_NUMBERS = ["NaN", "Infinity", "-Infinity"]
_TYPE_ENDS = np.array([2**15 - 1, 2**31 - 1, 2**63 - 1])
_DAY = 86_400_000_000
# A date whose year has four digits, and is not 0.
_NEAR = r"^(000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})-\d\d-\d\d( |$)"
# Days before 1970: in 4602 BC. PostgreSQL's range begins 40,588 days earlier.
_EARLIEST = -2_400_000
_NAMES = [f"{first} {last}" for first in WORDS["FIRST_NAMES"] for last in WORDS["LAST_NAMES"]]
_DOTTED = of_texts([f"{name.lower().replace(' ', '.')}." for name in _NAMES])
_LONGEST_DOTTED = max(map(len, _NAMES)) + 1
_WORDS = {
    "name": of_texts(_NAMES),
    "first_name": of_texts(WORDS["FIRST_NAMES"]),
    "last_name": of_texts(WORDS["LAST_NAMES"]),
    "address": of_texts(WORDS["STREETS"]),
}


class RuleError(Exception):
    """A rule cannot replace these values. Its text quotes none of them, so it may be shown."""


@dataclass(frozen=True)
class BoundRule:
    """A rule with all it needs: its key, and what is known about the values that it replaces.

    `kind` is the type of the values, and `shown` the column's name in the configuration and the manifest. `room` is the
    length of the shortest column that has the rule, None without a limit. `by` are the columns that say how far the
    dates of a row move. `options` are those of `choice`, or the value of `constant`, in the type of the column. `paths`
    and `other` are the rules of `json`, for texts in documents. `function` is the user's own.
    """

    rule: MaskRule
    key: MaskKey
    kind: ColumnType = TEXT
    shown: str = ""
    room: int | None = None
    by: tuple[str, ...] = ()
    options: pa.Array | None = None
    function: Function | None = None
    paths: Mapping[str, BoundRule] = field(default_factory=dict)
    other: BoundRule | None = None


def replaced(bound: BoundRule, values: pa.Array) -> pa.Array:
    """The values of a column, or the elements of its arrays, replaced by what the rule says. Not for `date`."""
    if pa.types.is_list(values.type):
        # The offsets that fit the flattened elements: NULL lists are empty.
        lengths = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, replaced(bound, values.flatten()), mask=values.is_null())
    if bound.kind.base.endswith("citext"):
        values = pc.utf8_lower(values)
    elif bound.kind.family is Family.CHARACTER:
        values = pc.ascii_rtrim(values, " ")
    made = _REPLACE[bound.rule.rule if bound.function is None else "function"](bound, values)
    return with_nulls_of(values, made) if made.null_count == 0 else made


def shifted(bound: BoundRule, values: pa.Array, row_bits: UInt64s) -> pa.Array:
    """Dates and timestamps moved by whole days, the same number for all columns of a row.

    Infinities stay, and what is so far away that it might leave PostgreSQL's range; of moments that are stored as
    text, what is not of the years 1 to 9999.
    """
    if pa.types.is_string(values.type):
        is_near = pc.and_(pc.match_substring_regex(values, _NEAR), pc.invert(pc.ends_with(values, " BC")))
        days = pc.if_else(is_near, pc.utf8_slice_codeunits(values, 0, 10), "2000-01-01").cast(pa.date32())
        moved = shifted(bound, days, row_bits).cast(pa.string())
        is_near = pc.and_(is_near, pc.match_substring_regex(moved, _NEAR))
        rest = pc.utf8_slice_codeunits(values, 10)
        return pc.if_else(is_near, pc.binary_join_element_wise(moved, rest, ""), values)
    days = below(row_bits, 2 * bound.rule.days + 1).astype(np.int64) - bound.rule.days
    is_date = pa.types.is_date32(values.type)
    numbers = numbers_of(values).astype(np.int64)
    ends = np.iinfo(np.int32 if is_date else np.int64)
    low, high = (_EARLIEST, 2**30) if is_date else (_EARLIEST * _DAY, 2**62)
    moved = numbers + (days if is_date else days * _DAY)
    moved = np.where((numbers < low) | (numbers > high), numbers, moved)
    return with_nulls_of(values, of_numbers(moved.astype(ends.dtype), values.type))


def _names(bound: BoundRule, values: pa.Array) -> pa.Array:
    """First names, last names, or both, out of the lists that generators have too."""
    return _cut(_one_of(_WORDS[bound.rule.rule], bound.key.bits(values)[0], "name"), bound.room)


def _emails(bound: BoundRule, values: pa.Array) -> pa.Array:
    """`ada.lopez.TOKEN@example.com`, or without the name where that is too long."""
    bits, more = bound.key.bits(values)
    token, domain = _tokens(bits, more), f"@{bound.rule.domain}"
    if bound.room is not None and bound.room < _LONGEST_DOTTED + TOKEN + len(domain):
        return _joined(token, domain)
    return _joined(_one_of(_DOTTED, more, "name"), token, domain)


def _phones(bound: BoundRule, values: pa.Array) -> pa.Array:
    """Numbers of an area code that no telephone has."""
    digits = below(column_bits(bound.key.bits(values)[0], "phone"), 10**7) + np.uint64(15_550_000_000)
    return _joined("+", _spelled(digits))


def _addresses(bound: BoundRule, values: pa.Array) -> pa.Array:
    """A number from 1 to 250, and a street."""
    bits = bound.key.bits(values)[0]
    street = _one_of(_WORDS["address"], bits, "street")
    number = _spelled(below(column_bits(bits, "number"), 250) + np.uint64(1))
    return _cut(_joined(number, street, separator=" "), bound.room)


def _ips(bound: BoundRule, values: pa.Array) -> pa.Array:
    """Addresses of private networks (RFC 1918, RFC 4193): 10.0.0.0/8, and fd00::/8 for IPv6."""
    bits, more = bound.key.bits(values)
    end = bound.kind.family is Family.TEXT_FORM
    parts = [_spelled((bits >> np.uint64(8 * place)) & np.uint64(0xFF)) for place in range(3)]
    four = _joined(_joined("10", *parts, separator="."), "/32" * end)
    is_six = pc.match_substring(values, ":")
    if not pc.any(is_six).as_py():
        return four
    # Groups without a zero in front, so that PostgreSQL prints them as they are.
    words = [word << np.uint64(16 * place) for word in (bits, more) for place in range(4)][:7]
    digits = [(np.uint64(0x1000) + below(word, 0xF000)).astype(">u2").tobytes().hex().encode() for word in words]
    groups = [of_characters(np.frombuffer(group, dtype=np.uint8), 4) for group in digits]
    return pc.if_else(is_six, _joined(_joined("fd00", *groups, separator=":"), "/128" * end), four)


def _uuids(bound: BoundRule, values: pa.Array) -> pa.Array:
    """A permutation of UUIDs; of texts, random UUIDs of version 4."""
    if bound.kind.family is Family.UUID:
        return bound.key.uuids(values)
    from snapseed.generate.draws.unique import random_uuids

    digits = as_array(random_uuids(bound.key.bits(values)[0]).bin.encode("hex"))
    cuts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return _joined(*(pc.utf8_slice_codeunits(digits, begin, end) for begin, end in cuts), separator="-")


def _changed_numbers(bound: BoundRule, values: pa.Array) -> pa.Array:
    """Numbers of any type: permuted, with noise or in buckets."""
    most = 10 ** min([*bound.kind.modifiers[:1], MOST_DIGITS]) - 1
    if pa.types.is_string(values.type):
        return changed_numerics(bound, values, most)
    if pa.types.is_floating(values.type):
        return _changed_floats(bound, values)
    if bound.kind.family is Family.NUMERIC:
        # The number without its point: the lower of the two words, which has all of it up to 18 digits.
        words = np.frombuffer(values.buffers()[1], dtype=np.int64)[2 * values.offset :][: 2 * len(values) : 2]
        both = np.empty((len(values), 2), dtype=np.int64)
        both[:, 0] = _changed_whole(bound, words, 10.0**bound.kind.arrow.scale, most)
        both[:, 1] = both[:, 0] >> 63
        return of_numbers(both, values.type)
    numbers = numbers_of(values)
    return of_numbers(_changed_whole(bound, numbers.astype(np.int64)).astype(numbers.dtype), values.type)


def _changed_floats(bound: BoundRule, values: pa.Array) -> pa.Array:
    """Noise or buckets. NaN and the infinities stay as they are, and what is finite stays finite."""
    given = numbers_of(values)
    floats, most = given.astype(np.float64), np.finfo(given.dtype).max
    with np.errstate(all="ignore"):
        if bound.rule.bucket is not None:
            made = np.trunc(floats / bound.rule.bucket) * bound.rule.bucket
        else:
            # From -1 to 1 in steps of 2^-52, then operations that IEEE 754 rounds exactly.
            unit = (bound.key.bits(values)[0] >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1
            made = floats * (1 + unit * (bound.rule.noise or 0))
        made = np.where(np.isfinite(floats), made.clip(-most, most), floats)
        return of_numbers(made.astype(given.dtype), values.type)


def _changed_whole(bound: BoundRule, numbers: Int64s, unit: Float64s | float = 1.0, most: int | None = None) -> Int64s:
    """Whole numbers, changed. `unit` is how many of them are one; `most` is the largest, of integers their type's."""
    if bound.rule.bucket is not None:
        width = np.rint(bound.rule.bucket * np.asarray(unit)).clip(1, 2.0**62).astype(np.int64)
        return numbers - np.fmod(numbers, width)  # toward zero, so that it fits the type
    if bound.rule.noise is None:
        return bound.key.numbers(numbers)
    sign = numbers >> 63
    size = numbers ^ sign  # -1 is 0: as many numbers are negative as there are from 0 on
    end = _TYPE_ENDS[np.searchsorted(_TYPE_ENDS, size)] if most is None else most + sign
    share, whole, rest = round(bound.rule.noise * _PER_MILLE), *np.divmod(size, _PER_MILLE)
    reach = np.maximum(whole * share + rest * share // _PER_MILLE, numbers != 0)
    bits = bound.key.bits(of_numbers(numbers, pa.int64()))[0]
    change = below(bits, 2 * reach.astype(np.uint64) + np.uint64(1)).astype(np.int64) - reach
    changed: Int64s = (size + np.minimum(change, end - size)) ^ sign
    return changed


def changed_numerics(bound: BoundRule, values: pa.Array, most: int = 10**MOST_DIGITS - 1) -> pa.Array:
    """Numbers in texts, as `numeric` without limits has them, changed as `number` does. NaN and infinities stay.

    Of more than 18 digits, the first 18 are changed as a number. The others are permuted, or become 0.
    """
    import polars as pl

    texts = pl.Series(values, dtype=pl.String)
    is_number = texts.str.contains(r"^-?\d+(\.\d+)?$").fill_null(value=False)
    if not texts.filter(~is_number).drop_nulls().is_in(_NO_NUMBERS).all():
        raise RuleError("a text that is no number")
    scale = texts.str.extract(r"\.(\d+)$").str.len_bytes().fill_null(0).cast(pl.Int64)
    digits = texts.str.replace_all(r"[-.]", "").str.strip_chars_start("0").str.zfill(1)
    numbers = digits.str.head(MOST_DIGITS).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    rest = digits.str.slice(MOST_DIGITS)
    signed = numbers * np.where(texts.str.starts_with("-").fill_null(value=False), -1, 1)
    unit = 10.0 ** (scale - rest.str.len_bytes().fill_null(0).cast(pl.Int64)).to_numpy()
    is_plain = bound.rule.noise is None and bound.rule.bucket is None
    frame = pl.DataFrame(
        {
            "made": _changed_whole(bound, signed, unit, most),
            "rest": pl.Series(bound.key.texts(as_array(rest))) if is_plain else rest.str.replace_all(r"\d", "0"),
            "scale": scale,
        }
    )
    changed = (pl.col("made").abs().cast(pl.String) + pl.col("rest")).str.strip_chars_start("0")
    changed = changed.str.zfill(pl.col("scale") + 1)
    whole = changed.str.head(changed.str.len_bytes().cast(pl.Int64) - pl.col("scale"))
    point = pl.when(pl.col("scale") > 0).then(pl.lit(".")).otherwise(pl.lit(""))
    sign = pl.when(pl.col("made") < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    made = frame.select(pl.concat_str(sign, whole, point, changed.str.tail(pl.col("scale")))).to_series()
    return pc.if_else(pa.array(is_number), as_array(made), values)


def _chosen(bound: BoundRule, values: pa.Array) -> pa.Array:
    """One of the options for each value."""
    assert bound.options is not None
    one = len(bound.options) == 1
    places = np.zeros(len(values), dtype=np.uint64) if one else below(bound.key.bits(values)[0], len(bound.options))
    return bound.options.take(of_numbers(places, pa.uint64()))


def _by_function(bound: BoundRule, values: pa.Array) -> pa.Array:
    """What the user's function returns, which has to be as many values; NULL stays NULL."""
    import polars as pl

    assert bound.function is not None
    given = values.storage if isinstance(values, pa.ExtensionArray) else values
    made = bound.function(pl.Series(given))
    if len(made) != len(values):
        raise RuleError(f"it returned {len(made):,} values for {len(values):,}")
    array = pc.if_else(given.is_valid(), made.rechunk().to_arrow().cast(given.type), pa.scalar(None, given.type))
    return pa.ExtensionArray.from_storage(values.type, array) if given is not values else array


_REPLACE: dict[str, Callable[[BoundRule, pa.Array], pa.Array]] = {
    **dict.fromkeys(("name", "first_name", "last_name"), _names),
    **dict.fromkeys(("constant", "choice"), _chosen),
    "address": _addresses,
    "email": _emails,
    "function": _by_function,
    "ip": _ips,
    "null": lambda _bound, values: pa.nulls(len(values), values.type),
    "number": _changed_numbers,
    "phone": _phones,
    "text": lambda bound, values: bound.key.texts(values),
    "uuid": _uuids,
}


def _joined(*parts: pa.Array | str, separator: str = "") -> pa.Array:
    """The parts of each text, joined."""
    pieces = (of_texts([part])[0] if isinstance(part, str) else part for part in (*parts, separator))
    return pc.binary_join_element_wise(*pieces)


def _cut(texts: pa.Array, room: int | None) -> pa.Array:
    """Texts of at most `room` characters."""
    return texts if room is None else pc.utf8_slice_codeunits(texts, 0, room)


def as_array(texts: pl.Series) -> pa.Array:
    """Texts of polars as Arrow has them in a snapshot."""
    import polars as pl

    return texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())


def _one_of(options: pa.Array, bits: UInt64s, name: str) -> pa.Array:
    """An option for each value: the same bits give another one under another name."""
    return options.take(of_numbers(below(column_bits(bits, name), len(options)), pa.uint64()))


def _spelled(numbers: UInt64s) -> pa.Array:
    """Numbers as decimal digits."""
    return of_numbers(numbers, pa.uint64()).cast(pa.string())


def _tokens(bits: UInt64s, more: UInt64s) -> pa.Array:
    """Letters and digits that depend on 80 of the 128 bits of each value."""
    letters = np.empty((len(bits), TOKEN // 2), dtype=np.uint16)
    for place in range(0, TOKEN, 2):
        word, shift = (bits, place) if place < _LETTERS_PER_WORD else (more, place - _LETTERS_PER_WORD)
        letters[:, place // 2] = _PAIRS[(word >> np.uint64(_LETTER_BITS * shift)) & np.uint64(len(_PAIRS) - 1)]
    return of_characters(letters, TOKEN)
