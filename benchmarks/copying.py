"""COPY through snapseed against the floor: the server reads the very same bytes from a file of its own.

Neither side has indexes, constraints or a commit to do; each COPY goes into a table truncated in its transaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from unittest import mock

import msgspec
import psutil
from psycopg import sql

from benchmarks.measure import Findings, Headline, Spread, Table, in_turns, seconds
from benchmarks.place import Place, made
from snapseed.generate.part import CHUNK_ROWS
from snapseed.load import stream
from snapseed.load.copying import EntityLoad, copy_rows
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER
from snapseed.load.plan import TablePlan, plan_load
from snapseed.postgres.catalog import TableName, read_tables
from snapseed.postgres.connect import Connection
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

# Of the settings that are compared with one another, about this many rows: they differ by little, so they need rounds.
_USERS_FOR_SETTINGS = 40_000
_BATCH_MEGABYTES = (1, 4, 16)
_QUEUE_DEPTHS = (1, 4, 8)
_CHUNK_ROWS = (4_096, 8_192, 16_384, 65_536)

_NOISE = "The line that equals what all are compared with shows how much of this is noise."


@dataclass(frozen=True)
class Taken:
    """Seconds of one COPY: on the clock, and of CPU time in this process and in the server's."""

    whole: float
    client: float
    server: float
    load: EntityLoad | None = None


@dataclass(frozen=True)
class Copying:
    """A bare table, and a snapshot of what goes into it."""

    connection: Connection
    snapshot: Snapshot
    plan: TablePlan

    def through_snapseed(self) -> Taken:
        """The COPY phase of a load."""
        with self._emptied():
            client, server = time.process_time(), self._server_seconds()
            load = copy_rows(self.connection, self.snapshot, self.plan, self.plan.table.identifier(), lambda _: None)
            return Taken(load.seconds, time.process_time() - client, self._server_seconds() - server, load)

    def by_the_server(self, file: Path) -> Taken:
        """The server's own COPY from a file, which `write` has made."""
        with self._emptied():
            client, server = time.process_time(), self._server_seconds()
            whole = seconds(partial(server_side_copy, self.connection, self.plan, file))
            return Taken(whole, time.process_time() - client, self._server_seconds() - server)

    def _server_seconds(self) -> float:
        """CPU seconds of the server process of this connection so far."""
        used = psutil.Process(self.connection.info.backend_pid).cpu_times()
        return used.user + used.system

    @contextmanager
    def _emptied(self) -> Iterator[None]:
        """A transaction in which the table was truncated; rolled back, so that no round syncs files to the disk."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(sql.SQL("TRUNCATE {}").format(self.plan.table.identifier()))
            yield


def server_side_copy(connection: Connection, plan: TablePlan, file: Path) -> None:
    """COPY from a file that the server itself reads."""
    statement = sql.SQL("COPY {} FROM {} WITH (FORMAT binary, FREEZE)")
    connection.execute(statement.format(plan.table.identifier(), sql.Literal(str(file))))


def write(snapshot: Snapshot, plan: TablePlan, file: Path) -> Path:
    """The bytes that snapseed would send, as a file that the server's account can read."""
    with file.open("wb") as target, stream.encoded(snapshot, plan) as batches:
        target.write(BINARY_HEADER)
        for batch in batches:
            target.write(memoryview(batch.data))
        target.write(BINARY_TRAILER)
    file.chmod(0o644)
    return file


def bare_table(connection: Connection, snapshot: Snapshot, entity: str) -> Copying:
    """A new table of the entity's columns and nothing else: no keys, no checks, no indexes."""
    record = _record(snapshot, entity)
    name = TableName("public", f"bare_{entity}")
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in record.columns
    )
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(name.identifier()))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name.identifier(), columns))
    record = msgspec.structs.replace(record, schema=name.schema, table=name.table)
    (plan,) = plan_load([record], {entity: read_tables(connection, [name])[name]}).tables
    return Copying(connection, snapshot, plan)


def measure(place: Place) -> Findings:
    """A million rows of `shares`, and of a table of ten common columns."""
    headlines: list[Headline] = []
    times: list[tuple[str, ...]] = []
    with place.connection("copying") as connection:
        assert place.project.schema is not None
        connection.execute(place.project.schema.read_bytes())
        for entity, snapshot in (
            ("shares", place.snapshot(place.rows(200_000), "users", "shares")),
            ("ten_columns", place.ten_columns(place.rows(1_000_000))),
        ):
            copying = bare_table(connection, snapshot, entity)
            file = write(snapshot, copying.plan, place.project.folder / f"{entity}.copy")
            found, row = _against_the_floor(place, copying, file)
            headlines += found
            times.append(row)
            file.unlink()
        settings = _settings(place, connection)
    text = (
        "Seconds of the COPY phase. A thread reads Parquet and encodes it, ahead of the socket; the main thread sends,"
        " and waits where the thread is behind. Sending includes waiting for the server to take the bytes. CPU seconds"
        " count work alone, so other processes of the machine, which slow all the others down, hardly move them."
    )
    header = ("table", "whole", "read", "encode", "send", "wait", "CPU client", "CPU server", "floor", "CPU floor")
    return Findings(tuple(headlines), (Table("Where the COPY phase goes", text, header, times), *settings))


