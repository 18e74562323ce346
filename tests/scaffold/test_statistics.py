"""What init takes from PostgreSQL's own statistics: shapes, shares and numbers of rows, and no personal value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
import pytest

from snapseed.scaffold.modules import Origin, project_files
from snapseed.scaffold.plan import plan_project
from snapseed.scaffold.schema import read_schema
from snapseed.scaffold.trial import answer
from tests.conftest import Connection, Sandbox, new_database

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
INSERT INTO orders SELECT g, 1 + g % 250, CASE WHEN g % 3 = 0 THEN 'large' ELSE 'small' END::size, g / 8.0,
    timestamp '2023-01-01' + g * interval '1 hour', timestamp '2023-01-01' + g * interval '1 hour 7 seconds'
    FROM generate_series(1, 1000) g;
ANALYZE customers, orders;
"""


@dataclass(frozen=True)
class Shop:
    """The text of modules by entity, with statistics and without, and a connection to a database with their rows."""

    modules: Mapping[str, str]
    plain: Mapping[str, str]
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
        modules, plain = (modules_of(connection, with_statistics=given) for given in (True, False))
        project = Sandbox(tmp_path_factory.mktemp("shop"), "")
        project.run("init", "--from-database", url, ".", "--include-filled", check=True)
        project.run("generate", "--scale", "500", "--quiet", check=True)
        project.run("load", "dev", "--yes", "--quiet", check=True)
        yield Shop(modules, plain, connection)


def modules_of(connection: Connection, *, with_statistics: bool) -> dict[str, str]:
    """The text of each module, by entity."""
    tables = read_schema(connection, with_statistics=with_statistics)
    files = project_files(plan_project(tables, partial(answer, connection)), Origin("postgresql:///shop"))
    return {Path(name).stem: text for name, text in files.items()}


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
    "an order that a check asks for": "bool_and(paid_at >= placed_at) AND max(paid_at) < '2023-03-01'",
}


@pytest.mark.parametrize("fact", FACTS)
def test_columns_are_shaped_as_in_the_source(shop: Shop, fact: str) -> None:
    """With as many rows, each column looks like that of the source."""
    assert shop.is_true(FACTS[fact])


@pytest.mark.parametrize("fact", ORDERS)
def test_children_are_as_many_and_look_as_in_the_source(shop: Shop, fact: str) -> None:
    """Their number for each parent included."""
    assert shop.is_true(ORDERS[fact], "(SELECT *, count(*) OVER (PARTITION BY customer_id) counted FROM orders) o")


def test_no_personal_value_is_written(shop: Shop) -> None:
    """Neither texts, nor codes that look personal, nor numbers and dates of columns with such a name."""
    written = "\n".join(shop.modules.values())
    for value in ("Private", "77", "1977", "example.org"):
        assert value not in written.replace("example.com", "")


def test_a_comment_says_what_a_column_takes_from_the_source(shop: Shop) -> None:
    """One for each such column, and none if statistics are not used."""
    for line in ("as in the source: 2 values", "as in the source: 1 to 9801, 25.0% NULL", "80.0% true"):
        assert line in shop.modules["customers"]
    assert "as in the source" not in "".join(shop.plain.values())
    assert "quantiles" not in "".join(shop.plain.values())
