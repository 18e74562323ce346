"""From how many rows on dropping indexes and foreign keys pays: `REBUILD_ROWS` in `load/plan.py` rests on this."""

from __future__ import annotations

from functools import partial
from unittest import mock

import pyarrow as pa
from psycopg import sql

from benchmarks.measure import Findings, Table, seconds, spreads_in_turns
from benchmarks.place import Place
from snapseed.database.catalog import read_tables
from snapseed.database.connect import Connection
from snapseed.load import plan, steps
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows
from snapseed.load.plan import LoadPlan, TablePlan
from snapseed.load.run import load_snapshot
from snapseed.snapshot.store import Snapshot
from snapseed.verify.schema import table_name

_SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 200_000)
_ALWAYS, _NEVER = 0, 2**63


def measure(place: Place) -> Findings:
    """`shares` with its foreign key and two plain indexes: kept during the COPY, or dropped and built after it."""
    snapshot = place.snapshot(place.rows(60_000), "users", "shares")
    environment = place.environment(snapshot, "rebuilding")
    with place.connection("rebuilding") as connection:
        load_snapshot(place.project, environment, consent=True)
        connection.execute("DROP TABLE embeddings, transcripts")
        (shares,) = (entity for entity in snapshot.manifest.entities if entity.name == "shares")
        rows = [_compared(place, connection, snapshot, count) for count in _SIZES if count <= shares.rows]
    text = (
        "`shares` (a foreign key, two indexes that are not unique; the primary key and the unique index stay in both"
        " cases), emptied, filled and left with everything in place; before the commit, from data encoded beforehand."
        " A ratio below 1 says that dropping and building again is the faster way;"
        f" `REBUILD_ROWS` is {plan.REBUILD_ROWS:,}."
    )
    header = ("rows", "kept", "rebuilt", "rebuilt ÷ kept", "spread")
    return Findings((), (Table("Keep or rebuild indexes and foreign keys", text, header, rows),))


def _compared(place: Place, connection: Connection, snapshot: Snapshot, count: int) -> tuple[str, ...]:
    # The smallest take milliseconds, so they are measured more often.
    rounds = place.rounds * (3 if count < 20_000 else 1)
    kept, rebuilt = (_table_plan(connection, snapshot, threshold) for threshold in (_NEVER, _ALWAYS))
    assert not kept.drop_indexes
    assert len(rebuilt.drop_indexes) == 2
    assert rebuilt.drop_foreign_keys
    data = _encoded(snapshot, kept, count)
    keep, rebuild = spreads_in_turns(
        rounds, partial(_seconds, connection, kept, data), partial(_seconds, connection, rebuilt, data)
    )
    ratio = rebuild / keep
    times = (f"{1000 * spread.median:,.0f} ms" for spread in (keep, rebuild))
    return (f"{count:,}", *times, f"{ratio.median:.2f}", ratio.range)


def _table_plan(connection: Connection, snapshot: Snapshot, threshold: int) -> TablePlan:
    entities = snapshot.manifest.entities
    facts = read_tables(connection, [table_name(entity) for entity in entities])
    with mock.patch.object(plan, "REBUILD_ROWS", threshold):
        found = plan.plan_load(entities, {entity.name: facts[table_name(entity)] for entity in entities})
    return next(table for table in found.tables if table.entity.name == "shares")


def _encoded(snapshot: Snapshot, table: TablePlan, count: int) -> bytes:
    """The first `count` rows as COPY data."""
    names = [column.name for column in table.columns]
    parts = []
    for file in table.entity.files:
        with snapshot.open_part(file) as part:
            parts.append(part.read(columns=names).select(names))
        if sum(map(len, parts)) >= count:
            break
    rows = pa.concat_tables(parts).slice(0, count)
    assert len(rows) == count
    data = encode_rows([column.combine_chunks() for column in rows.columns], table)
    return b"".join([BINARY_HEADER, memoryview(data), BINARY_TRAILER])


def _seconds(connection: Connection, table: TablePlan, data: bytes) -> float:
    alone = LoadPlan((table,))

    def load() -> None:
        steps.empty(connection, alone)
        steps.drop(connection, alone)
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary, FREEZE)").format(
            table.table.identifier(), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(data)
        steps.rebuild(connection, alone)

    with connection.transaction(force_rollback=True):
        return seconds(load)
