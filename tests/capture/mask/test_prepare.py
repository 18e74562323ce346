"""What is found before a row is read: rules that do not fit, columns that look personal, broken references."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from snapseed.capture.mask.prepare import PreparedMasks
from snapseed.config import find_project
from snapseed.errors import ConfigurationError, RefusedError, SnapshotError
from snapseed.postgres.facts import TableName
from tests.capture.mask.conftest import Prepare

Tables = Callable[[str], None]
CHAIN = """
CREATE TABLE a (id int PRIMARY KEY, ref text NOT NULL UNIQUE);
CREATE TABLE b (id bigint PRIMARY KEY REFERENCES a, a_ref text REFERENCES a (ref), UNIQUE (id, a_ref));
CREATE TABLE c (id int PRIMARY KEY, b_id bigint, a_ref text, FOREIGN KEY (b_id, a_ref) REFERENCES b (id, a_ref));
CREATE TABLE log (id int PRIMARY KEY, who text, parts text[]) PARTITION BY HASH (id);
CREATE TABLE log_1 PARTITION OF log FOR VALUES WITH (MODULUS 1, REMAINDER 0);
"""
DECLARED = """
[[capture.references]]
table = "log"
columns = ["who"]
to = "c"
to_columns = ["a_ref"]
[[capture.references]]
table = "log"
columns = ["id"]
to = "a"
"""


def problems(prepare: Prepare, lines: str, **request: object) -> str:
    """What is wrong with the rules."""
    with pytest.raises(ConfigurationError) as caught:
        prepare(lines, **request)
    return caught.value.observed or ""


def rules_of(prepared: PreparedMasks) -> dict[str, str]:
    """The rule of each masked column."""
    return {
        f"{table.table}.{name}": bound.rule.rule
        for table, masks in prepared.tables.items()
        for name, bound in masks.rules.items()
    }


def test_references_follow_through_chains(tables: Tables, prepare: Prepare) -> None:
    """Also through a key that refers to another one, keys of several columns and declared references."""
    tables(CHAIN)
    prepared = prepare(f'"a.id" = "number"\n"a.ref" = "text"\n{DECLARED}')
    assert rules_of(prepared) == {
        **dict.fromkeys(("a.id", "b.id", "c.b_id", "log.id"), "number"),
        **dict.fromkeys(("a.ref", "b.a_ref", "c.a_ref", "log.who"), "text"),
    }
    assert prepared.masked == ("a.id", "a.ref", "b.a_ref", "b.id", "c.a_ref", "c.b_id", "log.id", "log.who")

    def column(table: str, values: pa.Array, name: str) -> list[object]:
        batch = pa.RecordBatch.from_arrays([values], names=[name])
        return list(prepared.tables[TableName("public", table)].apply(batch).column(0).to_pylist())

    keys = [1, 70_000, 2_147_483_647, None]
    assert column("a", pa.array(keys, pa.int32()), "id") == column("c", pa.array(keys, pa.int64()), "b_id")


@pytest.mark.parametrize(
    ("lines", "column"),
    [
        ('"b.a_ref" = "email"', "b.a_ref"),
        ('"a.ref" = "text"\n"c.a_ref" = "email"', "c.a_ref"),
        ('"a.ref" = "text"\n"b.a_ref" = "keep"', "b.a_ref"),
        ('"a.ref" = "null"', "a.ref"),
    ],
)
def test_rules_that_would_break_references_are_refused(
    lines: str, column: str, tables: Tables, prepare: Prepare
) -> None:
    """A column that refers to another one has no rule of its own; null is one that always works."""
    tables(CHAIN)
    assert f"{column}: " in problems(prepare, lines)
    assert rules_of(prepare('"c.a_ref" = "null"')) == {"c.a_ref": "null"}


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        ("v int", '"email"'),
        ("v text", '"emial"'),
        ("v text", '{ rule = "email", days = 3 }'),
        ("v text NOT NULL", '"null"'),
        ("v varchar(20)", '"email"'),
        ("v char(11)", '"phone"'),
        ("v mood", '"text"'),
        ("v mood", '{ rule = "choice", options = ["good", "bad", "ugly"] }'),
        ("v inet", '{ rule = "constant", value = "nowhere" }'),
        ("v short_text", '"email"'),
        ("v text CHECK (v LIKE '%@x.org')", '"email"'),
        ("v text CHECK (v IN ('a', 'b'))", '"text"'),
        ("v date CHECK (v > '2020-01-01')", '{ rule = "date", days = 3000 }'),
        ("v date", '{ rule = "date", by = "w" }'),
        ("v real", '"number"'),
        ("v numeric(30,2)", '"number"'),
        ("v jsonb", '"text"'),
        ("v jsonb", '{ rule = "json", other = "date" }'),
        ("v jsonb", '{ rule = "json", other = "constant" }'),
        ("v text", '"constant"'),
        ("v text", '{ rule = "choice", pool = "no_such_pool" }'),
        ("v text", '"no_such_module:mask"'),
        ("v text CHECK (v LIKE 'a%') DEFAULT 'a'", '"email"'),
        ("v text GENERATED ALWAYS AS (id::text) STORED", '"text"'),
        ("w text", '"text"'),
    ],
)
def test_a_rule_that_does_not_fit_its_column_is_refused(
    column: str, rule: str, tables: Tables, prepare: Prepare
) -> None:
    """By type, length, check, domain, label or NOT NULL, with what does not fit."""
    tables(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN short_text AS text CHECK (length(VALUE) < 9);"
        f"CREATE TABLE t (id int PRIMARY KEY, {column});"
    )
    if "GENERATED" not in column:
        value = {"d": "'2026-01-01'", "i": "NULL", "r": "NULL", "n": "NULL", "j": "NULL", "m": "NULL"}.get(
            column[2], "'a'"
        )
        value = "'a@x.org'" if "@" in column else value
        tables(f"INSERT INTO t SELECT g, {value} FROM generate_series(1, 50) g")  # noqa: S608 - values of ours
    assert "t." in problems(prepare, f'"t.v" = {rule}')


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        ("v varchar(28)", '"email"'),
        ("v mood", '{ rule = "choice", options = ["bad"] }'),
        ("v mood[]", '{ rule = "constant", value = "bad" }'),
        ("v inet", '{ rule = "choice", options = ["::1", "10.0.0.1"] }'),
        ("v short_text", '"text"'),
        ("v text CHECK (v ~ '^[^@]+@[^@]+[.][a-z]+$')", '"email"'),
        ("v text CHECK (length(v) > 3 AND id > 0)", '"email"'),
        ("v jsonb", '{ rule = "json", paths = { "a.b" = { rule = "number", noise = 0.2 } }, other = "keep" }'),
        ("v timestamptz", '"date"'),
        ("v boolean", '{ rule = "constant", value = false }'),
        ("v citext_or_text", '"text"'),
    ],
)
def test_a_rule_that_fits_is_taken(column: str, rule: str, tables: Tables, prepare: Prepare) -> None:
    """For domains, enums, arrays and columns with checks too."""
    tables(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN short_text AS text CHECK (length(VALUE) < 9);"
        f"CREATE DOMAIN citext_or_text AS text; CREATE TABLE t (id int PRIMARY KEY, {column});"
    )
    assert rules_of(prepare(f'"t.v" = {rule}'))
    assert prepare(f'"t.v" = {rule}', is_check=True, secret=None).personal == ()


def test_checks_are_tried_on_values_of_any_type(tables: Tables, prepare: Prepare) -> None:
    """Also documents, bytes, arrays, infinities and NaN: masked ones meet the checks of these columns."""
    tables(
        """CREATE DOMAIN object AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
           CREATE TABLE t (id int PRIMARY KEY, d object, j json CHECK (j ->> 'a' <> ''), b bytea CHECK (length(b) < 3),
             a int[] CHECK (a[1] > 0), n numeric CHECK (n > 0), f float CHECK (f > 0), u uuid CHECK (u IS NOT NULL));
           INSERT INTO t VALUES (1, '{"a": "b"}', '{"a": "b"}', '\\x01', '{3,4}', 'NaN', 'Infinity', md5('')::uuid)"""
    )
    rules = ('d = "json"', 'j = "json"', 'b = { rule = "constant", value = "x" }', 'a = "number"', 'n = "number"')
    more = ('f = { rule = "number", noise = 0.1 }', 'u = "uuid"')
    assert len(prepare("[mask.t]\n" + "\n".join((*rules, *more))).masked) == 7


@pytest.mark.parametrize(("kind", "text", "printed"), [("jsonb", '{"a":1}', '{"a": 1}'), ("inet", "::1", "::1/128")])
def test_a_function_spells_values_as_the_server_does(
    kind: str, text: str, printed: str, tables: Tables, prepare: Prepare, tmp_path: Path
) -> None:
    """Otherwise the rows would be others after a load."""
    tables(f"CREATE TABLE t (id int PRIMARY KEY, v {kind} DEFAULT '{printed}')")
    tables("INSERT INTO t VALUES (1)")
    (tmp_path / f"of_{kind}.py").write_text(
        f"def written(values):\n    return values.str.replace('.*', {text!r})\ndef printed(values):\n    return values"
    )
    assert prepare(f'"t.v" = "of_{kind}:printed"').masked
    assert "t.v: " in problems(prepare, f'"t.v" = "of_{kind}:written"')


def test_no_function_of_a_table_runs(tables: Tables, prepare: Prepare) -> None:
    """It would run as the role that captures, perhaps a superuser. So its checks are not tried."""
    tables(
        """CREATE FUNCTION spy(text) RETURNS bool LANGUAGE plpgsql STRICT
             AS $$ BEGIN RAISE 'it ran' USING ERRCODE = '22000'; END $$;
           CREATE DOMAIN spied AS text CHECK (spy(VALUE));
           CREATE TABLE t (id int PRIMARY KEY, v text, w spied, x text);
           INSERT INTO t VALUES (1, 'a', NULL, 'a');
           ALTER TABLE t ADD CHECK (spy(v)) NOT VALID"""
    )
    assert prepare('"t.v" = "text"\n"t.w" = "email"\n"t.x" = "keep"').masked == ("t.v", "t.w")
    assert prepare('"t.w" = { rule = "constant", value = "x" }', is_check=True).masked == ("t.w",)


PERSONAL = """
CREATE TYPE mood AS ENUM ('good', 'ann@x.org');
CREATE TYPE contact AS (label text, email text);
CREATE TYPE pair AS (a text, b text);
CREATE DOMAIN pairs AS pair[];
CREATE TABLE users (id int PRIMARY KEY, "firstName" text, mail varchar(20) UNIQUE, birthday date, phone bigint,
  seen_from inet, note text DEFAULT 'ask bo@x.org', name text, plan text, data jsonb, email_verified text, mood mood,
  photo bytea, "100%" tsvector, reached contact[], both_of pairs,
  surname2 text, last_name_2 text, step2_count int);
