"""The type in a snapshot of each column that is captured: that of the catalog, or text for values that Arrow lacks.

It follows from the values alone, never from where in the table they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from psycopg import sql

from snapseed.errors import ConfigurationError
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import ColumnFacts, TableFacts
from snapseed.postgres.fit import Problem
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.types import ColumnType, Family, parse_type

# A column: its table in full, and its own name.
ColumnName = tuple[str, str]

# Rows of a table whose arrays are looked at for the number of their dimensions, which its type does not say. If these
# do not tell, reading ends at the first array with others, and all values of the table are looked at.
_SAMPLED_ROWS = 1_000
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
    own = {table.oid: {name for place, name in failed if place == str(table.name)} for table in tables}
    dimensions: dict[int, Mapping[str, int | None]] = {}
    if samples:
        dimensions |= _sampled_dimensions(connection, [table for table in tables if not own[table.oid]])
    for table in tables:
        if own[table.oid]:
            dimensions[table.oid] = _all_dimensions(connection, table, own[table.oid])
    return [list(_spelled(table, dimensions.get(table.oid, {}))) for table in tables]


def _spelled(table: TableFacts, dimensions: Mapping[str, int | None]) -> Iterator[Column | Problem]:
    for column in _stored(table):
        count = dimensions.get(column.name, 1)
        spelled = column.catalog_name if count is None else column.full_type + "[]" * (count - 1)
        try:
            parse_type(spelled)
        except ConfigurationError as exc:
            yield Problem(f"{table.name}.{column.name} is {spelled}: {exc.summary}, expected {exc.expected}")
        else:
            yield Column(column.name, spelled)


def _stored(table: TableFacts) -> list[ColumnFacts]:
    return [column for column in table.columns if not column.generated]


def _is_array(column: ColumnFacts) -> bool:
    return column.full_type.endswith("[]")


def _sampled_dimensions(connection: Connection, tables: Sequence[TableFacts]) -> dict[int, Mapping[str, int | None]]:
    """How many dimensions the first arrays of each table have, by one query, as far as the role may look."""
    looks, places = [], []
    for table in tables:
        arrays = [column.name for column in _stored(table) if _is_array(column) and column.may_select]
        if arrays and "USAGE" in table.privileges:
            names = [sql.Identifier(name) for name in arrays]
            most = sql.SQL(", ").join(sql.SQL("coalesce(max(array_ndims({})), 1)").format(name) for name in names)
            look = sql.SQL("(SELECT array_to_string(ARRAY[{}], ' ') FROM (SELECT {} FROM {} LIMIT {}) AS sampled)")
            rows = sql.SQL(", ").join(names), table.name.rows(), sql.Literal(_SAMPLED_ROWS)
            looks.append(look.format(most, *rows))
            places.append((table.oid, arrays))
    statement = sql.SQL("SELECT ARRAY[{}]::text[]").format(sql.SQL(", ").join(looks))
    ((found,),) = connection.execute(statement).fetchall()
    return {
        oid: dict(zip(arrays, map(int, text.split()), strict=True))
        for (oid, arrays), text in zip(places, found, strict=True)  # type: ignore[call-overload]
    }


def _all_dimensions(connection: Connection, table: TableFacts, failed: Collection[str]) -> dict[str, int | None]:
    """How many dimensions all values of each column have, 1 for those that are no arrays; None if Arrow lacks one."""
    looks = {column.name: look for column in _stored(table) if (look := _look(column)) is not None}
    row: Sequence[object] = ()
    if looks:
        statement = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(looks.values()), table.name.rows())
        row = connection.execute(statement).fetchone() or ()
    counts = {name: None if found is None else int(str(found)) for name, found in zip(looks, row, strict=True)}
    # What failed with one dimension fails again.
    return counts | {name: None for name in failed if counts.get(name, 1) == 1}


def _look(column: ColumnFacts) -> sql.Composed | None:
    """The number of dimensions of a column's values, or NULL if Arrow lacks one. None for a type that has no such."""
    name, kind = sql.Identifier(column.name), _kind(column)
    element = (kind.element or kind) if kind else None
    values = sql.SQL("{}" if kind and kind.is_array else "ARRAY[{}]").format(name)
    beyond = list(_beyond(element, values))
    if not _is_array(column):
        return sql.SQL("CASE WHEN bool_or({}) THEN NULL ELSE 1 END").format(beyond[0]) if beyond else None
    beyond.append(sql.SQL(r"array_dims({}) !~ '^(\[1:[0-9]+\])+$'").format(name))
    return sql.SQL(
        "CASE WHEN bool_or({}) OR min(array_ndims({name})) <> max(array_ndims({name})) THEN NULL"
        " ELSE coalesce(max(array_ndims({name})), 1) END"
    ).format(sql.SQL(" OR ").join(beyond), name=name)


def _kind(column: ColumnFacts) -> ColumnType | None:
    try:
        return parse_type(column.full_type)
    except ConfigurationError:
        return None


def _beyond(element: ColumnType | None, values: sql.Composed) -> Iterator[sql.Composed]:
    """The condition for values that Arrow lacks among these, if the type has any."""
    if element and (condition := _BEYOND_ARROW.get(element.family)):
        yield sql.SQL("EXISTS (SELECT FROM unnest({}) AS e WHERE " + condition + ")").format(values)
