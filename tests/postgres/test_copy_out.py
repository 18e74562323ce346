"""Rows that are read into Arrow are the server's rows; whatever else it sends is an error, and never a crash."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from psycopg import pq, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed.errors import LoadError, ServerError, SnapseedError, SnapshotError
from snapseed.postgres.copy_out import BatchLimits, copied_out
from snapseed.postgres.failures import translated
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.hashing import Fingerprint, combined, fingerprint
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import parse_type
from tests.conftest import Connection, new_database

# Values as PostgreSQL reads them, the extremes among them. `tests/verify/test_rows_agree.py` draws more of most types.
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
    "numeric": ["NaN", "-Infinity", "1.50", "1" * 200, None],
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
    "halfvec(3)": ["[1,2.5,-3]", None],
    "integer[]": ["{}", "{1,NULL,3}", None, "{7}"],
    "text[]": ["{}", '{"",NULL,"a\\"b"}', None],
    "numeric(6,2)[]": ["{1.50,NULL,-0.01}", "{}", None],
    "uuid[]": ["{00112233-4455-6677-8899-aabbccddeeff,NULL}", None],
    "boolean[]": ["{t,f,NULL,t,t,t,t,t,t,f}", "{}", None],
    "integer[][]": ["{{1,2},{3,NULL}}", "{}", None, "{{5}}"],
    "text[][][]": ["{{{a},{b}},{{c},{NULL}}}", None, "{}"],
    "integer[][][][][][]": ["{{{{{{1,2}}}}},{{{{{3,NULL}}}}}}", None],
    "interval": ["1 year -2 days 03:04:05.6", None],
    "inet": ["10.0.0.1", "::1/64", None],
    "int4range": ["[1,5)", "empty", "(,)", None],
    "mood": ["très bien", "NULL", None],
    "mood[]": ['{"très bien",NULL,"NULL"}', "{}", None],
    "pair": ['(1,"a, b")', "(,)", None],
    "pair[]": ['{"(1,a)",NULL}', None],
    "percent": ["99.50", None],
}
INTEGER = [Column("c", "integer")]
LIMITS = BatchLimits()


@pytest.fixture(scope="module")
def types(server: str) -> Iterator[str]:
    """The URL of a database with an enum, a composite type and a domain, and with pgvector if the server has it."""
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'très bien', 'NULL')")
        connection.execute("CREATE TYPE pair AS (number integer, word text)")
        connection.execute("CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE <= 100)")
        if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            connection.execute("CREATE EXTENSION vector")
        yield url


@pytest.fixture
def connection(types: str) -> Iterator[Connection]:
    """A connection to that database; tables that a test creates are temporary."""
    with psycopg.connect(types, autocommit=True) as opened:
        yield opened


def read(connection: Connection, query: str, *columns: Column, limits: BatchLimits = LIMITS) -> list[pa.RecordBatch]:
    """All batches of a query's columns, with the driver's errors translated as everywhere."""
    source = sql.SQL("({}) AS rows").format(sql.SQL(query))
    with (
        translated("reading", "the database"),
        copied_out(connection, columns or INTEGER, source, "things", limits) as batches,
    ):
        return list(batches)


@pytest.mark.parametrize("name", VALUES)
def test_values_arrive_as_they_are(connection: Connection, name: str) -> None:
    """Each type's values have the server's fingerprint and Arrow's type, in batches of two rows."""
    kind, column = parse_type(name), Column("c", name)
    if kind.base in {"vector", "halfvec"} and connection.execute("SELECT to_regtype('vector')").fetchone() == (None,):
        pytest.skip("the server has no extension vector")
    connection.execute(sql.SQL("CREATE TEMP TABLE t (c {})").format(sql.SQL(name)))
    insert = sql.SQL("INSERT INTO t SELECT x::{} FROM unnest(%s::text[]) x").format(sql.SQL(name))
    connection.execute(insert, [VALUES[name] * 3])
    batches = read(connection, "SELECT c FROM t", column, limits=BatchLimits(rows=2))
    assert {batch.num_rows for batch in batches} <= {1, 2}
    for batch in batches:
        batch.validate(full=kind.base != "time without time zone")  # Arrow's times end before 24:00
        assert kind.stores(batch.schema.field("c").type)
        # A batch without NULLs has no bitmap.
        assert batch.column(0).null_count or not batch.column(0).buffers()[0]
    total = sql.SQL("SELECT count(*), sum({}) FROM t").format(row_hash([column]))
    row = connection.execute(total).fetchone()
    assert row is not None
    expected = Fingerprint(int(str(row[0])), int(str(row[1])) % 2**64)
    assert combined(fingerprint(batch.columns, [kind]) for batch in batches) == expected


