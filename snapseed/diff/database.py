"""Name the rows and columns of a database that differ from its snapshot. Only chunks that differ are fetched."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.fit import fitting_tables
from snapseed.postgres.locks import reading
from snapseed.postgres.rowhash import TextKey, has_key, in_chunk, key_type, row_hash, text_key, typed_key
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.decoding import arrow_schema
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.keys import moment
from snapseed.snapshot.manifest import Column, EntityRecord
from snapseed.snapshot.store import Snapshot, python_value, snapshot_of
from snapseed.snapshot.types import INTEGERS, Family
from snapseed.verify.database import ChunkDifference, verify_entity
from snapseed.verify.files import require_none, verify_files

# Keys of these types are compared as text: polars does not have the first and the last years of PostgreSQL.
_MOMENTS = {Family.DATE, Family.TIME, Family.TIMESTAMP, Family.TIMESTAMPTZ}


@dataclass(frozen=True)
class ChangedRow:
    """A row that both sides have. For each column that differs: the snapshot's value, then the database's."""

    key: TextKey
    columns: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class EntityDiff:
    """How the rows of one table differ: keys that are missing, keys that are extra, and rows that changed.

    The limit that was asked for cuts the lists, not the counts. A key of several columns is a tuple of texts.
    """

    entity: str
    missing_count: int
    extra_count: int
    changed_count: int
    missing: tuple[TextKey, ...]
    extra: tuple[TextKey, ...]
    changed: tuple[ChangedRow, ...]

    @property
    def agrees(self) -> bool:
        """Whether no row differs."""
        return not (self.missing_count or self.extra_count or self.changed_count)


@dataclass(frozen=True)
class DiffReport:
    """The differences of all entities. `tables` says which tables cannot be compared at all, and why."""

    environment: str
    target: str
    source: str
    tables: tuple[str, ...]
    entities: tuple[EntityDiff, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.tables and all(entity.agrees for entity in self.entities)


def diff_snapshot(
    project: Project, environment: Environment, *, only: Sequence[str] = (), limit: int = 20
) -> DiffReport:
    """Compare the database with the snapshot, down to rows and columns; names at most `limit` rows of each kind.

    Raises `SnapshotError` if the files are damaged: then there is nothing to compare with.
    """
    target = resolve_target(project, environment)
    snapshot = snapshot_of(environment)
    entities = snapshot.manifest.chosen(only)
    require_none(verify_files(snapshot, only=only), snapshot)
    with reading(target, "comparing") as connection:
        problems, fitting = fitting_tables(connection, entities)
        problems += [problem for entity, table in fitting if (problem := _keyless_problem(connection, entity, table))]
        keyed = [each for each in fitting if each[0].key]
        differences = [_diff_entity(snapshot, _Table(connection, *each), limit) for each in keyed]
    return DiffReport(environment.name, target.described, target.source, tuple(problems), tuple(differences))


def _keyless_problem(connection: Connection, entity: EntityRecord, table: TableName) -> str | None:
    """What differs in a table without a key, whose rows cannot be named; None if nothing does."""
    result = None if entity.key else verify_entity(connection, entity, table)
    return None if result is None or result.agrees else f"{result.lines()[0]}; without a key, no row can be named"


@dataclass(frozen=True)
class _Table:
    """An entity's table in the database."""

    connection: Connection
    entity: EntityRecord
    name: TableName

    def rows(self, chunk: ChunkDifference) -> pl.DataFrame:
        """The key and the hash of each row in the chunk's range. A table without a primary key may hold a key twice."""
        selected: list[sql.Composable] = [sql.SQL("{} AS hash").format(row_hash(self.entity.columns))]
        columns = [Column("hash", "bigint")]
        for name, column in _keys(self.entity):
            kind, key = key_type(column.kind()), typed_key(column)
            if column.kind().family in _MOMENTS:
                kind, key = "text", sql.SQL("{}::text").format(key)
            selected.append(sql.SQL("{} AS {}").format(key, sql.Identifier(name)))
            columns.append(Column(name, kind))
        condition = in_chunk(self.entity, chunk.number)
        source = sql.SQL("(SELECT {} FROM {} WHERE {}) AS rows").format(
            sql.SQL(", ").join(selected), self.name.rows(), condition
        )
        with copied_out(self.connection, columns, source, str(self.name)) as batches:
            return pl.DataFrame(pa.Table.from_batches(batches, arrow_schema(columns)))

    def row(self, key: TextKey) -> list[tuple[int, str | None]]:
        """For each column of a row: the hash of the row of this column alone, and the value as text."""
        columns = self.entity.columns
        hashes = sql.SQL(", ").join(row_hash([column]) for column in columns)
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in columns)
        query = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(
            hashes, texts, self.name.rows(), has_key(self.entity, key)
        )
        row = self.connection.execute(query).fetchone()
        assert row is not None
        digests, values = row[: len(columns)], row[len(columns) :]
        return [
            (int(str(digest)) % 2**64, None if value is None else str(value))
            for digest, value in zip(digests, values, strict=True)
        ]


