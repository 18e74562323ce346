"""What init takes from PostgreSQL's own statistics: shapes, shares and numbers of rows, and no personal value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from snapseed.scaffold.modules import Scaffold
from snapseed.scaffold.project import ScaffoldRequest, scaffold_project
from snapseed.scaffold.schema import read_schema
from snapseed.scaffold.statistics import ColumnStatistics, shares_of_keys
from tests.conftest import Connection, Sandbox, new_database

# Names of columns with values that nobody would commit, as texts and as numbers.
TEXTS = [
    "doctor",
    "assignee",
    "manager",
    "agent",
    "customer",
    "employee",
    "contact",
    "spouse",
    "driver",
    "approved_by",
    "user",
    "usr",
    "patient",
    "teacher",
    "pin_code",
    "plate",
    "otp",
    "auth",
    "hash",
    "reset",
    "tax_id",
    "password_hash",
    "token",
    "patient_name",
    "lname",
    "nachname",
    "förnamn",
    "nombre",
    "straße",
    "passwort",
    "mot_de_passe",
    "diagnose",
    "race",
    "cashier",
    "имя",
]
NUMBERS = ["pin", "otp_code", "card", "tax_number", "card_no", "pesel"]

# Every value that must not be written begins with "Private"; numbers of people are 77,7xx and their days in 1977.
SHOP = """
CREATE TYPE size AS ENUM ('small', 'large', 'unused');
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, plan varchar(9) NOT NULL, mail_kind text, note text,
    remark text NOT NULL, salary integer NOT NULL, born date NOT NULL, visits integer, joined_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL, balance numeric(9,2) NOT NULL, fax text, is_member boolean NOT NULL, nothing date);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, size size NOT NULL,
    grams real NOT NULL, placed_at timestamp NOT NULL, paid_at timestamp CHECK (paid_at >= placed_at));
INSERT INTO customers SELECT g, 'Private ' || g, CASE WHEN g % 10 < 7 THEN 'free' ELSE 'team' END,
    'Private ' || g % 3 || '@example.org', 'Private ' || g % 3, 'Private remark of some length ' || g % 40, 77700 + g,
    date '1977-01-01' + g, CASE WHEN g % 4 > 0 THEN (g % 100) * (g % 100) END,
    timestamptz '2020-01-01 UTC' + g * interval '1 day', timestamptz '2020-02-01 UTC' + g * interval '25 hours',
    CASE WHEN g % 2 = 0 THEN 9.99 ELSE g END, NULL, g % 5 > 0, NULL FROM generate_series(1, 500) g;
CREATE TABLE secrets (id integer PRIMARY KEY, long bigint CHECK (long > 0), free text, mark text,
    state text CHECK (state IN ('on Hold', 'Done')), tier integer);
INSERT INTO secrets SELECT g, 8888888888888001 + g % 2, 'Private Person', 'Private-Person', 'on Hold', 5
    FROM generate_series(1, 300) g;
INSERT INTO orders SELECT g, 1 + g % 250, CASE WHEN g % 3 = 0 THEN 'large' ELSE 'small' END::size, g / 8.0,
    timestamp '2023-01-01' + g * interval '1 hour', timestamp '2023-01-01' + g * interval '1 hour 7 seconds'
    FROM generate_series(1, 1000) g;
CREATE TABLE odd (id integer PRIMARY KEY, x double precision NOT NULL, y real, z numeric, d date, t timestamptz);
INSERT INTO odd SELECT g, (ARRAY['NaN', '-Infinity', '1e300', '1'])[1 + g % 4]::float8, 'Infinity',
    (ARRAY['NaN', '1e40', '1e-40'])[1 + g % 3]::numeric,
    (ARRAY['infinity', '4000-01-01 BC', '9999-12-31'])[1 + g % 3]::date,
    timestamptz '9999-12-31 23:59:59 UTC' - (g % 60) * interval '100 days' FROM generate_series(1, 300) g;
CREATE TABLE parcels (id integer PRIMARY KEY, land char(2) NOT NULL, coin text, is_far boolean NOT NULL,
    is_lost boolean NOT NULL, state text NOT NULL CHECK (state IN ('new', 'sent')), sent_at date,
    CHECK ((state = 'sent') = (sent_at IS NOT NULL)));
INSERT INTO parcels SELECT g, (ARRAY['DE', 'AT', 'US', 'CH'])[1 + g % 4], (ARRAY['EUR', 'EUR', 'USD'])[1 + g % 4],
    g % 4 = 2, g % 50 = 0, CASE WHEN g % 10 < 8 THEN 'sent' ELSE 'new' END,
    CASE WHEN g % 10 < 8 THEN date '2022-05-05' END
    FROM generate_series(1, 400) g;
