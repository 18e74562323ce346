"""Links that users keep: mostly about what they like best, mostly in their own language."""

import polars as pl

from snapseed import Rows, entity, fan_out, json_object

from .users import users
from .wording import slug

# Seconds from the shortest to the longest; of an article, those that it takes to read it aloud.
PLATFORMS = pl.DataFrame(
    [
        ("youtube", 45, 20, 410),
        ("tiktok", 20, 15, 90),
        ("podcast", 15, 60, 410),
        ("article", 12, 40, 410),
        ("vimeo", 8, 20, 410),
    ],
    schema=["platform", "weight", "shortest", "longest"],
    orient="row",
)


@entity(
    parent=users,
    per_parent=fan_out(mean=5, maximum=200),
    key="id",
    columns={
        "id": "uuid",
        "user_id": "uuid",
        "url": "text",
        "platform": "share_platform",
        "title": "text",
        "description": "text",
        "status": "share_status",
        "view_count": "bigint",
        "tags": "text[]",
        "metadata": "jsonb",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
)
def shares(rows: Rows, users: pl.DataFrame) -> pl.DataFrame:
    """A share is never older than its user, and who left shares nothing afterwards."""
    favourite_topic = users["preferences"].str.json_path_match("$.favourite_topic")
    any_topic = rows.choice("topic", rows.pool("topics")["topic"])
    topic = favourite_topic.zip_with(rows.chance("on the favourite topic", 0.6), any_topic)
    english = pl.repeat("en", len(rows), eager=True)
    language = english.zip_with(rows.chance("in English", 0.15), users["locale"].str.slice(0, 2))

    clauses = rows.pool("clauses")
    title = rows.sample("title", clauses, topic=topic, language=language, role="title")["text"]
    episode = "#" + rows.integers("episode", 1, 250).cast(pl.String) + ": " + title
    description = rows.sample("description", clauses, topic=topic, language=language, role="description")["text"]
    tags = rows.items("tags", rows.integers("number of tags", 0, 4))
    tag = tags.sample("tag", clauses, topic=tags.of_owner(topic), language=tags.of_owner(language), role="tag")["text"]

    medium = rows.sample("platform", PLATFORMS, weights="weight")
    site = rows.sample("site", rows.pool("domains"), platform=medium["platform"])
    # Drawn in three steps: most are short, few come near the longest.
    longest = rows.integers("longest", medium["shortest"], medium["longest"])
    long = rows.integers("long", medium["shortest"], longest)
    duration = rows.integers("duration", medium["shortest"], long)

    status = rows.choice("status", ["done", "pending", "error", "processing"], weights=[62, 17, 12, 9])
    reach = rows.choice("reach", [10, 100, 1_000, 10_000, 100_000, 2_000_000], weights=[30, 40, 20, 7, 2, 1])
    stay = users.select(
        start="created_at", end=pl.when("is_active").then(pl.lit(rows.now)).otherwise("updated_at")
    ).with_columns(last_days=pl.max_horizontal("start", pl.col("end") - pl.duration(days=3)))
    # What waits for the background has not waited for long.
    earliest = stay["last_days"].zip_with(status.is_in(["pending", "processing"]), stay["start"])
    created_at = rows.timestamps("created_at", earliest, stay["end"])

    return pl.DataFrame(
        {
            "id": rows.key(),
            "user_id": users["id"],
            "url": "https://" + site["host"] + site["path"] + slug(title) + "-" + rows.number().cast(pl.String),
            "platform": medium["platform"],
            "title": episode.zip_with(medium["platform"] == "podcast", title),
            "description": rows.or_null("no description", description, 0.3),
            "status": status,
            "view_count": rows.integers("view_count", 0, reach) * (status == "done").cast(pl.Int64),
            "tags": tags.lists(tag).list.unique(maintain_order=True),
            "metadata": json_object(topic=topic, language=language, duration=duration),
            "created_at": created_at,
            "updated_at": rows.timestamps("updated_at", created_at),
        }
    )
