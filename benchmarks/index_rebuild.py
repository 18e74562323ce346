"""The number of rows from which it is faster to drop indexes and foreign keys and rebuild them.

`LoadSettings.rebuild_rows` is based on this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from psycopg import sql

from benchmarks.measure import Findings, Spread, Table, seconds, spreads_in_turns
from benchmarks.workspace import Workspace
from snapseed.load import execute
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows
from snapseed.load.plan import LoadPlan, Prepared, TablePlan
from snapseed.load.plan.tables import plan_load
from snapseed.load.prepare import read_facts
from snapseed.load.request import LoadRequest, LoadSettings
from snapseed.load.snapshot import load_snapshot
from snapseed.postgres.connect import Connection
from snapseed.snapshot.store import Snapshot

_SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 200_000)
_ALWAYS, _NEVER = 0, 2**63
# Ratios above this are within the spread.
_PAYS = 0.95
# A little more than in the example, because checking a foreign key also reads the other table.
_USERS_PER_SHARE = 0.22
# Each variant changes the table of the one before it, until one foreign key or index is left.
_VARIANTS = (
    ("everything", ()),
    ("foreign key", ("DROP INDEX shares_user_id_created_at_idx", "DROP INDEX shares_unfinished_idx")),
    (
        "index, ordered",
        (
            "ALTER TABLE shares DROP CONSTRAINT shares_user_id_fkey",
            "CREATE INDEX in_key_order ON shares (user_id, created_at)",
        ),
    ),
    ("index, unordered", ("DROP INDEX in_key_order", "CREATE INDEX in_no_order ON shares (created_at)")),
)


def measure_rebuild(workspace: Workspace) -> Findings:
    """Load `shares` with its foreign key and indexes, and with one of them: kept during COPY, or rebuilt after it."""
    sizes = [count for count in _SIZES if count <= workspace.rows(max(_SIZES))]
    # By size, then by variant: seconds with everything kept, and with everything rebuilt.
    times = [_by_variant(workspace, count) for count in sizes]
    ratios = [[rebuild / keep for keep, rebuild in row] for row in times]
    rows = [
        (
            f"{count:,}",
            *(f"{1000 * spread.median:,.0f} ms" for spread in row[0]),
            f"{whole.median:.2f}",
            whole.range,
            *(f"{ratio.median:.2f}" for ratio in others),
        )
        for count, row, (whole, *others) in zip(sizes, times, ratios, strict=True)
    ]
    first, *rest = (_pays_from(sizes, [row[variant].median for row in ratios]) for variant in range(len(_VARIANTS)))
    rows.append(("pays from", "", "", first, "", *rest))
    text = (
        "The time to truncate `shares`, fill it and have all its indexes and constraints in place, before the commit,"
        " with rows encoded beforehand. First with its foreign key and its two indexes that are not unique, then with"
        " only the foreign key, only an index in row order, and only an index in no order. The primary key and the"
        " unique index always exist, and are rebuilt with the others; `users` has about a fifth as many rows. Below 1,"
        f" it is faster to drop and rebuild. It pays from the first size at which this and all larger ratios are at"
        f" most {_PAYS}. `LoadSettings.rebuild_rows` is {LoadSettings().rebuild_rows:,}."
    )
    header = ("rows", "kept", "rebuilt", "ratio", "spread", *(f"only {name}" for name, _ in _VARIANTS[1:]))
    return Findings((), (Table("Keep or rebuild indexes and foreign keys", text, header, rows),))


def _pays_from(sizes: Sequence[int], ratios: Sequence[float]) -> str:
    """The smallest size from which on all ratios are clearly below 1."""
    found = "not here"
    for count, ratio in reversed(list(zip(sizes, ratios, strict=True))):
        if ratio > _PAYS:
            break
        found = f"{count:,}"
    return found


def _by_variant(workspace: Workspace, count: int) -> list[tuple[Spread, Spread]]:
    snapshot = workspace.snapshot(round(count * _USERS_PER_SHARE), "users", "shares")
    environment = workspace.environment(snapshot, f"rebuild_{count}")
    times = []
    with workspace.connection(environment.name) as connection:
        load_snapshot(workspace.project, environment, LoadRequest(consent=True))
        connection.execute("DROP TABLE embeddings, transcripts")
        for _, changes in _VARIANTS:
            for change in changes:
                connection.execute(sql.SQL(change))
            times.append(_times(workspace, connection, snapshot, count))
    return times


def _times(workspace: Workspace, connection: Connection, snapshot: Snapshot, count: int) -> tuple[Spread, Spread]:
    """Seconds with everything kept, and with everything that can be dropped rebuilt."""
    # The smallest loads take milliseconds, so they get more rounds.
    rounds = workspace.rounds * (2 if count < 20_000 else 1)
    kept, rebuilt = (_table_plan(connection, snapshot, threshold) for threshold in (_NEVER, _ALWAYS))
    assert not kept.drop_indexes
    assert rebuilt.drop_indexes or rebuilt.drop_foreign_keys
    data = _encoded(snapshot, kept, count)
    keep, rebuild = spreads_in_turns(
        rounds, partial(_seconds, connection, kept, data), partial(_seconds, connection, rebuilt, data)
    )
    return keep, rebuild


def _table_plan(connection: Connection, snapshot: Snapshot, threshold: int) -> TablePlan:
    entities = snapshot.manifest.entities
    prepared = Prepared(entities, read_facts(connection, entities))
    found = plan_load(prepared, settings=LoadSettings(rebuild_rows=threshold))
    return next(table for table in found.tables if table.entity.name == "shares")


def _encoded(snapshot: Snapshot, table: TablePlan, count: int) -> bytes:
    """The first `count` rows as COPY data."""
    names = [column.name for column in table.columns]
    parts = []
    for file in table.entity.files:
        with snapshot.open_part(table.entity, file) as part:
            parts.append(part.parquet.read(columns=names).select(names))
        if sum(map(len, parts)) >= count:
            break
    rows = pa.concat_tables(parts).slice(0, count)
    assert len(rows) == count
    data = encode_rows([column.combine_chunks() for column in rows.columns], table)
    return b"".join([BINARY_HEADER, memoryview(data), BINARY_TRAILER])


def _seconds(connection: Connection, table: TablePlan, data: bytes) -> float:
    plan = LoadPlan((table,))

    def load() -> None:
        execute.empty_tables(connection, plan)
        execute.drop_indexes_and_keys(connection, plan)
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary, FREEZE)").format(
            table.table.identifier(), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(data)
        execute.build_indexes(connection, plan)
        execute.build_foreign_keys(connection, plan)

    with connection.transaction(force_rollback=True):
        return seconds(load)