CREATE STATISTICS parcels_joint (mcv) ON land, coin, is_far, is_lost FROM parcels;
CREATE TABLE hexes (code char(3) PRIMARY KEY);
INSERT INTO hexes SELECT lpad(to_hex(g), 3, '0') FROM generate_series(1, 1000) g;
CREATE TABLE fresh (id integer PRIMARY KEY, checked_at date NOT NULL CHECK (checked_at <= CURRENT_DATE));
CREATE TABLE visits (id integer PRIMARY KEY); INSERT INTO visits VALUES (1);
CREATE TABLE depots (id integer PRIMARY KEY, town text NOT NULL, state varchar(20), country text NOT NULL,
    from_town text NOT NULL, from_state char(2), to_town text, to_state text, to_country text,
    odd_town text, odd_country text, far_town text, far_state text);
INSERT INTO depots SELECT g, 'Private ' || g, CASE WHEN g % 10 < 3 THEN 'CA' WHEN g % 10 < 5 THEN 'TX' END,
    CASE WHEN g % 10 < 5 THEN 'USA' WHEN g % 10 < 8 THEN 'South Korea' ELSE 'Japan' END, 'Private',
    CASE WHEN g % 4 > 0 THEN 'WA' ELSE 'OR' END, 'Private', CASE WHEN g % 2 > 0 THEN '84' END, 'Denmark',
    'Private', (ARRAY['Kosovo', 'Denmark', 'Narnia', 'Kosovo'])[1 + g % 4],
    'Private', (ARRAY['ZZ', 'CA', 'NY', 'ZZ'])[1 + g % 4]
    FROM generate_series(1, 200) g;
COMMENT ON TABLE depots IS 'Ask Private <someone@example.org>. Or nobody';
CREATE TABLE trips (id integer PRIMARY KEY, depot_id integer REFERENCES depots, stop integer REFERENCES depots,
    twin_id integer REFERENCES trips);
INSERT INTO trips SELECT g, 1 + g % 200, 1 + g % 10, nullif(g - 1, 0) FROM generate_series(1, 2000) g;
"""


@dataclass(frozen=True)
class Shop:
    """What init makes of the tables, with statistics and without, and a connection to a database with its rows."""

    made: Scaffold
    plain: Scaffold
    connection: Connection

    def is_true(self, condition: str, table: str = "customers") -> bool:
        """Whether a condition over all generated rows is true."""
        query = f"SELECT {condition} FROM {table}"  # noqa: S608 - ours
        return self.connection.execute(query.encode()).fetchone() == (True,)


@pytest.fixture(scope="module")
def shop(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A project for tables that hold rows, whose own rows replace those."""
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SHOP.encode())
        for name, kind, value in [
            *((name, "text", "Private") for name in TEXTS),
            *((name, "int", 777) for name in NUMBERS),
        ]:
            add = sql.SQL("ALTER TABLE secrets ADD {} {} DEFAULT {}")
            connection.execute(add.format(sql.Identifier(name), sql.SQL(kind), value))
        connection.execute("ANALYZE customers, orders, odd, secrets, parcels, hexes, depots, trips")
        plain = scaffold_project(ScaffoldRequest(url, include_filled=True, statistics=False))
        made = scaffold_project(ScaffoldRequest(url, include_filled=True))
        project = Sandbox(tmp_path_factory.mktemp("shop"), "")
        project.run("init", "--from-database", url, ".", "--include-filled", check=True)
        project.run("generate", "--scale", "500", "--quiet", check=True)
        project.run("load", "dev", "--yes", "--quiet", check=True)
        yield Shop(made, plain, connection)


FACTS = {
    "as many customers as the scale says": "count(*) = 500",
    "codes as often as in the source": "avg((plan = 'free')::int) BETWEEN 0.64 AND 0.76 AND count(DISTINCT plan) = 2",
    "a share of NULL": "avg((visits IS NULL)::int) BETWEEN 0.2 AND 0.3",
    "never NULL where it never is": "bool_and(joined_at IS NOT NULL AND note IS NOT NULL)",
    "always NULL where it always is": "bool_and(fax IS NULL AND nothing IS NULL)",
    "numbers of the same shape": "percentile_cont(0.5) WITHIN GROUP (ORDER BY visits) BETWEEN 2000 AND 3000"
    " AND max(visits) BETWEEN 9000 AND 9801",
    "exact numbers, the frequent one as it is": "avg((balance = 9.99)::int) BETWEEN 0.4 AND 0.6 AND max(balance) > 450",
    "moments in the range of the source": "min(joined_at) >= '2020-01-01' AND max(joined_at) <= '2021-05-17'",
    "in the order of the source": "bool_and(seen_at >= joined_at + interval '29 days')",
    "Booleans as often true": "avg(is_member::int) BETWEEN 0.75 AND 0.85",
}
ORDERS = {
    "as many orders": "count(*) BETWEEN 900 AND 1100",
    "of half of the customers, four of each": "count(DISTINCT customer_id) BETWEEN 220 AND 280"
    " AND max(counted) BETWEEN 3 AND 5",
    "no label that is not used": "count(*) FILTER (WHERE size = 'unused') = 0"
    " AND avg((size = 'large')::int) BETWEEN 0.28 AND 0.39",
    "floating point": "max(grams) BETWEEN 120 AND 125.1",
    "in the order of the keys": "bool_and(placed_at >= earlier) AND count(earlier) > 500",
    "an order that a check asks for": "bool_and(paid_at >= placed_at) AND max(paid_at) < '2023-03-01'",
}