def _diff_entity(snapshot: Snapshot, table: _Table, limit: int) -> EntityDiff:
    missing_count = extra_count = changed_count = 0
    missing: list[TextKey] = []
    extra: list[TextKey] = []
    changed: list[ChangedRow] = []
    for chunk in verify_entity(table.connection, table.entity, table.name).chunks:
        columns = [] if chunk.number < 0 else snapshot.chunk_columns(table.entity, chunk.number)
        found = _diff_chunk(table.entity, columns, table.rows(chunk))
        missing_count += len(found.missing)
        extra_count += len(found.extra)
        changed_count += len(found.changed)
        missing += _named(table.entity, found.missing[: limit - len(missing)])
        extra += _named(table.entity, found.extra[: limit - len(extra)])
        named = found.changed[: limit - len(changed)]
        for key, place in zip(_named(table.entity, named), named["place"], strict=True):
            changed.append(_changed_row(table, key, [column.slice(place, 1) for column in columns]))
    counts = missing_count, extra_count, changed_count
    return EntityDiff(table.entity.name, *counts, tuple(missing), tuple(extra), tuple(changed))


@dataclass(frozen=True)
class _ChunkDiff:
    """The keys in which a chunk differs; `place` is that of the row among the snapshot's."""

    missing: pl.DataFrame
    extra: pl.DataFrame
    changed: pl.DataFrame


def _diff_chunk(entity: EntityRecord, columns: list[pa.Array], observed: pl.DataFrame) -> _ChunkDiff:
    """Compare the snapshot's rows, whose keys are unique, with those that the table holds in the chunk's range."""
    expected = (_keys_and_hashes(entity, columns) if columns else observed.clear()).with_row_index("place")
    keys = observed.columns[1:]
    differing = expected.join(observed, on=[*keys, "hash"], how="anti", maintain_order="left")
    places = observed.join(expected, on=keys, how="left", maintain_order="left")
    return _ChunkDiff(
        missing=differing.join(observed, on=keys, how="anti", maintain_order="left"),
        # Of a key that the table holds twice, one row is the snapshot's and the others are extra.
        extra=places.filter(pl.col("place").is_null() | ~pl.col("place").is_first_distinct()),
        changed=differing.join(observed, on=keys, how="semi", maintain_order="left"),
    )


def _keys_and_hashes(entity: EntityRecord, columns: list[pa.Array]) -> pl.DataFrame:
    """The snapshot's side of `_Table.rows`."""
    frame = {"hash": pa.array(row_hashes(columns, entity.kinds).view(np.int64))}
    for name, column in _keys(entity):
        key = columns[entity.columns.index(column)]
        if column.kind().family in _MOMENTS:
            key = pa.array(map(moment, key), pa.string())
        frame[name] = key.cast(pa.int64()) if column.kind().family in INTEGERS else key
    return pl.DataFrame(pa.table(frame))


def _keys(entity: EntityRecord) -> list[tuple[str, Column]]:
    """The columns of the key, with names for both sides that no column can have besides them."""
    return [(f"key {number}", column) for number, column in enumerate(entity.key_columns)]


def _named(entity: EntityRecord, rows: pl.DataFrame) -> list[TextKey]:
    """The keys of the rows as text."""
    families = [column.kind().family for column in entity.key_columns]
    return [
        text_key(
            [
                uuid.UUID(bytes=value) if value is not None and family is Family.UUID else _text(value)
                for value, family in zip(key, families, strict=True)
            ]
        )
        for key in rows.select(r"^key \d+$").rows()
    ]


def _changed_row(table: _Table, key: TextKey, columns: list[pa.Array]) -> ChangedRow:
    """Hash each column of the row on its own, and take the values of those that differ."""
    different = {}
    sides = zip(table.entity.columns, table.entity.kinds, columns, table.row(key), strict=True)
    for column, kind, expected, (digest, observed) in sides:
        if int(row_hashes([expected], [kind])[0]) != digest:
            different[column.name] = (_text(python_value(expected[0])), observed)
    return ChangedRow(key, different)


def _text(value: object) -> str | None:
    """A value of the snapshot as PostgreSQL would print it, so that only what differs looks different."""
    text = None if value is None else str(value)
    match value:
        case bool():
            text = "true" if value else "false"
        case float():
            text = str(value).removesuffix(".0")
        case bytes():
            text = f"\\x{value.hex()}"
        case datetime():
            text = value.isoformat(sep=" ").replace("+00:00", "+00")
        case list():
            text = "{" + ",".join(_text(item) or "NULL" for item in value) + "}"
    return text