def test_columns_side_by_side(connection: Connection) -> None:
    """Rows keep their values together, and no batch exceeds the limits in rows and bytes."""
    columns = [Column("g", "integer"), Column("t", "text"), Column("b", "boolean"), Column("n", "numeric(9,1)")]
    query = """
        SELECT g, repeat('é', g % 90) || g AS t, g % 3 = 0 AS b, CASE WHEN g % 7 > 0 THEN g * 1.5 END::numeric(9,1) AS n
          FROM generate_series(1, 5000) g
    """
    batches = read(connection, query, *columns, limits=BatchLimits(rows=64, bytes=7000))
    sizes = [batch.num_rows for batch in batches]
    assert max(sizes) == 64
    assert min(sizes[:-1]) < 64
    assert max(batch.nbytes for batch in batches) <= 7000
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [(row["g"], row["t"], row["b"]) for row in rows] == [
        (g, "é" * (g % 90) + str(g), g % 3 == 0) for g in range(1, 5001)
    ]
    assert sum(row["n"] is None for row in rows) == 5000 // 7


def test_a_row_larger_than_a_batch(connection: Connection) -> None:
    """Comes alone, and its neighbors in other batches."""
    query = "SELECT repeat('x', CASE WHEN g = 50 THEN 300000 ELSE 5 END) AS c FROM generate_series(1, 100) g"
    batches = read(connection, query, Column("c", "text"), limits=BatchLimits(bytes=10_000))
    assert [batch.num_rows for batch in batches] == [49, 1, 50]


def test_memory_is_that_of_a_batch(connection: Connection) -> None:
    """However many rows are read, when each batch is dropped before the next one."""
    before, most = pa.total_allocated_bytes(), 0
    source = sql.SQL("(SELECT g AS c FROM generate_series(1, 200000) g) AS rows")
    with copied_out(connection, INTEGER, source, "things", BatchLimits(rows=1000)) as batches:
        for batch in batches:
            assert batch.num_rows == 1000
            most = max(most, pa.total_allocated_bytes() - before)
    assert most < 3 * 4 * 1000


def test_no_rows(connection: Connection) -> None:
    """A query without rows gives no batch."""
    assert read(connection, "SELECT 1 AS c WHERE false") == []