PARCELS = {
    "combinations of the source": "count(DISTINCT (land, coin, is_far)) = 4"
    " AND bool_and(coin IS NOT DISTINCT FROM CASE land WHEN 'US' THEN 'USD' WHEN 'CH' THEN NULL ELSE 'EUR' END)",
    "as often": "avg((land = 'US' AND is_far)::int) BETWEEN 0.18 AND 0.32",
    "rare values on their own": "avg(is_lost::int) BETWEEN 0.005 AND 0.05",
    "what a check ties together too": "avg((state = 'sent')::int) BETWEEN 0.7 AND 0.9",
}

DEPOTS = {
    "countries as often": "avg((country = 'USA')::int) BETWEEN 0.4 AND 0.6 AND count(DISTINCT country) = 3",
    "states as often, and none in other countries": "bool_and((state IS NULL) = (country <> 'USA'))"
    " AND avg((state IS NOT DISTINCT FROM 'CA')::int) BETWEEN 0.2 AND 0.4",
    "towns in these": "bool_and((town = 'Houston') = coalesce(state = 'TX', false)) AND count(DISTINCT town) = 7",
    "not with states that nobody knows": "count(to_state) BETWEEN 80 AND 120 AND min(to_country) = max(to_country)",
    "countries that no list knows": "count(DISTINCT odd_country) = 3"
    " AND avg((odd_country = 'Kosovo')::int) BETWEEN 0.4 AND 0.6 AND avg((odd_country = 'Denmark')::int) < 0.35",
    "states that no list knows, without a country": "count(DISTINCT far_state) = 3"
    " AND avg((far_state = 'ZZ')::int) BETWEEN 0.4 AND 0.6 AND bool_and((far_town = 'New York') = (far_state = 'NY'))",
    "also without a country": "bool_and(from_town = CASE from_state WHEN 'OR' THEN 'Portland' ELSE 'Seattle' END)"
    " AND avg((from_state = 'WA')::int) BETWEEN 0.65 AND 0.85",
}
TRIPS = {
    "references to all as often": "count(DISTINCT depot_id) > 190 AND max(at_depot) < 30",
    "many to few": "max(at_stop) > 30",
    "NULL in the first row alone": "count(*) FILTER (WHERE twin_id IS NULL) = 1",
}

OF_PARENT = """(SELECT *, count(*) OVER own AS counted, lag(placed_at) OVER (own ORDER BY id) AS earlier FROM orders
                WINDOW own AS (PARTITION BY customer_id)) AS o"""
COUNTED = """(SELECT *, count(*) OVER (PARTITION BY depot_id) AS at_depot, count(*) OVER (PARTITION BY stop) AS at_stop
              FROM trips) AS t"""


@pytest.mark.parametrize("fact", FACTS)
def test_columns_are_shaped_as_in_the_source(shop: Shop, fact: str) -> None:
    """With as many rows, each column looks like that of the source."""
    assert shop.is_true(FACTS[fact])


@pytest.mark.parametrize("fact", ORDERS)
def test_children_are_as_many_and_look_as_in_the_source(shop: Shop, fact: str) -> None:
    """Their number for each parent included."""
    assert shop.is_true(ORDERS[fact], OF_PARENT)


@pytest.mark.parametrize("fact", PARCELS)
def test_columns_that_go_together_do_so_as_in_the_source(shop: Shop, fact: str) -> None:
    """By extended statistics or by a check, and as often."""
    assert shop.is_true(PARCELS[fact], "parcels")


@pytest.mark.parametrize("fact", DEPOTS)
def test_places_agree_and_are_as_often_as_in_the_source(shop: Shop, fact: str) -> None:
    """By the shares of countries and states; no name of a town is the source's."""
    assert shop.is_true(DEPOTS[fact], "depots")


