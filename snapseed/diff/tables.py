"""A table on one side of a comparison, in a snapshot or in a database: its fingerprints by ranges of keys, its rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from psycopg import sql

from snapseed.core import Int64s
from snapseed.errors import SnapshotError
from snapseed.load.copy import read_ahead
from snapseed.postgres.connect import Connection
from snapseed.postgres.copy_out import copied_out
from snapseed.postgres.facts import TableName
from snapseed.postgres.rowhash import (
    between,
    has_null,
    key_order,
    range_fingerprints,
    row_order,
    rows_fingerprint,
    text_key,
)
from snapseed.snapshot.arrow import of_numbers
from snapseed.snapshot.hashing import EMPTY, Fingerprint, UInt64s, combined, row_hashes
from snapseed.snapshot.keys import as_text
from snapseed.snapshot.manifest import RESTORE, Column, EntityRecord, FirstKey
from snapseed.snapshot.parquet import Part
from snapseed.snapshot.store import Snapshot
from snapseed.snapshot.types import INTEGERS, ColumnType, Family, parse_type

_Stream: TypeAlias = "Generator[HashedRows]"
# Rows of a range of keys, about, where no snapshot says where its ranges begin.
_RANGE_ROWS = 8_192


@dataclass(frozen=True)
class KeyRange:
    """Rows whose key is at least `first` and below `last`, where None is no bound; or those with a NULL in the key."""

    first: FirstKey | None = None
    last: FirstKey | None = None
    nulls: bool = False


@dataclass(frozen=True)
class HashedRows:
    """Some rows of a table, in the columns that are compared, with their hashes."""

    table: pa.Table
    hashes: UInt64s

    def at(self, places: Int64s) -> HashedRows:
        """The rows at these places."""
        if len(places) == len(self.hashes):
            return self
        return HashedRows(self.table.take(of_numbers(places, pa.int64())), self.hashes[places])

    def __add__(self, more: HashedRows) -> HashedRows:
        return HashedRows(pa.concat_tables([self.table, more.table]), np.concatenate([self.hashes, more.hashes]))


@dataclass(frozen=True)
class SnapshotTable:
    """An entity of a snapshot. Some of its chunks may be `skipped`, because they are on the other side too."""

    snapshot: Snapshot
    record: EntityRecord
    skipped: frozenset[int] = frozenset()

    @property
    def columns(self) -> Mapping[str, Column]:
        """Its columns by name."""
        return {column.name: column for column in self.record.columns}

    @property
    def key(self) -> tuple[Column, ...]:
        """The columns of its key; none for rows without a key."""
        return self.record.key_columns

    @property
    def masked(self) -> frozenset[str]:
        """The columns whose values were replaced when the rows were captured."""
        return self.snapshot.manifest.masked_in(self.record)

    def total(self, ranges: Sequence[KeyRange]) -> Fingerprint:
        """The fingerprint of the rows of ranges whose bounds are first keys of chunks, as the manifest has it."""
        chunks = self.record.chunks
        return combined(chunks[number].digest() for number in self._numbers(ranges))

    def bounds(self) -> list[FirstKey]:
        """Where its chunks begin."""
        return [chunk.first_key for chunk in self.record.chunks]

    def sums(self, bounds: Sequence[FirstKey], among: KeyRange) -> dict[int, Fingerprint]:
        """The fingerprints within a range, by the ranges that begin at these bounds; all are first keys of chunks."""
        places, chunks = {key: number for number, key in enumerate(bounds)}, self.record.chunks
        found, number = dict[int, Fingerprint](), -1
        for chunk in (chunks[at] for at in self._numbers([among])):
            number = places.get(chunk.first_key, number)
            found[number] = found.get(number, EMPTY) + chunk.digest()
        return found

    def rows(self, ranges: Sequence[KeyRange], columns: Sequence[Column], key: Sequence[Column]) -> _Stream:  # noqa: ARG002 - as of a database
        """The rows of ranges whose bounds are first keys of chunks, in their order, read ahead by a thread.

        Other chunks are not read. Raises `SnapshotError` for a chunk whose rows are not those of the manifest.
        """
        with closing(self._rows(ranges, columns)) as found, read_ahead(found, 1, f"read {self.record.name}") as ahead:
            yield from ahead

    def _rows(self, ranges: Sequence[KeyRange], columns: Sequence[Column]) -> _Stream:
        wanted = set(self._numbers(ranges)) - self.skipped
        numbers = iter(range(len(self.record.chunks)))
        for file in self.record.files:
            if found := [at for at, number in enumerate(islice(numbers, len(file.chunks))) if number in wanted]:
                with self.snapshot.open_part(self.record, file) as part:
                    for at in found:
                        yield from self._chunk(part, at, columns)

    def _numbers(self, ranges: Sequence[KeyRange]) -> Iterator[int]:
        """The numbers of the chunks in ranges whose bounds are first keys of chunks."""
        ends = {key: number for number, key in enumerate(self.bounds())} | {None: len(self.record.chunks)}
        begins = ends | {None: 0}
        for among in ranges:
            if not among.nulls:
                yield from range(begins[among.first], ends[among.last])

    def _chunk(self, part: Part, number: int, columns: Sequence[Column]) -> _Stream:
        found, stored = EMPTY, [self.columns[column.name] for column in columns]
        for batch in part.batches(number, [column.name for column in columns]):
            arrays = [
                _converted(values, own.kind(), wanted.kind())
                for values, own, wanted in zip(batch.columns, stored, columns, strict=True)
            ]
            hashes = row_hashes(arrays, [column.kind() for column in columns])
            found += Fingerprint(len(hashes), int(hashes.sum()))
            yield HashedRows(pa.table(arrays, [column.name for column in columns]), hashes)
        expected = part.file.chunks[number].digest()
        is_whole = [column.name for column in columns] == list(self.columns)
        hash_alike = all(
            own == wanted or (own.kind().family is Family.VECTOR and wanted.type == "real[]")
            for own, wanted in zip(stored, columns, strict=True)
        )
        if is_whole and hash_alike and found != expected:
            raise SnapshotError(
                "a file of the snapshot is not what its manifest says",
                where=f"{part.path}, chunk {number}",
                observed=f"{found.rows:,} rows with fingerprint {found}",
                expected=f"{expected.rows:,} with {expected}",
                next_step=RESTORE,
            )


@dataclass(frozen=True)
class DatabaseTable:
    """A table of a database. Its columns have the types that rows are read as."""

    connection: Connection = field(repr=False)
    name: TableName
    columns: Mapping[str, Column]
    key: tuple[Column, ...]
    masked = frozenset[str]()

    def total(self, ranges: Sequence[KeyRange]) -> Fingerprint:
        """The fingerprint of the rows of ranges, computed by the server."""
        return rows_fingerprint(self.connection, list(self.columns.values()), self._hashed(ranges))

    def bounds(self) -> list[FirstKey]:
        """Keys that divide the rows into ranges of about the same size."""
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in self.key)
        statement = sql.SQL(
            "SELECT DISTINCT ON ({order}) {} FROM {} TABLESAMPLE BERNOULLI ({}) REPEATABLE (0)"
            " WHERE NOT {} ORDER BY {order}"
        )
        rows = self.connection.execute(
            statement.format(texts, self.name.rows(), 100 / _RANGE_ROWS, has_null(self.key), order=key_order(self.key))
        ).fetchall()
        return [text_key(row) for row in rows]

    def sums(self, bounds: Sequence[FirstKey], among: KeyRange) -> dict[int, Fingerprint]:
        """The fingerprints within a range, by the ranges that begin at these bounds."""
        columns = list(self.columns.values())
        return range_fingerprints(self.connection, columns, self._hashed([among]), self.key, bounds)

    def rows(self, ranges: Sequence[KeyRange], columns: Sequence[Column], key: Sequence[Column]) -> _Stream:
        """The rows of ranges, by the order of the key; rows without a key are ordered by all columns.

        Raises `UnstorableError` for a value that a column of this type cannot have in Arrow.
        """
        own, kinds = [self.columns[column.name] for column in columns], [column.kind() for column in columns]
        # By kind: of `bpchar`, which has no length, `character` would be another name, and a cast to one character.
        is_cast = [mine.kind() != kind for mine, kind in zip(own, kinds, strict=True)]
        selected = [
            sql.SQL("{0}::{1} AS {0}" if cast else "{0}").format(sql.Identifier(column.name), sql.SQL(column.type))
            for column, cast in zip(columns, is_cast, strict=True)
        ]
        for among in ranges:
            order = row_order(() if among.nulls else key, own)
            source = sql.SQL("{} ORDER BY {}").format(self._inside([among], key), order)
            if any(is_cast):
                source = sql.SQL("(SELECT {} FROM {}) AS rows").format(sql.SQL(", ").join(selected), source)
            with self.connection.transaction(), copied_out(self.connection, columns, source, str(self.name)) as batches:
                for batch in batches:
                    yield HashedRows(pa.Table.from_batches([batch]), row_hashes(batch.columns, kinds))

    def _hashed(self, ranges: Sequence[KeyRange]) -> sql.Composable:
        """What follows FROM, for the fingerprint of the rows of ranges: of all rows, if one of them has no bounds."""
        return self.name.rows() if KeyRange() in ranges else self._inside(ranges, self.key)

    def _inside(self, ranges: Sequence[KeyRange], key: Sequence[Column]) -> sql.Composable:
        """What follows FROM, for the rows of ranges. Only one with `nulls` has rows with a NULL in the key."""
        no_null = sql.SQL(" AND NOT {}").format(has_null(key)) if key else sql.SQL("")
        conditions: list[sql.Composable] = [
            has_null(key) if each.nulls else sql.SQL("({}{})").format(between(key, each.first, each.last), no_null)
            for each in ranges
        ]
        return sql.SQL("{} WHERE {}").format(self.name.rows(), sql.SQL(" OR ").join(conditions or [sql.SQL("false")]))


Table = SnapshotTable | DatabaseTable


def common_type(left: ColumnType, right: ColumnType) -> str:
    """The type that values of both types are compared in: that of text if none has room for both."""
    families = {left.family, right.family}
    if left.name == right.name:
        return left.name
    if not left.is_array and not right.is_array:
        if families <= INTEGERS:
            return "bigint"
        if families == {Family.REAL, Family.DOUBLE}:
            return "double precision"
    is_vector = Family.VECTOR in families and "real[]" in {left.name, right.name}
    return "real[]" if is_vector else "text"


def common_array_type(left: ColumnType, right: ColumnType) -> str:
    """The same for a database, which may have a vector as real[]: both hold the same numbers, and hash alike."""
    common = common_type(left, right)
    return "real[]" if parse_type(common).family is Family.VECTOR else common


def _converted(values: pa.Array, kind: ColumnType, wanted: ColumnType) -> pa.Array:
    """A snapshot's values in the type that they are compared in."""
    if kind.arrow == wanted.arrow and Family.CHARACTER not in {kind.family, wanted.family}:
        return values
    if wanted.family is Family.TEXT and kind != wanted:
        return pa.array([as_text(value, kind) for value in values], pa.string())
    return values.cast(wanted.arrow)
