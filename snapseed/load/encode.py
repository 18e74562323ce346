"""Arrow columns as the bytes of a COPY stream, many rows at a time. No I/O; no work per row or cell in Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snapseed.load.plan import ColumnPlan, TablePlan
from snapseed.load.text_form import copy_text
from snapseed.snapshot.arrow import binary_array, running_offsets
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import copy_field, length_prefixed

Bytes = npt.NDArray[np.uint8]

# PostgreSQL manual, COPY, "Binary Format": signature, flags, length of the header's extension.
BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"
# Made once: each conversion of a Python value looks for pandas, which takes a tenth of encoding where there is none.
_NOTHING = pa.scalar(b"", pa.binary())


def encode_rows(columns: Sequence[pa.Array], plan: TablePlan) -> pa.Buffer:
    """The rows that `columns` hold side by side, in the format that the plan chose; header and trailer not included."""
    return encode_binary(columns, plan.columns) if plan.binary else encode_text(columns, plan.columns)


def encode_binary(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    """The rows that `columns` hold side by side as binary COPY data, without header and trailer.

    Fixed-width values, and the length words between them, are laid into one matrix per run of such columns; then one
    kernel joins matrices and variable-width values row by row into a single buffer, which is the stream.
    """
    rows = len(columns[0])
    count_word = np.frombuffer(len(columns).to_bytes(2, "big"), dtype=np.uint8)
    pieces: list[pa.BinaryArray] = []
    run: list[Bytes] = [np.broadcast_to(count_word, (rows, 2))]
    for column, plan in zip(columns, plans, strict=True):
        field = copy_field(column, _as_target(plan), plan.element_oid or None)
        if field.fixed is not None and field.valid is None:
            word = np.frombuffer(field.fixed.shape[1].to_bytes(4, "big"), dtype=np.uint8)
            run += [np.broadcast_to(word, (rows, 4)), field.fixed]
        elif field.fixed is not None:
            pieces += [_joined(run), length_prefixed(field)]
            run = []
        else:
            run.append(field.lengths().astype(">i4").view(np.uint8).reshape(rows, 4))
            pieces += [_joined(run), field.as_variable()]
            run = []
    if run:
        pieces.append(_joined(run))
    joined = pc.binary_join_element_wise(*[piece for piece in pieces if piece is not None], _NOTHING)
    return _data_buffer(joined)


def encode_text(columns: Sequence[pa.Array], plans: Sequence[ColumnPlan]) -> pa.Buffer:
    r"""The same rows as text COPY data: one line a row, tabs between the columns, `\N` for NULL."""
    texts = [copy_text(column, _as_target(plan)) for column, plan in zip(columns, plans, strict=True)]
    lines = pc.binary_join_element_wise(*texts, "\t")
    return _data_buffer(pc.binary_join_element_wise(lines, pa.scalar("\n"), "").cast(pa.binary()))


def _as_target(plan: ColumnPlan) -> ColumnType:
    """The type to encode for: the table's where a vector goes into real[], else the snapshot's."""
    return plan.target if plan.kind.family is Family.VECTOR else plan.kind


def _joined(run: list[Bytes]) -> pa.BinaryArray | None:
    """Matrices side by side as one binary array: a record a row, whose fields are copied whole, not byte by byte."""
    if not run:
        return None
    rows, starts = len(run[0]), running_offsets(np.array([piece.shape[1] for piece in run]))
    width = int(starts[-1])
    matrix = np.empty((rows, width), dtype=np.uint8)
    for piece, start in zip(run if rows else (), starts, strict=False):
        field = np.dtype((np.void, piece.shape[1]))
        into = np.ndarray(rows, field, matrix, int(start), (width,))
        # A length word is the same in every row.
        into[:] = piece[0].tobytes() if piece.strides[0] == 0 else np.ascontiguousarray(piece).view(field)[:, 0]
    return binary_array(matrix, np.arange(rows + 1, dtype=np.int64) * width)


def _data_buffer(joined: pa.BinaryArray) -> pa.Buffer:
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int32)
    start, end = int(offsets[joined.offset]), int(offsets[joined.offset + len(joined)])
    return joined.buffers()[2].slice(start, end - start)
