"""The server decides which values meet a check, and what follows for the columns."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from snapseed.scaffold.conditions import Rule, conditions_of
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.schema import Check, read_schema
from snapseed.scaffold.trial import CandidateRows, Candidates, Verdict, answer, refusal
from tests.conftest import Connection


def asked(connection: Connection, ddl: str, *, nullable: bool = False, **draws: list[list[object]]) -> Verdict:
    """The verdict on the examples of draws for columns of a table `t` that is made by SQL."""
    connection.execute(ddl.encode())
    (table,) = (table for table in read_schema(connection) if table.name == "t")
    columns = tuple(
        Candidates(
            name, table.column(name).type, tuple(tuple(map(json.dumps, examples)) for examples in found), nullable
        )
        for name, found in draws.items()
    )
    return answer(connection, conditions_of(table).rules, columns)


def test_the_first_draw_that_fits_is_chosen(connection: Connection) -> None:
    """All of its examples meet the checks on the column. There is none if no draw fits."""
    ddl = "CREATE TABLE t (a integer CHECK (a % 2 = 0), b text CHECK (b ~* '^x') CHECK (length(b) < 3))"
    verdict = asked(connection, ddl, a=[[1, 2], [2, 4]], b=[["xxx"], ["y"]])
    assert verdict.first == {"a": 1, "b": None}


def test_functions_and_expressions_of_any_kind_are_tried(connection: Connection) -> None:
    """The server evaluates them, those of the schema's own included."""
    ddl = """CREATE FUNCTION is_fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 LIKE 'f%' $$;
        CREATE TABLE t (a text CHECK (is_fine(a)), b integer CHECK (CASE WHEN b > 5 THEN true ELSE b IS NULL END),
        c jsonb CHECK (c ->> 'k' = 'v'), d text[] CHECK (d[1] = 'x'), e date CHECK (extract(isodow FROM e) = 1))"""
    verdict = asked(
        connection, ddl,
        a=[["no"], ["fine"]], b=[[5], [6]], c=[[{}, {"k": "w"}], [{"k": "v"}]], d=[[["y"]], [["x", "y"]]],
        e=[["2026-01-01"], ["2026-01-05T00:00:00+00:00"]],
    )  # fmt: skip
    assert verdict.first == dict.fromkeys("abcde", 1)
    assert not verdict.untried


def test_domains_are_tried(connection: Connection) -> None:
    """Their checks name no column."""
    ddl = 'CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0); CREATE TABLE t ("value" even, "select" even)'
    assert asked(connection, ddl, value=[[1], [2]], select=[[3], [4]]).first == {"value": 1, "select": 1}


def test_a_value_that_a_check_fails_on_does_not_meet_it(connection: Connection) -> None:
    """A division by zero, or a text that its type does not take; the other values are tried all the same."""
    ddl = "CREATE TABLE t (a integer CHECK (10 / a > 1), b varchar(2) CHECK (b <> 'x'), c inet CHECK (c <> '::1'))"
    verdict = asked(connection, ddl, a=[[0], [1]], b=[["abc"], ["x"], ["ab"]], c=[["x"], ["10.0.0.1"]])
    assert verdict.first == {"a": 1, "b": 2, "c": 1}


def test_a_check_that_cannot_be_evaluated_is_named(connection: Connection) -> None:
    """It may write, or not be allowed: then nobody knows. Nothing is written, and the connection goes on."""
    ddl = """CREATE TABLE written (n integer);
        CREATE FUNCTION writes(integer) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO written VALUES ($1); RETURN true; END $$;
        CREATE TABLE t (a integer CHECK (writes(a)), b integer CHECK (b > 1))"""
    connection.execute("SET default_transaction_read_only = off")
    connection.execute(ddl.encode())
    connection.execute("SET default_transaction_read_only = on")
    verdict = asked(connection, "SELECT 1", a=[[1]], b=[[1], [2]])
    assert [rule.columns for rule in verdict.untried] == [("a",)]
    assert verdict.first == {"a": 0, "b": 1}
    assert connection.execute("SELECT count(*) FROM written").fetchone() == (0,)


