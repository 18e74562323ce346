"""What the source is asked when all rows were read: whether it has the same ones, and where its sequences stand.

It computes the fingerprint of each table too, as of the same moment. Sequences are not part of a transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from psycopg import sql

from snapseed.capture.connections import Readers, capturing
from snapseed.capture.prepare import Source
from snapseed.capture.read import CapturedTable, TableRows
from snapseed.errors import VerificationError
from snapseed.postgres.connect import Connection, Session, Target
from snapseed.postgres.facts import SequenceFacts, TableName
from snapseed.postgres.rowhash import rows_fingerprint
from snapseed.snapshot.hashing import Fingerprint, combined
from snapseed.snapshot.manifest import SequencePosition


def prove(target: Target, readers: Readers, tables: Sequence[TableRows], captured: Sequence[CapturedTable]) -> None:
    """Raise `VerificationError` unless the server computes the same fingerprint of each table as we did."""
    tasks = [partial(_fingerprint, target, rows) for rows in tables]
    differing = [
        f"{read.table.name}: {read.observed.rows:,} rows with fingerprint {read.observed},"
        f" the server has {found.rows:,} with {found}"
        for read, found in zip(captured, readers.share(tasks), strict=True)
        if found != read.observed
    ]
    if differing:
        raise VerificationError(
            "the rows that were read are not those of the database; the snapshot before stays",
            where=target.described,
            observed="; ".join(differing),
            expected="the same rows, as of one moment",
            next_step="this is a bug in snapseed, or in what is between it and PostgreSQL: please report it",
        )


def _fingerprint(target: Target, rows: TableRows, session: Session, _stop: threading.Event) -> Fingerprint:
    sources = rows.sources if rows.everything is None else [rows.everything]
    with capturing(f"verifying {rows.table.name}", target):
        return combined(rows_fingerprint(session, rows.table.columns, source) for source in sources)


def read_positions(
    connection: Connection, source: Source, captured: Sequence[CapturedTable]
) -> dict[str | None, tuple[SequencePosition, ...]]:
    """The positions of all sequences: by entity those that fill its columns, and at None those of no entity.

    A sequence of several entities is told once. Each is at or past the furthest key that was written.
    """
    users: dict[TableName, list[tuple[SequenceFacts, Sequence[int]]]] = {name: [] for name in source.sequences}
    entities: dict[TableName, str | None] = dict.fromkeys(source.sequences)
    for each in captured:
        for sequence in each.table.facts.sequences:
            if sequence.column in each.ends:
                name = TableName(sequence.schema, sequence.name)
                users.setdefault(name, []).append((sequence, each.ends[sequence.column]))
                entities.setdefault(name, each.table.entity)
    positions: dict[str | None, tuple[SequencePosition, ...]] = {}
    for name, entity in entities.items():
        positions[entity] = (*positions.get(entity, ()), _position(connection, name, users[name]))
    return positions


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
