"""Scales and sizes as people write them: `10k` rows, `2.5m` rows, `10MB`."""

from __future__ import annotations

import re
from decimal import Decimal

from snapseed.errors import ConfigurationError, UsageError

_SCALE_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_SIZE_SUFFIXES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
# A root row takes 48 bits of a key.
_LARGEST_SCALE = 2**48


def parse_scale(text: str | float) -> int:
    """`500`, `10k`, `2.5m`, `1b` as a whole number of root rows.

    Raises `UsageError` for anything else, zero and fractions of a row included.
    """
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([kmb]?)", str(text).strip().lower())
    if match:
        whole, fraction, suffix = match[1], match[2] or "", match[3]
        rows, remainder = divmod(int(whole + fraction) * _SCALE_SUFFIXES[suffix], int(10 ** len(fraction)))
        if rows > 0 and remainder == 0 and rows < _LARGEST_SCALE:
            return rows
    raise UsageError(
        "the scale is not a number of rows",
        observed=repr(text),
        expected="a positive whole number of rows, as in 500, 10k, 2.5m or 1b",
        next_step="for example: --scale 10k",
    )


def parse_size(text: str) -> int:
    """`10MB`, `512KiB`, `1.5GB` as bytes. Raises `ConfigurationError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*((?:[KMG]I?)?B)", text.strip().upper())
    if not match:
        raise ConfigurationError("not a size", observed=repr(text), expected="a size such as 10MB, 512KiB or 1.5GB")
    return int(Decimal(match[1]) * _SIZE_SUFFIXES[match[2]])
