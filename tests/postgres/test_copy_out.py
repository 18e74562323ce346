"""What is read from the server as columns is what the server holds: their fingerprints, computed by each, agree."""

from __future__ import annotations

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.decoding import decode, header_bytes
from snapseed.snapshot.hashing import EMPTY, Fingerprint, combined, fingerprint
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import parse_type
from tests.conftest import Connection

# Values as PostgreSQL reads them, extremes among them.
VALUES: dict[str, list[str | None]] = {
    "boolean": ["t", None, "f"],
    "smallint": ["-32768", "32767", "0", None],
    "integer": ["-2147483648", "2147483647", None, "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "1", None],
    "real": ["-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38", None],
    "double precision": ["-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308", None],
    "numeric(12,2)": ["0", "0.01", "-0.01", "9999999999.99", "-9999999999.99", "10000", "10000.5", None],
    "numeric(38,38)": ["0." + "0" * 37 + "1", "0." + "9" * 38, "-0." + "9" * 38, "0.5", None],
    "numeric(38,0)": ["9" * 38, "-" + "9" * 38, "1" + "0" * 37, "0", None],
    "numeric(7,5)": ["12.34567", "0.00001", "-99.99999", "10", None],
    "text": ["", "é✓", "a" * 100_000, None, " x "],
    "character(5)": ["a", "", "abcde", None],
    "character varying(9)": ["a  ", "", None],
    "bytea": ["\\x", "\\x00ff00", None],
    "uuid": ["00112233-4455-6677-8899-aabbccddeeff", None],
    "date": ["-infinity", "infinity", "4714-11-24 BC", "5874897-12-31", "2000-01-01", "1970-01-01", None],
    "time": ["00:00", "24:00", "12:34:56.789012", None],
    "timestamp": ["-infinity", "infinity", "4714-11-24 00:00 BC", "294246-12-31 23:59:59.999999", None],
    "timestamptz": ["-infinity", "infinity", "1999-12-31 23:59:59.999999+00", "2038-01-19 03:14:08+00", None],
    "json": ['{"b": 1,  "a": 2}', "[]", None],
    "jsonb": ['{"b": 1,  "a": [1.50, null]}', "1", '"x"', None],
    "vector(3)": ["[1,2.5,-3]", None, "[0,0,1e-30]"],
    "integer[]": ["{}", "{1,NULL,3}", None, "{7}"],
    "text[]": ["{}", '{"",NULL,"a\\"b"}', None],
    "numeric(6,2)[]": ["{1.50,NULL,-0.01}", "{}", None],
    "uuid[]": ["{00112233-4455-6677-8899-aabbccddeeff,NULL}", None],
    "boolean[]": ["{t,f,NULL,t,t,t,t,t,t,f}", "{}", None],
    "integer[][]": ["{{1,2},{3,NULL}}", "{}", None, "{{5}}"],
    "text[][][]": ["{{{a},{b}},{{c},{NULL}}}", None, "{}"],
}


def read(connection: Connection, query: str, *types: str, batch_bytes: int = 4_000_000) -> list[list[pa.Array]]:
    """The batches of columns that a query gives."""
    kinds = [parse_type(name) for name in types]
    with connection.transaction():
        found = list(copied_out(connection, sql.SQL(query), kinds, batch_bytes=batch_bytes))
    return [batch.columns for batch in found]


@pytest.fixture(autouse=True)
def with_vectors(connection: Connection) -> None:
    """The type vector, where the server has it."""
    if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("batch_bytes", [64, 4_000_000])
def test_values_arrive_as_they_are(connection: Connection, name: str, batch_bytes: int) -> None:
    """Each type's values have the server's fingerprint and Arrow's types, read whole or in small batches."""
    if name.startswith("vector") and connection.execute("SELECT to_regtype('vector')").fetchone() == (None,):
        pytest.skip("the server has no extension vector")
    connection.execute(sql.SQL("CREATE TEMP TABLE t (c {})").format(sql.SQL(name)))
    insert = sql.SQL("INSERT INTO t SELECT x::{} FROM unnest(%s::text[]) x").format(sql.SQL(name))
    connection.execute(insert, [VALUES[name] * 3])
    kind = parse_type(name)
    batches = read(connection, "SELECT c FROM t", name, batch_bytes=batch_bytes)
    for (column,) in batches:
        column.validate(full=name != "time")  # Arrow's times end before 24:00
        assert kind.stores(column.type)
    total = sql.SQL("SELECT count(*), sum({}) FROM t").format(row_hash([Column("c", name)]))
    row = connection.execute(total).fetchone()
    assert row is not None
    assert combined(fingerprint(columns, [kind]) for columns in batches) == Fingerprint(
        int(str(row[0])), int(str(row[1])) % 2**64
    )


def test_columns_side_by_side(connection: Connection) -> None:
    """Rows keep their values together, over many batches."""
    query = """
        SELECT g, 'text ' || g, g % 3 = 0, CASE WHEN g % 7 > 0 THEN g * 1.5 END::numeric(9,1)
          FROM generate_series(1, 5000) g
    """
    batches = read(connection, query, "integer", "text", "boolean", "numeric(9,1)", batch_bytes=1000)
    assert len(batches) > 50
    rows = [row for columns in batches for row in zip(*(column.to_pylist() for column in columns), strict=True)]
    assert [row[:3] for row in rows] == [(g, f"text {g}", g % 3 == 0) for g in range(1, 5001)]
    assert sum(row[3] is None for row in rows) == 5000 // 7


def test_no_rows(connection: Connection) -> None:
    """A query without rows gives no batch, and the connection goes on."""
    assert read(connection, "SELECT 1 WHERE false", "integer") == []
    assert connection.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("SELECT 'NaN'::numeric(5,2)", "numeric(5,2)", "NaN"),
        ("SELECT 123456.789", "numeric(5,2)", "digits"),
        ("SELECT 1.005", "numeric(5,2)", "digits"),
        ("SELECT '[0:1]={1,2}'::int[]", "integer[]", "lower bound"),
        ("SELECT '{{1}}'::int[]", "integer[]", "dimensions"),
        ("SELECT '294276-12-31'::timestamp", "timestamp", "294,247"),
        ("SELECT 1::int8", "integer", "length"),
        ("SELECT 1, 2", "integer", "columns"),
    ],
)
def test_what_does_not_fit_is_named(connection: Connection, query: str, name: str, words: str) -> None:
    """A value that the column cannot hold ends the reading with its reason, and the connection can be used again."""
    with pytest.raises(ValueError, match=words):
        read(connection, query, name)
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_an_error_of_the_query(connection: Connection) -> None:
    """Errors are the driver's, before the first row and after some."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        read(connection, "SELECT * FROM nowhere", "integer")
    with pytest.raises(psycopg.errors.DivisionByZero):
        read(connection, "SELECT 1 / (g - 900) FROM generate_series(1, 1000) g", "integer", batch_bytes=100)
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_damaged_stream() -> None:
    """Bytes that are no stream, or end within a row, are refused or waited for, never read beyond their end."""
    kinds = [parse_type("integer"), parse_type("text")]
    row = bytes.fromhex("0002 00000004 00000007 00000001 61")
    header = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    assert header_bytes(pa.py_buffer(header), 19) == 19
    assert header_bytes(pa.py_buffer(header), 18) == 0
    with pytest.raises(ValueError, match="binary COPY"):
        header_bytes(pa.py_buffer(header.replace(b"P", b"Q")), 19)
    for size in range(len(row)):
        assert decode(pa.py_buffer(row[:size]), 0, size, kinds).consumed == 0
    whole = decode(pa.py_buffer(row + b"\xff\xff"), 0, len(row) + 2, kinds)
    assert (whole.rows, whole.ended) == (1, True)
    assert [column.to_pylist() for column in whole.columns] == [[7], ["a"]]
    for damaged in (
        row.replace(b"\x00\x00\x00\x01a", b"\xff\xff\xff\xfea"),
        row + b"\xff\xff\x00",
        b"\x00\x03" + row[2:],
    ):
        with pytest.raises(ValueError, match=r"columns|binary COPY"):
            decode(pa.py_buffer(damaged), 0, len(damaged), kinds)
    assert fingerprint(decode(pa.py_buffer(b""), 0, 0, kinds).columns, kinds) == EMPTY
