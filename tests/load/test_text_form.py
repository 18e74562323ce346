from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import pyarrow as pa
import pytest

from snapseed.load.encode import copy_text, encode_binary, encode_text
from snapseed.load.plan import ColumnPlan
from snapseed.snapshot.types import parse_type

# What each value is in a line of COPY's text format (PostgreSQL manual, COPY, "Text Format"). Dates stand as Julian
# days, which PostgreSQL reads for any year: J2440588 is 1970-01-01.
GOLDEN: dict[str, list[tuple[object, str]]] = {
    "text": [
        ("plain", "plain"),
        ("", ""),
        (None, r"\N"),
        (r"\N", r"\\N"),
        (r"\.", r"\\."),
        ("tab\there", r"tab\there"),
        ("line\nbreak", r"line\nbreak"),
        ("\r\n", r"\r\n"),
        (r"back\slash", r"back\\slash"),
        (r"\t", r"\\t"),
        ('"quoted"', '"quoted"'),
        ("grün 😀", "grün 😀"),
    ],
    "text[]": [
        (None, r"\N"),
        ([], "{}"),
        ([None], "{NULL}"),
        (["NULL", ""], '{"NULL",""}'),
        (["a,b", "{c}"], '{"a,b","{c}"}'),
        (['say "x"'], r'{"say \\"x\\""}'),
        (["\\"], r'{"\\\\"}'),
        (["\t", None], r'{"\t",NULL}'),
    ],
    "text[][]": [
        (None, r"\N"),
        ([], "{}"),
        ([["a", None], ["", '"']], r'{{"a",NULL},{"","\\""}}'),
    ],
    "integer[][][]": [([[[1], [2]], [[3], [4]]], '{{{"1"},{"2"}},{{"3"},{"4"}}}')],
    "box[]": [(["(1,1),(0,0)", None], '{"(1,1),(0,0)";NULL}')],
    "app.geometry(point,4326)[]": [(["0101", "0102"], '{"0101":"0102"}')],
    "boolean": [(True, "t"), (False, "f"), (None, r"\N")],
    "boolean[]": [([True, None, False], '{"t",NULL,"f"}')],
    "bigint": [(-(2**63), "-9223372036854775808"), (None, r"\N")],
    "double precision": [
        (0.1, "0.1"),
        (-0.0, "-0"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (5e-324, "5e-324"),
    ],
    "numeric(4,2)": [(Decimal("1.50"), "1.50"), (Decimal("-0.01"), "-0.01"), (None, r"\N")],
    "numeric(38,38)": [(Decimal("0." + "0" * 37 + "1"), "1E-38"), (Decimal("-0." + "9" * 38), "-0." + "9" * 38)],
    "bytea": [(b"\x00\xff\\", r"\\x00ff5c"), (b"", r"\\x"), (None, r"\N")],
    "bytea[]": [([b"\x01", b""], r'{"\\\\x01","\\\\x"}')],
    "date": [
        (0, "J2440588"),
        (-2_440_588, "J0"),
        (2**31 - 1, "infinity"),
        (-(2**31), "-infinity"),
        (None, r"\N"),
    ],
    "time": [(0, "00:00:00.000000"), (86_399_999_999, "23:59:59.999999")],
    "timestamp": [
        (0, "J2440588 00:00:00.000000"),
        (-1, "J2440587 23:59:59.999999"),
        (2**63 - 1, "infinity"),
        (-(2**63), "-infinity"),
        (None, r"\N"),
    ],
    "timestamptz": [
        (946_684_800_000_001, "J2451545 00:00:00.000001+00"),
        (2**63 - 1, "infinity"),
        (-(2**63), "-infinity"),
        (None, r"\N"),
    ],
    "timestamptz[]": [([0, None], '{"J2440588 00:00:00.000000+00",NULL}')],
    "jsonb": [('{"a": "b\\n"}', r'{"a": "b\\n"}'), (None, r"\N")],
    "vector(2)": [([1.5, -0.0], "[1.5,-0]"), (None, r"\N")],
    "share_status": [("very\tactive", r"very\tactive"), (None, r"\N")],
}


def column(type_name: str, values: Sequence[object]) -> pa.Array:
    """An Arrow column of a type, days and microseconds as integers."""
    arrow = parse_type(type_name).arrow
    if pa.types.is_nested(arrow) and pa.types.is_nested(arrow.value_type):
        return pa.array(values, type=arrow)
    storage = arrow.value_type if pa.types.is_list(arrow) else arrow
    if pa.types.is_temporal(storage):
        storage = pa.int32() if pa.types.is_date(storage) else pa.int64()
    return pa.array(values, type=pa.list_(storage) if pa.types.is_list(arrow) else storage).cast(arrow)


@pytest.mark.parametrize("type_name", [name for name in GOLDEN if name != "vector(2)"])
def test_golden_values(type_name: str) -> None:
    """Values are in text COPY as PostgreSQL reads them, whatever column they are sliced from."""
    values = [value for value, _ in GOLDEN[type_name]]
    sliced = column(type_name, values[:1] + values + values[:1]).slice(1, len(values))
    assert copy_text(sliced, parse_type(type_name)).to_pylist() == [text for _, text in GOLDEN[type_name]]


def test_golden_vectors() -> None:
    """A vector is in brackets; a NULL vector is NULL."""
    values = pa.array([value for value, _ in GOLDEN["vector(2)"]], type=pa.list_(pa.float16(), 2))
    assert copy_text(values, parse_type("vector(2)")).to_pylist() == [text for _, text in GOLDEN["vector(2)"]]


def test_uuid() -> None:
    """A uuid is its 32 digits, in arrays too."""
    stored = pa.array([bytes(range(16)), None], type=pa.binary(16))
    digits = bytes(range(16)).hex()
    assert copy_text(stored.cast(pa.uuid()), parse_type("uuid")).to_pylist() == [digits, r"\N"]
    lists = pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), stored.cast(pa.uuid()))
    assert copy_text(lists, parse_type("uuid[]")).to_pylist() == [f'{{"{digits}",NULL}}']


