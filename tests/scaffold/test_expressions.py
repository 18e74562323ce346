"""Checks as the server prints them: read to the letter, or refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import LiteralString

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from snapseed.scaffold.evaluate import evaluate
from snapseed.scaffold.expressions import Node, UnreadError, columns_of, parse_expression
from snapseed.scaffold.facts import Check, Partition, Partitions, Table
from snapseed.scaffold.limits import Bound, limits_of, order_of, read_rules
from tests.conftest import Connection

NOW = datetime(2026, 1, 1, tzinfo=UTC)

# The condition in SQL, values for its columns, and what it gives for them.
HOLDS: dict[str, tuple[LiteralString, dict[str, object], bool | None]] = {
    "bounds": ("n > 0 AND n <= 10", {"n": Decimal(10)}, True),
    "between": ("n BETWEEN -5 AND -1", {"n": Decimal(0)}, False),
    "negative": ("n < '-10'::integer", {"n": Decimal(-11)}, True),
    "in texts": ("t IN ('a', 'b''c')", {"t": "b'c"}, True),
    "not in": ("t NOT IN ('a', 'b')", {"t": "b"}, False),
    "in varchars": ("v IN ('a', 'b')", {"v": "b"}, True),
    "null is met": ("n > 0", {"n": None}, None),
    "or null": ("n IS NULL OR n > 0", {"n": None}, True),
    "not null": ("n IS NOT NULL", {"n": None}, False),
    "length": ("length(t) BETWEEN 2 AND 3", {"t": "abc"}, True),
    "char_length": ("char_length(v) <= 2", {"v": "abc"}, False),
    "position": ("position('@' IN t) > 1", {"t": "a@b"}, True),
    "regex": (r"t ~ '^[a-z]+\.[0-9]{2}$'", {"t": "ab.12"}, True),
    "regex without case": ("t !~* '^A'", {"t": "abc"}, False),
    "like": ("t LIKE 'a%_c'", {"t": "abcc"}, True),
    "not like": ("t NOT LIKE '%b'", {"t": "a\nb"}, False),
    "lower": ("t = lower(t)", {"t": "Ab"}, False),
    "trimmed": ("btrim(t) <> ''", {"t": "  "}, False),
    "dates": ("d >= '2020-01-01' AND d < CURRENT_DATE", {"d": datetime(2025, 12, 31, tzinfo=UTC)}, True),
    "two columns": ("n <= m * 2", {"n": Decimal(5), "m": Decimal(2)}, False),
    "booleans": ("NOT b OR n = 0", {"b": True, "n": Decimal(0)}, True),
    "equivalence": ("(t = 'a') = (n IS NULL)", {"t": "a", "n": Decimal(1)}, False),
    "distinct": ("n IS DISTINCT FROM m", {"n": None, "m": None}, False),
    "counted": ("num_nonnulls(n, m) = 1", {"n": None, "m": Decimal(1)}, True),
    "coalesced": ("coalesce(n, m) > 0", {"n": None, "m": Decimal(1)}, True),
    "json": ("jsonb_typeof(j) = 'array'", {"j": "[]"}, True),
    "array": ("cardinality(a) <= 2", {"a": ["x", "y", "z"]}, False),
    "array within": ("a <@ ARRAY['x', 'y']", {"a": ["x"]}, True),
    "precedence": ("n + m * 2 - 1 = 6 AND NOT n > m", {"n": Decimal(1), "m": Decimal(3)}, True),
}
COLUMNS: LiteralString = "n numeric, m numeric, t text, v varchar(9), b boolean, d date, j jsonb, a text[]"

UNREAD = {
    "case": "CASE WHEN n > 0 THEN true ELSE false END",
    "a function": "md5(t) <> ''",
    "a part of a date": "extract(year FROM d) > 2000",
    "an interval": "d > CURRENT_DATE - interval '1 day'",
    "a class of characters": "t ~ '^[[:alpha:]]+$'",
    "an element": "a[1] = 'x'",
    "a collation": """t COLLATE "C" > 'a' """,
    "json inside": "j ->> 'a' = 'b'",
}


def printed(connection: Connection, condition: str) -> str:
    """A condition as the server prints it."""
    connection.execute(f"DROP TABLE IF EXISTS c; CREATE TABLE c ({COLUMNS}, CHECK ({condition}))".encode())
    row = connection.execute(
        "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = 'c'::regclass"
    ).fetchone()
    assert row is not None
    return str(row[0])


def test_conditions_give_here_what_they_give_in_the_server(connection: Connection) -> None:
    """Each is printed by the server, read, and evaluated; the server evaluates the same for the same row."""
    for name, (condition, row, expected) in HOLDS.items():
        node = parse_expression(printed(connection, condition))
        assert set(columns_of(node)) == set(row), name
        assert evaluate(node, row, NOW) is expected, name
        shown = sql.SQL("SELECT {} FROM (SELECT {}) row").format(
            sql.SQL(condition.replace("CURRENT_DATE", "date '2026-01-01'")),
            sql.SQL(", ").join(
                sql.SQL("{}::{} AS {}").format(sql.Literal(value), sql.SQL(_type(column)), sql.Identifier(column))
                for column, value in row.items()
            ),
        )
        assert connection.execute(shown).fetchone() == (expected,), name


def _type(column: str) -> LiteralString:
    return next(part for part in COLUMNS.split(", ") if part.startswith(f"{column} ")).partition(" ")[2]


def test_what_is_not_known_is_refused(connection: Connection) -> None:
    """No guess is made about a function, an operator or a form that is not known."""
    row = {"n": Decimal(1), "t": "a", "d": NOW, "a": ["x"], "j": "{}"}
    for name, condition in UNREAD.items():
        text = printed(connection, condition)
        with pytest.raises(UnreadError):  # noqa: PT012 - either may refuse it
            node = parse_expression(text)
            evaluate(node, row, NOW)
            pytest.fail(f"{name}: {text} was read")


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Anything is read, or refused in the one way."""
    with suppress(UnreadError):
        assert isinstance(parse_expression(text), Node)


