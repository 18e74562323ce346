"""Users and their shares fit together: locale, time zone, plan, topic and language."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tests.generators.conftest import Frames, make_example, pool


def shares_of(example: Frames) -> pl.DataFrame:
    """Shares with the fields of their metadata and the columns of their user, prefixed with `user.`."""
    users = example["users"]
    return (
        example["shares"]
        .with_columns(
            pl.col("metadata").str.json_path_match(f"$.{name}").alias(name)
            for name in ("topic", "language", "duplicate_of")
        )
        .join(users.rename({name: f"user.{name}" for name in users.columns}), left_on="user_id", right_on="user.id")
    )


def test_a_scale_is_a_prefix_of_a_larger_one(tmp_path: Path) -> None:
    """Duplicates too, which look at other rows."""
    small, large = make_example(tmp_path / "small", 60), make_example(tmp_path / "large", 120)
    for name, rows in small.items():
        assert len(large[name]) > len(rows)
        assert large[name].head(len(rows)).equals(rows), name


def test_names_and_time_zones_are_those_of_the_locale(example: Frames) -> None:
    """And the names come from the pools of that locale."""
    first, last = (pool(name).rename({"name": name}) for name in ("first_names", "last_names"))
    places = pool("locales").select("locale", "timezone")
    users = example["users"]
    assert users.join(places, on=["locale", "timezone"], how="semi").height == len(users)
    known = users.join(first, on="locale").filter(pl.col("display_name").str.starts_with(pl.col("first_names") + " "))
    known = known.join(last, on="locale").filter(
        pl.col("display_name") == pl.col("first_names") + " " + pl.col("last_names")
    )
    assert known["id"].n_unique() == len(users)


def test_paying_users_were_here_recently(example: Frames) -> None:
    """And members of teams use company addresses."""
    now = example["users"]["updated_at"].max()
    active = example["users"].filter("is_active").with_columns(days=(now - pl.col("updated_at")).dt.total_days())
    latest = dict(active.group_by("plan").agg(pl.col("days").max()).rows())
    assert latest["team"] <= 7 < latest["pro"] <= 30 < latest["free"] <= 180
    host = pl.col("email").str.extract("@(.*)$")
    assert set(active.filter(plan="team").select(host).to_series()) <= set(
        pool("mail_hosts").filter(plan="team")["host"]
    )


def test_most_shares_are_in_the_users_language_and_on_their_topic(example: Frames) -> None:
    """Five in six shares of users who do not speak English; three in five on the topic, and some by chance."""
    shares = shares_of(example)
    foreign = shares.filter(~pl.col("user.locale").str.starts_with("en"))
    assert 0.8 < (foreign["language"] == foreign["user.locale"].str.slice(0, 2)).mean() < 0.9  # type: ignore[operator]
    favourite = shares["user.preferences"].str.json_path_match("$.favourite_topic")
    assert 0.58 < (shares["topic"] == favourite).mean() < 0.68  # type: ignore[operator]


def test_few_shares_are_made_at_night(example: Frames) -> None:
    """From midnight to seven, local time, there are few shares."""
    minutes = pool("locales").select("timezone", pl.col("minutes_from_utc").cast(pl.Int64)).unique()
    shares = shares_of(example).filter(pl.col("duplicate_of").is_null())
    shares = shares.join(minutes, left_on="user.timezone", right_on="timezone")
    local = pl.col("created_at") + pl.duration(minutes="minutes_from_utc")
    assert shares.select((local.dt.hour() < 7).mean()).item() < 0.1


def test_titles_tags_and_addresses_fit(example: Frames) -> None:
    """Tags fit topic and language, hosts fit the platform, and every slot is filled."""
    shares = shares_of(example)
    tags = shares.select("topic", "language", text=pl.col("tags")).explode("text", empty_as_null=False)
    known = pool("clauses").filter(role="tag")
    assert len(tags) > 1_000
    assert tags.join(known, on=["topic", "language", "text"], how="anti").is_empty()
    sites = shares.select("platform", host=pl.col("url").str.extract("^https://([^/]+)/"))
    assert sites.join(pool("domains"), on=["platform", "host"], how="anti").is_empty()
    for column in ("title", "description", "url"):
        assert shares[column].str.contains(r"[{}]|  ").any() is False, column
    assert shares["title"].str.contains(r"^(#[0-9]+: )?[¿¡]?[\p{Lu}0-9]").all()


def test_a_duplicate_shows_an_earlier_share_of_its_user(example: Frames) -> None:
    """The same video, later and under another address; the earlier share is not a duplicate itself."""
    shares = shares_of(example)
    hexed = pl.col("id").bin.encode("hex")
    again = shares.filter(pl.col("duplicate_of").is_not_null()).with_columns(
        first=pl.col("duplicate_of").str.replace_all("-", "")
    )
    pairs = again.join(shares.with_columns(first=hexed), on="first", suffix=" of the first")
    assert len(pairs) == len(again)
    assert pairs["duplicate_of of the first"].is_null().all()
    for column in ("user_id", "title", "description", "platform", "topic", "language", "tags", "status"):
        assert pairs[column].equals(pairs[f"{column} of the first"].alias(column), null_equal=True), column
    assert (pairs["url"] != pairs["url of the first"]).all()
    assert (pairs["created_at"] >= pairs["created_at of the first"]).all()
    assert set(again["status"]) == {"done"}
    assert 0.006 < len(again) / len(shares) < 0.018
