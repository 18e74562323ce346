"""A table of common types: 2 uuid, 4 text, integer, float, boolean, timestamptz; 174 bytes per row in binary COPY."""

from datetime import timedelta

import polars as pl

from snapseed import Rows, entity

_STATES = ["waiting", "running", "finished", "failed"]


@entity(
    key="id",
    columns={
        "id": "uuid",
        "other_id": "uuid",
        "name": "text",
        "address": "text",
        "state": "text",
        "remark": "text",
        "amount": "integer",
        "share": "double precision",
        "active": "boolean",
        "created_at": "timestamptz",
    },
)
def ten_columns(rows: Rows) -> pl.DataFrame:
    """Two unique texts, one text with few values, and one that is sometimes null."""
    number = rows.number().cast(pl.String)
    code = rows.integers("code", 10**9, 10**10 - 1).cast(pl.String)
    no_remark = pl.repeat(None, len(rows), dtype=pl.String, eager=True)
    return pl.DataFrame(
        {
            "id": rows.key(),
            "other_id": rows.key().gather(rows.integers("other", 0, len(rows) - 1)),
            "name": "name " + number,
            "address": "mail-" + code + "@example.com",
            "state": rows.choice("state", _STATES, weights=[1, 2, 6, 1]),
            "remark": ("no longer than it needs to be: " + code).zip_with(rows.chance("remark", 0.8), no_remark),
            "amount": rows.integers("amount", 0, 10**6).cast(pl.Int32),
            "share": rows.integers("share", 0, 10**6) / 2**20,
            "active": rows.chance("active", 0.7),
            "created_at": rows.timestamps("created_at", rows.now - timedelta(days=365)),
        }
    )
