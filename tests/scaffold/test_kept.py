"""Rows that a database holds already: kept as they are, or left alone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from snapseed.errors import UsageError
from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
from tests.conftest import Connection, new_database
from tests.scaffold.conftest import Init, load, module

# A column of each kind of type, with values that are easily lost: NULL, empty texts, quotes, line breaks, infinity.
KINDS = r"""
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE kinds (
    id char(3), on_day date, PRIMARY KEY (id, on_day), label text NOT NULL UNIQUE, yes boolean, small smallint, r real,
    double double precision, exact numeric(10, 2), any_number numeric, words text[], days date[], moods mood[],
    mood mood, at timestamptz, local timestamp(3), clock time, bytes bytea, own uuid, doc jsonb, raw json, price money,
    net int4range, doubled integer GENERATED ALWAYS AS (small * 2) STORED, n integer GENERATED ALWAYS AS IDENTITY
);
INSERT INTO kinds VALUES
    ('b', '2024-02-29', E'a "quoted"\n, line', true, -1, 'NaN', 'Infinity', 1.50, 12345678901234567890123456789012.5,
     '{a,"b,c",NULL,""}', '{2024-01-01}', '{sad,NULL}', 'happy', '2024-01-01 12:34:56.123456+02',
     '2024-01-01 00:00:00.5', '23:59:59.999999', '\xdeadbeef', 'bc9b3742-f282-4603-8b95-bd54ea27d950',
     '{"a": [1, 2]}', '{"a" : 1}', '$1.50', '[1,5)'),
    ('b', '1999-01-01', '', false, 32767, 1e-7, 0.1, 0, 0, '{}', NULL, '{}', 'sad', '1970-01-01', NULL, '00:00', '\x',
     NULL, '[]', 'null', NULL, 'empty');
