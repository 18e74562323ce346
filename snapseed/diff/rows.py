"""Name the rows and columns of a database that differ from the snapshot, by fetching only the chunks that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.postgres.catalog import TableName, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import read_problems, table_name
from snapseed.postgres.rowhash import TextKey, has_key, in_chunk, key_names, row_hash, text_key
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot, open_snapshot
from snapseed.verify.database import ChunkDifference, verify_entity
from snapseed.verify.files import require_files


@dataclass(frozen=True)
class ChangedRow:
    """A row that both have, and for each column that differs what the snapshot and what the database holds."""

    key: TextKey
    columns: dict[str, tuple[str | None, str | None]]


@dataclass
class EntityDiff:
    """How the rows of one table differ: keys that are missing, keys that are extra, rows that changed.

    The lists are cut at the limit that was asked for; the counts are not. A key of several columns is a tuple of texts.
    """

    entity: str
    missing_count: int = 0
    extra_count: int = 0
    changed_count: int = 0
    missing: list[TextKey] = field(default_factory=list)
    extra: list[TextKey] = field(default_factory=list)
    changed: list[ChangedRow] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether no row differs."""
        return not (self.missing_count or self.extra_count or self.changed_count)


@dataclass
class DiffReport:
    """The differences of all entities; `tables` says where a table cannot be compared at all."""

    environment: str
    target: str
    source: str
    tables: list[str] = field(default_factory=list)
    entities: list[EntityDiff] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.tables and all(entity.agrees for entity in self.entities)


def diff_snapshot(
    project: Project, environment: Environment, *, only: Sequence[str] = (), limit: int = 20
) -> DiffReport:
    """Compare the database with the snapshot, down to rows and columns; at most `limit` of each kind are named.

    Raises `SnapshotError` where the files are damaged, for then there is nothing to compare with.
    """
    target = resolve_target(project, environment)
    snapshot = open_snapshot(project.snapshots, environment.snapshot)
    entities = snapshot.manifest.chosen(only)
    require_files(snapshot, only=[entity.name for entity in entities])
    report = DiffReport(environment.name, target.described, target.source)
    with (
        connected(target, create=False) as connection,
        translated("comparing", target.described),
        connection.transaction(),
    ):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        facts = read_tables(connection, [table_name(entity) for entity in entities])
        for entity in entities:
            found = facts.get(table_name(entity))
            if problems := read_problems(entity, found):
                report.tables += problems
            elif found is not None:
                report.entities.append(_diff_entity(connection, snapshot, entity, found.name, limit))
    return report


def _diff_entity(
    connection: Connection, snapshot: Snapshot, entity: EntityRecord, table: TableName, limit: int
) -> EntityDiff:
    result = EntityDiff(entity.name)
    for chunk in verify_entity(connection, entity, table).chunks:
        columns = _chunk_columns(snapshot, entity, chunk.number)
        expected = _expected_hashes(entity, columns)
        observed = _observed_hashes(connection, entity, table, chunk)
        missing = [key for key in expected if key not in observed]
        # A table without a primary key may hold a key twice: one row of them is ours, the others are extra.
        extra = [key for key, digests in observed.items() for _ in digests[1 if key in expected else 0 :]]
        changed = [key for key, (_, digest) in expected.items() if key in observed and digest not in observed[key]]
        result.missing_count += len(missing)
        result.extra_count += len(extra)
        result.changed_count += len(changed)
        result.missing += missing[: limit - len(result.missing)]
        result.extra += extra[: limit - len(result.extra)]
        for key in changed[: limit - len(result.changed)]:
            result.changed.append(_changed_row(connection, entity, table, key, columns, expected[key][0]))
    return result


def _chunk_columns(snapshot: Snapshot, entity: EntityRecord, number: int) -> list[pa.Array]:
    """The columns of a chunk, counted over all files; no rows for the range before the first chunk."""
    if number < 0:
        return []
    for file in entity.files:
        if number < len(file.chunks):
            with snapshot.open_part(file) as part:
                rows = part.read_row_group(number)
                return [in_one_piece(rows.column(column.name)) for column in entity.columns]
        number -= len(file.chunks)
    return []


def _expected_hashes(entity: EntityRecord, columns: list[pa.Array]) -> dict[TextKey, tuple[int, int]]:
    """Position and row hash of each row of the chunk, by its key as text."""
    if not columns:
        return {}
    keys = zip(*(columns[entity.columns.index(column)].to_pylist() for column in entity.key_columns), strict=True)
    hashes = row_hashes(columns, entity.kinds)
    return {
        text_key(key): (position, int(digest)) for position, (key, digest) in enumerate(zip(keys, hashes, strict=True))
    }


def _observed_hashes(
    connection: Connection, entity: EntityRecord, table: TableName, chunk: ChunkDifference
) -> dict[TextKey, list[int]]:
    """The row hashes that the table holds for each key of the chunk's range."""
    keys = sql.SQL(", ").join(sql.SQL("{}::text").format(name) for name in key_names(entity))
    query = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(
        row_hash(entity.columns), keys, table.rows(), in_chunk(entity, chunk.number)
    )
    found: dict[TextKey, list[int]] = {}
    for digest, *key in connection.execute(query).fetchall():
        found.setdefault(text_key(key), []).append(int(str(digest)) % 2**64)
    return found


def _changed_row(
    connection: Connection, entity: EntityRecord, table: TableName, key: TextKey, columns: list[pa.Array], position: int
) -> ChangedRow:
    """Hash each column of the row alone, there and here, and take the values of those that differ."""
    hashes = sql.SQL(", ").join(row_hash([column]) for column in entity.columns)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in entity.columns)
    query = sql.SQL("SELECT {}, {} FROM {} WHERE {}").format(hashes, texts, table.rows(), has_key(entity, key))
    row = connection.execute(query).fetchone()
    assert row is not None
    different = {}
    for number, column in enumerate(entity.columns):
        value = columns[number].slice(position, 1)
        expected = int(row_hashes([value], [entity.kinds[number]])[0])
        if expected != np.uint64(int(str(row[number])) % 2**64):
            observed = row[len(entity.columns) + number]
            different[column.name] = (_text(value[0].as_py()), None if observed is None else str(observed))
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
