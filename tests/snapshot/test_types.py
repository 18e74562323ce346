from __future__ import annotations

import pyarrow as pa
import pytest

from snapseed.errors import ConfigurationError
from snapseed.snapshot.types import Family, parse_type

# What people write, what format_type prints, and how it is encoded.
SPELLINGS = [
    ("bool", "boolean", Family.BOOLEAN),
    ("int2", "smallint", Family.SMALLINT),
    ("int", "integer", Family.INTEGER),
    ("int4", "integer", Family.INTEGER),
    ("INTEGER", "integer", Family.INTEGER),
    ("int8", "bigint", Family.BIGINT),
    (" bigint ", "bigint", Family.BIGINT),
    ("float4", "real", Family.REAL),
    ("float(24)", "real", Family.REAL),
    ("float(25)", "double precision", Family.DOUBLE),
    ("float", "double precision", Family.DOUBLE),
    ("float8", "double precision", Family.DOUBLE),
    ("double  Precision", "double precision", Family.DOUBLE),
    ("decimal(8,2)", "numeric(8,2)", Family.NUMERIC),
    ("numeric (10 , 2 )", "numeric(10,2)", Family.NUMERIC),
    ("numeric(10)", "numeric(10,0)", Family.NUMERIC),
    ("numeric(38,38)", "numeric(38,38)", Family.NUMERIC),
    ("numeric(39,0)", "numeric(39,0)", Family.TEXT_FORM),
    ("numeric(3,-2)", "numeric(3,-2)", Family.TEXT_FORM),
    ("numeric(2,5)", "numeric(2,5)", Family.TEXT_FORM),
    ("numeric", "numeric", Family.TEXT_FORM),
    ("text", "text", Family.TEXT),
    ("varchar", "character varying", Family.TEXT),
    ("VARCHAR(40)", "character varying(40)", Family.TEXT),
    ("character varying(40)", "character varying(40)", Family.TEXT),
    ("char(3)", "character(3)", Family.CHARACTER),
    ("bpchar", "character", Family.CHARACTER),
    ('"char"', '"char"', Family.TEXT_FORM),
    ("bytea", "bytea", Family.BYTEA),
    ("UUID", "uuid", Family.UUID),
    ("date", "date", Family.DATE),
    ("time", "time without time zone", Family.TIME),
    ("time(3)", "time(3) without time zone", Family.TIME),
    ("timetz", "time with time zone", Family.TEXT_FORM),
    ("timestamp", "timestamp without time zone", Family.TIMESTAMP),
    ("timestamp(0) without time zone", "timestamp(0) without time zone", Family.TIMESTAMP),
    ("timestamptz", "timestamp with time zone", Family.TIMESTAMPTZ),
    ("timestamptz(3)", "timestamp(3) with time zone", Family.TIMESTAMPTZ),
    ("timestamp(3) with time zone", "timestamp(3) with time zone", Family.TIMESTAMPTZ),
    ("TIMESTAMP WITH TIME ZONE", "timestamp with time zone", Family.TIMESTAMPTZ),
    ("interval", "interval", Family.TEXT_FORM),
    ("interval day to second(3)", "interval day to second(3)", Family.TEXT_FORM),
    ("varbit(5)", "bit varying(5)", Family.TEXT_FORM),
    ("json", "json", Family.JSON),
    ("jsonb", "jsonb", Family.JSONB),
    ("vector(3)", "vector(3)", Family.VECTOR),
    ("extensions.vector(3)", "extensions.vector(3)", Family.VECTOR),
    ("halfvec(3)", "halfvec(3)", Family.TEXT_FORM),
    ("geometry(PointZ, 4326)", "geometry(pointz,4326)", Family.TEXT_FORM),
    ("share_status", "share_status", Family.TEXT_FORM),
    ('app."Share ""Status"""', 'app."Share ""Status"""', Family.TEXT_FORM),
    ('"Two  Words"', '"Two  Words"', Family.TEXT_FORM),
]
NAMES = sorted({name for _, name, _ in SPELLINGS})
REFUSED = [
    "",
    "1st",
    "text;",
    "text)",
    "text[3]",
    "text[][][][][][][]",
    "vector(a)",
    "app.point(-1)",
    "app.point(a b)",
    "numeric(a)",
    "varchar(-1)",
    "numeric(1,2,3)",
    f"numeric({'9' * 5000})",
    f"varchar({'9' * 5000})",
    'a"b',
    '""',
    "a.b.c",
    "größe",
    "text\0",
]
NO_DIMENSIONS = ["vector", "vector[]", "vector(0)", "vector(16001)", "vector(3,3)", "public.vector"]


