from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_binary
from snapseed.load.plan import ColumnPlan
from snapseed.snapshot.types import parse_type

Connection = psycopg.Connection[tuple[object, ...]]


def plan(name: str, target: str = "", element_oid: int = 0) -> ColumnPlan:
    """The plan of a column whose table has the same type, or another."""
    return ColumnPlan(name, parse_type(name), parse_type(target or name), element_oid)


# A table of two rows, column by column: its type, its values, and the field of each (PostgreSQL manual, COPY, "Binary
# Format": the length of the value, -1 for NULL, and the value as its type's send function gives it).
NULL = "ffffffff"
FIELDS = [
    ("integer", pa.array([7, None], pa.int32()), "00000004 00000007", NULL),
    ("text", pa.array(["aé", ""]), "00000003 61c3a9", "00000000"),
    ("boolean", pa.array([None, True]), NULL, "00000001 01"),
    ("smallint", pa.array([-2, 1], pa.int16()), "00000002 fffe", "00000002 0001"),
    ("timestamptz", pa.array([946_684_799_999_995, None]), "00000008 fffffffffffffffb", NULL),
    ("date", pa.array([10_956, 2**31 - 1], pa.int32()), "00000004 ffffffff", "00000004 7fffffff"),
    ("double precision", pa.array([-0.0, float("nan")]), "00000008 80" + "00" * 7, "00000008 7ff8" + "00" * 6),
    ("jsonb", pa.array(["{}", None]), "00000003 01 7b7d", NULL),
    # Dimensions, whether it has NULLs, type of the elements; length and lower bound; the elements.
    (
        "text[]",
        pa.array([["b", None], []], pa.list_(pa.string())),
        "0000001d 00000001 00000001 00000019 00000002 00000001 00000001 62 ffffffff",
        "0000000c 00000000 00000000 00000019",
    ),
    # Of two dimensions: length and lower bound of each, then the elements.
    (
        "smallint[][]",
        pa.array([None, [[1], [None]]], pa.list_(pa.list_(pa.int16()))),
        NULL,
        "00000026 00000002 00000001 00000015 00000002 00000001 00000001 00000001 00000002 0001 ffffffff",
    ),
    # Number of dimensions, an unused word, the elements.
    (
        "vector(2)",
        pa.array([None, [1.0, 0.5]], pa.list_(pa.float16(), 2)),
        NULL,
        "0000000c 0002 0000 3f800000 3f000000",
    ),
    ("uuid", pa.array([bytes(range(16)), None], pa.binary(16)), "00000010 000102030405060708090a0b0c0d0e0f", NULL),
]
TABLE = [column.cast(parse_type(name).arrow) if "(" not in name else column for name, column, _, _ in FIELDS]
PLANS = [plan(name) for name, _, _, _ in FIELDS]
ROWS = [bytes.fromhex(f"{len(FIELDS):04x}" + "".join(field[row] for field in FIELDS)) for row in (2, 3)]


def test_golden_rows() -> None:
    """Rows are the bytes that the manual describes: the number of fields, then each field after its length."""
    assert encode_binary(TABLE, PLANS).to_pybytes() == b"".join(ROWS)


@pytest.mark.parametrize("field", FIELDS, ids=[name for name, _, _, _ in FIELDS])
def test_golden_fields(field: tuple[str, pa.Array, str, str]) -> None:
    """For a table of one column, the number of fields is followed by that column's bytes."""
    name, column, first, second = field
    column = column if "(" in name else column.cast(parse_type(name).arrow)
    expected = bytes.fromhex("0001" + first + "0001" + second)
    assert encode_binary([column], [plan(name)]).to_pybytes() == expected


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("stop", [0, 1, 2])
def test_slices(start: int, stop: int) -> None:
    """A slice of the columns is encoded like its rows alone."""
    sliced = [column.slice(start, max(0, stop - start)) for column in TABLE]
    assert encode_binary(sliced, PLANS).to_pybytes() == b"".join(ROWS[start:stop])


def test_header_and_trailer(connection: Connection) -> None:
    """The server accepts a stream of header, rows and trailer, and writes the same itself."""
    chosen = [number for number, (name, _, _, _) in enumerate(FIELDS) if name != "vector(2)"]
    columns = ", ".join(f"c{number} {FIELDS[number][0]}" for number in chosen)
    connection.execute(f"CREATE TEMP TABLE t ({columns})".encode())
    rows = encode_binary([TABLE[number] for number in chosen], [PLANS[number] for number in chosen]).to_pybytes()
    stream = BINARY_HEADER + rows + BINARY_TRAILER
    assert stream.startswith(b"PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    with connection.cursor() as cursor:
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.write(stream)
        with cursor.copy("COPY t TO STDOUT (FORMAT binary)") as copy:
            assert b"".join(bytes(data) for data in copy) == stream


def test_vector_for_real_array() -> None:
    """If the table has real[] instead of a vector, the field is an array."""
    column = pa.array([[1.0, 0.5], None], pa.list_(pa.float16(), 2))
    expected = (
        "0001 00000024 00000001 00000000 000002bc 00000002 00000001 00000004 3f800000 00000004 3f000000 0001 ffffffff"
    )
    assert encode_binary([column], [plan("vector(2)", "real[]", 700)]).to_pybytes() == bytes.fromhex(expected)


def test_array_names_the_type_of_the_table() -> None:
    """An array of a type that is not built in carries the oid of that type in the target database."""
    column = pa.array([["x"]], pa.list_(pa.string()))
    assert encode_binary([column], [plan("mood[]", "mood[]", 16_999)]).to_pybytes()[14:18] == (16_999).to_bytes(
        4, "big"
    )


def test_vector_with_a_null_element() -> None:
    """A vector with a NULL element is refused, because pgvector has no form for it; a NULL vector is not."""
    column = pa.array([[1.0, None], None], pa.list_(pa.float32(), 2))
    with pytest.raises(ValueError, match="NULL element"):
        encode_binary([column], [plan("vector(2)")])
    assert encode_binary([column.slice(1)], [plan("vector(2)")]).to_pybytes() == bytes.fromhex("0001 ffffffff")


def test_memory_follows_the_stream() -> None:
    """Encoding takes a few times the memory of the stream, no object per row, and keeps nothing."""
    rows = 20_000
    columns = [pa.array(np.arange(rows)), pa.array(["some text that is not short"] * rows)]
    plans = [plan("bigint"), plan("text")]
    size = len(encode_binary(columns, plans))
    before, objects = pa.total_allocated_bytes(), sys.getallocatedblocks()
    tracemalloc.start()
    stream = encode_binary(columns, plans)
    numpy_bytes, numpy_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numpy_peak < 4 * size
    assert pa.total_allocated_bytes() - before + numpy_bytes < 2 * size
    assert sys.getallocatedblocks() - objects < rows // 10
    del stream
    assert pa.total_allocated_bytes() == before
