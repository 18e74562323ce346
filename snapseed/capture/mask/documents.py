"""The rule `json`: replace the values in documents, by the keys that lead to them. The rest of the text stays as it is.

An array is no key of its own: `emails` is the rule of each element of that array, and of all that is below it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.capture.mask.keyed import with_nulls_of
from snapseed.capture.mask.values import BoundRule, as_array, changed_numerics, replaced
from snapseed.core import NO_ROOM, Int64s, Kind, library, reason
from snapseed.generate.draws.bits import UInt64s
from snapseed.generate.draws.texts import ALL_ESCAPES
from snapseed.snapshot.arrow import offsets_of
from snapseed.snapshot.values import described

# Room for leaves to begin with, for each document.
_FEW = 8


def replaced_documents(values: pa.Array, paths: Mapping[str, BoundRule], other: BoundRule) -> pa.Array:
    """Documents whose texts and numbers are replaced by the rules of their paths, and all other texts by `other`."""
    values = values.cast(pa.string())
    leaves, counts = _leaves(values, _hashed(list(paths)))
    pieces, is_leaf = _pieces(values, leaves, counts)
    made = tokens = pieces.values.filter(is_leaf)
    is_text = pc.starts_with(tokens, '"')
    for number, rule in enumerate([*paths.values(), other]):
        is_own = pa.array(leaves[:, 2] == number)
        if rule.rule.rule != "keep":
            is_own_text = pc.and_(is_own, is_text)
            texts = pl.Series(pc.filter(tokens, is_own_text), dtype=pl.String).str.json_decode(pl.String)
            # Of texts, `number` keeps the shape.
            changed = rule.key.texts if rule.rule.rule == "number" else partial(replaced, rule)
            made = pc.replace_with_mask(made, is_own_text, _encoded(changed(as_array(texts))))
            if number < len(paths):
                is_plain = pc.and_(is_own, pc.invert(is_text))
                made = pc.replace_with_mask(made, is_plain, _replaced_plain(rule, pc.filter(tokens, is_plain)))
    replaced_pieces = pc.replace_with_mask(pieces.values, is_leaf, made)
    joined = pc.binary_join(pa.ListArray.from_arrays(pieces.offsets, replaced_pieces), "")
    return with_nulls_of(values, joined)


def _replaced_plain(rule: BoundRule, tokens: pa.Array) -> pa.Array:
    """Numbers by `number`, or by what a rule makes of their digits; `null`, `true` and `false` only by `null`."""
    if rule.rule.rule == "null":
        return _encoded(pa.nulls(len(tokens), pa.string()))
    # Numbers with an exponent, which only `json` has, become 0.
    tokens = pc.replace_substring_regex(tokens, r"^-?[\d.]+[eE].*$", "0")
    is_number = pc.match_substring_regex(tokens, r"^-?\d")
    if rule.rule.rule in {"number", "text"}:
        made = changed_numerics(rule, tokens.filter(is_number))
    else:
        made = _encoded(replaced(rule, tokens.filter(is_number)))
    return pc.replace_with_mask(tokens, is_number, made)


def _encoded(texts: pa.Array) -> pa.Array:
    """Texts as JSON, in the spelling of PostgreSQL."""
    escaped = pl.Series(texts, dtype=pl.String).str.replace_many(ALL_ESCAPES)
    return as_array(('"' + escaped + '"').fill_null("null"))


def _hashed(paths: list[str]) -> UInt64s:
    """The hash of each path, a name after the other, as the core makes it."""
    hashes = np.zeros(len(paths), dtype=np.uint64)
    for number, path in enumerate(paths):
        for name in path.split("."):
            column, row = pa.array([name]), ctypes.c_int64()
            seed, into = int(hashes[number]), hashes[number:]
            library().snapseed_hash_values(described(column, Kind.TEXT), seed, into.ctypes.data, row)
    return hashes


def _leaves(values: pa.Array, paths: UInt64s) -> tuple[Int64s, Int64s]:
    """The values in documents that are neither objects nor arrays, and how many each document has.

    Of each where it begins and ends, and the number of its rule.
    """
    column, counts, row = described(values, Kind.TEXT), np.empty(len(values), dtype=np.int64), ctypes.c_int64()
    room = _FEW * len(values)
    while True:
        leaves = np.empty((room, 3), dtype=np.int64)
        found = library().snapseed_json_leaves(
            column, paths.ctypes.data, len(paths), counts.ctypes.data, leaves.ctypes.data, room, row
        )
        if found != NO_ROOM:
            break
        room = 2 * room + 1
    if found < 0:
        raise ValueError(reason(found))
    return leaves[:found], counts


def _pieces(values: pa.Array, leaves: Int64s, counts: Int64s) -> tuple[pa.ListArray, pa.Array]:
    """The pieces of each document, by turns what stands between leaves and a leaf; and which of them are leaves."""
    firsts = np.concatenate([[0], np.cumsum(2 * counts + 1)]).astype(np.int32)
    place = np.arange(len(leaves)) * 2 + 1 + np.repeat(np.arange(len(values)), counts)
    starts, is_leaf = np.empty(firsts[-1] + 1, dtype=np.int32), np.zeros(firsts[-1], dtype=np.bool_)
    starts[firsts], is_leaf[place] = offsets_of(values), True
    starts[place], starts[place + 1] = leaves[:, 0], leaves[:, 1]
    pieces = pa.Array.from_buffers(pa.string(), len(is_leaf), [None, pa.py_buffer(starts), values.buffers()[2]])
    return pa.ListArray.from_arrays(pa.array(firsts), pieces), pa.array(is_leaf)
