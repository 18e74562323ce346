"""A table whose name, schema, columns and types are reserved, mixed, quoted, dotted, spaced, or not of ASCII."""

import polars as pl

from snapseed import Rows, entity


@entity(
    schema="Order by",
    table='Größe "x" %s',
    key="primary",
    columns={
        "primary": "bigint",
        "select": '"Order by"."Ding"',
        "a.b": "text",
        "Ä": "bigint",
        "%s": "integer",
        "'": "text",
    },
)
def sizes(rows: Rows) -> pl.DataFrame:
    """Each refers to the next one."""
    key = rows.key()
    return pl.DataFrame(
        {
            "primary": key,
            "select": rows.choice("select", ["Ja", 'Ne"in', None]),
            "a.b": rows.choice("a.b", ["", "\\", "%s", "'"]),
            "Ä": key.shift(-1),
            "%s": key.cast(pl.Int32),
            "'": rows.choice("'", ["$$", '"', None]),
        }
    )
