"""What is read in checks and partitions as the server prints them: limits, orders and constants."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapseed.scaffold.conditions import Bound, Conditions, Limits, conditions_of
from snapseed.scaffold.expressions import NOW, constant_of
from snapseed.scaffold.schema import Check, Table, read_schema
from tests.conftest import Connection


def conditions(connection: Connection, ddl: str, name: str = "t") -> Conditions:
    """What is read of a table that is made by SQL."""
    connection.execute(ddl.encode())
    return conditions_of(next(table for table in read_schema(connection) if table.name == name))


# A column of the name c with a condition on it, and the limits that are read.
LIMITS = {
    "both ends": ("c integer CHECK (c > 0 AND c <= 10)", Limits(Bound(Decimal(0), strict=True), Bound(Decimal(10)))),
    "between": ("c numeric CHECK (c BETWEEN -1.5 AND 2)", Limits(Bound(Decimal("-1.5")), Bound(Decimal(2)))),
    "a constant first": ("c integer CHECK (5 >= c)", Limits(high=Bound(Decimal(5)))),
    "a negative constant": ("c integer CHECK (c < '-10'::integer)", Limits(high=Bound(Decimal(-10), strict=True))),
    "or null": ("c integer CHECK (c IS NULL OR c >= 3)", Limits(Bound(Decimal(3)))),
    "texts": ("c text CHECK (c IN ('a', 'it''s'))", Limits(allowed=("a", "it's"))),
    "varchars": ("c varchar(9) CHECK (c IN ('a', 'b'))", Limits(allowed=("a", "b"))),
    "one after another": ("c integer CHECK (c = 1 OR c = 2 OR c = 3)", Limits(allowed=(1, 2, 3))),
    "an enum": ("c mood CHECK (c IN ('sad', 'so-so'))", Limits(allowed=("sad", "so-so"))),
    "length": ("c text CHECK (length(c) BETWEEN 3 AND 40)", Limits(min_length=3, max_length=40)),
    "length of bytes": ("c bytea CHECK (octet_length(c) = 32)", Limits(min_length=32, max_length=32)),
    "in one case": ("c text CHECK (upper(c) IN ('A', 'B'))", Limits(allowed=("A", "B"))),
    "a pattern in any case": ("c text CHECK (c ~* '^[a-z]+$')", Limits(patterns=("^[a-z]+$",))),
    "length of varchar": ("c varchar CHECK (char_length(c) < 5)", Limits(max_length=4)),
    "a pattern": ("c text CHECK (c ~ '^[a-z]+$')", Limits(patterns=("^[a-z]+$",))),
    "size": ("c text[] CHECK (cardinality(c) = 3)", Limits(elements=3)),
    "today": ("c date CHECK (c <= CURRENT_DATE)", Limits(high=Bound(NOW))),
    "a day": ("c date CHECK (c > '2020-02-01')", Limits(Bound(datetime(2020, 2, 1, tzinfo=UTC), strict=True))),
    "a domain": ("c small", Limits(Bound(Decimal(0), strict=True), Bound(Decimal(9)))),
    "a calculation": ("c integer CHECK (c * 2 < 9)", Limits()),
    "a function": ("c text CHECK (md5(c) = 'x')", Limits()),
    "a case": ("c integer CHECK (CASE WHEN c > 0 THEN true ELSE false END)", Limits()),
}


def test_limits_are_read(connection: Connection) -> None:
    """Comparisons with constants, lists, lengths, patterns and sizes; nothing in what is more complicated."""
    ddl = """CREATE TYPE mood AS ENUM ('sad', 'so-so'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
        CREATE DOMAIN small AS positive CHECK (VALUE <= 9);"""
    for number, (column, _) in enumerate(LIMITS.values()):
        ddl += f"CREATE TABLE t{number} ({column});"
    connection.execute(ddl.encode())
    tables = {table.name: table for table in read_schema(connection)}
    found = {name: conditions_of(tables[f"t{number}"]).limits["c"] for number, name in enumerate(LIMITS)}
    assert found == {name: limits for name, (_, limits) in LIMITS.items()}


def test_limits_are_the_tightest(connection: Connection) -> None:
    """The higher of two lower ends, and of two that are equal the one that leaves itself out."""
    found = conditions(
        connection, "CREATE TABLE t (c integer CHECK (c >= 0), CHECK (c > 0), CHECK (c < 100), CHECK (c <= 50))"
    )
    assert found.limits["c"] == Limits(Bound(Decimal(0), strict=True), Bound(Decimal(50)))


def test_orders_are_read(connection: Connection) -> None:
    """Either way round, and also if the later one may be NULL; not if something is added."""
    found = conditions(
        connection,
        "CREATE TABLE t (a integer, b integer, c numeric, d integer,"
        "CONSTRAINT k1 CHECK (b > a), CONSTRAINT k2 CHECK (c IS NULL OR c >= a), CONSTRAINT k3 CHECK (d < a + 1))",
    )
    assert [(order.before, order.after, order.strict) for order in found.orders] == [
        ("a", "b", True),
        ("a", "c", False),
    ]


def test_conditions_joined_by_and_are_rules_of_their_own(connection: Connection) -> None:
    """Each with its columns, whatever their names look like."""
    ddl = """CREATE TABLE t ("select" integer, "B c" text, CHECK ("select" > 1 AND ("B c" <> 'x' OR "select" = 2)))"""
    assert [rule.columns for rule in conditions(connection, ddl).rules] == [("select",), ("B c", "select")]


PARTITIONS = {
    "the longest run of ranges": (
        "RANGE (c)", ["FROM (1) TO (10)", "FROM (10) TO (30)", "FROM (40) TO (50)"],
        Limits(Bound(Decimal(1)), Bound(Decimal(30), strict=True)),
    ),
    "a range without a beginning": (
        "RANGE (c)", ["FROM (MINVALUE) TO (10)"], Limits(high=Bound(Decimal(10), strict=True))
    ),
    "all values of lists": ("LIST (c)", ["IN (1, 2)", "IN (3, NULL)"], Limits(allowed=(1, 2, 3))),
    "hashes": ("HASH (c)", ["WITH (MODULUS 1, REMAINDER 0)"], Limits()),
    "a partition for all others": ("RANGE (c)", ["FROM (1) TO (10)", "DEFAULT"], Limits()),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTITIONS)
def test_partitions_are_limits(name: str, connection: Connection) -> None:
    """A row must have a partition."""
    key, bounds, limits = PARTITIONS[name]
    ddl = f"CREATE TABLE t (c integer) PARTITION BY {key};"
    for number, bound in enumerate(bounds):
        values = bound if bound == "DEFAULT" else f"FOR VALUES {bound}"
        ddl += f"CREATE TABLE t{number} PARTITION OF t {values};"
    assert conditions(connection, ddl).limits["c"] == limits


def test_constants_are_read() -> None:
    """Defaults as the server prints them; anything that has to be evaluated is not a constant."""
    constants = {
        "'draft'::character varying": "draft",
        '\'bad\'::"Sales Dept"."Mood"': "bad",
        "true": True,
        "'-5'::integer": Decimal(-5),
        "1.50": Decimal("1.50"),
        "'2020-01-01 00:00:00+01'::timestamp with time zone": datetime(2019, 12, 31, 23, tzinfo=UTC),
        "now()": NOW,
        "nextval('s'::regclass)": None,
        "'{}'::text[]": None,
        "('x'::text || 'y'::text)": None,
    }
    assert {text: constant_of(text) for text in constants} == constants


@given(st.text(max_size=40))
@example("(")
@example("a; b")
@example("")
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever cannot be parsed is one rule without limits, over the columns that the catalog names."""
    table = Table(oid=1, schema="public", name="t", columns=(), checks=(Check(text, ("c",)),))
    assert conditions_of(table).rules
