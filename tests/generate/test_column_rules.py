"""What the schema file says of columns: never more than PostgreSQL does, and generating fails where a load would."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from snapseed.errors import ConfigurationError, GeneratorError
from snapseed.generate.column_rules import ColumnRule, read_schema_rules
from snapseed.snapshot.types import parse_type
from tests.conftest import PROJECTS
from tests.generate.making import make_snapshot, things, write_project

ROOT = PROJECTS.parent.parent
FILES = [
    *sorted((ROOT / "tests/scaffold/schemas").glob("*.sql")),
    *sorted(PROJECTS.glob("*/generators/schema.sql")),
    ROOT / "generators/schema.sql",
    ROOT / "snapseed/starter/shop/generators/schema.sql",
]
# Of all columns of the application's tables: the type, whether NULL is refused, and the labels of its enum.
COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull,
       attnotnull AND NOT atthasdef AND attidentity = '' AND typdefault IS NULL,
       array(SELECT enumlabel::text FROM pg_enum WHERE enumtypid IN (atttypid, typelem))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_type ON pg_type.oid = atttypid
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p')
      AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_read_is_what_the_server_makes_of_the_file(path: Path, connection: psycopg.Connection) -> None:
    """Every NOT NULL, length and label that is read is in the catalogs, and most NOT NULLs are read."""
    connection.execute(path.read_bytes())
    schema = read_schema_rules(path)
    found = {(table, column): rest for table, column, *rest in connection.execute(COLUMNS)}
    assert found
    for (table, column), (kind, not_null, required, labels) in found.items():
        rule = schema.tables.get(str(table), {}).get(str(column), ColumnRule())
        assert not rule.not_null or not_null, (table, column)
        assert not rule.required or required, (table, column)
        if rule.longest is not None:
            assert str(kind).removesuffix("[]") in {f"character varying({rule.longest})", f"character({rule.longest})"}
        if labels:
            name = str(kind).removesuffix("[]").rpartition(".")[2].strip('"')
            assert schema.enums.get(name) in {frozenset(labels), None}, (table, column)
    rules = [rule for columns in schema.tables.values() for rule in columns.values()]
    assert sum(rule.not_null for rule in rules) >= 0.5 * sum(bool(not_null) for _, not_null, *_ in found.values())
    assert sum(rule.required for rule in rules) >= 0.5 * sum(bool(required) for _, _, required, _ in found.values())


def test_no_type_of_the_server_is_taken_for_a_mistake(connection: psycopg.Connection) -> None:
    """Without a schema file: the types that a column can have, by both their names."""
    query = """
        SELECT name FROM pg_type, LATERAL (VALUES (typname::text), (format_type(oid, NULL))) AS names (name)
        WHERE typtype IN ('b', 'r', 'm') AND typelem = 0 AND typnamespace = 'pg_catalog'::regnamespace
              AND typname NOT LIKE ALL (ARRAY['pg\\_%', 'gtsvector'])
    """
    columns = {str(name): parse_type(str(name)) for (name,) in connection.execute(query)}
    assert len(columns) > 50
    assert list(read_schema_rules(None).rules_of(replace(things, columns=columns))) == list(columns)


def test_a_schema_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Whatever it would have said is not checked, so `generate` must not go on as if there were none."""
    with pytest.raises(ConfigurationError) as caught:
        read_schema_rules(tmp_path / "none.sql")
    assert caught.value.where == str(tmp_path / "none.sql")


@dataclass(frozen=True)
class Case:
    """A schema, the declared type of the column `value`, its values, and what the error says; None: there is none."""

    schema: str
    kind: str
    values: str
    says: str | None


ENUM = "CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'a; b'); CREATE TABLE things (id uuid, value mood)"
TABLE = "CREATE TABLE things (id uuid PRIMARY KEY, value {})"


def every(text: str) -> str:
    """A text in every row."""
    return f"pl.repeat({text!r}, len(rows), eager=True)"


