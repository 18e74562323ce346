"""Encode Arrow columns as the bytes of a COPY stream, many rows at a time: binary COPY, or text COPY for other types.

No I/O, and no work per row or cell in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from snapseed.load.plan import ColumnPlan, TablePlan
from snapseed.snapshot.arrow import data_of, offsets_of, pc
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import for_copy

# PostgreSQL manual, COPY, "Binary Format": signature, flags, length of the header's extension.
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"

NULL = "\\N"
# PostgreSQL manual, COPY, "Text Format": what a value must not contain unescaped. The backslash comes first.
_COPY_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_ARRAY_ESCAPES = (("\\", "\\\\"), ('"', '\\"'))
# Types whose pg_type.typdelim is not a comma: box, and those of PostGIS.
_DELIMITERS = {"box": ";", "geometry": ":", "geography": ":"}
# Julian day of 1970-01-01. PostgreSQL reads `J2440588` as a date, and in this form it takes any year.
_JULIAN_1970 = 2_440_588
_DAY_MICROSECONDS = 86_400_000_000


def encode_rows(columns: Sequence[pa.Array], plan: TablePlan) -> pa.Buffer:
    """Rows in the format that the plan chose, without header and trailer. `columns` are of equal length."""
    return encode_binary(columns, plan.columns) if plan.binary else encode_text(columns, plan.columns)


def encode_binary(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    """Rows as binary COPY data, without header and trailer."""
    kinds = [_as_target(plan) for plan in plans]
    return for_copy(columns, kinds, [plan.element_oid for plan in plans]).encoded()


def encode_text(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    r"""Rows as text COPY data: one line per row, tabs between the columns, `\N` for NULL."""
    texts = [copy_text(column, _as_target(plan)) for column, plan in zip(columns, plans, strict=True)]
    lines = pc.binary_join_element_wise(*texts, "\t")
    joined = pc.binary_join_element_wise(lines, "\n", "")
    offsets = offsets_of(joined)
    return joined.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def _as_target(plan: ColumnPlan) -> ColumnType:
    """The type to encode for: the snapshot's, or for a vector the table's, which may be real[]."""
    return plan.target if plan.kind.family is Family.VECTOR else plan.kind


def copy_text(column: pa.Array, kind: ColumnType) -> pa.StringArray:
    r"""The values of `column` as text COPY carries them: escaped, and `\N` for NULL."""
    text = _array_text(column, kind) if kind.element else _text(column, kind)
    return pc.fill_null(_replaced(text, _COPY_ESCAPES), NULL)


def _array_text(column: pa.ListArray, kind: ColumnType) -> pa.StringArray:
    """Arrays as `{"a","b",NULL}` or `{{"a"},{"b"}}`. Every element is quoted, so none has to be examined."""
    if kind.dimensions > 1:
        for_copy([column], [kind]).most_bytes()  # raises for an array that PostgreSQL would refuse
    column = column if not pa.types.is_fixed_size_list(column.type) else column.cast(pa.list_(column.type.value_type))
    return _braced(column, kind, kind.dimensions)


def _braced(column: pa.ListArray, kind: ColumnType, dimensions: int) -> pa.StringArray:
    """Lists of this many dimensions, in braces."""
    assert kind.element is not None
    offsets = column.offsets.to_numpy()
    values = column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    if dimensions > 1:
        inner = _braced(values, kind, dimensions - 1)
    else:
        texts = _replaced(_text(values, kind.element), _ARRAY_ESCAPES)
        inner = pc.fill_null(pc.binary_join_element_wise('"', texts, '"', ""), "NULL")
    lists = pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), inner, mask=column.is_null())
    delimiter = _DELIMITERS.get(kind.base.rpartition(".")[2], ",")
    return pc.binary_join_element_wise("{", pc.binary_join(lists, delimiter), "}", "")


def _text(column: pa.Array, kind: ColumnType) -> pa.StringArray:
    """Values of a type that is no array, as PostgreSQL reads them."""
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    form = _FORMS.get(kind.family)
    return storage.cast(pa.string()) if form is None else form(storage)


def _replaced(text: pa.StringArray, escapes: tuple[tuple[str, str], ...]) -> pa.StringArray:
    """The texts with each pattern replaced, one after the other."""
    for pattern, replacement in escapes:
        text = pc.replace_substring(text, pattern, replacement)
    return text


def _hex(column: pa.Array) -> pa.StringArray:
    """Bytes as hexadecimal digits."""
    column = column.cast(pa.binary())
    offsets = offsets_of(column)
    digits = data_of(column)[offsets[0] : offsets[-1]].tobytes().hex().encode()
    buffers = [None, pa.py_buffer((offsets - offsets[0]) * 2), pa.py_buffer(digits)]
    text = pa.Array.from_buffers(pa.string(), len(column), buffers)
    return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string()))


def _date(column: pa.Array) -> pa.StringArray:
    """Days since 1970."""
    days = column.cast(pa.int32())
    return _with_infinity(days, _julian(days.cast(pa.int64())))


def _time(column: pa.Array) -> pa.StringArray:
    """Arrow's day ends before 24:00, PostgreSQL's with it."""
    is_end = pc.equal(column.cast(pa.int64()), _DAY_MICROSECONDS)
    return pc.if_else(is_end, "24:00:00", column.cast(pa.string()))


def _timestamp(column: pa.Array) -> pa.StringArray:
    """Microseconds since 1970."""
    moments = column.cast(pa.int64())
    values = moments.fill_null(0).to_numpy()
    clock = pa.array(values % _DAY_MICROSECONDS).cast(pa.time64("us")).cast(pa.string())
    text = pc.binary_join_element_wise(_julian(pa.array(values // _DAY_MICROSECONDS)), clock, " ")
    return _with_infinity(moments, text)


def _timestamptz(column: pa.Array) -> pa.StringArray:
    """With an offset, so that the session's time zone does not matter. Infinity takes none."""
    text = _timestamp(column)
    return pc.if_else(pc.ends_with(text, "infinity"), text, pc.binary_join_element_wise(text, "+00", ""))


def _julian(days: pa.Array) -> pa.StringArray:
    """Days since 1970 as a date of any year."""
    return pc.binary_join_element_wise("J", pc.add(days, _JULIAN_1970).cast(pa.string()), "")


def _with_infinity(values: pa.Array, text: pa.StringArray) -> pa.StringArray:
    """`text`, except for NULL and for the least and the greatest value of the type, which mean infinity."""
    limits = np.iinfo(values.type.to_pandas_dtype())
    text = pc.if_else(pc.equal(values, int(limits.max)), "infinity", text)
    return pc.if_else(pc.equal(values, int(limits.min)), "-infinity", text)


def _vector(column: pa.FixedSizeListArray) -> pa.StringArray:
    """Numbers in brackets."""
    numbers = column.cast(pa.list_(pa.float32())).cast(pa.list_(pa.string()))
    return pc.binary_join_element_wise("[", pc.binary_join(numbers, ","), "]", "")


_FORMS: dict[Family, Callable[[pa.Array], pa.StringArray]] = {
    Family.BOOLEAN: lambda column: pc.if_else(column, "t", "f"),
    # Also of float16, whose own text would be another number as a real.
    Family.REAL: lambda column: column.cast(pa.float32()).cast(pa.string()),
    Family.BYTEA: lambda column: pc.binary_join_element_wise("\\x", _hex(column), ""),
    Family.UUID: _hex,
    Family.DATE: _date,
    Family.TIME: _time,
    Family.TIMESTAMP: _timestamp,
    Family.TIMESTAMPTZ: _timestamptz,
    Family.VECTOR: _vector,
}
