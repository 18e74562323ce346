from __future__ import annotations

import pyarrow as pa
import pytest

from snapseed.snapshot.arrow import sizes_and_elements

TWO = pa.list_(pa.list_(pa.int32()))
THREE = pa.list_(TWO)


@pytest.mark.parametrize(
    ("kind", "values", "sizes", "elements"),
    [
        (pa.list_(pa.int32()), [[1, 2], None, [], [None]], [[2], [0], [0], [1]], [1, 2, None]),
        (TWO, [[[1, 2, 3], [4, None, 6]], None, [], [[7]]], [[2, 3], [0, 0], [0, 0], [1, 1]], [1, 2, 3, 4, None, 6, 7]),
        (THREE, [[[[1], [2]]], [], [[[3, 4]], [[5, 6]]]], [[1, 2, 1], [0, 0, 0], [2, 1, 2]], [1, 2, 3, 4, 5, 6]),
        (TWO, [], [], []),
    ],
)
def test_sizes_and_elements(kind: pa.DataType, values: list[object], sizes: list[object], elements: list[int]) -> None:
    """Each array has a length in every dimension, 0 if it is empty or NULL, also in a slice."""
    dimensions = 1 + (kind.value_type != pa.int32()) + (kind == THREE)
    column = pa.array([*values[:1], *values, *values[:1]], kind).slice(min(1, len(values)), len(values))
    found, flat = sizes_and_elements(column, dimensions)
    assert found.tolist() == sizes
    assert flat.to_pylist() == elements


def test_what_lies_under_a_null() -> None:
    """The inner lists of a NULL may have any length; they are ignored."""
    inner = pa.array([[1, 2], [3], [4]], pa.list_(pa.int32()))
    column = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), inner, mask=pa.array([True, False]))
    sizes, elements = sizes_and_elements(column, 2)
    assert sizes.tolist() == [[0, 0], [1, 1]]
    assert elements.to_pylist() == [4]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (TWO, [[1, 2], [3]], "differ in length"),
        (TWO, [[1], []], "differ in length"),
        (TWO, [[], [1]], "differ in length"),
        (TWO, [[1], None], "NULL in place"),
        (TWO, [[], []], "empty inner arrays"),
        (THREE, [[[1], [2]], [[3]]], "differ in length"),
        (THREE, [[[1], [2]], [[3], [4, 5]]], "differ in length"),
        (THREE, [[[1], None]], "NULL in place"),
        (THREE, [[[]]], "empty inner arrays"),
    ],
)
def test_no_box(kind: pa.DataType, value: list[object], reason: str) -> None:
    """Lists that are not arrays of PostgreSQL are refused, anywhere in the column."""
    good = [[[[1]]]] if kind == THREE else [[[1, 2]]]
    column = pa.array([*good, None, [], value, *good], kind)
    with pytest.raises(ValueError, match=reason):
        sizes_and_elements(column, 3 if kind == THREE else 2)


def test_arrays_that_are_all_null_have_no_elements() -> None:
    """Also if they are lists of lists of UUIDs, of which Arrow cannot build an empty array."""
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 2, pa.binary(16)))
    inner = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), uuids)
    column = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), inner, mask=pa.array([True, True]))
    sizes, elements = sizes_and_elements(column, 2)
    assert sizes.tolist() == [[0, 0], [0, 0]]
    assert (elements.type, len(elements)) == (pa.uuid(), 0)
