"""Where the sequences of the source stand. They are not part of a transaction, so they are read after the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from snapseed.capture.prepare import Source
from snapseed.capture.read import CapturedTable
from snapseed.postgres.catalog import SequenceFacts, TableName
from snapseed.postgres.connect import Connection
from snapseed.snapshot.manifest import SequencePosition


@dataclass(frozen=True)
class Positions:
    """The positions of sequences: by entity those that fill its columns, and those of no entity."""

    entities: Mapping[str, tuple[SequencePosition, ...]]
    others: tuple[SequencePosition, ...]


def read_positions(connection: Connection, source: Source, captured: Sequence[CapturedTable]) -> Positions:
    """The positions of all sequences, each once. Each is at or past the furthest key that was written."""
    users: dict[TableName, list[tuple[SequenceFacts, Sequence[int]]]] = {}
    first_user: dict[TableName, str] = {}
    for each in captured:
        for sequence in each.table.facts.sequences:
            if sequence.column in each.ends:
                name = TableName(sequence.schema, sequence.name)
                users.setdefault(name, []).append((sequence, each.ends[sequence.column]))
                first_user.setdefault(name, each.table.entity)
    found = {name: _position(connection, name, users.get(name, [])) for name in [*users, *source.sequences]}
    entities: dict[str, tuple[SequencePosition, ...]] = {}
    for name, entity in first_user.items():
        entities[entity] = (*entities.get(entity, ()), found[name])
    return Positions(entities, tuple(found[name] for name in source.sequences))


def _position(
    connection: Connection, name: TableName, users: list[tuple[SequenceFacts, Sequence[int]]]
) -> SequencePosition:
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(name.identifier())
    (last, is_called) = connection.execute(query).fetchone() or (1, False)
    value = int(str(last))
    for sequence, keys in users:
        up = sequence.increment > 0
        key = (max if up else min)(keys, default=value)
        if not keys or not sequence.minimum <= key <= sequence.maximum:
            continue
        behind = key - value if up else value - key
        if behind > 0 or (behind == 0 and not is_called):
            value, is_called = key, True
    return SequencePosition(str(name.schema), name.table, value, bool(is_called))
