"""The compiled core: its functions with arrays in place of addresses, and the records that they take.

`core.h` says what the fields of a record mean. A call releases the GIL.
"""

from __future__ import annotations

import ctypes
import runpy
import sys
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint64, c_void_p
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snapseed.errors import ConfigurationError

_FOLDER = Path(__file__).parent

Int64s = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.int8 | np.int16 | np.int32]


class Kind(IntEnum):
    """How the values of a column are laid out in Arrow, and which bytes PostgreSQL has for them."""

    BOOLEAN = 1
    SWAPPED2 = 2
    SWAPPED4 = 3
    SWAPPED8 = 4
    BYTES = 5
    HALF = 6
    REAL = 7
    DOUBLE = 8
    DATE = 9
    TIMESTAMP = 10
    TEXT = 11
    TRIMMED = 12
    JSONB = 13
    DECIMAL = 14
    VECTOR = 15
    LIST = 16


class ColumnBuffers(ctypes.Structure):
    """A column of Arrow: `struct column`."""


ColumnBuffers._fields_ = [
    ("kind", c_int32),
    ("width", c_int32),
    ("element_oid", c_int32),
    ("dimensions", c_int32),
    ("offset", c_int64),
    ("length", c_int64),
    ("validity", c_void_p),
    ("offsets", c_void_p),
    ("data", c_void_p),
    ("data_bytes", c_int64),
    ("child", POINTER(ColumnBuffers)),
]


class Sink(ctypes.Structure):
    """The buffers that the values of a column are decoded into: `struct sink`."""


Sink._fields_ = [
    *((name, c_int32) for name in ("kind", "stride", "dimensions", "precision", "scale", "has_null")),
    *((name, c_int64) for name in ("room", "needed", "room_bytes", "needed_bytes")),
    *((name, c_void_p) for name in ("validity", "offsets", "data")),
    ("child", POINTER(Sink)),
]


class CopyStream(ctypes.Structure):
    """A binary COPY stream that libpq receives: `source` in decode.c."""

    _fields_ = (
        *((name, c_void_p) for name in ("connection", "get_copy_data", "consume_input", "free_memory", "message")),
        *((name, c_int64) for name in ("message_bytes", "rows", "bytes")),
        *((name, c_int32) for name in ("socket", "begun", "ended", "column")),
    )


_ADDRESS, _COLUMNS, _NUMBERS = c_void_p, POINTER(ColumnBuffers), POINTER(c_int64)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "snapseed_bound": (_COLUMNS, c_int32, c_int64, c_int64, _NUMBERS),
    "snapseed_encode": (_COLUMNS, c_int32, c_int64, c_int64, _ADDRESS, c_int64, _NUMBERS),
    "snapseed_hash_rows": (_COLUMNS, c_int32, c_int64, c_int64, c_uint64, _ADDRESS, _NUMBERS),
    "snapseed_hash_values": (_COLUMNS, c_uint64, _ADDRESS, _NUMBERS),
    "snapseed_json_leaves": (_COLUMNS, _ADDRESS, c_int64, _ADDRESS, _ADDRESS, c_int64, _NUMBERS),
    "snapseed_keyed": (_COLUMNS, c_char_p, _ADDRESS, _NUMBERS),
    "snapseed_longest_value": (c_char_p, c_int64),
    "snapseed_permute_numbers": (_ADDRESS, _ADDRESS, c_int64, c_char_p),
    "snapseed_permute_texts": (_COLUMNS, c_char_p, _ADDRESS, _NUMBERS),
    "snapseed_permute_uuids": (_ADDRESS, c_int64, c_char_p),
    "snapseed_thrift": (c_char_p, c_int64, _ADDRESS, c_int64, _NUMBERS),
    "snapseed_read": (POINTER(CopyStream), POINTER(Sink), c_int32, c_int64, c_int64),
    **{
        f"snapseed_add_up_{sums}_{numbers}": (_ADDRESS, _ADDRESS, c_int64, _ADDRESS, c_int64, c_int64, _ADDRESS)
        for sums, numbers in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))
    },
}
# `enum error` of core.h: the one that asks for more room, values that PostgreSQL has and Arrow's types cannot hold, and
# what each of them means.
NO_ROOM, BAD_STREAM = -8, -10
BEYOND_ARROW = frozenset({-13, -14, -15, -16, -17})
_REASONS = {
    -2: "the offsets of a column do not fit its values",
    -3: "a date or timestamp is before 4713 BC, where PostgreSQL's range begins",
    -4: "the inner arrays of an array differ in length",
    -5: "an array has a NULL in place of one of its inner arrays",
    -6: "an array has empty inner arrays; an array without elements must be empty itself",
    -7: "a vector has a NULL element",
    -8: "there is not enough memory",
    -9: "a value is 1 GiB or larger, which PostgreSQL does not accept",
    -10: "bytes that are not in PostgreSQL's binary COPY format",
    -11: "a value with the wrong length for its type",
    -12: "a row with the wrong number of columns",
    -13: "a number that is NaN or infinite, which a decimal cannot be",
    -14: "a number with more digits than its type",
    -15: "an array whose lower bound is not 1",
    -16: "an array with the wrong number of dimensions",
    -17: "a date or timestamp too late for Arrow, which counts from 1970",
    -18: "a damaged record",
}


