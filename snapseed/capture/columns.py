"""The type in a snapshot of each column that is captured: that of the catalog, or text for values that Arrow lacks.

It follows from the values alone, never from where in the table they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from psycopg import sql

from snapseed.errors import ConfigurationError
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import ColumnFacts, TableFacts
from snapseed.postgres.fit import Problem
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import Family, parse_type

# A column: its table in full, and its own name.
ColumnName = tuple[str, str]

# Rows of a table whose arrays are looked at for the number of their dimensions, which its type does not say. If these
# do not tell, reading ends at the first array with others, and all values of the table are looked at.
_SAMPLED_ROWS = "1000"
# The infinite ones have numbers in Arrow; the last finite ones would be beyond them, as it counts from 1970.
_TOO_LATE = "pg_catalog.isfinite(e) AND e >= '294247-01-10 04:00:54.775807+00'"
_BEYOND_ARROW = {Family.TIMESTAMP: _TOO_LATE, Family.TIMESTAMPTZ: _TOO_LATE, Family.NUMERIC: "e = 'NaN'"}


def stored_columns(
    connection: Connection, tables: Sequence[TableFacts], failed: Collection[ColumnName], *, samples: bool
) -> list[list[Column | Problem]]:
    """For each table, the columns whose values are stored: all but generated ones.

    A `Problem` stands for a type that a snapshot lacks. If a column has `failed` to be read as what it was taken for,
    all values of its table are looked at, once for all its columns. Else arrays have one dimension or, if it `samples`,
    as many as the first ones have. That suits if all rows are read: more than one is then right, or reading fails.
    """
    lost = {table.oid: {name for place, name in failed if place == str(table.name)} for table in tables}
    looks = []
    for table in tables:
        columns, most = [column for column in table.columns if not column.generated], "ALL"
        if not lost[table.oid]:
            may_look = samples and "USAGE" in table.privileges
            columns = [each for each in columns if may_look and each.may_select and each.full_type.endswith("[]")]
            most = _SAMPLED_ROWS
        if found := {column.name: look for column in columns if (look := _look(column))}:
            looks.append((table, found, most))
    dimensions = _dimensions(connection, looks)
    spelled = []
    for table in tables:
        known = dimensions.get(table.oid, {})
        # What failed with one dimension fails again.
        again = {name: None for name in lost[table.oid] if known.get(name, 1) == 1}
        spelled.append(list(_spelled(table, known | again)))
    return spelled


def _spelled(table: TableFacts, dimensions: Mapping[str, int | None]) -> Iterator[Column | Problem]:
    """The columns with their types: an array in as many dimensions, and text for what Arrow lacks."""
    for column in (each for each in table.columns if not each.generated):
        count = dimensions.get(column.name, 1)
        spelled = column.catalog_name if count is None else column.full_type + "[]" * (count - 1)
        try:
            parse_type(spelled)
        except ConfigurationError as exc:
            yield Problem(f"{table.name}.{column.name} is {spelled}: {exc.summary}, expected {exc.expected}")
        else:
            yield Column(column.name, spelled)


def _dimensions(
    connection: Connection, looks: Sequence[tuple[TableFacts, Mapping[str, sql.Composed], str]]
) -> dict[int, dict[str, int | None]]:
    """What each look says about the first rows of its table, by one query: a number of dimensions, or None."""
    statement = sql.SQL(
        "(SELECT array_to_string(ARRAY[{}]::int[], ' ', 'x') FROM (SELECT {} FROM {} LIMIT {}) AS rows)"
    )
    asked = (
        statement.format(listed(found.values()), listed(found), table.name.rows(), sql.SQL(most))
        for table, found, most in looks
    )
    query = sql.SQL("SELECT ARRAY[{}]::text[]").format(listed(asked))
    ((texts,),) = connection.execute(query).fetchall()
    return {
        table.oid: {name: None if text == "x" else int(text) for name, text in zip(found, line.split(), strict=True)}
        for (table, found, _), line in zip(looks, texts, strict=True)  # type: ignore[call-overload]
    }


def _look(column: ColumnFacts) -> sql.Composed | None:
    """The number of dimensions of a column's values, or NULL if Arrow lacks one. None for a type that has no such."""
    name, beyond, dimensions = sql.Identifier(column.name), [], sql.SQL("1").format()
    with suppress(ConfigurationError):
        kind = parse_type(column.full_type)
        if condition := _BEYOND_ARROW.get((kind.element or kind).family):
            values = sql.SQL("{}" if kind.is_array else "ARRAY[{}]").format(name)
            beyond.append(sql.SQL("EXISTS (SELECT FROM unnest({}) AS e WHERE " + condition + ")").format(values))
    if column.full_type.endswith("[]"):
        beyond.append(sql.SQL(r"array_dims({}) !~ '^(\[1:[0-9]+\])+$'").format(name))
        dimensions = sql.SQL("array_ndims({})").format(name)
    look = "CASE WHEN bool_or({}) OR min({own}) <> max({own}) THEN NULL ELSE coalesce(max({own}), 1) END"
    return sql.SQL(look).format(sql.SQL(" OR ").join(beyond), own=dimensions) if beyond else None
