"""From how many rows on dropping indexes and foreign keys pays: `REBUILD_ROWS` of the load plan rests on this."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
from psycopg import sql

from benchmarks.measure import Findings, Spread, Table, seconds, spreads_in_turns
from benchmarks.place import Place
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
# Less of a gain than this is within the spread.
_PAYS = 0.95
# A fifth as many users as shares, as in the example, and some more: checking a foreign key reads the other table too.
_USERS_PER_SHARE = 0.22
# What is left of the foreign key and the two indexes of `shares`, in turn.
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


def measure(place: Place) -> Findings:
    """`shares` with foreign key and indexes, and with one of them alone: kept during the COPY, or built after it."""
    sizes = [count for count in _SIZES if count <= place.rows(max(_SIZES))]
    # By size, then by variant: seconds with everything kept, and with all that can be dropped built again.
    times = [_by_variant(place, count) for count in sizes]
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
        "`shares` emptied, filled and left with everything in place, before the commit, from data encoded beforehand:"
        " with its foreign key and its two indexes that are not unique, then with the foreign key alone, an index in"
        " the order of the rows alone, and an index in no order alone. The primary key and the unique index are there"
        " in all cases, and are built again with the others; `users` has a fifth as many rows. A ratio below 1 says"
        f" that dropping and building again is the faster way; it pays from where it is at most {_PAYS} and stays so."
        f" `LoadSettings.rebuild_rows` is {LoadSettings().rebuild_rows:,}."
    )
    header = ("rows", "kept", "rebuilt", "ratio", "spread", *(f"{name} alone" for name, _ in _VARIANTS[1:]))
    return Findings((), (Table("Keep or rebuild indexes and foreign keys", text, header, rows),))


def _pays_from(sizes: Sequence[int], ratios: Sequence[float]) -> str:
    """The smallest of `sizes` from which on all ratios are clearly below 1."""
    found = "not here"
    for count, ratio in reversed(list(zip(sizes, ratios, strict=True))):
        if ratio > _PAYS:
            break
        found = f"{count:,}"
    return found


def _by_variant(place: Place, count: int) -> list[tuple[Spread, Spread]]:
    snapshot = place.snapshot(round(count * _USERS_PER_SHARE), "users", "shares")
    environment = place.environment(snapshot, f"rebuilding_{count}")
    times = []
    with place.connection(environment.name) as connection:
        load_snapshot(place.project, environment, LoadRequest(consent=True))
        connection.execute("DROP TABLE embeddings, transcripts")
        for _, changes in _VARIANTS:
            for change in changes:
                connection.execute(sql.SQL(change))
            times.append(_times(place, connection, snapshot, count))
    return times


def _times(place: Place, connection: Connection, snapshot: Snapshot, count: int) -> tuple[Spread, Spread]:
    """Seconds with everything kept, and with all that can be dropped built again."""
    # The smallest take milliseconds, so they are measured more often.
    rounds = place.rounds * (2 if count < 20_000 else 1)
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
        execute.empty_tables(connection, alone)
        execute.drop_indexes_and_keys(connection, alone)
        statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary, FREEZE)").format(
            table.table.identifier(), sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(data)
        execute.build_indexes(connection, alone)
        execute.build_foreign_keys(connection, alone)

    with connection.transaction(force_rollback=True):
        return seconds(load)
