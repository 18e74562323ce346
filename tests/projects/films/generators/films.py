"""Films and who plays in them: tables that join two others, and a root entity with a key of two columns."""

import polars as pl

from snapseed import Rows, entity, exactly, fan_out, scale

# By their bytes capitals come first, and accents last; by most collations neither does.
TAGS = ["apes", "Zombies", "Éclairs", "love", "Noir", "a, b"]


@entity(key="id", rows=scale(0.5), columns={"id": "uuid", "name": "text"})
def actors(rows: Rows) -> pl.DataFrame:
    """Half as many as films."""
    return pl.DataFrame({"id": rows.key(), "name": rows.code("name", 6)})


@entity(key="id", columns={"id": "bigint", "title": "text"})
def films(rows: Rows) -> pl.DataFrame:
    """As many as the scale says."""
    return pl.DataFrame({"id": rows.key(), "title": rows.code("title", 8)})


@entity(
    parent=films,
    per_parent=fan_out(mean=4, maximum=12, among=actors),
    key=("film_id", "actor_id"),
    columns={"role": "text", "actor_id": "uuid", "film_id": "bigint"},
)
def film_actor(rows: Rows, films: pl.DataFrame) -> pl.DataFrame:
    """Several actors for each film, none twice."""
    return pl.DataFrame(
        {
            "film_id": films["id"],
            "actor_id": rows.reference("actor_id", actors, distinct=True),
            "role": rows.choice("role", ["hero", "villain", "tree"]),
        }
    )


@entity(
    parent=film_actor,
    per_parent=exactly(2),
    key=("film_id", "actor_id", "number"),
    columns={"film_id": "bigint", "actor_id": "uuid", "number": "smallint", "seconds": "integer"},
)
def takes(rows: Rows, film_actor: pl.DataFrame) -> pl.DataFrame:
    """Below a parent whose key has two columns."""
    return pl.DataFrame(
        {
            "film_id": film_actor["film_id"],
            "actor_id": film_actor["actor_id"],
            "number": rows.positions.cast(pl.Int16),
            "seconds": rows.integers("seconds", 1, 90).cast(pl.Int32),
        }
    )


@entity(parent=films, per_parent=exactly(3), key=["film_id", "tag"], columns={"film_id": "bigint", "tag": "text"})
def film_tag(rows: Rows, films: pl.DataFrame) -> pl.DataFrame:
    """Nothing but a key."""
    return pl.DataFrame(
        {"film_id": films["id"], "tag": rows.ascending(rows.choice("tag", TAGS, distinct=True)).alias("tag")}
    )


@entity(key=("hall", "number"), columns={"hall": "smallint", "number": "integer", "label": "text"})
def seats(rows: Rows) -> pl.DataFrame:
    """Without a parent: ten seats in each hall, the first halls below zero."""
    number = rows.number() - 1
    return pl.DataFrame(
        {
            "hall": (number // 10 - 3).cast(pl.Int16),
            "number": (number % 10).cast(pl.Int32),
            "label": rows.choice("label", ["aisle", "window"]),
        }
    )
