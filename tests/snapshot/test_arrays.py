from __future__ import annotations

import uuid

import pyarrow as pa
import pytest

from snapseed.snapshot.types import parse_type
from snapseed.snapshot.values import array_elements

TWO, THREE = parse_type("integer[][]"), parse_type("integer[][][]")


@pytest.mark.parametrize(
    ("name", "values", "elements"),
    [
        ("integer[]", [[1, 2], None, [], [None]], [1, 2, None]),
        ("integer[][]", [[[1, 2, 3], [4, None, 6]], None, [], [[7]]], [1, 2, 3, 4, None, 6, 7]),
        ("integer[][][]", [[[[1], [2]]], [], [[[3, 4]], [[5, 6]]]], [1, 2, 3, 4, 5, 6]),
        ("integer[][]", [], []),
    ],
)
def test_elements(name: str, values: list[object], elements: list[int]) -> None:
    """The elements of all arrays in their order, also of a slice."""
    kind = parse_type(name)
    column = pa.array([*values[:1], *values, *values[:1]], kind.arrow).slice(min(1, len(values)), len(values))
    assert array_elements(column, kind).to_pylist() == elements


def test_values_under_a_null() -> None:
    """The inner lists of a NULL may have any length; they are ignored."""
    inner = pa.array([[1, 2], [3], [4]], pa.list_(pa.int32()))
    column = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), inner, mask=pa.array([True, False]))
    assert array_elements(column, TWO).to_pylist() == [4]


def test_uuids_under_a_null() -> None:
    """Arrow's extension types are no obstacle."""
    values = pa.array([uuid.UUID(int=number).bytes for number in range(3)], pa.binary(16))
    elements = pa.ExtensionArray.from_storage(pa.uuid(), values)
    column = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), elements, mask=pa.array([True, False]))
    assert array_elements(column, parse_type("uuid[]")).to_pylist() == [uuid.UUID(int=2).bytes]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("integer[][]", [[1, 2], [3]], "differ in length"),
        ("integer[][]", [[1], []], "differ in length"),
        ("integer[][]", [[], [1]], "differ in length"),
        ("integer[][]", [[1], None], "NULL in place"),
        ("integer[][]", [[], []], "empty inner arrays"),
        ("integer[][][]", [[[1], [2]], [[3]]], "differ in length"),
        ("integer[][][]", [[[1], [2]], [[3], [4, 5]]], "differ in length"),
        ("integer[][][]", [[[1], None]], "NULL in place"),
        ("integer[][][]", [[[]]], "empty inner arrays"),
    ],
)
def test_no_box(name: str, value: list[object], reason: str) -> None:
    """Lists that are not arrays of PostgreSQL are refused, anywhere in the column."""
    kind = parse_type(name)
    good = [[[[1]]]] if kind is THREE else [[[1, 2]]]
    column = pa.array([*good, None, [], value, *good], kind.arrow)
    with pytest.raises(ValueError, match=reason):
        array_elements(column, kind)
