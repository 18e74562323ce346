"""The fingerprint of rows in SQL, and the key of an entity in SQL: as a list, as the bounds of chunks, as a condition.

`snapshot.hashing` computes the same fingerprint from Arrow. A key of several columns is a row constructor, which
PostgreSQL compares from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from psycopg import sql
from psycopg.abc import AdaptContext

from snapseed.postgres import listed
from snapseed.postgres.connect import Connection, holds_utf8
from snapseed.postgres.facts import TableName
from snapseed.snapshot.hashing import SEED, Fingerprint
from snapseed.snapshot.manifest import Column, EntityRecord, FirstKey
from snapseed.snapshot.types import INTEGERS, ColumnType, Family
from snapseed.snapshot.values import is_hashed_as_text_array

# A key as text; for several columns, the text of each.
TextKey = str | tuple[str, ...]

# The function that gives the bytes of a value in binary COPY. Other types are hashed as they are (bytea, uuid) or as
# text.
_SEND = {
    Family.BOOLEAN: "boolsend",
    Family.SMALLINT: "int2send",
    Family.INTEGER: "int4send",
    Family.BIGINT: "int8send",
    Family.REAL: "float4send",
    Family.DOUBLE: "float8send",
    Family.NUMERIC: "numeric_send",
    Family.DATE: "date_send",
    Family.TIME: "time_send",
    Family.TIMESTAMP: "timestamp_send",
    Family.TIMESTAMPTZ: "timestamptz_send",
    Family.JSONB: "jsonb_send",
}


def table_fingerprint(
    connection: Connection, entity: EntityRecord, table: TableName, among: sql.Composable | None = None
) -> Fingerprint:
    """The fingerprint of all rows of a table, or of those that meet the condition `among`."""
    source = sql.SQL("{} WHERE {}").format(table.rows(), among or sql.SQL("true"))
    return rows_fingerprint(connection, entity.columns, source)


def rows_fingerprint(connection: Connection, columns: Sequence[Column], source: sql.Composable) -> Fingerprint:
    """The fingerprint of the rows of `source`, which is what follows FROM."""
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {}")
    row = connection.execute(query.format(row_hash(columns), source)).fetchone()
    assert row is not None
    return Fingerprint(int(str(row[0])), int(str(row[1])) % 2**64)


def range_fingerprints(
    connection: Connection,
    columns: Sequence[Column],
    source: sql.Composable,
    key: Sequence[Column],
    bounds: Sequence[FirstKey],
) -> dict[int, Fingerprint]:
    """The fingerprints of the rows of `source` by ranges of the key, numbered as by `bucket`; none for an empty one."""
    query = sql.SQL("SELECT {}, count(*), sum({}) FROM {} GROUP BY 1")
    # The planner takes the numbers of ranges for as many as there are rows, and would sort these.
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL enable_sort = off; SET LOCAL parallel_tuple_cost = 0")
        rows = connection.execute(query.format(bucket(key, bounds), row_hash(columns), source)).fetchall()
    return {int(str(number)): Fingerprint(int(str(count)), int(str(total)) % 2**64) for number, count, total in rows}


def row_hash(columns: Sequence[Column], table: str | None = None) -> sql.Composed:
    """The SQL expression for the hash of a row: the SQL side of `snapshot.hashing.row_hashes`.

    `table` qualifies the columns in a query over several tables. Everything is qualified, because an upsert runs with
    the role's search path.
    """
    prefix = () if table is None else (table,)
    fields = listed(_field(sql.Identifier(*prefix, column.name), column.kind()) for column in columns)
    record = sql.SQL("pg_catalog.hash_record_extended(ROW({}), {})").format(fields, sql.Literal(SEED))
    again = "pg_catalog.hash_record_extended(ROW(pg_catalog.int8send({})), {})"
    return sql.SQL(again).format(record, sql.Literal(SEED))


def _field(column: sql.Identifier, kind: ColumnType) -> sql.Composable:
    """The bytes of a column that are hashed: the SQL side of `snapshot.values.for_hash`."""
    if kind.is_array:
        as_text = is_hashed_as_text_array(kind)
        return sql.SQL(
            "pg_catalog.array_send({}::pg_catalog.text[])" if as_text else "pg_catalog.array_send({})"
        ).format(column)
    if kind.family is Family.VECTOR:
        return sql.SQL("pg_catalog.array_send({}::pg_catalog.float4[])").format(column)
    if kind.family in _SEND:
        return sql.SQL("{}({})").format(sql.Identifier("pg_catalog", _SEND[kind.family]), column)
    if kind.family in {Family.BYTEA, Family.UUID}:
        return sql.SQL("{}").format(column)
    return _Utf8(column)


class _Utf8(sql.Composable):
    """A text as its bytes in UTF-8: rows are hashed and keys are compared by them, in a database of any encoding."""

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """The expression, for the encoding of this database."""
        connection = context.connection if context else None
        plain = connection is None or holds_utf8(connection)
        text = "{}::pg_catalog.text"
        form = text + ' COLLATE pg_catalog."C"' if plain else f"pg_catalog.convert_to({text}, 'UTF8')"
        return sql.SQL(form).format(self._obj).as_bytes(context)


def text_key(values: Sequence[object]) -> TextKey:
    """A key from the values of its columns, with `NULL` for None."""
    texts = tuple("NULL" if value is None else str(value) for value in values)
    return texts[0] if len(texts) == 1 else texts


def bucket(key: Sequence[Column], bounds: Sequence[FirstKey]) -> sql.Composable:
    """The number of the range that a row belongs to by its key: range n begins at the n-th of the bounds, in order.

    -1 is the range before the first bound. Keys that contain a NULL are in it too.
    """
    if not bounds or not key:
        return sql.SQL("-1")
    # Both sides need the same type: neither arrays nor records mix types.
    value = _row_of([typed_key(column) for column in key])
    array = listed(_key_value(key, bound) for bound in bounds)
    return sql.SQL("CASE WHEN {} THEN -1 ELSE width_bucket({}, ARRAY[{}]) - 1 END").format(has_null(key), value, array)


def between(key: Sequence[Column], first: FirstKey | None, last: FirstKey | None) -> sql.Composable:
    """The condition for rows whose key is at least `first` and below `last`; None is no bound."""
    bounds = [(sql.SQL(">="), first), (sql.SQL("<"), last)]
    conditions = [
        sql.SQL("{} {} {}").format(_row_of(_terms(key)), operator, _key_value(key, bound))
        for operator, bound in bounds
        if bound is not None
    ]
    return sql.SQL(" AND ").join([sql.SQL("true"), *conditions])


def key_order(key: Sequence[Column]) -> sql.Composed:
    """The order of keys, for ORDER BY."""
    return listed(_terms(key))


def row_order(key: Sequence[Column], columns: Sequence[Column]) -> sql.Composed:
    """The order of rows in a snapshot, for ORDER BY: by the key.

    Without a key, it is one in which rows that are not the same have only one place, whatever the types of `columns`.
    """
    if key:
        return key_order(key)
    terms: list[sql.Composable] = []
    for column in columns:
        name, kind = sql.Identifier(column.name), column.kind()
        if not kind.is_array and key_type(kind) != "text" and kind.family is not Family.VECTOR:
            terms.append(name)
        if kind.is_array or key_type(kind) == "text" or kind.family in {Family.VECTOR, Family.REAL, Family.DOUBLE}:
            # 0 and -0 are equal, but not the same.
            terms.append(_Utf8(name))
    return listed(terms)


def key_type(kind: ColumnType) -> str:
    """The type in which keys are compared: text for all that a snapshot stores as text, one for all integers."""
    return "text" if pa.types.is_string(kind.arrow) else "bigint" if kind.family in INTEGERS else kind.name


def typed_key(column: Column) -> sql.Composable:
    """A column of a key in the type in which keys are compared; text by its bytes, whatever the collation."""
    return _typed(sql.Identifier(column.name), column.kind())


def _terms(key: Sequence[Column]) -> list[sql.Composable]:
    """The columns of the key in the order of the manifest, without a cast if possible, so that an index can be used."""
    return [typed_key(column) if key_type(column.kind()) == "text" else sql.Identifier(column.name) for column in key]


def _key_value(key: Sequence[Column], found: FirstKey) -> sql.Composable:
    """A key of the manifest, or of a row as text, as a value of its type."""
    values = zip(found if isinstance(found, tuple) else (found,), key, strict=True)
    return _row_of([_typed(sql.Literal(str(value)), column.kind()) for value, column in values])


def _typed(value: sql.Composable, kind: ColumnType) -> sql.Composable:
    """A value in the type in which keys are compared."""
    if key_type(kind) == "text":
        return _Utf8(value)
    # The name of a type of PostgreSQL's own, which `parse_type` has spelled.
    return sql.SQL("{}::{}").format(value, sql.SQL(key_type(kind)))


def _row_of(terms: list[sql.Composable]) -> sql.Composable:
    """One term, or several as a row."""
    return terms[0] if len(terms) == 1 else sql.SQL("ROW({})").format(listed(terms))


def has_null(key: Sequence[Column]) -> sql.Composed:
    """The condition for rows whose key contains a NULL. It can compare nevertheless, if a column before decides."""
    return sql.SQL("({})").format(
        sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(column.name)) for column in key)
    )
