"""What tables and columns become: each case is a schema and what the plan says about it; all of them load."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest

from snapseed.scaffold.decide.trial import answer
from snapseed.scaffold.plan import EntityPlan, ProjectPlan, plan_project
from snapseed.scaffold.schema import read_schema
from tests.conftest import Connection

CUSTOMERS = "CREATE TABLE customers (id integer PRIMARY KEY);"
SHOPS = "CREATE TABLE shops (id integer PRIMARY KEY);"


def plan_of(connection: Connection, ddl: str) -> ProjectPlan:
    """The plan for tables made by SQL."""
    connection.execute(ddl.encode())
    return plan_project(read_schema(connection), partial(answer, connection))


def entity_of(plan: ProjectPlan, name: str) -> EntityPlan:
    """One entity of a plan."""
    return next(entity for entity in plan.entities if entity.name == name)


@dataclass(frozen=True)
class Case:
    """Tables, and for the one named `of`: its parent, how many rows it has, the code of its columns, and its key."""

    ddl: str
    of: str
    parent: str | None = None
    counts: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] | None = None


CASES = {
    "the key leads to the parent": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TABLE o (shop integer NOT NULL REFERENCES shops,"
        "customer integer NOT NULL REFERENCES customers, n integer NOT NULL, PRIMARY KEY (customer, n))",
        "o", "customers", "fan_out(mean=3, maximum=20)",
        {"customer": 'customers["id"]', "shop": 'rows.reference("shop", shops)', "n": "rows.positions + 1"},
        ("customer", "n"),
    ),
    "rows that go with others belong to them": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TABLE o (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers,"
        "shop integer NOT NULL REFERENCES shops ON DELETE CASCADE)",
        "o", "shops", None, {"customer": 'rows.reference("customer", customers)'},
    ),
    "of a diamond the longer way": Case(
        f"{CUSTOMERS}CREATE TABLE rentals (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers);"
        "CREATE TABLE payments (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers,"
        "rental integer NOT NULL REFERENCES rentals)",
        "payments", "rentals", None, {"customer": 'customers["id"]', "rental": 'rentals["id"]'},
    ),
    "what others choose from is a root entity": Case(
        f"{SHOPS}{CUSTOMERS}CREATE TABLE articles (id integer PRIMARY KEY, shop integer NOT NULL REFERENCES shops);"
        "CREATE TABLE lines (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers ON DELETE CASCADE,"
        "article integer NOT NULL REFERENCES articles)",
        "articles", None, None, {"shop": 'rows.reference("shop", shops)'},
    ),
    "keys that cannot be drawn again make a lookup": Case(
        "CREATE TABLE places (code text PRIMARY KEY CHECK (code ~ '^place-'));"
        f"{CUSTOMERS}CREATE TABLE o (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers"
        " ON DELETE CASCADE, place text NOT NULL REFERENCES places)",
        "places", None, "20", {"code": '"place-" + number.str.zfill(9)'},
    ),
    "a lookup has names": Case(
        f"CREATE TABLE order_status (id smallint PRIMARY KEY, name varchar(20) NOT NULL UNIQUE);{CUSTOMERS}"
        "CREATE TABLE o (id integer PRIMARY KEY, status smallint NOT NULL REFERENCES order_status)",
        "order_status", None, "8", {"id": "rows.key()"},
    ),
    "one to one": Case(
        f"{CUSTOMERS}CREATE TABLE cards (customer integer PRIMARY KEY REFERENCES customers)",
        "cards", "customers", "1", {"customer": 'customers["id"]'},
    ),
    "a join table has other rows for each": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TABLE visits (customer integer REFERENCES customers, shop integer REFERENCES shops,"
        "PRIMARY KEY (shop, customer))",
        "visits", "customers", "fan_out(mean=3, maximum=20, among=shops)",
        {"shop": 'rows.reference("shop", shops, distinct=True)'}, ("customer", "shop"),
    ),
    "a join table with a lookup": Case(
        f"{CUSTOMERS}CREATE TABLE roles (code text PRIMARY KEY); CREATE TABLE o (role text REFERENCES roles,"
        "customer integer REFERENCES customers, PRIMARY KEY (customer, role))",
        "o", "customers", "fan_out(mean=2, maximum=8)",
        {"role": 'rows.ascending(rows.choice("role", roles["code"], distinct=True))'}, ("customer", "role"),
    ),
    "a join table of a table with itself": Case(
        f"{CUSTOMERS}CREATE TABLE friends (one integer REFERENCES customers, other integer REFERENCES customers,"
        "PRIMARY KEY (one, other))",
        "friends", "customers", "fan_out(mean=3, maximum=20, among=customers_entity)",
        {"other": 'rows.reference("other", customers_entity, distinct=True)'}, ("one", "other"),
    ),
    "a join table of no more than two": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TYPE rank AS ENUM ('a', 'b'); CREATE TABLE o (customer integer REFERENCES customers,"
        "shop integer REFERENCES shops, rank rank NOT NULL, PRIMARY KEY (customer, shop), UNIQUE (customer, rank))",
        "o", "customers", "exactly(2, among=shops)", {}, ("customer", "shop"),
    ),
    "a counter comes before a reference": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TABLE o (customer integer REFERENCES customers, shop integer REFERENCES shops,"
        "n bigint, PRIMARY KEY (customer, shop, n))",
        "o", "customers", "fan_out(mean=3, maximum=20)",
        {"n": "rows.positions + 1", "shop": 'rows.reference("shop", shops)'}, ("customer", "n", "shop"),
    ),
    "labels in a key": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, kind text CHECK (kind IN ('b', 'a', 'c')),"
        "PRIMARY KEY (customer, kind))",
        "o", "customers", "fan_out(mean=1, maximum=3)",
        {"kind": 'rows.ascending(rows.choice("kind", ["b", "a", "c"], distinct=True))'}, ("customer", "kind"),
    ),
    "below a key of several columns": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, n integer, PRIMARY KEY (n, customer));"
        "CREATE TABLE lines (m smallint, o_n integer, o_customer integer, PRIMARY KEY (o_n, m, o_customer),"
        "FOREIGN KEY (o_n, o_customer) REFERENCES o)",
        "lines", "o", "fan_out(mean=3, maximum=20)", {"o_n": 'o["n"]', "m": "rows.positions + 1"},
        ("o_customer", "o_n", "m"),
    ),
    "a unique index where there is no primary key": Case(
        f"{CUSTOMERS}{SHOPS}CREATE TABLE o (customer integer NOT NULL REFERENCES customers,"
        "shop integer NOT NULL REFERENCES shops, UNIQUE (customer, shop))",
        "o", "customers", "fan_out(mean=3, maximum=20, among=shops)", {}, ("customer", "shop"),
    ),
    "a serial column begins a key": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, n serial, PRIMARY KEY (customer, n))",
        "o", "customers", "fan_out(mean=3, maximum=20)", {"n": "rows.number()"}, ("n", "customer"),
    ),
    "a key of text that counts": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, k text, v text, PRIMARY KEY (customer, k))",
        "o", "customers", "fan_out(mean=3, maximum=20)",
        {"k": 'rows.ascending(rows.choice("k", WORDS, distinct=True))'}, ("customer", "k"),
    ),
    "a key with a moment that others come after": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, since date, until date,"
        "PRIMARY KEY (customer, since), CHECK (until >= since))",
        "o", "customers", "fan_out(mean=3, maximum=20)", {}, ("customer", "since"),
    ),
    "a key of its own parts": Case(
        "CREATE TABLE o (lang char(2), code text, at timestamptz, PRIMARY KEY (lang, at, code))",
        "o", None, None, {"code": '"o-" + number.str.zfill(9)'}, ("code", "lang", "at"),
    ),
    "a key that is that of the parent, below which others are": Case(
        f"{CUSTOMERS}CREATE TABLE people (id integer PRIMARY KEY REFERENCES customers, code uuid NOT NULL UNIQUE);"
        "CREATE TABLE o (id integer PRIMARY KEY, one integer NOT NULL REFERENCES customers ON DELETE CASCADE,"
        "other integer NOT NULL REFERENCES people, x integer REFERENCES people)",
        "people", "customers", "1", {"id": 'customers["id"]'}, ("id",),
    ),
    "one row for each value of a key": Case(
        "CREATE TABLE o (id text PRIMARY KEY CHECK (id IN ('b', 'a')), a text)", "o", None, "2", {"id": '["a", "b"]'},
    ),
    "one row of a unique column that is always the same": Case(
        "CREATE TABLE o (lock char(1) NOT NULL UNIQUE CHECK (lock = 'X'), a bigint)", "o", None, "1",
        {"lock": '["X"]'},
    ),
    "one row for each truth": Case(
        "CREATE TABLE o (id integer PRIMARY KEY, a boolean NOT NULL UNIQUE)", "o", None, "2", {"a": "[False, True]"},
    ),
    "the first draw that meets the checks": Case(
        "CREATE TABLE o (id integer PRIMARY KEY, a integer NOT NULL CHECK (a % 7 = 0))", "o", None, None, {"a": "0"},
    ),
    "one row for each combination of few values": Case(
        "CREATE TYPE mood AS ENUM ('b', 'a', 'c'); CREATE TABLE o (a boolean, b mood, c smallint CHECK (c IN (1, 2)),"
        "PRIMARY KEY (a, b, c))",
        "o", None, "12",
        {"a": "pl.Series([False, True]).gather((rows.number() - 1) // 6 % 2)",
         "c": "pl.Series([1, 2]).gather((rows.number() - 1) % 2)"},
        ("a", "b", "c"),
    ),
    "one row for each pair of rows of two lookups": Case(
        "CREATE TABLE country (code char(2) PRIMARY KEY); CREATE TABLE currency (code char(3) PRIMARY KEY);"
        "CREATE TABLE o (country char(2) REFERENCES country, currency char(3) REFERENCES currency,"
        "PRIMARY KEY (country, currency))",
        "o", None, "64", {"currency": 'currency["code"].gather((rows.number() - 1) % 8)'}, ("country", "currency"),
    ),
    "a column with room for twenty numbers counts": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, n integer CHECK (n < 1000000),"
        "PRIMARY KEY (customer, n))",
        "o", "customers", "fan_out(mean=3, maximum=20)", {"n": "rows.positions + 1"}, ("customer", "n"),
    ),
    "a join table with a key has another lookup row each": Case(
        f"{CUSTOMERS}CREATE TABLE roles (id integer PRIMARY KEY, name text); CREATE TABLE o (id integer PRIMARY KEY,"
        "customer integer NOT NULL REFERENCES customers, role integer NOT NULL REFERENCES roles,"
        "UNIQUE (customer, role))",
        "o", "customers", "fan_out(mean=2, maximum=8)", {"role": 'rows.choice("role", roles["id"], distinct=True)'},
    ),
    "labels in turn": Case(
        f"{CUSTOMERS}CREATE TYPE kind AS ENUM ('a', 'b', 'c'); CREATE TABLE o (id integer PRIMARY KEY,"
        "customer integer NOT NULL REFERENCES customers, kind kind NOT NULL, UNIQUE (customer, kind))",
        "o", "customers", "fan_out(mean=1, maximum=3)", {"kind": 'rows.choice("kind", ["a", "b", "c"], distinct=True)'},
    ),
    "numbers count the rows of a parent": Case(
        f"{CUSTOMERS}CREATE TABLE o (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers,"
        "line integer NOT NULL CHECK (line > 0), UNIQUE (customer, line))",
        "o", "customers", None, {"line": "rows.positions + 1"},
    ),
    "numbers within limits count as many": Case(
        f"{CUSTOMERS}CREATE TABLE o (customer integer REFERENCES customers, line integer CHECK (line BETWEEN 3 AND 7),"
        "PRIMARY KEY (customer, line))",
        "o", "customers", "fan_out(mean=2, maximum=5)", {"line": "rows.positions + 3"}, ("customer", "line"),
    ),
    "a reference to a unique column is to that of the parent": Case(
        f"{SHOPS}CREATE TABLE events (id bigint PRIMARY KEY, shop integer REFERENCES shops ON DELETE CASCADE,"
        "code text NOT NULL UNIQUE); CREATE TABLE o (id integer PRIMARY KEY, code text NOT NULL REFERENCES events"
        "(code), shop integer NOT NULL REFERENCES shops ON DELETE CASCADE)",
        "o", "events", "fan_out(mean=3, maximum=20)", {"code": 'events["code"]'},
    ),
    "short keys have few": Case(
        f"{CUSTOMERS}CREATE TABLE o (id smallint PRIMARY KEY, customer integer NOT NULL REFERENCES customers)",
        "o", "customers", "fan_out(mean=2, maximum=6)", {},
    ),
    "no room for more than a lookup": Case(
        "CREATE TABLE gates (id integer PRIMARY KEY, code char(2) NOT NULL UNIQUE)", "gates", None, "8", {},
    ),
    "an earlier row of its own": Case(
        "CREATE TABLE folders (id uuid PRIMARY KEY, parent uuid NOT NULL REFERENCES folders)", "folders", None, None,
        {"parent": 'rows.reference("parent", folders).fill_null(rows.key())'},
    ),
    "a second way to the parent's table": Case(
        f"{CUSTOMERS}CREATE TABLE gifts (id integer PRIMARY KEY, giver integer NOT NULL REFERENCES customers"
        " ON DELETE CASCADE, taker integer NOT NULL REFERENCES customers ON DELETE CASCADE)",
        "gifts", "customers", None,
        {"taker": 'rows.reference("taker", customers_entity).fill_null(customers["id"])'},
    ),
    "one each of another root entity": Case(
        "CREATE TABLE a (id integer PRIMARY KEY, b integer NOT NULL UNIQUE); CREATE TABLE b (id integer PRIMARY KEY,"
        "a integer NOT NULL REFERENCES a); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; CREATE TABLE c"
        "(id integer PRIMARY KEY, a integer NOT NULL REFERENCES a, b integer NOT NULL REFERENCES b)",
        "a", None, None, {"b": 'rows.reference("b", b, unique=True)'},
    ),
    "days of their own": Case(
        "CREATE TABLE d (id integer PRIMARY KEY, a date NOT NULL UNIQUE,"
        "b date NOT NULL UNIQUE CHECK (b < '2000-01-01'))",
        "d", None, None,
        {"a": "(10_957 + rows.number()).cast(pl.Int32).cast(pl.Date)",
         "b": "(10_956 - rows.number()).cast(pl.Int32).cast(pl.Date)"},
    ),
    "moments in order, within limits": Case(
        "CREATE TABLE m (id integer PRIMARY KEY, a date NOT NULL, b date NOT NULL CHECK (b > '2010-01-01'),"
        "c date NOT NULL CHECK (c <= '2009-12-31'), CHECK (a < b), CHECK (a < c))",
        "m", None, None, {},
    ),
    "unique moments after the parent's, and later ones": Case(
        "CREATE TABLE users (id integer PRIMARY KEY, created_at timestamptz NOT NULL); CREATE TABLE visits (id integer"
        " PRIMARY KEY, user_id integer NOT NULL REFERENCES users, began timestamptz NOT NULL UNIQUE, ended timestamp)",
        "visits", "users", None, {"began": "began"},
    ),
    "moments after the parent's": Case(
        "CREATE TABLE users (id integer PRIMARY KEY, created_at timestamptz NOT NULL); CREATE TABLE visits (id integer"
        " PRIMARY KEY, user_id integer NOT NULL REFERENCES users, at timestamptz NOT NULL)",
        "visits", "users", None, {"at": 'rows.timestamps("at", users["created_at"])'},
    ),
    "moments of a parent that may be in the future": Case(
        "CREATE TABLE users (id integer PRIMARY KEY, created_at timestamptz NOT NULL); CREATE TABLE visits (id integer"
        " PRIMARY KEY, user_id integer NOT NULL REFERENCES users, created_at timestamptz NOT NULL UNIQUE);"
        "CREATE TABLE steps (id integer PRIMARY KEY, visit_id integer NOT NULL REFERENCES visits,"
        "at timestamptz NOT NULL)",
        "steps", "visits", None,
        {"at": 'rows.timestamps("at", rows.now - timedelta(days=730))'},
    ),
    "arrays of a lookup": Case(
        f"CREATE TABLE types (id integer PRIMARY KEY, name text[] NOT NULL);{CUSTOMERS}"
        "CREATE TABLE o (id integer PRIMARY KEY, type integer NOT NULL REFERENCES types)",
        "types", None, "8", {},
    ),
    "the database numbers what is no key": Case(
        "CREATE TABLE s (id uuid PRIMARY KEY, number serial, doubled integer GENERATED ALWAYS AS (1) STORED)",
        "s", None, None, {"id": "rows.key()"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_planned_as_it_should_be(name: str, connection: Connection) -> None:
    """Parent, number of rows, and the code of the columns that the case is about."""
    case = CASES[name]
    plan = plan_of(connection, case.ddl)
    assert plan.left_out == {}
    entity = entity_of(plan, case.of)
    assert entity.parent == case.parent
    if case.counts is not None:
        assert (entity.per_parent or entity.rows) == case.counts
    assert {column: entity.values[column] for column in case.values} == case.values
    assert case.key in {None, entity.key}


TWICE = """
CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL REFERENCES shops);
ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES customers;
"""
SEEN = """CREATE FUNCTION seen(integer) RETURNS boolean LANGUAGE sql AS
    $$ SELECT $1 IN (SELECT id FROM customers) $$;"""
LEFT_OUT = {
    "a key that may not pass another column": (
        "CREATE TABLE t (id integer PRIMARY KEY, a integer NOT NULL, CHECK (id < a))",
        "no values that satisfy CHECK",
    ),
    "no column for a key": ("CREATE TABLE t (a boolean NOT NULL)", "it has no primary key"),
    "a name that no snapshot has": (
        'CREATE TABLE t (id integer PRIMARY KEY, "a\tb" integer)',
        "a name in it is not",
    ),
    "a type that nothing is known of": (
        "CREATE TABLE t (id integer, a path NOT NULL)",
        "column a: snapseed cannot generate type path",
    ),
    "a check that nothing meets": (
        "CREATE TABLE t (id integer PRIMARY KEY, a text NOT NULL CHECK (a = 'x' AND a = 'y'))",
        "no values that pass its checks",
    ),
    "a function that looks at other tables": (
        f"{CUSTOMERS}{SEEN}CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL REFERENCES customers CHECK (seen(a)))",
        "column a: CHECK seen(a) could not be evaluated",
    ),
    "checks that no columns meet together": (
        "CREATE TABLE t (id integer PRIMARY KEY, a text[] NOT NULL, b text[] NOT NULL, CHECK (a <> a OR a = b))",
        "no values that satisfy CHECK",
    ),
    "one column, two tables": (
        f"{CUSTOMERS}{SHOPS}{TWICE}",
        "its foreign key (a)",
    ),
    "a column without values that must not be NULL": (
        "CREATE TABLE t (id integer PRIMARY KEY, a path CHECK (a IS NOT NULL))",
        "no values that pass its checks",
    ),
    "unique by what has few values": (
        "CREATE TABLE t (id integer PRIMARY KEY, a jsonb NOT NULL UNIQUE)",
        "no way to make (a) unique",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_table_that_cannot_be_filled_is_left_out_with_those_that_need_it(name: str, connection: Connection) -> None:
    """And the reason says what it was. A nullable reference to it stays NULL."""
    ddl, reason = LEFT_OUT[name]
    others = "CREATE TABLE needs (id integer PRIMARY KEY, t {0} NOT NULL REFERENCES t);"
    others += "CREATE TABLE may_need (id integer PRIMARY KEY, t {0} REFERENCES t)"
    referable = "PRIMARY KEY" in ddl
    plan = plan_of(connection, f"{ddl}; {others.format('integer') if referable else ''}")
    assert reason in plan.left_out["t"]
    assert list(plan.left_out) == (["t", "needs"] if referable else ["t"])
    if referable:
        assert list(entity_of(plan, "may_need").columns) == ["id"]
