"""A key of any type: rows are in its order, chunks are found by it, and rows that differ are named by it."""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql

from snapseed.capture.request import CaptureRequest, Sizes
from snapseed.verify.database import verify_snapshot
from tests.capture.conftest import filled, project_in
from tests.differences import diff_snapshot

# For each type at least three values that differ.
VALUES = {
    "boolean": ["false", "true"],
    "smallint": ["-5", "7", "31"],
    "bigint": ["-9223372036854775808", "0", "10", "9"],
    "text": ["Z", "a", "é", "", "10", "9", "a%b", "it's"],
    "varchar(9)": ["Z", "a", "ab"],
    "char(4)": ["a", "a!", "Ab"],
    "bytea": [r"\x", r"\x00", r"\xff00"],
    "uuid": ["00000000-0000-0000-0000-000000000001", "f0000000-0000-0000-0000-000000000000"],
    "date": ["-infinity", "4714-11-24 BC", "0001-01-01", "2024-02-29", "5874897-12-31", "infinity"],
    "time": ["00:00", "12:30:00.5", "24:00"],
    "timestamp": ["-infinity", "0044-03-15 12:00 BC", "2024-02-29 23:59:59.999999", "infinity"],
    "timestamptz": ["-infinity", "0044-03-15 12:00 BC", "2024-02-29 23:59:59.1", "12000-01-01", "infinity"],
    "numeric(12,3)": ["-1.5", "0", "0.001", "123456789.125"],
    "numeric": ["NaN", "-1e50", "0", "1.10", "Infinity"],
    "real": ["-Infinity", "-0.1", "1e-45", "16777216", "NaN"],
    "double precision": ["-Infinity", "0.1", "1e300", "1e15", "123456.789", "NaN"],
    "interval": ["1 day", "1 month", "-01:00:00"],
    "inet": ["10.0.0.1", "10.0.0.0/8", "::1"],
    "int4range": ["[1,5)", "[2,3)", "empty"],
    "jsonb": ["1", "[2]", '{"b": 1, "a": 2}'],
    "mood": ["sad", "fine", "glad"],
    "pair": ["(1,a)", "(2,)", "(10,b)"],
    "amount": ["1.00", "2.5", "10"],
    "code": ["Z", "a", "é"],
}
SMALL = Sizes(part_rows=2, chunk_rows=1)


def test_keys_of_every_type(database: str, tmp_path: Path) -> None:
    """Whatever the jobs, the files are the same; the second row of each table is missed, and named."""
    filled(database, "CREATE TYPE mood AS ENUM ('sad', 'fine', 'glad'); CREATE TYPE pair AS (a int, b text)")
    filled(database, "CREATE DOMAIN amount AS numeric CHECK (VALUE > 0); CREATE DOMAIN code AS char(3)")
    tables = {f"t{number:02d}": kind for number, kind in enumerate(VALUES)}
    with psycopg.connect(database, autocommit=True) as connection:
        for table, kind in tables.items():
            name, of_type = sql.Identifier(table), sql.SQL(kind)
            connection.execute(sql.SQL("CREATE TABLE {} (k {}, n int, PRIMARY KEY (k, n))").format(name, of_type))
            insert = sql.SQL("INSERT INTO {} SELECT k, n FROM unnest({}::{}[]) k, generate_series(9, 10) n")
            connection.execute(insert.format(name, sql.Literal(VALUES[kind]), of_type))
        connection.execute("CREATE TABLE single (k timestamptz PRIMARY KEY)")
        connection.execute("INSERT INTO single SELECT to_timestamp(g) FROM generate_series(1, 7) g")
        project = project_in(tmp_path, database)
        manifests = [
            project.capture(CaptureRequest(schema=False, unmasked=True, jobs=jobs, sizes=SMALL)).manifest
            for jobs in (1, 3)
        ]
        assert manifests[0] == manifests[1]
        for entity in manifests[0].entities:
            second = entity.chunks[1].first_key
            equal = [
                sql.SQL("{} = {}::{}").format(
                    sql.Identifier(column.name), sql.Literal(str(value)), sql.SQL(column.type)
                )
                for column, value in zip(
                    entity.key_columns, second if isinstance(second, tuple) else (second,), strict=True
                )
            ]
            where = sql.SQL(" AND ").join(equal)
            gone = connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(entity.table), where))
            assert gone.rowcount == 1, entity.columns
    environment = project.project.environment("dev", {"database": database})
    found = verify_snapshot(project.project, environment, files="rows")
    assert found.files == ()
    assert {result.entity: [chunk.number for chunk in result.chunks] for result in found.entities} == {
        entity.name: [1] for entity in manifests[0].entities
    }
    differences = diff_snapshot(project.project, environment)
    assert {(each.removed_count, each.added_count, each.changed_count) for each in differences.entities} == {(1, 0, 0)}