def test_a_block_that_is_left_early(connection: Connection) -> None:
    """Cancels the COPY, and leaves a connection that can be used again."""
    source = sql.SQL("(SELECT generate_series(1, 10000000) AS c) AS rows")
    with copied_out(connection, INTEGER, source, "things", BatchLimits(rows=10)) as batches:
        assert next(batches).num_rows == 10
    assert connection.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("'NaN'::numeric", "numeric(5,2)"),
        ("123456.789", "numeric(5,2)"),
        ("1.005", "numeric(5,2)"),
        ("10::numeric ^ 41", "numeric(38,0)"),
        ("'[0:1]={1,2}'::int[]", "integer[]"),
        ("'{{1}}'::int[]", "integer[]"),
        ("'294276-12-31'::timestamp", "timestamp without time zone"),
    ],
)
def test_what_a_snapshot_cannot_hold(connection: Connection, value: str, name: str) -> None:
    """Is named by table, column and row, and the connection can be used again."""
    query = f"SELECT g AS a, CASE WHEN g = 1007 THEN {value} END AS c FROM generate_series(1, 2000) g"  # noqa: S608
    with pytest.raises(SnapshotError) as caught:
        read(connection, query, Column("a", "integer"), Column("c", name), limits=BatchLimits(rows=100))
    assert caught.value.where == "things, column c, row 1,007"
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_texts_that_are_not_utf_8(server: str) -> None:
    """Are named by their column. Only a database that knows no encoding sends them."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS any_bytes")
        connection.execute(
            "CREATE DATABASE any_bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
        )
    try:
        with psycopg.connect(make_conninfo(server, dbname="any_bytes"), autocommit=True) as connection:
            for value in (r"E'\xff'", r"ARRAY[E'\xc3']"):
                kind = "text[]" if "ARRAY" in value else "text"
                with pytest.raises(SnapshotError, match="column c"):
                    read(connection, f"SELECT {value} AS c", Column("c", kind))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE any_bytes WITH (FORCE)")


@pytest.mark.parametrize(
    ("query", "error", "settings"),
    [
        ("SELECT * FROM nowhere", LoadError, ""),
        ("SELECT 1 / (g - 900) AS c FROM generate_series(1, 1000) g", LoadError, ""),
        ("SELECT 1 AS c FROM pg_sleep(30)", ServerError, "SET statement_timeout = 20"),
    ],
)
def test_an_error_of_the_server(connection: Connection, query: str, error: type[SnapseedError], settings: str) -> None:
    """Is the usual one, before the first row and after some, and the connection can be used again."""
    connection.execute(settings.encode())
    with pytest.raises(error) as caught:
        read(connection, query, limits=BatchLimits(rows=100))
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.sqlstate
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_notices_while_rows_arrive(connection: Connection) -> None:
    """The driver's handlers run, although the core holds no lock of Python."""
    body = "BEGIN RAISE NOTICE '%', g; RETURN g; END"
    connection.execute(f"CREATE FUNCTION pg_temp.loud(g int) RETURNS int LANGUAGE plpgsql AS $${body}$$".encode())
    heard: list[str | None] = []
    connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    (batch,) = read(connection, "SELECT pg_temp.loud(g) AS c FROM generate_series(1, 50) g")
    assert heard == [str(number) for number in range(1, 51)]
    assert batch.num_rows == 50


def when_asleep(url: str, sleeper: Connection, act: Callable[[Connection], object]) -> threading.Thread:
    """A thread that acts as soon as the query of a connection sleeps. It runs while this one waits for rows."""
    process = sleeper.info.backend_pid

    def wait() -> None:
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        with psycopg.connect(url, autocommit=True) as other:
            while other.execute(query, [process]).fetchone() is None:
                pass
            act(other)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# The server is silent before the first rows reach the client, or after many of them.
SILENT = "SELECT g AS c FROM generate_series(1, 100000) g, pg_sleep(CASE WHEN g = %s THEN 60 ELSE 0 END)"


@pytest.mark.parametrize("row", [1, 90_000])
def test_ctrl_c_while_the_server_is_silent(connection: Connection, types: str, row: int) -> None:
    """Ends the waiting, cancels the query, and leaves a connection that can be used again."""
    thread = when_asleep(types, connection, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        read(connection, SILENT.replace("%s", str(row)))
    thread.join()
    assert connection.execute("SELECT 2").fetchone() == (2,)


@pytest.mark.parametrize("row", [1, 90_000])
def test_a_session_that_is_ended(connection: Connection, types: str, row: int) -> None:
    """By an administrator, half-way: the usual error, and a closed connection."""
    process = connection.info.backend_pid
    thread = when_asleep(types, connection, lambda other: other.execute("SELECT pg_terminate_backend(%s)", [process]))
    with pytest.raises(ServerError) as caught:
        read(connection, SILENT.replace("%s", str(row)))
    thread.join()
    assert isinstance(caught.value.__cause__, psycopg.errors.AdminShutdown)
    assert connection.closed


# ── A server that lies ───────────────────────────────────────────────────────────────────────────────────────────────

Lie = Callable[[int, bytes], bytes | None]


@contextmanager
def liar(url: str, lie: Lie) -> Iterator[str]:
    """The URL of a real server behind one that replaces the data of its COPY messages.

    `lie` gets the number of the message and its data; None ends the connection.
    """
    place = conninfo_to_dict(url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, place, lie), daemon=True).start()
        yield make_conninfo(url, host="127.0.0.1", port=listener.getsockname()[1], sslmode="disable")
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, place: dict[str, object], lie: Lie) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            host, port = str(place.get("host") or "localhost"), int(str(place.get("port") or 5432))
            if host.startswith("/"):
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(Path(host) / f".s.PGSQL.{port}"))
            else:
                server = socket.create_connection((host, port))
            threading.Thread(target=_forward, args=(client, server), daemon=True).start()
            threading.Thread(target=_lie, args=(server, client, lie), daemon=True).start()


