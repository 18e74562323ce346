"""Encode Arrow columns as the bytes of a COPY stream, many rows at a time: binary COPY, or text COPY for other types.

No I/O, and no work per row or cell in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.load.plan import ColumnPlan, TablePlan
from snapseed.snapshot.arrow import data_of, offsets_of
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import for_copy

# PostgreSQL manual, COPY, "Binary Format": signature, flags, length of the header's extension.
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"

NULL = "\\N"
# PostgreSQL manual, COPY, "Text Format": what a value must not contain unescaped. The backslash comes first.
_COPY_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
_ARRAY_ESCAPES = (("\\", "\\\\"), ('"', '\\"'))
# pg_type.typdelim where it is not a comma: of the one built-in type, and of PostGIS.
_DELIMITERS = {"box": ";", "geometry": ":", "geography": ":"}
_HEX = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), dtype="S2")
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
    return _data_buffer(pc.binary_join_element_wise(lines, pa.scalar("\n"), "").cast(pa.binary()))


def _as_target(plan: ColumnPlan) -> ColumnType:
    """The type to encode for: the snapshot's, but for a vector the table's, which may be real[]."""
    return plan.target if plan.kind.family is Family.VECTOR else plan.kind


def _data_buffer(joined: pa.BinaryArray) -> pa.Buffer:
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int32)
    start, end = int(offsets[joined.offset]), int(offsets[joined.offset + len(joined)])
    return joined.buffers()[2].slice(start, end - start)


def copy_text(column: pa.Array, kind: ColumnType) -> pa.StringArray:
    r"""The values of `column` as text COPY carries them: escaped, and `\N` for NULL."""
    return pc.fill_null(
        _replaced(_array_text(column, kind) if kind.element else _text(column, kind), _COPY_ESCAPES), NULL
    )


def _array_text(column: pa.ListArray, kind: ColumnType) -> pa.StringArray:
    """Arrays as `{"a","b",NULL}` or `{{"a"},{"b"}}`. Every element is quoted, so none has to be examined."""
    if kind.dimensions > 1:
        for_copy([column], [kind]).most_bytes()  # raises for an array that PostgreSQL would refuse
    column = column if not pa.types.is_fixed_size_list(column.type) else column.cast(pa.list_(column.type.value_type))
    return _braced(column, kind, kind.dimensions)


def _braced(column: pa.ListArray, kind: ColumnType, dimensions: int) -> pa.StringArray:
    assert kind.element is not None
    offsets = column.offsets.to_numpy()
    values = column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
    if dimensions > 1:
        inner = _braced(values, kind, dimensions - 1)
    else:
        texts = _replaced(_text(values, kind.element), _ARRAY_ESCAPES)
        inner = pc.fill_null(pc.binary_join_element_wise(pa.scalar('"'), texts, pa.scalar('"'), ""), "NULL")
    lists = pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), inner)
    joined = pc.binary_join(lists, _DELIMITERS.get(kind.base.rpartition(".")[2], ","))
    text = pc.binary_join_element_wise(pa.scalar("{"), joined, pa.scalar("}"), "")
    return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string()))


def _text(column: pa.Array, kind: ColumnType) -> pa.StringArray:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return _FORMS.get(kind.family, _cast)(column)


def _replaced(text: pa.StringArray, escapes: tuple[tuple[str, str], ...]) -> pa.StringArray:
    for pattern, replacement in escapes:
        text = pc.replace_substring(text, pattern, replacement)
    return text


def _cast(column: pa.Array) -> pa.StringArray:
    return column.cast(pa.string())


def _boolean(column: pa.Array) -> pa.StringArray:
    return pc.if_else(column, "t", "f")


def _real(column: pa.Array) -> pa.StringArray:
    return (column.cast(pa.float32()) if pa.types.is_float16(column.type) else column).cast(pa.string())


def _hex(column: pa.Array) -> pa.StringArray:
    """The bytes of each value as hexadecimal digits; null for null."""
    column = column.cast(pa.binary())
    offsets = offsets_of(column)
    digits = _HEX[data_of(column)[offsets[0] : offsets[-1]]]
    ends = (offsets - offsets[0]) * 2
    text = pa.Array.from_buffers(
        pa.string(), len(column), [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(digits))]
    )
    return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string()))


def _bytea(column: pa.Array) -> pa.StringArray:
    return pc.binary_join_element_wise(pa.scalar("\\x"), _hex(column), "")


def _date(column: pa.Array) -> pa.StringArray:
    days = column.cast(pa.int32()).cast(pa.int64())
    return _with_infinity(days, np.iinfo(np.int32), _julian(days))


def _timestamp(column: pa.Array) -> pa.StringArray:
    moments = column.cast(pa.int64())
    values = moments.fill_null(0).to_numpy()
    days = pa.array(values // _DAY_MICROSECONDS)
    clock = pa.array(values % _DAY_MICROSECONDS).cast(pa.time64("us")).cast(pa.string())
    text = pc.binary_join_element_wise(_julian(days), clock, " ")
    return _with_infinity(
        moments, np.iinfo(np.int64), pc.if_else(moments.is_valid(), text, pa.scalar(None, pa.string()))
    )


def _timestamptz(column: pa.Array) -> pa.StringArray:
    """With an offset, so that the session's time zone does not matter. Infinity takes none."""
    text = _timestamp(column)
    return pc.if_else(pc.ends_with(text, "infinity"), text, pc.binary_join_element_wise(text, pa.scalar("+00"), ""))


def _julian(days: pa.Array) -> pa.StringArray:
    return pc.binary_join_element_wise(pa.scalar("J"), pc.add(days, _JULIAN_1970).cast(pa.string()), "")


def _with_infinity(values: pa.Array, limits: np.iinfo, text: pa.StringArray) -> pa.StringArray:
    text = pc.if_else(pc.equal(values, int(limits.max)), "infinity", text)
    return pc.if_else(pc.equal(values, int(limits.min)), "-infinity", text)


def _vector(column: pa.FixedSizeListArray) -> pa.StringArray:
    numbers = _real(column.values.slice(column.offset * column.type.list_size, len(column) * column.type.list_size))
    offsets = np.arange(len(column) + 1, dtype=np.int32) * column.type.list_size
    lists = pa.ListArray.from_arrays(pa.array(offsets), numbers)
    text = pc.binary_join_element_wise(pa.scalar("["), pc.binary_join(lists, ","), pa.scalar("]"), "")
    return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string()))


_FORMS: dict[Family, Callable[[pa.Array], pa.StringArray]] = {
    Family.BOOLEAN: _boolean,
    Family.REAL: _real,
    Family.BYTEA: _bytea,
    Family.UUID: _hex,
    Family.DATE: _date,
    Family.TIMESTAMP: _timestamp,
    Family.TIMESTAMPTZ: _timestamptz,
    Family.VECTOR: _vector,
}
