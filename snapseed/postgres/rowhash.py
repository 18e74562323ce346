"""The key of an entity in SQL: in the order of the manifest, as a bound and as a condition.

A key of several columns stands as a row constructor, which PostgreSQL compares from left to right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.snapshot.hashing import SEED, Fingerprint
from snapseed.snapshot.manifest import Column, EntityRecord, FirstKey
from snapseed.snapshot.types import ColumnType, Family
from snapseed.snapshot.values import stands_as_text_array

# A key as text, of several columns their texts.
TextKey = str | tuple[str, ...]


def key_names(entity: EntityRecord) -> list[sql.Identifier]:
    """The columns of the key."""
    return [sql.Identifier(column.name) for column in entity.key_columns]


def key_list(entity: EntityRecord) -> sql.Composed:
    """The columns of the key as they stand in a list: of a constraint, of a SELECT."""
    return sql.SQL(", ").join(key_names(entity))


def text_key(values: Sequence[object]) -> TextKey:
    """A key of the snapshot, or of the database as text, with `NULL` where there is none."""
    texts = tuple("NULL" if value is None else str(value) for value in values)
    return texts if len(texts) > 1 else texts[0]


def bucket(entity: EntityRecord) -> sql.Composable:
    """The number of the chunk that a row belongs to by its key; -1 before the first one, and for a key with a NULL."""
    if not entity.chunks:
        return sql.SQL("-1")
    # Of one type on both sides: neither arrays nor records mix them.
    key = _together([_valued(name, column.kind()) for name, column in _columns(entity)])
    bounds = sql.SQL(", ").join(_bound(entity, chunk.first_key) for chunk in entity.chunks)
    return sql.SQL("CASE WHEN {} THEN -1 ELSE width_bucket({}, ARRAY[{}]) - 1 END").format(
        _is_null(entity), key, bounds
    )


def in_chunk(entity: EntityRecord, number: int) -> sql.Composable:
    """The condition for the rows that `bucket` gives this number."""
    bounds = [_bound(entity, chunk.first_key) for chunk in entity.chunks]
    key = _together(_terms(entity))
    conditions: list[sql.Composable] = [sql.SQL("true")]
    if number >= 0:
        conditions.append(sql.SQL("{} >= {}").format(key, bounds[number]))
    if number + 1 < len(bounds):
        conditions.append(sql.SQL("{} < {}").format(key, bounds[number + 1]))
    inside = sql.SQL(" AND ").join(conditions)
    # Rows with a NULL compare where a column before it decides.
    return sql.SQL("({}) AND NOT ({})" if number >= 0 else "({}) OR {}").format(inside, _is_null(entity))


def has_key(entity: EntityRecord, key: TextKey) -> sql.Composed:
    """The condition for the rows of this key."""
    return sql.SQL("{} = {}").format(_together(_terms(entity)), _bound(entity, key))


def _terms(entity: EntityRecord) -> list[sql.Composable]:
    """The columns of the key in the order of the manifest; as they are where they can be, so that an index serves."""
    return [
        _valued(name, column.kind()) if column.kind().family is Family.TEXT else name
        for name, column in _columns(entity)
    ]


def _columns(entity: EntityRecord) -> Iterator[tuple[sql.Identifier, Column]]:
    return zip(key_names(entity), entity.key_columns, strict=True)


def _bound(entity: EntityRecord, key: FirstKey) -> sql.Composable:
    """A key of the manifest, or of a row as text, as a value of its type."""
    values = key if isinstance(key, tuple) else (key,)
    return _together(
        [
            _valued(sql.Literal(str(value)), column.kind())
            for value, column in zip(values, entity.key_columns, strict=True)
        ]
    )


def _valued(value: sql.Composable, kind: ColumnType) -> sql.Composed:
    """A value as one of the few types that keys compare in: text by its bytes, whatever the collation."""
    if kind.family is Family.TEXT:
        return sql.SQL('{}::text COLLATE "C"').format(value)
    return sql.SQL("{}::{}").format(value, sql.SQL("uuid" if kind.family is Family.UUID else "bigint"))


def _together(terms: list[sql.Composable]) -> sql.Composable:
    return terms[0] if len(terms) == 1 else sql.SQL("ROW({})").format(sql.SQL(", ").join(terms))


def _is_null(entity: EntityRecord) -> sql.Composed:
    return sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(name) for name in key_names(entity))


# The function that gives a value the bytes binary COPY carries for it. Types that are not here stand as they are
# (bytea, uuid) or as text.
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
    """The fingerprint of the rows of a table for which the condition `among` holds, of all without one."""
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {} WHERE {}")
    row = connection.execute(query.format(row_hash(entity.columns), table.rows(), among or sql.SQL("true"))).fetchone()
    assert row is not None
    return Fingerprint(int(str(row[0])), int(str(row[1])) % 2**64)


def row_hash(columns: Sequence[Column], table: str | None = None) -> sql.Composed:
    """The SQL expression for the hash of a row: the SQL side of `snapshot.fingerprint.row_hashes`.

    Its functions are named with their schema: a search path may list another before `pg_catalog`.
    `table` is the name before the columns', where a query has several tables.
    """
    prefix = () if table is None else (table,)
    fields = sql.SQL(", ").join(_field(sql.Identifier(*prefix, column.name), column.kind()) for column in columns)
    record = sql.SQL("pg_catalog.hash_record_extended(ROW({}), {})").format(fields, sql.Literal(SEED))
    again = "pg_catalog.hash_record_extended(ROW(pg_catalog.int8send({})), {})"
    return sql.SQL(again).format(record, sql.Literal(SEED))


def _field(column: sql.Identifier, kind: ColumnType) -> sql.Composed:
    """The bytes that stand for a column in the hash of its row: the SQL side of `snapshot.fields.hash_field`."""
    if kind.is_array:
        as_text = stands_as_text_array(kind)
        return sql.SQL("pg_catalog.array_send({}::text[])" if as_text else "pg_catalog.array_send({})").format(column)
    if kind.family is Family.VECTOR:
        return sql.SQL("pg_catalog.array_send({}::real[])").format(column)
    if kind.family in _SEND:
        return sql.SQL("{}({})").format(sql.Identifier("pg_catalog", _SEND[kind.family]), column)
    if kind.family in {Family.BYTEA, Family.UUID}:
        return sql.SQL("{}").format(column)
    return sql.SQL('{}::text COLLATE "C"').format(column)
