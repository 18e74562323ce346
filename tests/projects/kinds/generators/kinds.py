"""Things of every type in a table with an odd name; spans that only text COPY carries; teams and players in a cycle."""

from datetime import UTC, datetime

import polars as pl

from snapseed import Rows, as_decimals, entity, json_object, scale


@entity(
    schema="Odd Place",
    table="Kinds of things",
    key="Id",
    columns={
        "Id": "uuid",
        "select": "text",
        "Lights": '"Odd Place"."Light"[]',
        "flag": "boolean",
        "small": "smallint",
        "whole": "integer",
        "big": "bigint",
        "single": "real",
        "double": "double precision",
        "amount": "numeric(12,3)",
        "label": "varchar(30)",
        "code": "char(5)",
        "bytes": "bytea",
        "day": "date",
        "hour": "time",
        "local": "timestamp",
        "moment": "timestamptz",
        "loose": "json",
        "strict": "jsonb",
        "numbers": "integer[]",
        "grid": "smallint[][]",
    },
)
def kinds(rows: Rows) -> pl.DataFrame:
    """One column of every type, with the texts that escape badly."""
    lights = rows.items("lights", rows.integers("number of lights", 0, 3))
    numbers = rows.items("numbers", rows.integers("number of numbers", 0, 4))
    count = rows.integers("count", 0, 30_000)
    text = rows.choice("text", ["", "tab\tbed", "new\nline", "back\\slash", "ünïcödé 😀", "\\N", "NULL"])
    moment = rows.timestamps("moment", datetime(1900, 1, 1, tzinfo=UTC))
    document = json_object(size=count, text=text)
    return pl.DataFrame(
        {
            "Id": rows.key(),
            "select": text,
            "Lights": lights.lists(lights.choice("light", ["red", "green", 'very "odd", \\ light'])),
            "flag": rows.or_null("no flag", rows.chance("flag", 0.5), 0.2),
            "small": count,
            "whole": count * 1000,
            "big": count * 10**12,
            "single": (count / 8).cast(pl.Float32),
            "double": count / 7,
            "amount": as_decimals(count, 3),
            "label": rows.or_null("no label", text, 0.3),
            "code": rows.choice("code", ["a", "bc", "12345"]),
            "bytes": text.cast(pl.Binary),
            "day": rows.or_null("no day", moment.dt.date(), 0.2),
            "hour": moment.dt.time(),
            "local": moment.dt.replace_time_zone(None),
            "moment": moment,
            "loose": document,
            "strict": document,
            "numbers": numbers.lists(numbers.integers("number", -5, 5)),
            "grid": pl.Series([[[1, 2, 3], [4, None, 6]]] * len(rows), dtype=pl.Array(pl.Int16, (2, 3))),
        }
    )


@entity(
    key="id",
    columns={
        "id": "bigint",
        "length": "interval",
        "address": "inet",
        "seasons": "daterange[]",
        "corners": "box[][]",
        "size": '"Odd Place".size',
        "price": "numeric",
    },
)
def spans(rows: Rows) -> pl.DataFrame:
    """Types without an encoder of ours, spelled as PostgreSQL prints them."""
    return pl.DataFrame(
        {
            "id": rows.key(),
            "length": rows.choice("length", ["1 day", "02:00:00", "1 year 2 mons", "-00:00:01.5"]),
            "address": rows.choice("address", ["10.0.0.1/32", "fe80::1/128", "10.1.0.0/16", None]),
            "seasons": pl.Series([["[2026-03-01,2026-06-01)", None, "empty"]] * len(rows)),
            "corners": pl.Series([[["(1,1),(0,0)"], ["(2,2),(1,1)"]]] * len(rows)),
            "size": rows.choice("size", ['(1,"a b")', "(2,)", '(,"say ""x""")', None]),
            "price": rows.choice("price", ["0.10", "NaN", "-1" + "0" * 40, None]),
        }
    )


@entity(key="id", columns={"id": "bigint", "captain": "bigint"}, rows=scale(0.1))
def teams(rows: Rows) -> pl.DataFrame:
    """Each team has a captain, who is in players."""
    return pl.DataFrame({"id": rows.key(), "captain": rows.key()})


@entity(key="id", columns={"id": "bigint", "team": "bigint"}, rows=scale(0.1))
def players(rows: Rows) -> pl.DataFrame:
    """Each player is in a team."""
    return pl.DataFrame({"id": rows.key(), "team": rows.key()})


@entity(key="id", columns={"id": "integer", "place": "vector(4)"})
def points(rows: Rows) -> pl.DataFrame:
    """Vectors, for a server with or without pgvector."""
    values = [rows.integers(name, -8, 8).cast(pl.Float32) / 4 for name in "wxyz"]
    place = pl.DataFrame(values).select(place=pl.concat_arr(pl.all()))["place"]
    return pl.DataFrame({"id": rows.key(), "place": place})
