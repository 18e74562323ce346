"""The server decides which values meet a check, and what follows for the columns."""

from __future__ import annotations

import json
from functools import partial

from snapseed.scaffold.conditions import conditions_of
from snapseed.scaffold.decide.combinations import Truths
from snapseed.scaffold.decide.trial import CandidateRows, answer, refusal, rows_of
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.schema import read_schema
from tests.conftest import Connection


def asked(connection: Connection, ddl: str, **values: list[object]) -> dict[tuple[str, ...], Truths]:
    """Which of these values meet the rules of a table `t` that is made by SQL, by the columns of the rules."""
    connection.execute(ddl.encode())
    (table,) = (table for table in read_schema(connection) if table.name == "t")
    found = {}
    for rule in conditions_of(table).rules:
        rows = rows_of([tuple(map(json.dumps, values[name])) for name in rule.columns])
        found[rule.columns] = answer(connection, rule, [table.column(name).type for name in rule.columns], rows)
    return found


def alone(truths: Truths) -> dict[object, bool]:
    """What holds for each value of one column."""
    return {json.loads(value): is_met for (value,), is_met in truths.items()}


def test_functions_and_expressions_of_any_kind_are_tried(connection: Connection) -> None:
    """The server evaluates them, those of the schema's own included."""
    ddl = """CREATE FUNCTION is_fine(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT $1 LIKE 'f%' $$;
        CREATE TABLE t (a text CHECK (is_fine(a)), b integer CHECK (CASE WHEN b > 5 THEN true ELSE b IS NULL END),
        c jsonb CHECK (c ->> 'k' = 'v'), d text[] CHECK (d[1] = 'x'), e date CHECK (extract(isodow FROM e) = 1))"""
    found = asked(
        connection, ddl, a=["no", "fine"], b=[5, 6], c=[{"k": "w"}, {"k": "v"}], d=[["y"], ["x", "y"]],
        e=["2026-01-01", "2026-01-05T00:00:00+00:00"],
    )  # fmt: skip
    assert {name: list(met.values()) for (name,), met in found.items()} == {name: [False, True] for name in "abcde"}


def test_domains_are_tried(connection: Connection) -> None:
    """Their checks name no column."""
    ddl = 'CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0); CREATE TABLE t ("value" even, "select" even)'
    found = asked(connection, ddl, value=[1, 2], select=[3, 4])
    assert alone(found["value",]) == {1: False, 2: True}
    assert alone(found["select",]) == {3: False, 4: True}


def test_a_value_that_a_check_fails_on_does_not_meet_it(connection: Connection) -> None:
    """A division by zero, or a text that its type does not take; the other values are tried all the same."""
    ddl = "CREATE TABLE t (a integer CHECK (10 / a > 1), b varchar(2) CHECK (b <> 'x'), c inet CHECK (c <> '::1'))"
    found = asked(connection, ddl, a=[0, 1], b=["abc", "x", "ab"], c=["x", "10.0.0.1"])
    assert alone(found["a",]) == {0: False, 1: True}
    assert alone(found["b",]) == {"abc": False, "x": False, "ab": True}
    assert alone(found["c",]) == {"x": False, "10.0.0.1": True}


def test_a_check_that_cannot_be_evaluated_is_named(connection: Connection) -> None:
    """It may write, or not be allowed: then nobody knows. Nothing is written, and the connection goes on."""
    ddl = """CREATE TABLE written (n integer);
        CREATE FUNCTION writes(integer) RETURNS boolean LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO written VALUES ($1); RETURN true; END $$;
        CREATE TABLE t (a integer CHECK (writes(a)), b integer CHECK (b > 1))"""
    connection.execute("SET default_transaction_read_only = off")
    connection.execute(ddl.encode())
    connection.execute("SET default_transaction_read_only = on")
    found = asked(connection, "SELECT 1", a=[1], b=[1, 2])
    assert found["a",] == {}
    assert alone(found["b",]) == {1: False, 2: True}
    assert connection.execute("SELECT count(*) FROM written").fetchone() == (0,)


def test_combinations_are_tried(connection: Connection) -> None:
    """Of all columns of a rule, NULL among the values."""
    found = asked(connection, "CREATE TABLE t (a integer, b integer, CHECK (a < b))", a=[1, 2, None], b=[2, None])
    pairs = {(a, b) for a in ("1", "2", "null") for b in ("2", "null")}
    assert found["a", "b"] == {pair: pair != ("2", "2") for pair in pairs}


def test_many_combinations_are_cut_short() -> None:
    """A rule over several long lists takes no more than some thousands of rows."""
    assert 1_000 <= len(rows_of([tuple(map(str, range(200)))] * 2)) <= 10_000


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