def test_combinations_are_tried(connection: Connection) -> None:
    """Of all columns of a rule, NULL among the values of those that take it."""
    verdict = asked(
        connection, "CREATE TABLE t (a integer, b integer, CHECK (a < b))", nullable=True, a=[[1, 2]], b=[[2]]
    )
    (found,) = verdict.combinations.values()
    pairs = {(a, b) for a in ("1", "2", "null") for b in ("2", "null")}
    assert found == {pair: pair != ("2", "2") for pair in pairs}


def test_a_column_that_does_not_take_null_is_named(connection: Connection) -> None:
    """By its own check; a column without a value that is known takes part in nothing."""
    ddl = "CREATE TABLE t (a integer CHECK (a IS NOT NULL), b integer, CHECK (a < b))"
    verdict = asked(connection, ddl, nullable=True, a=[[1]], b=[])
    assert verdict.refuse_null == {"a"}
    assert [rule.columns for rule in verdict.untried] == [("a", "b")]


def test_many_combinations_are_cut_short(connection: Connection) -> None:
    """A rule over several long lists takes no more than some thousands of rows."""
    connection.execute("CREATE TABLE t (a integer, b integer)")
    rule = Rule(Check("(a <> b)", ("a", "b")), "(a <> b)", ("a", "b"))
    column = Candidates("a", "integer", (tuple(map(str, range(200))),), may_be_null=False)
    verdict = answer(connection, (rule,), (column, replace(column, name="b")))
    assert 1_000 <= len(verdict.combinations[rule]) <= 10_000


FILMS = """CREATE TABLE t (id serial PRIMARY KEY, days smallint NOT NULL CHECK (days > 0), rate numeric(4, 2), total
    numeric(5, 2) GENERATED ALWAYS AS (days * rate) STORED)"""


def test_whole_rows_meet_the_constraints_of_the_table_itself(connection: Connection) -> None:
    """On a copy that is gone afterwards. What the database numbers is not counted."""
    connection.execute(FILMS.encode())

    def said(days: str, rate: str) -> str | None:
        columns = (("days", "smallint"), ("rate", "numeric(4,2)"))
        return refusal(connection, CandidateRows("public", "t", columns, ("id",), (("1", "1"), (days, rate))))

    assert said("3", "4.99") is None
    assert "t_days_check" in str(said("0", "4.99"))
    assert "overflow" in str(said("300", "99.99"))
    assert "not-null" in str(said("null", "4.99"))
    assert connection.execute("SELECT last_value, is_called FROM t_id_seq").fetchone() == (1, False)
    assert connection.execute("SELECT count(*) FROM pg_class WHERE relname ~ 'candidates'").fetchone() == (0,)


def test_a_role_that_may_not_try_rows_is_no_refusal(connection: Connection) -> None:
    """Nor is a transaction that can only read, as on a standby."""
    connection.execute(FILMS.encode())
    rows = CandidateRows("public", "t", (("days", "smallint"),), ("id",), (("0",),))
    assert refusal(connection, rows) is not None
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        assert refusal(connection, rows) is None


def test_a_column_without_which_rows_are_taken_stays_null(connection: Connection) -> None:
    """If none of them is to blame, a note says what the server said."""
    connection.execute("CREATE TABLE t (id integer PRIMARY KEY, a integer, b text, c integer NOT NULL CHECK (c > 0))")
    tables, asking = read_schema(connection), partial(answer, connection)
    (entity,) = plan_project(
        tables, asking, refusal=lambda rows: "no b" if "b" in dict(rows.columns) else None
    ).entities
    assert {*entity.columns} == {"id", "a", "c"}
    assert "b: NULL, because no b" in entity.notes
    (entity,) = plan_project(tables, asking, refusal=lambda _: "never").entities
    assert {*entity.columns} == {"id", "a", "b", "c"}
    assert any("never" in note for note in entity.notes)
