"""Values as the text that PostgreSQL reads, and keys as the manifest records them: as numbers, or as such a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from snapseed.snapshot.manifest import Column, FirstKey, KeyValue
from snapseed.snapshot.types import INTEGERS, ColumnType, Family, parse_type

_SECOND = 1_000_000
_NUMBERS = {Family.NUMERIC, Family.REAL, Family.DOUBLE}
# What makes PostgreSQL quote a text in an array.
_QUOTED = set('{}," \\\t\n\v\f\r')


def key_at(rows: pa.Table | pa.RecordBatch, key: Sequence[Column], row: int) -> FirstKey:
    """The key of a row: one value, or a tuple for several columns or none. Raises `ValueError` for a NULL in it."""
    values = tuple(key_value(rows.column(column.name)[row], column.kind()) for column in key)
    return values[0] if len(values) == 1 else values


def is_key_type(kind: ColumnType) -> bool:
    """Whether a column of this type can be in a key."""
    return not kind.is_array and kind.family is not Family.VECTOR


def key_value(value: pa.Scalar, kind: ColumnType) -> KeyValue:
    """A value as it stands in a key of the manifest. Raises `ValueError` for a NULL."""
    if not value.is_valid:
        raise ValueError("NULL in a key")
    if kind.family in INTEGERS:
        return int(value.as_py())
    return _TEXTS.get(kind.family, lambda value: str(value.as_py()))(value)


def sortable(key: FirstKey, columns: Sequence[Column]) -> tuple[int | str | Decimal, ...]:
    """A key of the manifest as a value that sorts as the rows do. Texts sort by their bytes, as in a snapshot."""
    values = key if isinstance(key, tuple) else (key,)
    return tuple(
        Decimal(value) if column.kind().family in _NUMBERS else value
        for value, column in zip(values, columns, strict=True)
    )


def as_text(value: pa.Scalar, kind: ColumnType) -> str | None:
    """A value as PostgreSQL prints it; None for NULL."""
    if not value.is_valid:
        return None
    if kind.family is Family.VECTOR and not kind.is_array:
        return f"[{','.join(str(key_value(item, parse_type('real'))) for item in value.values)}]"
    return _array_text(value, kind.element) if kind.element else str(key_value(value, kind))


def _array_text(value: pa.Scalar, element: ColumnType) -> str:
    """An array, or one of its elements, as PostgreSQL prints it inside of an array."""
    if not pa.types.is_list(value.type) or not value.is_valid:
        text = as_text(value, element)
        if text is None:
            return "NULL"
        if text and _QUOTED.isdisjoint(text) and text.upper() != "NULL":
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{{{','.join(_array_text(item, element) for item in value.values)}}}"


def _float(value: pa.Scalar) -> str:
    """A floating-point number with the fewest digits that tell it apart."""
    text = str(value.as_py() if pa.types.is_float64(value.type) else np.float32(value.as_py()))
    return text.removesuffix(".0").replace("inf", "Infinity").replace("nan", "NaN")


def moment(value: pa.Scalar) -> str:
    """A date, a time or a timestamp as PostgreSQL prints it, also beyond the years and the hours that Python has."""
    kind, number = value.type, int(value.value)
    if pa.types.is_time(kind):
        seconds, fraction = divmod(number, _SECOND)
        return _without_zeros(f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}")
    is_date = pa.types.is_date32(kind)
    limits = np.iinfo(np.int32 if is_date else np.int64)
    if number in {limits.min, limits.max}:
        return "infinity" if number > 0 else "-infinity"
    day, time, clock = str(np.datetime64(number, "D") if is_date else np.datetime64(number, "us")).partition("T")
    # NumPy counts astronomically: the year 0 is 1 BC.
    year, rest = int(day[:-6]), day[-6:]
    era, zone = " BC" if year < 1 else "", "" if is_date or not kind.tz else "+00"
    return f"{1 - year if era else year:04d}{rest}{time and ' '}{_without_zeros(clock)}{zone}{era}"


def _without_zeros(clock: str) -> str:
    """A time of day without zeros at the end of its fraction."""
    return clock.rstrip("0").removesuffix(".") if "." in clock else clock


_TEXTS: dict[Family, Callable[[Any], str]] = {
    Family.BOOLEAN: lambda value: str(value.as_py()).lower(),
    Family.CHARACTER: lambda value: value.as_py().rstrip(" "),
    Family.BYTEA: lambda value: f"\\x{value.as_py().hex()}",
    Family.NUMERIC: lambda value: format(value.as_py(), "f"),
    **dict.fromkeys((Family.REAL, Family.DOUBLE), _float),
    **dict.fromkeys((Family.DATE, Family.TIME, Family.TIMESTAMP, Family.TIMESTAMPTZ), moment),
}
