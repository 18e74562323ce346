"""Reading a table out of PostgreSQL into Arrow columns, against ADBC, DuckDB and the server's COPY to nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

import adbc_driver_postgresql.dbapi
import duckdb
import psycopg
from psycopg import sql

from benchmarks.load_peers import duckdb_extension
from benchmarks.measure import Findings, Spread, Table, in_seconds, in_turns, seconds
from benchmarks.workspace import Workspace, project_of
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.snapshot.manifest import EntityRecord

_ROWS = 1_000_000
_QUERY = "SELECT * FROM ten_columns"

Reading = tuple[float, float]


def measure_reading(workspace: Workspace) -> Findings:
    """Read a million rows of ten common types, in turns."""
    snapshot = workspace.ten_columns(workspace.rows(_ROWS))
    project = project_of(snapshot)
    workspace.server.ensure_database("reading")
    url = workspace.server.url("reading")
    environment = replace(project.environment("dev"), database=url, snapshot=snapshot.manifest.name, create_schema=True)
    (record,) = load_snapshot(project, environment).manifest.entities
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        ways: list[tuple[str, Callable[[], int]]] = [
            ("`COPY TO '/dev/null'` by the server", lambda: _to_nowhere(connection, record)),
            ("snapseed", lambda: _by_snapseed(connection, record)),
            ("psycopg `copy.read()`, dropped", lambda: _by_psycopg(connection, record)),
            ("ADBC", lambda: _by_adbc(url)),
            ("DuckDB", lambda: _by_duckdb(url)),
        ]
        results = in_turns(workspace.rounds, *(partial(_timed, read, record.rows) for _, read in ways))
    wall = [Spread(tuple(taken for taken, _ in result)) for result in results]
    cpu = [Spread(tuple(used for _, used in result)) for result in results]
    rows = [
        (name, f"{record.rows / total.median / 1e3:,.0f} k rows/s", f"{used.median:.2f} s")
        for (name, _), total, used in zip(ways, wall, cpu, strict=True)
    ]
    what = f"reading {record.rows:,} rows of ten columns into Arrow"
    comparisons = (
        in_seconds(what, "ADBC", wall[1], wall[3], 0.67),
        in_seconds("the same, CPU time of the client", "ADBC", cpu[1], cpu[3], 0.4),
    )
    text = "Wall-clock speed, and CPU seconds of this process."
    return Findings(comparisons, (Table("Reading a table", text, ("way", "speed", "client CPU"), rows),))


def _timed(read: Callable[[], int], expected: int) -> Reading:
    counted: list[int] = []
    used = time.process_time()
    taken = seconds(lambda: counted.append(read()))
    assert counted == [expected]
    return taken, time.process_time() - used


def _to_nowhere(connection: Connection, record: EntityRecord) -> int:
    connection.execute(f"COPY ({_QUERY}) TO '/dev/null' (FORMAT binary)".encode())
    return record.rows


def _by_snapseed(connection: Connection, record: EntityRecord) -> int:
    with copied_out(connection, record.columns, sql.Identifier(record.table), record.table) as batches:
        return sum(batch.num_rows for batch in batches)


def _by_psycopg(connection: Connection, record: EntityRecord) -> int:
    with connection.cursor() as cursor, cursor.copy(f"COPY ({_QUERY}) TO STDOUT (FORMAT binary)".encode()) as copy:
        while copy.read():
            pass
    return record.rows


def _by_adbc(url: str) -> int:
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_QUERY)
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


def _by_duckdb(url: str) -> int:
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{duckdb_extension()}'")
        connection.execute(f"ATTACH '{url}' AS source (TYPE postgres, READ_ONLY)")
        found = connection.execute("SELECT * FROM source.ten_columns")
        return sum(batch.num_rows for batch in found.fetch_record_batch())
