"""Members of a library, and the books that they borrowed."""

import polars as pl

from snapseed import Rows, entity, fan_out


@entity(key="id", columns={"id": "bigint", "name": "text", "joined": "timestamptz"})
def members(rows: Rows) -> pl.DataFrame:
    """One row for each of the scale."""
    names = ["Ada", "Alan", "Barbara", "Donald", "Edsger", "Grace", "Margaret", "Niklaus"]
    return pl.DataFrame(
        {
            "id": rows.key(),
            "name": rows.choice("name", names),
            "joined": rows.timestamps("joined", rows.now.replace(year=2020)),
        }
    )


@entity(
    parent=members,
    per_parent=fan_out(mean=4, maximum=20),
    key="id",
    columns={"id": "bigint", "member_id": "bigint", "title": "text", "taken": "timestamptz", "returned": "boolean"},
)
def loans(rows: Rows, members: pl.DataFrame) -> pl.DataFrame:
    """Nobody borrows a book before joining. Most books are returned."""
    titles = ["The Mythical Man-Month", "A Discipline of Programming", "Purely Functional Data Structures"]
    return pl.DataFrame(
        {
            "id": rows.key(),
            "member_id": members["id"],
            "title": rows.choice("title", titles),
            "taken": rows.timestamps("taken", members["joined"]),
            "returned": rows.chance("returned", 0.8),
        }
    )
