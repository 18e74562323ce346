"""Accounts, the root entity: everything else belongs to one of them, and the scale counts them."""

from datetime import timedelta

import polars as pl

from snapseed import Rows, entity, json_object, slug

YEARS = 5  # the age of the service
# Most accounts are free, and most of those that people abandon are, too. Teams read the digest every day.
ACCOUNTS = pl.DataFrame(
    [
        ("free", True, "weekly", 180, 38),
        ("free", True, "never", 180, 24),
        ("free", False, "never", YEARS * 365, 12),
        ("free", False, "weekly", YEARS * 365, 6),
        ("pro", True, "daily", 30, 6),
        ("pro", True, "weekly", 30, 7),
        ("pro", False, "weekly", YEARS * 365, 2),
        ("team", True, "daily", 7, 5),
    ],
    schema=["plan", "is_active", "digest", "seen_within_days", "weight"],
    orient="row",
)


@entity(
    key="id",
    columns={
        "id": "uuid",
        "email": "text",
        "username": "text",
        "display_name": "text",
        "locale": "text",
        "timezone": "text",
        "plan": "user_plan",
        "is_active": "boolean",
        "preferences": "jsonb",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
)
def users(rows: Rows) -> pl.DataFrame:
    """People with names that fit their locale. The service grows, and paying users were here recently."""
    place = rows.sample("locale", rows.pool("locales"), weights="weight")
    account = rows.sample("plan", ACCOUNTS, weights="weight")
    first = rows.sample("first name", rows.pool("first_names"), locale=place["locale"])["name"]
    last = rows.sample("last name", rows.pool("last_names"), locale=place["locale"])["name"]

    full_name = slug(first, "") + "." + slug(last, "")
    nickname = rows.choice("nickname", rows.pool("words")["word"])
    username = nickname.zip_with(rows.chance("has a nickname", 0.6), full_name)
    host = rows.sample("mail host", rows.pool("mail_hosts"), plan=account["plan"])["host"]

    created_at = rows.timestamps("created_at", rows.now - timedelta(days=YEARS * 365), growth=8)
    seen_after = pl.DataFrame({"created_at": created_at, "days": account["seen_within_days"]}).select(
        pl.max_horizontal("created_at", pl.lit(rows.now) - pl.duration(days="days"))
    )

    return pl.DataFrame(
        {
            "id": rows.key(),
            "email": rows.unique("email", full_name) + "@" + host,
            "username": rows.unique("username", username),
            "display_name": first + " " + last,
            "locale": place["locale"],
            "timezone": place["timezone"],
            "plan": account["plan"],
            "is_active": account["is_active"],
            "preferences": json_object(
                theme=rows.choice("theme", {"system": 5, "light": 2, "dark": 3}),
                digest=account["digest"],
                autoplay=rows.chance("autoplay", 0.7),
                favourite_topic=rows.choice("favourite topic", rows.pool("topics")["topic"]),
            ),
            "created_at": created_at,
            "updated_at": rows.timestamps("updated_at", seen_after.to_series()),
        }
    )
