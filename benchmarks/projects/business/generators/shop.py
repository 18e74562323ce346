"""A plain business schema: customers, orders, order lines. Integers, decimals, dates, enums, short texts."""

from datetime import date, timedelta

import polars as pl

from snapseed import Rows, entity, fan_out

_FIRST = ["Ada", "Grace", "Edsger", "Barbara", "Alan", "Donald", "Radia", "Niklaus", "Frances", "Ken"]
_LAST = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Turing", "Knuth", "Perlman", "Wirth", "Allen", "Thompson"]
_NOTES = ["gift", "leave at the door", "fragile", "call before delivery"]


@entity(
    key="id",
    columns={
        "id": "bigint",
        "name": "text",
        "email": "text",
        "country": "char(2)",
        "segment": "text",
        "balance": "numeric(12,2)",
        "born_on": "date",
        "active": "boolean",
        "joined_at": "timestamptz",
    },
)
def customers(rows: Rows) -> pl.DataFrame:
    """One per root row."""
    name = rows.choice("first", _FIRST) + " " + rows.choice("last", _LAST)
    born = rows.dates("born", date(1940, 1, 1), date(2005, 12, 31))
    return pl.DataFrame(
        {
            "id": rows.key(),
            "name": name,
            "email": "customer-" + rows.number().cast(pl.String) + "@example.com",
            "country": rows.choice("country", {"US": 5, "DE": 2, "GB": 2, "JP": 1}),
            "segment": rows.choice("segment", ["consumer", "business", "public"]),
            "balance": rows.decimals("balance", "-500.00", "9999.99"),
            "born_on": rows.or_null("no birthday", born, 0.1),
            "active": rows.chance("active", 0.9),
            "joined_at": rows.timestamps("joined", rows.now - timedelta(days=1500)),
        }
    )


@entity(
    parent=customers,
    per_parent=fan_out(mean=4, maximum=60),
    key="id",
    columns={
        "id": "bigint",
        "customer_id": "bigint",
        "status": "order_status",
        "currency": "char(3)",
        "total": "numeric(12,2)",
        "discount": "numeric(5,2)",
        "priority": "smallint",
        "placed_at": "timestamptz",
        "ship_on": "date",
    },
)
def orders(rows: Rows, customers: pl.DataFrame) -> pl.DataFrame:
    """Placed after the customer joined."""
    placed = rows.timestamps("placed", customers["joined_at"])
    return pl.DataFrame(
        {
            "id": rows.key(),
            "customer_id": customers["id"],
            "status": rows.choice("status", {"shipped": 8, "paid": 2, "new": 1, "returned": 1}),
            "currency": rows.choice("currency", {"USD": 5, "EUR": 3, "JPY": 1}),
            "total": rows.decimals("total", "5.00", "2000.00"),
            "discount": rows.or_null("no discount", rows.decimals("discount", "1.00", "50.00"), 0.7),
            "priority": rows.integers("priority", 1, 5),
            "placed_at": placed,
            "ship_on": placed.dt.offset_by("3d").dt.date(),
        }
    )


@entity(
    parent=orders,
    per_parent=fan_out(mean=4, maximum=40),
    key="id",
    columns={
        "id": "bigint",
        "order_id": "bigint",
        "line": "integer",
        "product_id": "integer",
        "sku": "text",
        "quantity": "integer",
        "price": "numeric(10,2)",
        "tax": "numeric(10,2)",
        "returned": "boolean",
        "note": "text",
    },
)
def order_lines(rows: Rows, orders: pl.DataFrame) -> pl.DataFrame:
    """What was ordered."""
    product = rows.integers("product", 1, 20_000)
    return pl.DataFrame(
        {
            "id": rows.key(),
            "order_id": orders["id"],
            "line": rows.positions + 1,
            "product_id": product,
            "sku": "SKU-" + product.cast(pl.String),
            "quantity": rows.integers("quantity", 1, 12),
            "price": rows.decimals("price", "0.50", "400.00"),
            "tax": rows.decimals("tax", "0.05", "80.00"),
            "returned": rows.chance("returned", 0.03),
            "note": rows.or_null("no note", rows.choice("note", _NOTES), 0.9),
        }
    )