COMMENT ON COLUMN users.plan IS 'as agreed with cy@x.org';
INSERT INTO users (id, plan, data) SELECT g, 'plan', '{}' FROM generate_series(1, 50) g;
UPDATE users SET "100%" = to_tsvector('simple', 'ed@x.org');
UPDATE users SET both_of = ARRAY[('x', 'fay@x.org')]::pair[] WHERE id = 5;
UPDATE users SET plan = 'like that of di@x.org' WHERE id = 3;
UPDATE users SET data = '{"who": "+49 30 1234567"}' WHERE id = 4;
"""
BY_NAME = [
    "users.birthday", "users.firstName", "users.last_name_2", "users.mail", "users.name", "users.note", "users.phone",
    "users.photo", "users.reached", "users.seen_from", "users.surname2",
]  # fmt: skip
BY_VALUE = ["users.100%", "users.both_of", "users.data", "users.plan"]
IN_SCHEMA = """
CREATE DOMAIN address AS text DEFAULT 'gil@x.org';
CREATE TABLE lists (email text) PARTITION BY LIST (email);
CREATE TABLE list_1 PARTITION OF lists FOR VALUES IN ('hal@x.org');
CREATE INDEX some_users ON users (id) WHERE mail <> 'ida@x.org';
CREATE VIEW shown AS SELECT 'jo@x.org' AS mail;
CREATE FUNCTION owner() RETURNS text LANGUAGE sql AS $$ SELECT 'kim@x.org' $$;
CREATE FUNCTION done() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER watched BEFORE UPDATE ON users FOR EACH ROW WHEN (NEW.mail = 'lee@x.org') EXECUTE FUNCTION done();
CREATE POLICY own ON users USING (mail = 'mia@x.org');
CREATE RULE no_lists AS ON DELETE TO lists WHERE (OLD.email = 'ned@x.org') DO INSTEAD NOTHING;
"""


def test_columns_that_look_personal_need_a_rule(tables: Tables, prepare: Prepare, tmp_path: Path) -> None:
    """By name, type and a sample of values; a check looks at no values. The lines that are proposed are enough."""
    tables(PERSONAL)
    prepared = prepare()
    assert sorted(found.column for found in prepared.personal) == sorted([*BY_NAME, *BY_VALUE])
    assert sorted(found.column for found in prepare(is_check=True, secret=None).personal) == BY_NAME
    with pytest.raises(RefusedError) as caught:
        prepared.require_rules(find_project(tmp_path))
    lines = str(caught.value.next_step).partition("[mask]\n")[2]
    assert "ann" not in str(caught.value)
    assert prepare(lines).personal == ()
    assert '"users.mail" = "text"' in lines  # an address of 20 characters has no room for a unique email
    assert prepare("\n".join(f'"{name}" = "keep"' for name in [*BY_NAME, *BY_VALUE])).personal == ()


def test_values_in_the_schema_are_pointed_out_without_being_shown(tables: Tables, prepare: Prepare) -> None:
    """Wherever SQL can have literals: the schema travels as it is. What decides the partition can only be kept."""
    tables(PERSONAL + IN_SCHEMA)
    prepared = prepare()
    assert len(prepared.in_schema) == 3 + IN_SCHEMA.count("@x.org")
    assert not any("@" in place for place in prepared.in_schema)
    (line,) = [found.line for found in prepared.personal if found.column == "lists.email"]
    assert line.startswith('"lists.email" = "keep"')


def test_a_rule_is_proposed_once_for_columns_that_refer_to_each_other(tables: Tables, prepare: Prepare) -> None:
    """For the column at the end of a chain, and for one of a circle at least. The lines are TOML, quotes or not."""
    tables(
        """CREATE TABLE a (email text PRIMARY KEY); CREATE TABLE b (email text PRIMARY KEY REFERENCES a);
           CREATE TABLE c (email text PRIMARY KEY REFERENCES b); CREATE TABLE d (mail text PRIMARY KEY);
           CREATE TABLE e (mail text PRIMARY KEY REFERENCES d); ALTER TABLE d ADD FOREIGN KEY (mail) REFERENCES e;
           CREATE TABLE "f""\\" (mail text); CREATE TABLE g (mail text)"""
    )
    declared = '[[capture.references]]\ntable = "g"\ncolumns = ["mail"]\nto = "a"'
    lines = [found.line.partition("  #")[0] for found in prepare(declared).personal]
    assert lines == ['"a.email" = "email"', '"d.mail" = "email"', '"e.mail" = "email"', r'"f\"\\.mail" = "email"']
    assert prepare("\n".join([*lines, declared])).personal == ()


def test_what_a_check_refuses_is_not_proposed(tables: Tables, prepare: Prepare) -> None:
    """The next rule is, and `keep` where none meets it. Without rows, `text` may: it keeps the shape of values."""
    tables(
        """CREATE DOMAIN corporate AS text CHECK (VALUE ~ '@corp[.]org$');
           CREATE TABLE t (id int PRIMARY KEY, email corporate, phone text NOT NULL CHECK (phone ~ '^[+]49'),
             mail text CHECK (mail ~ '^[^@]+@[^@]+$'), zip text, city text, CHECK (zip <> city AND length(zip) = 5));
           INSERT INTO t SELECT g, g || '@corp.org', '+49' || g, g || '@x.org', 10000 + g, 'x'
             FROM generate_series(1, 9) g"""
    )
    for is_check, rules in ((False, ("null", "keep", "email")), (True, ("text", "text", "email"))):
        lines = [found.line.partition("  #")[0] for found in prepare(is_check=is_check).personal]
        assert [line.partition(" = ")[2].strip('"') for line in lines[:3]] == [*rules]
        assert prepare("\n".join(lines), is_check=is_check).personal == ()


def test_a_type_that_no_snapshot_has_is_no_obstacle(tables: Tables, prepare: Prepare) -> None:
    """To a check: the capture itself says what it cannot store."""
    tables('CREATE TYPE "odd,type (1" AS ENUM (\'x\'); CREATE TABLE t (id int PRIMARY KEY, email "odd,type (1")')
    assert prepare(is_check=True).personal == ()


def test_only_captured_tables_are_looked_at(tables: Tables, prepare: Prepare) -> None:
    """A table that is left out needs no rules."""
    tables(PERSONAL + "CREATE TABLE other (id int PRIMARY KEY, email text)")
    found = prepare(tables={TableName("public", "other")}).personal
    assert [column.column for column in found] == ["other.email"]


@pytest.mark.parametrize(
    ("how", "refused"),
    [("RANGE (at)", True), ("LIST (lower(v))", True), ("HASH (v)", False), ("RANGE (id)", False)],
)
def test_a_row_must_not_fall_out_of_its_partition(how: str, refused: object, tables: Tables, prepare: Prepare) -> None:
    """Where partitions are for some rows only, what decides about them is kept. A default partition takes any row."""
    tables(f"CREATE TABLE t (id int, at date, v text) PARTITION BY {how};")
    lines = '"t.v" = "text"\n"t.at" = { rule = "date", by = "id" }'
    if refused:
        assert "partition" in problems(prepare, lines)
    else:
        assert prepare(lines).masked == ("t.at", "t.v")
    if "LIST" in how:
        tables("CREATE TABLE t_rest PARTITION OF t DEFAULT")
        assert prepare(lines).masked


@pytest.mark.parametrize("secret", [None, "", "guessed", "x" * 31])
def test_a_secret_is_required(secret: str | None, tables: Tables, prepare: Prepare) -> None:
    """One that can be guessed is none. The error does not show it. Rules without a key need none."""
    tables("CREATE TABLE t (id int PRIMARY KEY, v text)")
    with pytest.raises(ConfigurationError) as caught:
        prepare('"t.v" = "text"', secret=secret)
    assert not secret or secret not in str(caught.value)
    assert prepare('"t.v" = "null"', secret=secret).masked


def test_a_failing_rule_shows_no_value(tables: Tables, prepare: Prepare, tmp_path: Path) -> None:
    """Neither in the error nor in what caused it: only the kind of error, and where it was."""
    tables("CREATE TABLE t (id int PRIMARY KEY, v text)")
    (tmp_path / "failing_masks.py").write_text("def mask(values):\n    return values.cast(int)\n")
    masks = prepare('"t.v" = "failing_masks:mask"').tables[TableName("public", "t")]
    batch = pa.RecordBatch.from_arrays([pa.array(["canary-7"])], names=["v"])
    with pytest.raises(SnapshotError) as caught:
        masks.apply(batch)
    assert "canary" not in repr(caught.value.__reduce__()) + str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