def reason(code: int) -> str:
    """What a negative result of a function means."""
    return _REASONS.get(code, f"error {code} of the compiled core")


def sums_of_vectors(codes: Int64s, counts: Int64s, vectors: Vectors, dtype: npt.DTypeLike) -> Vectors:
    """For each text the sum of its pieces' vectors. Text i has the next `counts[i]` of `codes`: rows of `vectors`.

    Whole numbers of 8, 16 or 32 bits, in C order. `dtype` must hold every sum. Raises `ValueError` for a code that is
    not the number of a row.
    """
    sums: Vectors = np.empty((len(counts), vectors.shape[1]), dtype=dtype)
    codes, counts = (np.ascontiguousarray(numbers, dtype=np.int64) for numbers in (codes, counts))
    if len(codes) != counts.sum() or np.any(counts < 0):
        raise ValueError(f"{len(codes)} codes, and counts of {counts.sum()}")
    vectors = np.ascontiguousarray(vectors)
    add_up = getattr(library(), f"snapseed_add_up_{sums.itemsize}_{vectors.itemsize}")
    failed = add_up(
        codes.ctypes.data, counts.ctypes.data, len(counts), vectors.ctypes.data, *vectors.shape, sums.ctypes.data
    )
    if failed:
        raise ValueError(reason(failed))
    return sums


def longest_value(page: bytes) -> int:
    """The length of the longest text in a dictionary page of Parquet. Raises `ValueError` if it is damaged."""
    longest = int(library().snapseed_longest_value(page, len(page)))
    if longest < 0:
        raise ValueError(reason(longest))
    return longest


def thrift_items(data: bytes) -> tuple[Int64s, int]:
    """What is in the Thrift structure at the beginning of `data`, path and value of each item; and where it ends.

    thrift.c says what a path is. Raises `ValueError` if the structure is damaged.
    """
    end, room = c_int64(), 64
    while True:
        items = np.empty((room, 2), dtype=np.int64)
        found = int(library().snapseed_thrift(data, len(data), items.ctypes.data, room, end))
        if found != NO_ROOM:
            break
        room *= 8
    if found < 0:
        raise ValueError(reason(found))
    return items[:found], end.value


@cache
def library() -> Any:  # noqa: ANN401 - ctypes has no type for functions that are found by name
    """The loaded library. In a checkout it is compiled first if its sources have changed; a wheel has no sources.

    Raises `ConfigurationError` if it cannot be compiled.
    """
    path = _FOLDER / ("core.dylib" if sys.platform == "darwin" else "core.so")
    if (_FOLDER / "core.c").exists():
        builder = runpy.run_path(str(_FOLDER.parents[1] / "build_core.py"))
        try:
            builder["ensure_core"](path)
        except RuntimeError as exc:
            raise ConfigurationError(
                "the compiled core of snapseed cannot be built",
                where=str(_FOLDER),
                observed=str(exc),
                next_step="install a C compiler, or `pip install ziglang`, and run the command again",
            ) from exc
    loaded = ctypes.CDLL(str(path))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, c_int64
    return loaded
