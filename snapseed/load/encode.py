"""Arrow columns as the bytes of a COPY stream, many rows at a time. No I/O; no work per row or cell in Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.load.plan import ColumnPlan, TablePlan
from snapseed.load.text_form import copy_text
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import for_copy

# PostgreSQL manual, COPY, "Binary Format": signature, flags, length of the header's extension.
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"


def encode_rows(columns: Sequence[pa.Array], plan: TablePlan) -> pa.Buffer:
    """The rows that `columns` hold side by side, in the format that the plan chose; header and trailer not included."""
    return encode_binary(columns, plan.columns) if plan.binary else encode_text(columns, plan.columns)


def encode_binary(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    """The rows that `columns` hold side by side as binary COPY data, without header and trailer."""
    kinds = [_as_target(plan) for plan in plans]
    return for_copy(columns, kinds, [plan.element_oid for plan in plans]).encoded()


def encode_text(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    r"""The same rows as text COPY data: one line a row, tabs between the columns, `\N` for NULL."""
    texts = [copy_text(column, _as_target(plan)) for column, plan in zip(columns, plans, strict=True)]
    lines = pc.binary_join_element_wise(*texts, "\t")
    return _data_buffer(pc.binary_join_element_wise(lines, pa.scalar("\n"), "").cast(pa.binary()))


def _as_target(plan: ColumnPlan) -> ColumnType:
    """The type to encode for: the table's where a vector goes into real[], else the snapshot's."""
    return plan.target if plan.kind.family is Family.VECTOR else plan.kind


def _data_buffer(joined: pa.BinaryArray) -> pa.Buffer:
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int32)
    start, end = int(offsets[joined.offset]), int(offsets[joined.offset + len(joined)])
    return joined.buffers()[2].slice(start, end - start)
