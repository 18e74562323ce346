"""Scales, sizes and times as people write them: `10k` rows, `2.5m` rows, `10MB`, `2min`."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

from snapseed.errors import ConfigurationError, UsageError

_SCALE_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_SIZE_SUFFIXES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
# A root row takes 48 bits of a key, so a scale is below this.
LARGEST_SCALE = 2**48


def parse_scale(text: str | float, *, where: str | None = None) -> int:
    """`500`, `10k`, `2.5m`, `1b` as a whole number of root rows.

    Raises `UsageError` for anything else, including zero and fractions of a row.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmb]?)", str(text).strip().lower())
    rows = Fraction(match[1]) * _SCALE_SUFFIXES[match[2]] if match else Fraction()
    if rows.denominator == 1 and 0 < rows < LARGEST_SCALE:
        return int(rows)
    raise UsageError(
        "the scale is too large" if rows >= LARGEST_SCALE else "the scale is not a number of rows",
        where=where,
        observed=repr(text),
        expected=f"a whole number of root rows from 1 to {LARGEST_SCALE - 1:,}, such as 500, 10k, 2.5m or 1b",
        next_step="for example: --scale 10k" if where is None else None,
    )


def parse_size(text: str, *, where: str | None = None) -> int:
    """`10MB`, `512KiB`, `1.5GB` as bytes. Raises `ConfigurationError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*((?:[KMG]I?)?B)", text.strip().upper())
    if not match:
        expected = "a size such as 10MB, 512KiB or 1.5GB"
        raise ConfigurationError("not a size", where=where, observed=repr(text), expected=expected)
    return int(Decimal(match[1]) * _SIZE_SUFFIXES[match[2]])


def parse_seconds(text: str | float, *, where: str | None = None) -> float:
    """`90`, `1.5s`, `500ms`, `2min`, `1h` as seconds. Raises `ConfigurationError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|)", str(text).strip())
    if not match:
        raise ConfigurationError(
            "not a time", where=where, observed=repr(text), expected="a time such as 90, 500ms, 30s, 2min or 1h"
        )
    return float(match[1]) * _SECONDS[match[2]]


def size(count: float) -> str:
    """A number of bytes in the unit that shows at least two digits of it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        # Above, it would be rounded to 1,000.
        if count < 999.5:  # noqa: PLR2004 - see above
            return f"{count:,.0f} bytes" if unit == "bytes" else f"{count:.{1 if count < 99.95 else 0}f} {unit}"  # noqa: PLR2004
        count /= 1000
    return f"{count:,.1f} TB"