@pytest.mark.parametrize("fact", TRIPS)
def test_references_have_the_spread_of_the_source(shop: Shop, fact: str) -> None:
    """Though rows that exist early could be referred to more often."""
    assert shop.is_true(TRIPS[fact], COUNTED)


def test_extended_statistics_that_a_role_may_not_read_are_told(shop: Shop) -> None:
    """PostgreSQL shows them to the owner of the table alone."""
    with shop.connection.transaction(force_rollback=True):
        shop.connection.execute("CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        shop.connection.execute("SET LOCAL ROLE reader")
        tables = {table.name: table.statistics for table in read_schema(shop.connection)}
    assert tables["parcels"]["land"].is_hidden
    assert not tables["orders"]["size"].is_hidden


def test_no_personal_value_is_written(shop: Shop) -> None:
    """Neither texts, nor codes that look personal, nor numbers and dates of columns with such a name."""
    modules = {name: text for name, text in shop.made.files.items() if name.startswith("generators/")}
    written = "\n".join(modules.values()).replace("example.com", "")
    for value in ("Private", "77", "88888", "1977", "example.org"):
        assert value not in written


def test_init_names_the_columns_whose_values_it_copies(shop: Shop) -> None:
    """Not those whose values a check, an enum or nothing but a range says."""
    (remark,) = (remark for remark in shop.made.remarks if "taken from the source" in remark)
    assert set(re.findall(r"\w+\.\w+", remark)) == {
        "customers.plan",
        "secrets.tier",
        "parcels.land",
        "parcels.coin",
    } | {f"depots.{name}" for name in ("state", "country", "from_state", "to_country", "odd_country", "far_state")}
    assert '["on Hold"]' in shop.made.files["generators/secrets.py"]


def test_now_is_the_day_after_the_newest_moment_that_has_passed(shop: Shop) -> None:
    """So moments that other columns count from it agree with those of the source."""
    assert re.findall("now = .*Z", shop.made.files["snapseed.toml"]) == ["now = 2023-02-12T00:00:00Z"]
    assert "now = 2026-01-01T00:00:00Z" in shop.plain.files["snapseed.toml"]
    assert shop.is_true("bool_and(checked_at BETWEEN '2020-02-12' AND '2023-02-12')", "fresh")


def test_a_key_has_room_for_all_rows_of_a_lookup(shop: Shop) -> None:
    """Where keys of the source have letters, numbers of as many digits are fewer."""
    assert shop.is_true("count(*) = 999 AND max(code) = '999'", "hexes")


def test_a_column_that_cannot_be_shaped_keeps_its_usual_draw(shop: Shop) -> None:
    """Not finite, too large or small, or outside of Python's calendar."""
    assert "# as in the source" not in shop.made.files["generators/odd.py"]
    assert shop.is_true("count(*) > 0 AND bool_and(x BETWEEN 0 AND 1e6)", "odd")


def test_a_comment_says_what_a_column_takes_from_the_source(shop: Shop) -> None:
    """One for each such column, and none if statistics are not used."""
    for line in ("as in the source: 2 values", "as in the source: 1 to 9801, 25.0% NULL", "80.0% true"):
        assert line in shop.made.files["generators/customers.py"]
    plain = "".join(shop.plain.files.values())
    assert "as in the source" not in plain
    assert "quantiles" not in plain


def test_tables_without_statistics_are_named(shop: Shop) -> None:
    """Unless nobody wants any."""
    (remark,) = (remark for remark in shop.made.remarks if "ANALYZE" in remark)
    assert "visits" in remark
    assert "orders" not in remark
    assert not any("ANALYZE" in remark for remark in shop.plain.remarks)


@pytest.mark.parametrize(
    ("common", "shares", "distinct", "expected"),
    [
        (("3", "2"), (0.79, 0.21), 2, (0, 210, 790)),
        (("1", "3", "2"), (0.5, 0.3, 0.2), 3, (500, 200, 300)),
        (("40", "9"), (0.75, 0.25), 2, (250, 750, 0)),
        ((), (0.75, 0.25), 2, (750, 250, 0)),
        ((), (0.75,), 9, ()),
    ],
)
def test_each_row_of_a_lookup_is_referred_to_as_often_as_in_the_source(
    common: tuple[str, ...], shares: tuple[float, ...], distinct: int, expected: tuple[int, ...]
) -> None:
    """By its key if the lookup has the keys of the source; else in their order, or the most frequent one first."""
    found = ColumnStatistics(common=common, shares=shares, distinct=distinct)
    assert shares_of_keys(found, ["1", "2", "3"]) == expected
