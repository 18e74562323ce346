"""Customers with orders, invoices and notes; a lookup table of categories; shops that grow a tenth as fast."""

from datetime import UTC, datetime

import polars as pl

from snapseed import Rows, as_decimals, counted, entity, fan_out, json_object, scale


@entity(key="code", columns={"code": "text", "label": "text", "rank": "smallint"}, rows=3)
def categories(rows: Rows) -> pl.DataFrame:  # noqa: ARG001 - every generator takes it
    """The same three at every scale."""
    return pl.DataFrame({"code": ["books", "music", "tools"], "label": ["Books", "Music", "Tools"], "rank": [1, 2, 3]})


@entity(
    key="id",
    columns={
        "id": "bigint",
        "name": "varchar(40)",
        "referred_by": "bigint",
        "settings": "jsonb",
        "balance": "numeric(10,2)",
        "joined": "timestamptz",
        "birthday": "date",
        "tags": "text[]",
        "mood": "mood",
    },
)
def customers(rows: Rows) -> pl.DataFrame:
    """Some were referred by another one."""
    tags = rows.items("tags", rows.integers("number of tags", 0, 3))
    return pl.DataFrame(
        {
            "id": rows.key(),
            "name": rows.sample("name", rows.pool("names"))["name"],
            "referred_by": rows.reference("referred_by", customers),
            "settings": json_object(
                theme=rows.choice("theme", ["dark", 'so-called "light"']), pages=rows.integers("pages", 1, 9)
            ),
            "balance": rows.decimals("balance", "-50.00", "1000.00"),
            "joined": rows.timestamps("joined", datetime(2015, 1, 1, tzinfo=UTC)),
            "birthday": rows.timestamps(
                "birthday", datetime(1940, 1, 1, tzinfo=UTC), datetime(2005, 1, 1, tzinfo=UTC)
            ).dt.date(),
            "tags": tags.lists(tags.choice("tag", ["new", "vip", "late"])),
            "mood": rows.choice("mood", ["glad", "sad", None], [6, 3, 1]),
        }
    )


@entity(
    parent=customers,
    per_parent=fan_out(mean=3, maximum=40),
    key="id",
    columns={"id": "bigint", "customer_id": "bigint", "category": "text", "paid": "boolean", "total": "numeric(8,2)"},
)
def orders(rows: Rows, customers: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """A few customers order a lot."""
    return pl.DataFrame(
        {
            "id": rows.key(),
            "customer_id": customers["id"],
            "category": rows.choice("category", categories["code"]),
            "paid": rows.chance("paid", 0.5),
            "total": as_decimals(rows.integers("total", 100, 99_999), 2),
        }
    )


@entity(
    parent=orders,
    per_parent=counted(pl.col("paid"), maximum=1),
    key="id",
    columns={"id": "uuid", "order_id": "bigint", "customer_name": "text"},
)
def invoices(rows: Rows, orders: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """One for each order that is paid."""
    return pl.DataFrame({"id": rows.key(), "order_id": orders["id"], "customer_name": customers["name"]})


@entity(
    parent=customers, per_parent=2, key="id", columns={"id": "integer", "customer_id": "bigint", "number": "integer"}
)
def notes(rows: Rows, customers: pl.DataFrame) -> pl.DataFrame:
    """Two on each customer."""
    return pl.DataFrame({"id": rows.key(), "customer_id": customers["id"], "number": rows.positions.cast(pl.Int32)})


@entity(rows=scale(0.1), key="id", columns={"id": "integer", "owner": "bigint"})
def shops(rows: Rows) -> pl.DataFrame:
    """Every tenth as many as customers."""
    return pl.DataFrame({"id": rows.key(), "owner": rows.reference("owner", customers)})