def _forward(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError), client, server:
        while data := client.recv(65_536):
            server.sendall(data)


def _lie(server: socket.socket, client: socket.socket, lie: Lie) -> None:
    """PostgreSQL manual, "Message Formats": a type, a length that counts itself, data. `d` is CopyData."""
    number = 0
    with suppress(OSError, struct.error), server.makefile("rb") as messages:
        while True:
            kind, length = struct.unpack(">cI", messages.read(5))
            data: bytes | None = messages.read(length - 4)
            if kind == b"d":
                data = lie(number, messages_data := data or b"")
                number += bool(messages_data)
            if data is None:
                break
            client.sendall(struct.pack(">cI", kind, len(data) + 4) + data)
    with suppress(OSError):  # `_forward` still waits for the client, so closing would not tell it
        client.shutdown(socket.SHUT_RDWR)


def replaced(old: bytes, new: bytes, *, at: int = 5) -> Lie:
    """Replace bytes of one message."""
    return lambda number, data: data.replace(old, new) if number == at else data


def whole(new: bytes, *, at: int = 5) -> Lie:
    """Replace one message."""
    return lambda number, data: new if number == at else data


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
ROW = struct.pack(">hiiiii", 2, 4, 7, 8, 0, 0)
LIES: dict[str, Lie] = {
    "another signature": replaced(b"PGCOPY", b"PGCOPX", at=0),
    "flags": replaced(b"\r\n\0\0\0", b"\r\n\0\0\1", at=0),
    "half a header": whole(HEADER[:12], at=0),
    "an extension beyond the end": whole(HEADER[:15] + b"\x7f\xff\xff\xff", at=0),
    "no columns": whole(b"\0\0"),
    "more columns": whole(b"\0\3" + ROW[2:]),
    "one byte": whole(b"\0"),
    "a row that ends in a length": whole(ROW[:4]),
    "a row that ends in a value": whole(ROW[:-1]),
    "bytes after a row": whole(ROW + b"\0"),
    "a length beyond the end": whole(struct.pack(">hiiiii", 2, 4, 7, 9, 0, 0)),
    "the greatest length": whole(struct.pack(">hiiiii", 2, 4, 7, 2**31 - 1, 0, 0)),
    "a negative length": whole(struct.pack(">hiiiii", 2, 4, 7, -2, 0, 0)),
    "an integer of 5 bytes": whole(struct.pack(">hiibiii", 2, 5, 7, 0, 8, 0, 0)),
    "a trailer before the end": whole(b"\xff\xff"),
    "no trailer": whole(ROW, at=10),
}


@pytest.mark.parametrize("name", LIES)
def test_a_server_that_lies(types: str, name: str) -> None:
    """Gets an error that says what is wrong with its answer, and the connection can be used again."""
    columns = Column("c", "integer"), Column("d", "bigint")
    with liar(types, LIES[name]) as url, psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(ServerError) as caught:
            read(connection, "SELECT g AS c, 0::bigint AS d FROM generate_series(1, 10) g", *columns)
        assert "binary COPY" in str(caught.value.expected)
        assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_server_that_goes_away(types: str) -> None:
    """In the middle of the rows: the usual error of a lost connection, which is closed."""
    with liar(types, lambda number, data: None if number == 5 else data) as url:
        connection = psycopg.connect(url, autocommit=True)
        with pytest.raises(ServerError, match="connection was lost"):
            read(connection, "SELECT g AS c FROM generate_series(1, 10) g")
        assert connection.closed
        assert connection.pgconn.status == pq.ConnStatus.BAD