def test_golden_lines() -> None:
    """A row is a line with tabs between columns. No value adds a tab or line break."""
    names = ["integer", "text", "text[]"]
    columns = [
        column("integer", [1, None]),
        column("text", ["a\tb\nc", None]),
        column("text[]", [["\t"], []]),
    ]
    plans = [ColumnPlan(name, parse_type(name), parse_type(name), 0) for name in names]
    expected = '1\ta\\tb\\nc\t{"\\t"}\n\\N\t\\N\t{}\n'
    assert encode_text(columns, plans).to_pybytes() == expected.encode()


def test_vector_for_real_array() -> None:
    """If the table has real[] instead of a vector, the line has an array."""
    plan = ColumnPlan("v", parse_type("vector(2)"), parse_type("real[]"), 700)
    values = pa.array([[1.5, 2.0], None], type=pa.list_(pa.float32(), 2))
    assert encode_text([values], [plan]).to_pybytes() == b'{"1.5","2"}\n\\N\n'


def test_no_box() -> None:
    """Inner arrays of different lengths are refused, as PostgreSQL would refuse the line."""
    with pytest.raises(ValueError, match="differ in length"):
        copy_text(column("inet[][]", [[["::1/128"], []]]), parse_type("inet[][]"))


@pytest.mark.parametrize("encode", [encode_text, encode_binary], ids=["text", "binary"])
def test_arrays_of_two_dimensions_that_are_all_null(encode: Callable[..., pa.Buffer]) -> None:
    """A chunk may hold nothing else, also of a type that Arrow has as an extension."""
    inner = pa.ListArray.from_arrays([0], pa.ExtensionArray.from_storage(pa.uuid(), pa.array([], pa.binary(16))))
    column = pa.ListArray.from_arrays(pa.array([0, 0], pa.int32()), inner, mask=pa.array([True]))
    kind = parse_type("uuid[][]")
    expected = b"\\N\n" if encode is encode_text else b"\0\1\xff\xff\xff\xff"
    assert encode([column], [ColumnPlan("c", kind, kind, 2950)]).to_pybytes() == expected


def test_no_rows() -> None:
    """No rows are no bytes."""
    plan = ColumnPlan("a", parse_type("integer"), parse_type("integer"), 0)
    assert encode_text([column("integer", [])], [plan]).to_pybytes() == b""
