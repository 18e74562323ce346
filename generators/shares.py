"""Links that users share: mostly on their favorite topic and in their own language, and sometimes one twice."""

import polars as pl

from snapseed import Rhythm, Rows, entity, fan_out, filled, json_object, slug

from .speech import sentences
from .users import users
from .vocabulary import SUBJECTS, Pool
from .wording import capitalised, uuid_text


@entity(
    parent=users,
    per_parent=fan_out({"free": 4, "pro": 8, "team": 12}, maximum=200, by="plan"),
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
    """A share is never older than its user, and users share nothing after they have left."""
    status = rows.choice("status", {"done": 62, "pending": 17, "error": 12, "processing": 9})
    original = originals(rows, status)
    again = original != pl.int_range(len(rows), eager=True)

    # What is shared again has the same content, but another address and another history.
    content = contents(rows, users)[original]
    url = content["url"].zip_with(~again, content["url"] + "?ref=" + rows.code("ref", 11))
    id_of_original = uuid_text(rows.key().gather(original)).to_frame("id").select(pl.when(again).then("id")).to_series()

    views = rows.zipf("view_count", 2_000_000, exponent=1.2) - 1
    stay = users.select(
        start="created_at", end=pl.when("is_active").then(pl.lit(rows.now)).otherwise("updated_at")
    ).with_columns(last_days=pl.max_horizontal("start", pl.col("end") - pl.duration(days=3)))
    # Shares that are not processed yet are recent.
    earliest = stay["last_days"].zip_with(status.is_in(["pending", "processing"]), stay["start"])
    clock = users.select("timezone").join(rows.derived(clocks), on="timezone", maintain_order="left")["ahead"]
    first_at = rows.timestamps("created_at", earliest, stay["end"], rhythm=Rhythm(), ahead=clock)
    created_at = rows.timestamps("again at", first_at.gather(original), stay["end"]).zip_with(again, first_at)

    return pl.DataFrame(
        {
            "id": rows.key(),
            "user_id": users["id"],
            "url": url,
            "platform": content["platform"],
            "title": content["title"],
            "description": content["description"],
            "status": status,
            "view_count": views * (status == "done").cast(pl.Int64),
            "tags": content["tags"],
            "metadata": json_object(
                topic=content["topic"],
                language=content["language"],
                duplicate_of=id_of_original,
            ),
            "created_at": created_at,
            "updated_at": rows.timestamps("updated_at", created_at),
        }
    )


def originals(rows: Rows, status: pl.Series) -> pl.Series:
    """For each row, the earlier row of the same user that it repeats; for most rows, the row itself.

    This may look at other rows because the rows of one user are always together.
    """
    itself = pl.int_range(len(rows), eager=True)
    earlier = itself - rows.integers("rows since", 1, rows.positions.clip(1))
    again = rows.chance("again", 0.03) & (rows.positions > 0) & (status == "done")
    earlier = earlier.zip_with(again, itself)
    is_original = (status == "done") & ~again
    return earlier.zip_with(is_original.gather(earlier), itself)


def contents(rows: Rows, users: pl.DataFrame) -> pl.DataFrame:
    """The shared content: title, description, tags and address fit the platform, topic and language."""
    favourite = users["preferences"].str.json_path_match("$.favourite_topic")
    any_topic = rows.choice("topic", rows.pool("topics")["topic"])
    topic = favourite.zip_with(rows.chance("on the favourite topic", 0.6), any_topic)
    english = pl.repeat("en", len(rows), eager=True)
    language = english.zip_with(rows.chance("in English", 0.15), users["locale"].str.slice(0, 2))
    platform = rows.choice("platform", {"youtube": 45, "tiktok": 20, "podcast": 15, "article": 12, "vimeo": 8})

    # Some titles and descriptions come from the pool; most are composed.
    known = rows.pool("clauses")
    about = pl.DataFrame(
        {
            "language": language,
            "topic": topic,
            "subject": topic + rows.choice("subject", SUBJECTS),
            "role": "title " + platform,
        }
    )
    about = about.with_columns(hesitates=False, is_linked=rows.chance("title goes on", 0.2))
    title = rows.sample("known title", known, role="title", topic=topic, language=language)["text"]
    title = title.zip_with(rows.chance("has a known title", 0.25), sentences(rows, "title", about))
    title = title.to_frame("title").select(capitalised(pl.col("title").str.strip_chars())).to_series()
    episode = "#" + rows.integers("episode", 1, 250).cast(pl.String) + ": " + title
    description = rows.sample("known description", known, role="description", topic=topic, language=language)["text"]
    description = description.zip_with(
        rows.chance("has a known description", 0.3),
        sentences(rows, "description", about.with_columns(role=pl.lit("description"))),
    )

    tags = rows.items("tags", rows.integers("number of tags", 0, 4))
    tag = tags.sample("tag", known, role="tag", topic=tags.of_owner(topic), language=tags.of_owner(language))["text"]
    site = rows.sample("site", rows.pool("domains"), platform=platform)
    path = filled(site["path"], language=language, topic=topic, slug=slug(title), code=rows.code("video", 11))
    return pl.DataFrame(
        {
            "topic": topic,
            "language": language,
            "platform": platform,
            "title": episode.zip_with(platform == "podcast", title),
            "description": rows.or_null("no description", description, 0.3),
            "tags": tags.lists(tag).list.unique(maintain_order=True),
            "url": "https://" + site["host"] + path,
        }
    )


def clocks(pool: Pool) -> pl.DataFrame:
    """How far each time zone is ahead of UTC in winter."""
    minutes = pl.col("minutes_from_utc").cast(pl.Int64)
    return pool("locales").select("timezone", ahead=pl.duration(minutes=minutes)).unique(maintain_order=True)
