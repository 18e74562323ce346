"""The compiled core, loaded by ctypes, and the records that its functions take. `core.h` says what each field means."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint64, c_void_p
from enum import IntEnum
from functools import cache

from snapseed.core.build import SOURCES, compile_core, library_name, source_digest


class Kind(IntEnum):
    """How the values of a column lie in Arrow, and which bytes PostgreSQL has for them."""

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


class Column(ctypes.Structure):
    """A column of Arrow: `struct column`."""


Column._fields_ = [
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
    ("child", POINTER(Column)),
]


class Sink(ctypes.Structure):
    """Where the values of a column go: `struct sink`."""


Sink._fields_ = [
    ("kind", c_int32),
    ("width", c_int32),
    ("precision", c_int32),
    ("dimensions", c_int32),
    ("rows", c_int64),
    ("bytes", c_int64),
    ("nulls", c_int64),
    ("validity", c_void_p),
    ("offsets", c_void_p),
    ("data", c_void_p),
    ("child", POINTER(Sink)),
]

_FUNCTIONS = {
    "snapseed_bound": (POINTER(Column), c_int32, c_int64, c_int64, POINTER(c_int64)),
    "snapseed_encode": (POINTER(Column), c_int32, c_int64, c_int64, c_void_p, c_int64, POINTER(c_int64)),
    "snapseed_hash_rows": (POINTER(Column), c_int32, c_int64, c_int64, c_uint64, c_void_p, POINTER(c_int64)),
    "snapseed_hash_values": (POINTER(Column), c_uint64, c_void_p, POINTER(c_int64)),
    "snapseed_stream_header": (c_void_p, c_int64),
    "snapseed_decode": (c_void_p, c_int64, POINTER(Sink), c_int32, c_int64, c_int32, POINTER(c_int64)),
    "snapseed_read": (c_void_p, c_void_p, c_void_p, c_void_p, c_int64, POINTER(c_int64), POINTER(c_int64)),
    **{
        f"snapseed_add_up_{sums}_{numbers}": (c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_int64, c_void_p)
        for sums, numbers in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))
    },
}


@cache
def library() -> ctypes.CDLL:
    """The library, compiled first if the sources beside it have changed (a checkout; a wheel has no sources)."""
    path = SOURCES / library_name()
    if (SOURCES / "core.c").exists() and (not path.exists() or _source_of(path) != source_digest()):
        compile_core(path)
    loaded = ctypes.CDLL(str(path))
    for name, arguments in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, c_int64
    return loaded


def _source_of(path: object) -> str:
    loaded = ctypes.CDLL(str(path))
    loaded.snapseed_source.restype = c_char_p
    return str(loaded.snapseed_source().decode())
