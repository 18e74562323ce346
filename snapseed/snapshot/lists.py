"""Nested Arrow lists as the arrays of PostgreSQL, which are boxes: all sublists of one level are equally long."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snapseed.snapshot.buffers import running_offsets

Sizes = npt.NDArray[np.int64]


def sizes_and_elements(column: pa.Array, dimensions: int) -> tuple[Sizes, pa.Array]:
    """The length of each array in each of its dimensions (shape rows x dimensions), and all elements in a row.

    Empty and NULL arrays have no length in any dimension; what lies under a NULL is left out. Raises `ValueError` for
    sublists of one array that differ in length, are NULL or empty: PostgreSQL has no such arrays.
    """
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    sizes = np.zeros((len(column), dimensions), dtype=np.int64)
    sizes[:, 0] = _counts(column)
    filled = sizes[:, 0] > 0
    lists = sizes[:, 0]
    column = column.flatten()
    for level in range(1, dimensions):
        if column.null_count:
            raise ValueError("an array has a NULL in place of one of its inner arrays")
        counts = _counts(column)
        sizes[filled, level] = counts[running_offsets(lists)[:-1][filled]]
        if not np.array_equal(np.repeat(sizes[:, level], lists), counts):
            raise ValueError("the inner arrays of an array differ in length")
        if not counts.all():
            raise ValueError("an array has empty inner arrays; without elements it is empty itself")
        lists = lists * sizes[:, level]
        column = column.flatten()
    return sizes, column


def _counts(column: pa.ListArray) -> Sizes:
    """Elements of each list, 0 where null."""
    counts: Sizes = np.diff(column.offsets.to_numpy()).astype(np.int64)
    if column.null_count:
        counts[column.is_null().to_numpy(zero_copy_only=False)] = 0
    return counts