INSERT INTO kinds VALUES ('aé', '2024-01-01', ' ');
CREATE TABLE many (id integer PRIMARY KEY);
INSERT INTO many SELECT generate_series(1, 500);
CREATE TABLE staff (id integer PRIMARY KEY, email text);
INSERT INTO staff VALUES (1, 'somebody@example.org');
CREATE TABLE of_staff (id integer PRIMARY KEY, staff integer REFERENCES staff);
INSERT INTO of_staff VALUES (1, 1);
CREATE TABLE of_kinds (id integer PRIMARY KEY, kind text NOT NULL REFERENCES kinds (label));
CREATE TABLE loose (n integer);
INSERT INTO loose VALUES (1);
CREATE TABLE numbered (id integer PRIMARY KEY);
INSERT INTO numbered SELECT generate_series(1, 12);
CREATE TABLE empty_one (id integer PRIMARY KEY);
CREATE TABLE signed (id integer PRIMARY KEY, approved_by text);
INSERT INTO signed VALUES (1, 'Bo');
CREATE TABLE settings (id integer PRIMARY KEY, name text, val text);
INSERT INTO settings VALUES (1, 'broker', 'amqp://app:s3cret@mq/prod');
CREATE TABLE kv (id integer PRIMARY KEY, name text, val text);
INSERT INTO kv VALUES (1, 'stripe', 'sk_live_abc123def456'), (2, 'aws', 'AKIAIOSFODNN7EXAMPLE');
CREATE TABLE audit_log (id integer PRIMARY KEY);
INSERT INTO audit_log VALUES (1);
"""
OTHERS = """
CREATE TABLE huge (id integer PRIMARY KEY);
INSERT INTO huge SELECT generate_series(1, 50001);
CREATE TABLE endless (id integer PRIMARY KEY, until timestamptz);
INSERT INTO endless VALUES (1, '-infinity');
"""


@pytest.fixture(scope="module")
def filled(server: str) -> Iterator[str]:
    """A database with all these tables, which nobody changes."""
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute((KINDS + OTHERS).encode())
        yield url


def test_kept_rows_are_exactly_those_of_the_table(init: Init, connection: Connection) -> None:
    """Whatever the types of key and columns. Others refer to them, and a load leaves them where they are."""
    project = init(KINDS, "--keep-small")
    before = connection.execute("SELECT xmin, k FROM kinds k ORDER BY id, on_day").fetchall()
    assert 'return rows.from_pool("kinds")' in module(project, "kinds")
    assert 'rows.choice("kind", kinds["label"])' in module(project, "of_kinds")
    load(project)
    assert connection.execute("SELECT xmin, k FROM kinds k ORDER BY id, on_day").fetchall() == before
    assert "already loaded" in project.run("load", "dev", "--if-changed", check=True).stdout
    connection.execute("TRUNCATE kinds, of_kinds RESTART IDENTITY")
    load(project)
    rows = connection.execute("SELECT k FROM kinds k ORDER BY id, on_day").fetchall()
    assert rows == [row[1:] for row in before]


def test_small_means_few_rows_and_nothing_personal(filled: str) -> None:
    """Nor a log, a table without a key, or rows that refer to rows that are not kept."""
    made = scaffold_project(ScaffoldRequest(filled, keep_small=True))
    pools = {path for path in made.files if path.startswith("generators/pools/")}
    assert pools == {"generators/pools/kinds.csv", "generators/pools/numbered.csv"}
    text = "\n".join(made.remarks)
    assert "values taken from the source: all of kinds, all of numbered" in text
    for table in ("many", "staff", "of_staff", "loose", "signed", "audit_log", "settings", "kv"):
        assert f"left out: {table}: it holds" in text
    named = scaffold_project(ScaffoldRequest(filled, ["public.staff", "of_staff", "many"]))
    assert {
        "generators/pools/staff.csv",
        "generators/pools/of_staff.csv",
        "generators/pools/many.csv",
    } <= named.files.keys()
    assert any("staff.email" in remark for remark in named.remarks)
    assert "of_kinds: it needs rows of kinds: add --keep-rows kinds" in "\n".join(named.remarks)
    assert named.files["generators/pools/many.csv"].split() == ["id", *map(str, range(1, 501))]


def test_rows_in_the_way_of_a_load_are_named(connection: Connection, database: str) -> None:
    """Those of a table that is left out, and refers to one whose rows would be replaced."""
    connection.execute(
        "CREATE TABLE one (id integer PRIMARY KEY); INSERT INTO one VALUES (1);"
        "CREATE TABLE hard (id integer PRIMARY KEY, line path NOT NULL, one integer REFERENCES one);"
        "INSERT INTO hard VALUES (1, '((0,0),(1,1))', 1)"
    )
    made = scaffold_project(ScaffoldRequest(database, include_filled=True))
    assert any(remark.endswith("refer to them: hard") for remark in made.remarks)


@pytest.mark.parametrize(
    ("table", "values", "is_kept"),
    [
        ("crew", ["Anna Mueller", "Bert P. Schmidt-Ott", "Cem O'Neill", "unknown"], False),
        ("heads", ["Žofie Nováková", "Анна Иванова"], False),
        ("shapes", ["Anna Mueller", "round", "flat"], True),
        ("rooms", ["Room 1", "Room 2"], True),
        ("plans", ["free of charge", "PRO PLUS", "Basic"], True),
        ("countries", ["New Zealand", "Costa Rica"], True),
    ],
)
def test_small_tables_whose_values_look_like_full_names_are_not_kept(
    table: str, values: list[str], *, is_kept: bool, connection: Connection, database: str
) -> None:
    """Unless the table is a lookup by its name, or one that somebody names."""
    connection.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, label text)".encode())
    insert = sql.SQL("INSERT INTO {} (label) SELECT unnest(%s::text[])").format(sql.Identifier(table))
    connection.execute(insert, [values])
    made = scaffold_project(ScaffoldRequest(database, keep_small=True, include_filled=True))
    assert (f"generators/pools/{table}.csv" in made.files) == is_kept
    assert f"generators/pools/{table}.csv" in scaffold_project(ScaffoldRequest(database, [table])).files


REFUSED = {
    "loose": "has no key",
    "of_staff": "--keep-rows staff",
    "empty_one": "holds no rows",
    "nobody": "--keep-rows nobody",
    "huge": "50,000 rows",
    "endless": "column until (timestamp with time zone) holds infinity",
}


@pytest.mark.parametrize("name", REFUSED)
def test_rows_that_cannot_be_kept_are_refused(name: str, filled: str) -> None:
    """Without a key, the rows that they refer to, any rows, or a table; too many; or with values no pool has."""
    with pytest.raises(UsageError) as raised:
        scaffold_project(ScaffoldRequest(filled, [name]))
    assert REFUSED[name] in str(raised.value.observed)
