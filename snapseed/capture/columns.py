"""The type in a snapshot of each column that is captured: that of the catalog, or text for values that Arrow lacks.

It follows from the values alone, never from where in the table they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from psycopg import sql

from snapseed.errors import ConfigurationError
from snapseed.postgres.catalog import ColumnFacts, TableFacts
from snapseed.postgres.connect import Connection
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
    connection: Connection, table: TableFacts, failed: Collection[ColumnName], *, samples: bool
) -> list[Column | Problem]:
    """The columns whose values are stored: all but generated ones. A `Problem` for a type that a snapshot lacks.

    If a column has `failed` to be read as what it was taken for, all values of the table are looked at, once for all
    its columns. Else arrays have one dimension, or, if it `samples`, as many as the first ones have. That suits if all
    rows are read: more than one is then either right, or reading fails.
    """
    stored = [column for column in table.columns if not column.generated]
    own = {name for place, name in failed if place == str(table.name)}
    dimensions = _all_dimensions(connection, table, stored, own) if own else {}
    if samples and not own:
        dimensions = _sampled_dimensions(connection, table, [each for each in stored if _is_array(each)])
    found: list[Column | Problem] = []
    for column in stored:
        count = dimensions.get(column.name, 1)
        spelled = column.catalog_name if count is None else column.full_type + "[]" * (count - 1)
        try:
            parse_type(spelled)
        except ConfigurationError as exc:
            found.append(Problem(f"{table.name}.{column.name} is {spelled}: {exc.summary}, expected {exc.expected}"))
        else:
            found.append(Column(column.name, spelled))
    return found


def _is_array(column: ColumnFacts) -> bool:
    return column.full_type.endswith("[]")


def _sampled_dimensions(
    connection: Connection, table: TableFacts, arrays: Sequence[ColumnFacts]
) -> dict[str, int | None]:
    """How many dimensions the first arrays in these columns have."""
    if not arrays:
        return {}
    names = [sql.Identifier(column.name) for column in arrays]
    most = sql.SQL(", ").join(sql.SQL("coalesce(max(array_ndims({})), 1)").format(name) for name in names)
    statement = sql.SQL("SELECT {} FROM (SELECT {} FROM {} LIMIT {}) AS sampled")
    row = connection.execute(
        statement.format(most, sql.SQL(", ").join(names), table.name.rows(), sql.Literal(_SAMPLED_ROWS))
    ).fetchone()
    return {column.name: int(str(count)) for column, count in zip(arrays, row or (), strict=True)}


def _all_dimensions(
    connection: Connection, table: TableFacts, columns: Sequence[ColumnFacts], failed: Collection[str]
) -> dict[str, int | None]:
    """How many dimensions all values of each column have, 1 for those that are no arrays; None if Arrow lacks one."""
    looks = {column.name: look for column in columns if (look := _look(column)) is not None}
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