def _against_the_floor(place: Place, copying: Copying, file: Path) -> tuple[list[Headline], tuple[str, ...]]:
    mine, floor = in_turns(place.rounds, copying.through_snapseed, partial(copying.by_the_server, file))
    loads = [taken.load for taken in mine if taken.load]
    whole, least = Spread(tuple(taken.whole for taken in mine)), Spread(tuple(taken.whole for taken in floor))
    client, server = Spread(tuple(taken.client for taken in mine)), Spread(tuple(taken.server for taken in mine))
    least_server = Spread(tuple(taken.server for taken in floor))
    name, size = copying.plan.entity.name, loads[0].bytes
    headlines = [
        Headline(
            f"COPY phase of `{name}`: {loads[0].rows:,} rows, {size / 1e6:.0f} MB",
            "`COPY FROM 'file' (FORMAT binary, FREEZE)` by the server, the same bytes",
            whole / least,
            f"{whole.median:.2f} s ÷ {least.median:.2f} s, {size / 1e6 / whole.median:.0f} MB/s",
        ),
        Headline(
            "the same, CPU time of the server process alone",
            "the same",
            server / least_server,
            f"{server.median:.2f} s ÷ {least_server.median:.2f} s; client {client.median:.2f} s",
        ),
    ]
    spreads = (
        whole,
        Spread(tuple(load.read for load in loads)),
        Spread(tuple(load.encode for load in loads)),
        Spread(tuple(load.send + load.server for load in loads)),
        Spread(tuple(load.starved for load in loads)),
        client,
        server,
        least,
        least_server,
    )
    return headlines, (f"`{name}`", *(f"{spread.median:.2f}" for spread in spreads))


def _settings(place: Place, connection: Connection) -> tuple[Table, ...]:
    """How much the constants of `load/stream.py`, and the rows of a chunk, matter."""
    users = place.rows(_USERS_FOR_SETTINGS)
    copying = bare_table(connection, place.snapshot(users, "users", "shares"), "shares")
    batches = [
        (f"{megabytes} MB, queue of {depth}", partial(_with_batches, copying, megabytes << 20, depth))
        for megabytes in _BATCH_MEGABYTES
        for depth in _QUEUE_DEPTHS
    ]
    # The table is made anew each time, under one name; what is compared are the files.
    chunks = [
        (f"{rows:,}", partial(_copy_seconds, bare_table(connection, _with_chunks(place, users, rows), "shares")))
        for rows in _CHUNK_ROWS
    ]
    rows = copying.plan.entity.rows
    return (
        Table(
            "Bytes of a batch and depth of the queue",
            f"COPY phase of {rows:,} rows of `shares` ÷ the same with the constants of `snapseed/load/stream.py`"
            f" ({stream.BATCH_BYTES >> 20} MB, queue of {stream.QUEUE_DEPTH}). {_NOISE}",
            ("batch", "ratio", "spread"),
            _compared(place, batches, partial(_copy_seconds, copying)),
        ),
        Table(
            "Rows of a chunk",
            f"COPY phase of {rows:,} rows of `shares`, by rows per Parquet row group ÷ that with {CHUNK_ROWS:,}."
            f" {_NOISE}",
            ("rows", "ratio", "spread"),
            _compared(place, chunks, dict(chunks)[f"{CHUNK_ROWS:,}"]),
        ),
    )


def _compared(
    place: Place, actions: Sequence[tuple[str, Callable[[], float]]], usual: Callable[[], float]
) -> list[tuple[str, ...]]:
    """Each action's time as a ratio to that of the usual one, all in turns."""
    reference, *results = in_turns(place.rounds, usual, *(action for _, action in actions))
    ratios = [Spread(tuple(values)) / Spread(tuple(reference)) for values in results]
    return [(name, f"{ratio.median:.2f}", ratio.range) for (name, _), ratio in zip(actions, ratios, strict=True)]


def _copy_seconds(copying: Copying) -> float:
    return copying.through_snapseed().whole


def _with_batches(copying: Copying, size: int, depth: int) -> float:
    with mock.patch.object(stream, "BATCH_BYTES", size), mock.patch.object(stream, "QUEUE_DEPTH", depth):
        return _copy_seconds(copying)


def _with_chunks(place: Place, users: int, rows: int) -> Snapshot:
    # Parts large enough for the largest chunk.
    project = replace(place.project, part_rows=20_000)
    return made(project, f"users-{users}-chunks-{rows}", users, "users", "shares", chunk_rows=rows)


def _record(snapshot: Snapshot, entity: str) -> EntityRecord:
    record = snapshot.manifest.entity(entity)
    assert record is not None
    return record
