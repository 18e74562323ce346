"""Teams with captains, people with bosses, and badges of both: every row can refer to another."""

from datetime import UTC, datetime

import polars as pl

from snapseed import Rows, entity, json_object


@entity(key="code", columns={"code": "text", "title": "text", "captain": "bigint"}, rows=4)
def teams(rows: Rows) -> pl.DataFrame:  # noqa: ARG001 - every generator takes it
    """Each has a captain among the people; one has none."""
    return pl.DataFrame(
        {
            "code": ["Red", "blue", "green", "ünï"],
            "title": ["Red", "Blue", "Green", "It's \\ 100 %"],
            "captain": [1, 2, None, 3],
        }
    )


@entity(
    key="id",
    columns={
        "id": "bigint",
        "team": "text",
        "boss": "bigint",
        "name": "text",
        "born": "date",
        "score": "integer",
        "seat": "integer",
        "tags": "text[]",
        "note": "jsonb",
        "loose": "json",
        "place": "vector(3)",
    },
)
def people(rows: Rows, teams: pl.DataFrame) -> pl.DataFrame:
    """Each has a boss who comes later in the table, except the last. Half of them have a seat, each a different one."""
    tags = rows.items("tags", rows.integers("number of tags", 0, 3))
    document = json_object(count=rows.integers("count", 0, 9), text=rows.choice("text", ["", "a b", 'say "x"']))
    place = [rows.integers(axis, -4, 4).cast(pl.Float32) / 4 for axis in "xyz"]
    key = rows.key()
    return pl.DataFrame(
        {
            "id": key,
            "team": rows.choice("team", teams["code"]),
            "boss": key.shift(-1),
            "name": rows.choice("name", ["Ada", "Bo", "Çelik", "O'Hara"]),
            "born": rows.timestamps(
                "born", datetime(1950, 1, 1, tzinfo=UTC), datetime(2010, 1, 1, tzinfo=UTC)
            ).dt.date(),
            "score": rows.integers("score", 0, 100).cast(pl.Int32),
            "seat": key.cast(pl.Int32).set(key % 2 == 1, None),
            "tags": tags.lists(tags.choice("tag", ["new", "vip", "late"])),
            "note": document,
            "loose": document,
            "place": pl.DataFrame(place).select(place=pl.concat_arr(pl.all()))["place"],
        }
    )


@entity(
    parent=people,
    per_parent=2,
    key="id",
    columns={"id": "uuid", "person": "bigint", "team": "text", "mark": "text", "grade": "grade"},
)
def badges(rows: Rows, people: pl.DataFrame) -> pl.DataFrame:
    """Two for each of the people, of their team; one in two has a mark."""
    return pl.DataFrame(
        {
            "id": rows.key(),
            "person": people["id"],
            "team": people["team"],
            "mark": rows.choice("mark", ["gold", "iron", None, None]),
            "grade": rows.choice("grade", ["low", "high", "It's", None]),
        }
    )