def table(*checks: str, partitions: dict[int, Partitions] | None = None) -> Table:
    """A table with these checks."""
    named = tuple(Check(f"c{number}", text) for number, text in enumerate(checks))
    return Table(oid=1, schema="public", name="t", columns=(), checks=named, partitions=partitions or {})


def test_bounds_are_the_tightest() -> None:
    """Of several conditions on a column all hold: the higher of two low bounds, the strict one of two alike."""
    rules, unread = read_rules(table("((n >= 0) AND (n > 0))", "(n < (100)::numeric)", "(50 >= n)", "(n IS NOT NULL)"))
    limits = limits_of("n", rules, NOW)
    assert (limits.low, limits.high) == (Bound(Decimal(0), strict=True), Bound(Decimal(50)))
    assert unread == []


def test_choices_lengths_patterns_and_sizes_are_found() -> None:
    """IN, a chain of OR, a length under a cast, a regular expression, and the size of an array."""
    rules, _ = read_rules(
        table(
            "((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            "((l = 1) OR (l = 2) OR (l = 3))",
            "(length((v)::text) < 5)",
            "((p IS NULL) OR (p ~ '^a$'::text))",
            "(cardinality(a) = 3)",
        )
    )
    assert limits_of("s", rules, NOW).allowed == ("a", "b")
    assert limits_of("l", rules, NOW).allowed == (1, 2, 3)
    assert limits_of("v", rules, NOW).max_length == 4
    assert limits_of("p", rules, NOW).patterns == ("^a$",)
    assert limits_of("a", rules, NOW).elements == 3


def test_orders_are_found() -> None:
    """Either way round, and where the later one may be NULL; not where something is added."""
    rules, _ = read_rules(table("(b > a)", "((c IS NULL) OR (c >= (a)::numeric))", "(d < (a + 1))"))
    found = [order_of(rule) for rule in rules]
    assert [(order.before, order.after, order.strict) for order in found if order] == [
        ("a", "b", True),
        ("a", "c", False),
    ]


@pytest.mark.parametrize(
    ("strategy", "bounds", "low", "high", "allowed"),
    [
        ("r", ["FROM (1) TO (10)", "FROM (10) TO (30)", "FROM (40) TO (50)"], 1, 30, None),
        ("r", ["FROM (MINVALUE) TO (10)"], None, 10, None),
        ("l", ["IN ('a', 'b')", "IN ('c', NULL)"], None, None, ("a", "b", "c")),
        ("h", ["WITH (modulus 2, remainder 0)"], None, None, None),
        ("r", ["FROM (1) TO (10)", "DEFAULT"], None, None, None),
    ],
)
def test_partitions_are_bounds(
    strategy: str, bounds: list[str], low: int | None, high: int | None, allowed: tuple[str, ...] | None
) -> None:
    """The longest run of ranges without a gap; all values of lists; none where every row has a partition."""
    texts = [bound if bound == "DEFAULT" else f"FOR VALUES {bound}" for bound in bounds]
    partitions = Partitions(strategy, ("k",), tuple(Partition(1, number, text) for number, text in enumerate(texts)))
    limits = limits_of("k", read_rules(table(partitions={1: partitions}))[0], NOW)
    assert limits.low == (None if low is None else Bound(Decimal(low)))
    assert limits.high == (None if high is None else Bound(Decimal(high), strict=True))
    assert limits.allowed == allowed