@pytest.mark.parametrize(("written", "name", "family"), SPELLINGS)
def test_spelling(written: str, name: str, family: Family) -> None:
    """Any spelling of a type is recognized, and its name is the one that format_type prints."""
    kind = parse_type(written)
    assert (kind.name, kind.family) == (name, family)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_stable(name: str) -> None:
    """The name of a type names that type again, and so does the name of its array."""
    assert parse_type(name).name == name
    assert parse_type(f"{name}[]").name == f"{name}[]"


@pytest.mark.parametrize("name", [name for name in NAMES if "vector(" not in name])
def test_array(name: str) -> None:
    """An array has the family of its elements, and its Arrow type is a list of theirs."""
    scalar, array = parse_type(name), parse_type(f"{name} []")
    assert array.is_array
    assert not scalar.is_array
    assert array.element == scalar
    assert array.family is scalar.family
    assert array.arrow == pa.list_(scalar.arrow)
    assert array.has_binary_form == scalar.has_binary_form


@pytest.mark.parametrize("name", ["integer", "numeric(10,2)", "inet", '"Two  Words"', "geometry(point,4326)"])
def test_dimensions(name: str) -> None:
    """An array of several dimensions is a list of lists, with the same element type."""
    kind = parse_type(f"{name}[] [][]")
    assert kind.name == f"{name}[][][]"
    assert kind.dimensions == 3
    assert kind.element == parse_type(name)
    assert kind.arrow == pa.list_(pa.list_(pa.list_(parse_type(name).arrow)))


def test_array_of_vectors() -> None:
    """An array of vectors is stored as text, because its binary form differs between databases."""
    kind = parse_type("vector(3)[]")
    assert kind.arrow == pa.list_(pa.string())
    assert not kind.has_binary_form


@pytest.mark.parametrize("text", REFUSED)
def test_refused_name(text: str) -> None:
    """Text that cannot name a type is refused, and the error shows it."""
    with pytest.raises(ConfigurationError) as caught:
        parse_type(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", NO_DIMENSIONS)
def test_vector_without_dimensions(text: str) -> None:
    """A vector without dimensions that pgvector has is refused, with the bounds."""
    with pytest.raises(ConfigurationError, match="1 <= n <= 16000"):
        parse_type(text)


@pytest.mark.parametrize(
    ("name", "binary"), [("integer", True), ("uuid[]", True), ("vector(3)", True), ("inet", False), ("inet[]", False)]
)
def test_binary_form(name: str, *, binary: bool) -> None:
    """A type we do not know has no binary form, nor have its arrays."""
    assert parse_type(name).has_binary_form is binary


@pytest.mark.parametrize(
    ("name", "arrow"),
    [
        ("integer", pa.int32()),
        ("numeric(10,2)", pa.decimal128(10, 2)),
        ("uuid", pa.uuid()),
        ("timestamptz", pa.timestamp("us", "UTC")),
        ("share_status", pa.string()),
        ("real", pa.float32()),
        ("real", pa.float16()),
        ("real[]", pa.list_(pa.float16())),
        ("text[]", pa.list_(pa.field("element", pa.string(), nullable=False))),
        ("real[][]", pa.list_(pa.list_(pa.float16()))),
        ("vector(3)", pa.list_(pa.float32(), 3)),
        ("vector(3)", pa.list_(pa.field("element", pa.float16()), 3)),
    ],
)
def test_stores(name: str, arrow: pa.DataType) -> None:
    """A type is stored in its Arrow type, whatever the name of list items; floats may also be narrower."""
    assert parse_type(name).stores(arrow)


@pytest.mark.parametrize(
    ("name", "arrow"),
    [
        ("integer", pa.int64()),
        ("numeric(10,2)", pa.decimal128(10, 3)),
        ("uuid", pa.binary(16)),
        ("timestamptz", pa.timestamp("us")),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("timestamp", pa.timestamp("ms")),
        ("text", pa.large_string()),
        ("text", pa.dictionary(pa.int32(), pa.string())),
        ("double precision", pa.float32()),
        ("double precision", pa.float16()),
        ("vector(3)", pa.list_(pa.float32(), 4)),
        ("vector(3)", pa.list_(pa.float32())),
        ("vector(3)", pa.list_(pa.float64(), 3)),
        ("real[]", pa.list_(pa.float32(), 3)),
        ("text[]", pa.string()),
        ("text[][]", pa.list_(pa.string())),
        ("text[]", pa.list_(pa.list_(pa.string()))),
    ],
)
def test_does_not_store(name: str, arrow: pa.DataType) -> None:
    """No other Arrow type can store the type."""
    assert not parse_type(name).stores(arrow)
