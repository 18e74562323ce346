"""Where the sequences of the source stand. They are not part of a transaction, so they are read after the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from snapseed.capture.mask.masks import NO_MASKS, Masks
from snapseed.capture.prepare import Source
from snapseed.postgres.catalog import SequenceFacts, TableName
from snapseed.postgres.connect import Connection
from snapseed.snapshot.manifest import SequencePosition


@dataclass(frozen=True)
class Positions:
    """The positions of sequences: by entity those that fill its columns, and those of no entity."""

    entities: Mapping[str, tuple[SequencePosition, ...]]
    others: tuple[SequencePosition, ...]


def read_positions(connection: Connection, source: Source, masks: Masks = NO_MASKS) -> Positions:
    """The positions of all sequences, each once. None is behind the furthest key that its columns hold."""
    users: dict[TableName, list[tuple[TableName, SequenceFacts]]] = {}
    first_user: dict[TableName, str] = {}
    for table in source.tables:
        for sequence in table.facts.sequences:
            if sequence.column in {column.name for column in table.columns}:
                name = TableName(sequence.schema, sequence.name)
                users.setdefault(name, []).append((table.name, sequence))
                first_user.setdefault(name, table.entity)
    found = {name: _position(connection, name, users.get(name, []), masks) for name in [*users, *source.sequences]}
    entities: dict[str, tuple[SequencePosition, ...]] = {}
    for name, entity in first_user.items():
        entities[entity] = (*entities.get(entity, ()), found[name])
    return Positions(entities, tuple(found[name] for name in source.sequences))


def _position(
    connection: Connection, name: TableName, users: list[tuple[TableName, SequenceFacts]], masks: Masks
) -> SequencePosition:
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(name.identifier())
    (last, is_called) = connection.execute(query).fetchone() or (1, False)
    value = int(str(last))
    for table, sequence in users:
        up = sequence.increment > 0
        furthest = sql.SQL("SELECT {}({}) FROM {}").format(
            sql.SQL("max" if up else "min"), sql.Identifier(sequence.column), table.rows()
        )
        (found,) = connection.execute(furthest).fetchone() or (None,)
        if found is None or not sequence.minimum <= int(str(found)) <= sequence.maximum:
            continue
        key = min(masks.furthest(table, sequence.column, int(str(found))), sequence.maximum)
        behind = key - value if up else value - key
        if behind > 0 or (behind == 0 and not is_called):
            value, is_called = key, True
    return SequencePosition(str(name.schema), name.table, value, bool(is_called))
