"""Verify the rows in the database: one query and one sum per entity, and chunks only where that differs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from snapseed.database.catalog import TableName, read_tables
from snapseed.database.connect import Connection
from snapseed.errors import VerificationError
from snapseed.snapshot.fields import stands_as_text_array
from snapseed.snapshot.fingerprint import EMPTY, SEED, Fingerprint
from snapseed.snapshot.manifest import Column, EntityRecord, FirstKey
from snapseed.snapshot.types import ColumnType, Family
from snapseed.verify.keys import bucket

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


@dataclass(frozen=True)
class ChunkDifference:
    """A chunk whose rows are not those of the manifest. `first_key` is where its range of keys begins."""

    number: int
    path: str
    first_key: FirstKey | None
    expected: Fingerprint
    observed: Fingerprint

    def __str__(self) -> str:
        if self.first_key is None:
            return f"{self.observed.rows:,} rows with keys before the first chunk"
        rows = f"{self.observed.rows:,} rows, expected {self.expected.rows:,}"
        if self.observed.rows == self.expected.rows:
            rows = f"{self.expected.rows:,} rows as expected, but not the same"
        key = self.first_key
        start = f"({', '.join(map(str, key))})" if isinstance(key, tuple) else str(key)
        return f"chunk {self.number} ({self.path}, from key {start}): {rows}"


@dataclass(frozen=True)
class EntityResult:
    """What the database holds of one entity, and the chunks that differ where it is not what the manifest says.

    Then `spelled` names the columns whose values are compared as the text that PostgreSQL prints, with their types.
    """

    entity: str
    table: str
    expected: Fingerprint
    observed: Fingerprint
    seconds: float
    chunks: tuple[ChunkDifference, ...] = ()
    spelled: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether number and content of the rows are those of the manifest."""
        return self.expected == self.observed

    def lines(self) -> list[str]:
        """What differs, a line for the entity and one for each chunk."""
        if self.agrees:
            return []
        head = (
            f"{self.entity}: {self.observed.rows:,} rows with fingerprint {self.observed},"
            f" expected {self.expected.rows:,} with {self.expected}"
        )
        return [head, *(f"{self.entity} {chunk}" for chunk in self.chunks)]


def verify_entity(connection: Connection, entity: EntityRecord, table: TableName) -> EntityResult:
    """Compare the rows of a table with the manifest. The table must fit the entity (`verify.schema`)."""
    started = time.monotonic()
    observed = table_fingerprint(connection, entity, table)
    chunks: tuple[ChunkDifference, ...] = ()
    spelled: tuple[str, ...] = ()
    if observed != entity.digest():
        chunks = tuple(_differing_chunks(connection, entity, table))
        spelled = tuple(_spelled(connection, entity, table))
    seconds = time.monotonic() - started
    return EntityResult(entity.name, str(table), entity.digest(), observed, seconds, chunks, spelled)


def table_fingerprint(
    connection: Connection, entity: EntityRecord, table: TableName, among: sql.Composable | None = None
) -> Fingerprint:
    """The fingerprint of the rows of a table for which the condition `among` holds, of all without one."""
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {} WHERE {}")
    row = connection.execute(query.format(row_hash(entity.columns), table.rows(), among or sql.SQL("true"))).fetchone()
    assert row is not None
    return Fingerprint(int(str(row[0])), int(str(row[1])) % 2**64)


def require_rows(results: Sequence[EntityResult], where: str) -> None:
    """Raise `VerificationError` that names every entity and chunk that differs, if any does."""
    different = [result for result in results if not result.agrees]
    if not different:
        return
    advice = "look for triggers or rules that change rows, and for JSON that PostgreSQL prints otherwise"
    if spelled := [f"{result.entity}.{column}" for result in different for column in result.spelled]:
        advice += f"; values of {', '.join(spelled)} must be spelled as PostgreSQL prints them"
    raise VerificationError(
        "the database does not hold what the manifest says",
        where=where,
        observed="; ".join(line for result in different for line in result.lines()),
        expected="for each entity the rows and the fingerprint of the manifest",
        next_step=advice,
    )


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


def _differing_chunks(connection: Connection, entity: EntityRecord, table: TableName) -> list[ChunkDifference]:
    """Ask again, with the rows sorted into the manifest's chunks by key. Rows before all chunks are number -1."""
    found: dict[int, Fingerprint] = {}
    query = sql.SQL("SELECT {} AS bucket, count(*), sum({}) FROM {} GROUP BY 1")
    for number, rows, total in connection.execute(
        query.format(bucket(entity), row_hash(entity.columns), table.rows())
    ).fetchall():
        found[int(str(number))] = Fingerprint(int(str(rows)), int(str(total)) % 2**64)
    differences = []
    if -1 in found:
        differences.append(ChunkDifference(-1, "(before the first chunk)", None, EMPTY, found[-1]))
    paths = [file.path for file in entity.files for _ in file.chunks]
    for number, chunk in enumerate(entity.chunks):
        observed = found.get(number, EMPTY)
        if observed != chunk.digest():
            differences.append(ChunkDifference(number, paths[number], chunk.first_key, chunk.digest(), observed))
    return differences


def _spelled(connection: Connection, entity: EntityRecord, table: TableName) -> list[str]:
    """The columns whose type has no encoder of ours; enums apart, whose labels can be spelled in one way only."""
    facts = read_tables(connection, [table])[table]
    found = []
    for column in entity.columns:
        kind, column_facts = column.kind(), facts.column(column.name)
        assert column_facts is not None
        is_enum = "e" in {column_facts.kind, column_facts.element_kind}
        if not kind.has_binary_form and not is_enum:
            found.append(f"{column.name} ({column.type})")
    return found


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
