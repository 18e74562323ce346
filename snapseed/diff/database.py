"""Name the rows and columns of a database that differ from its snapshot. Only chunks that differ are fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.postgres.catalog import TableName
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import fitting_tables
from snapseed.postgres.locks import reading
from snapseed.postgres.rowhash import TextKey, has_key, in_chunk, key_names, row_hash, text_key
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.verify.database import ChunkDifference, verify_entity
from snapseed.verify.files import require_none, verify_files


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
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    entities = snapshot.manifest.chosen(only)
    require_none(verify_files(snapshot, only=only), snapshot)
    with reading(target, "comparing") as connection:
        problems, fitting = fitting_tables(connection, entities)
        differences = [_diff_entity(snapshot, _Table(connection, *each), limit) for each in fitting]
    return DiffReport(environment.name, target.described, target.source, tuple(problems), tuple(differences))


@dataclass(frozen=True)
class _Table:
    """An entity's table in the database."""

    connection: Connection
    entity: EntityRecord
    name: TableName

    def hashes(self, chunk: ChunkDifference) -> dict[TextKey, list[int]]:
        """The row hashes for each key in the chunk's range. A table without a primary key may hold a key twice."""
        keys = sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in key_names(self.entity))
        query = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(
            row_hash(self.entity.columns), keys, self.name.rows(), in_chunk(self.entity, chunk.number)
        )
        found: dict[TextKey, list[int]] = {}
        for digest, *key in self.connection.execute(query).fetchall():
            found.setdefault(text_key(key), []).append(int(str(digest)) % 2**64)
        return found

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


@dataclass(frozen=True)
class _ChunkDiff:
    """All keys in which a chunk differs, and the place of the changed ones among the snapshot's rows."""

    columns: list[pa.Array]
    missing: list[TextKey]
    extra: list[TextKey]
    changed: dict[TextKey, int]


def _diff_entity(snapshot: Snapshot, table: _Table, limit: int) -> EntityDiff:
    differing = verify_entity(table.connection, table.entity, table.name).chunks
    missing_count = extra_count = changed_count = 0
    missing: list[TextKey] = []
    extra: list[TextKey] = []
    changed: list[ChangedRow] = []
    for chunk in differing:
        found = _diff_chunk(snapshot, table, chunk)
        missing_count += len(found.missing)
        extra_count += len(found.extra)
        changed_count += len(found.changed)
        missing += found.missing[: limit - len(missing)]
        extra += found.extra[: limit - len(extra)]
        for key, place in list(found.changed.items())[: limit - len(changed)]:
            changed.append(_changed_row(table, key, [column.slice(place, 1) for column in found.columns]))
    counts = missing_count, extra_count, changed_count
    return EntityDiff(table.entity.name, *counts, tuple(missing), tuple(extra), tuple(changed))


def _diff_chunk(snapshot: Snapshot, table: _Table, chunk: ChunkDifference) -> _ChunkDiff:
    columns = [] if chunk.number < 0 else snapshot.chunk_columns(table.entity, chunk.number)
    expected = _expected_hashes(table.entity, columns)
    observed = table.hashes(chunk)
    return _ChunkDiff(
        columns,
        missing=[key for key in expected if key not in observed],
        # Of a key that the table holds twice, one row is the snapshot's and the others are extra.
        extra=[key for key, digests in observed.items() for _ in digests[1 if key in expected else 0 :]],
        changed={
            key: place for key, (place, digest) in expected.items() if key in observed and digest not in observed[key]
        },
    )


def _expected_hashes(entity: EntityRecord, columns: list[pa.Array]) -> dict[TextKey, tuple[int, int]]:
    """Place and row hash of each of the snapshot's rows, by its key as text."""
    if not columns:
        return {}
    keys = zip(*(columns[entity.columns.index(column)].to_pylist() for column in entity.key_columns), strict=True)
    hashes = row_hashes(columns, entity.kinds)
    return {text_key(key): (place, int(digest)) for place, (key, digest) in enumerate(zip(keys, hashes, strict=True))}


def _changed_row(table: _Table, key: TextKey, columns: list[pa.Array]) -> ChangedRow:
    """Hash each column of the row on its own, and take the values of those that differ."""
    different = {}
    sides = zip(table.entity.columns, table.entity.kinds, columns, table.row(key), strict=True)
    for column, kind, expected, (digest, observed) in sides:
        if int(row_hashes([expected], [kind])[0]) != digest:
            different[column.name] = (_text(expected[0].as_py()), observed)
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
