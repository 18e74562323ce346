"""A small shop: customers, their orders, and the lines of each order.

A generator gets the rows that it fills, and returns a frame with their values. Every draw has a name, its first
argument: the values depend on the seed, the entity, this name and the row, and on nothing else.
"""

from datetime import timedelta

import polars as pl

from snapseed import Rhythm, Rows, as_decimals, counted, entity, fan_out, slug

FIRST_NAMES = ["Ada", "Bruno", "Chloé", "Dmitri", "Emeka", "Freya", "Grace", "Hana", "Iker", "Jun", "Kofi", "Lucía"]
LAST_NAMES = ["Almeida", "Bauer", "Costa", "Diallo", "Evans", "Fischer", "García", "Haddad", "Ito", "Jensen", "Novak"]
PRODUCTS = ["Coffee beans", "Cup", "Hand grinder", "Kettle", "Moka pot", "Paper filters"]
PRICES = pl.Series([18_90, 12_00, 89_00, 45_00, 34_90, 3_50])  # in cents


@entity(
    key="id",
    columns={"id": "bigint", "name": "varchar(60)", "email": "text", "city": "text", "joined_at": "timestamptz"},
)
def customers(rows: Rows) -> pl.DataFrame:
    """As many as the scale says, more of them every year. A third of them did not say where they live."""
    name = rows.choice("first name", FIRST_NAMES) + " " + rows.choice("last name", LAST_NAMES)
    city = rows.choice("city", {"Lagos": 5, "Lisbon": 3, "Lyon": 2, "Lviv": 1})
    return pl.DataFrame(
        {
            "id": rows.key(),
            "name": name,
            "email": rows.unique("email", slug(name, ".")) + "@example.com",
            "city": rows.or_null("no city", city, 1 / 3),
            "joined_at": rows.timestamps("joined", rows.now - timedelta(days=1500), growth=4),
        }
    )


@entity(
    parent=customers,
    per_parent=fan_out(mean=3, maximum=50),
    key="id",
    columns={
        "id": "uuid",
        "customer_id": "bigint",
        "status": "order_status",
        "line_count": "integer",
        "placed_at": "timestamptz",
        "shipped_at": "timestamptz",
    },
)
def orders(rows: Rows, customers: pl.DataFrame) -> pl.DataFrame:
    """Many customers order once, few order often."""
    # Row i of `customers` is the customer of order i.
    status = rows.choice("status", {"open": 1, "paid": 2, "shipped": 16, "returned": 1})
    placed_at = rows.timestamps("placed", customers["joined_at"], rhythm=Rhythm())
    in_time = (placed_at + timedelta(days=3)).clip(upper_bound=rows.now)
    was_shipped = status.is_in(["shipped", "returned"])
    return pl.DataFrame(
        {
            "id": rows.key(),
            "customer_id": customers["id"],
            "status": status,
            "line_count": rows.zipf("lines", len(PRODUCTS)),
            "placed_at": placed_at,
            "shipped_at": rows.timestamps("shipped", placed_at, in_time).set(~was_shipped, None),
        }
    )


@entity(
    parent=orders,
    per_parent=counted(pl.col("line_count"), maximum=len(PRODUCTS)),
    key=("order_id", "line"),
    columns={"order_id": "uuid", "line": "integer", "product": "text", "quantity": "integer", "price": "numeric(8,2)"},
)
def order_lines(rows: Rows, orders: pl.DataFrame) -> pl.DataFrame:
    """As many lines as the order says, each of another product."""
    product = rows.choice("product", list(range(len(PRODUCTS))), distinct=True)
    return pl.DataFrame(
        {
            "order_id": orders["id"],
            "line": rows.positions + 1,
            "product": pl.Series(PRODUCTS)[product],
            "quantity": rows.zipf("quantity", 5),
            "price": as_decimals(PRICES[product], 2),
        }
    )