CASES = {
    "a long text": Case("", "varchar(3)", every("naïve"), "'naïve', 5 characters"),
    "a text that fits": Case("", "varchar(5)", every("naïve"), None),
    "a long text in an array": Case("", "char(2)[]", "pl.Series([['no', 'yes']] * len(rows))", "'yes', 3 characters"),
    "a long text for the table": Case(TABLE.format("character varying ( 3 )"), "text", every("four"), "at most 3"),
    "a text without a length": Case(TABLE.format("varchar"), "text", every("four"), None),
    "the shorter length counts": Case(TABLE.format("varchar(3)"), "varchar(9)", every("four"), "at most 3"),
    "NULL": Case(TABLE.format("text NOT NULL"), "text", "rows.or_null('v', rows.code('v', 4), 1)", "20 NULLs"),
    "NULL by a key": Case(TABLE.format("text, PRIMARY KEY (id, value)"), "text", every("a"), None),
    "NULL that a check mentions": Case(
        TABLE.format("text CHECK (value IS NOT NULL OR id IS NOT NULL)"),
        "text",
        "rows.or_null('v', rows.code('v', 4), 1)",
        None,
    ),
    "NULL in a comment": Case(
        "CREATE TABLE things (id uuid, value text -- NOT NULL\n /* NOT NULL */ DEFAULT 'NOT NULL')",
        "text",
        "rows.or_null('v', rows.code('v', 4), 1)",
        None,
    ),
    "NOT NULL that was lifted": Case(
        TABLE.format("text NOT NULL; ALTER TABLE things ALTER value DROP NOT NULL"),
        "text",
        "rows.or_null('v', rows.code('v', 4), 1)",
        None,
    ),
    "a column that is missing": Case(
        TABLE.format("text, other timestamp with time zone NOT NULL"), "text", every("a"), "declare and draw other"
    ),
    "missing, and part of a key": Case(
        "CREATE TABLE things (id uuid, value text, other text PRIMARY KEY)",
        "text",
        every("a"),
        "declare and draw other",
    ),
    "a column that the database computes": Case(
        TABLE.format("int GENERATED ALWAYS AS (1 + 1) STORED"), "integer", "rows.integers('v', 1, 9)", "leave value out"
    ),
    "a column with an identity": Case(
        TABLE.format("int GENERATED ALWAYS AS IDENTITY"), "integer", "rows.integers('v', 1, 9)", None
    ),
    "missing, with a value in the database": Case(
        "CREATE DOMAIN public.code AS text DEFAULT 'x' NOT NULL; CREATE DOMAIN code2 text DEFAULT 'x';"
        + TABLE.format(
            "text, a int NOT NULL DEFAULT 1, b bigserial, c int GENERATED ALWAYS AS (1 + 1) STORED NOT NULL,"
            " d int NOT NULL GENERATED BY DEFAULT AS IDENTITY, e public.code NOT NULL, f code2 NOT NULL, g int,"
            " h int NOT NULL, i int NOT NULL, CONSTRAINT pk PRIMARY KEY (id, b));"
            " ALTER TABLE ONLY public.things ALTER COLUMN h SET DEFAULT nextval('s');"
            " ALTER TABLE things ALTER i ADD GENERATED ALWAYS AS IDENTITY; CREATE TABLE others (j int NOT NULL"
        ),
        "text",
        every("a"),
        None,
    ),
    "a label": Case(ENUM, "mood", every("it's ok"), None),
    "no label": Case(ENUM, "mood", every("glad"), "'glad'"),
    "no label in an array": Case(ENUM, "mood[]", "pl.Series([['sad', None, 'glad']] * len(rows))", "'glad'"),
    "a label that was added": Case(
        ENUM + "; ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad' AFTER 'sad'", "mood", every("glad"), None
    ),
    "an enum after an escaped quote": Case(
        "CREATE TABLE a (b text DEFAULT E'\\''); " + ENUM, "mood", every("glad"), "'glad'"
    ),
    "a quoted enum": Case("CREATE TYPE public.\"Mood\" AS ENUM ('sad')", '"Mood"', every("glad"), "'glad'"),
    "an enum of nobody knows where": Case("", "mood", every("glad"), None),
    "jsonbb": Case("", "jsonbb", every("{}"), "did you mean 'jsonb'?"),
    "varchr(60)": Case("", "varchr(60)", every("a"), "did you mean 'varchar'?"),
    "timestampz[]": Case("", "timestampz[]", "pl.Series([['a']] * len(rows))", "did you mean 'timestamptz'?"),
    "a type that the file lacks": Case(TABLE.format("mood"), "status", every("a"), "status"),
    "a type that only looks wrong": Case("CREATE TYPE points AS (x int, y int)", "points", every("(1,2)"), None),
    "a type in quotes": Case("", '"points"', every("(1,2)"), None),
    "a type of an extension": Case("", "citext", every("a"), None),
    "a type in two words": Case("", "bit varying(3)", every("101"), None),
    "a serial": Case(TABLE.format("serial"), "serial", "rows.integers('v', 1, 9)", None),
    "a file that nobody can read": Case("\udcff", "text", every("a"), None),
    "a dump": Case(
        "\\restrict x\nSET a = 1;\nCREATE TABLE public.things (\n id uuid NOT NULL,\n value character varying(3)\n);",
        "text",
        every("four"),
        "at most 3",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_table_would_refuse_is_an_error(name: str, tmp_path: Path) -> None:
    """With entity, column and a sample; what it takes, or what the file does not tell, is generated."""
    case = CASES[name]
    module = f"""
@entity(key="id", columns={{"id": "uuid", "value": {case.kind!r}}})
def things(rows):
    return pl.DataFrame({{"id": rows.key(), "value": {case.values}}})
"""
    project = write_project(tmp_path / "project", module)
    (project.folder / "schema.sql").write_bytes(case.schema.encode(errors="surrogateescape"))
    project = replace(project, schema=project.folder / "schema.sql")
    if case.says is None:
        assert make_snapshot(project, 20).manifest.rows == 20
        return
    with pytest.raises(GeneratorError) as caught:
        make_snapshot(project, 20)
    assert case.says in str(caught.value)
    assert f"column '{'other' if 'missing' in name else 'value'}'" in (caught.value.where or "")
    assert "'things'" in (caught.value.where or "")
