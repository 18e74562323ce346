"""Bring an entity's rows into its table: by COPY, and for an upsert by way of a temporary table.

A thread reads and encodes chunks ahead of the socket. At most `queue_depth` encoded batches wait for it, so memory does
not grow with the snapshot.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import tee
from typing import TypeVar

import pyarrow as pa
from psycopg import sql

from snapseed.events import Advanced, Listener, ignore
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows
from snapseed.load.plan import ColumnPlan, Slice, TablePlan
from snapseed.load.request import LoadSettings
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.parquet import Part, readable
from snapseed.snapshot.store import Snapshot

_Item = TypeVar("_Item")
# Those of `EntityLoad`.
COPY_TIMES = ("seconds", "read", "encode", "starved", "send", "server")


@dataclass(frozen=True)
class EntityLoad:
    """The COPY of one entity, in seconds.

    `starved`, `send` and `server` add up to `seconds`: waiting for encoded rows, handing them over, and waiting until
    the server has taken them. `read` and `encode` run on the encoding thread at the same time.
    """

    entity: str
    rows: int
    bytes: int
    seconds: float = 0.0
    read: float = 0.0
    encode: float = 0.0
    starved: float = 0.0
    send: float = 0.0
    server: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Encoded rows, ready for the socket, and how long it took to read and to encode them."""

    data: pa.Buffer
    rows: int
    read_seconds: float
    encode_seconds: float


def copy_rows(
    connection: Connection,
    snapshot: Snapshot,
    table: TablePlan,
    into: sql.Composable,
    listener: Listener = ignore,
    settings: LoadSettings = LoadSettings(),
) -> EntityLoad:
    """Stream the entity's rows through COPY into the table `into`. The listener gets `Advanced` after each batch."""
    rows = size = 0
    times = dict.fromkeys(COPY_TIMES, 0.0)
    started = time.monotonic()
    _widen_socket(connection, settings.batch_bytes)
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT {})")
    options = ("binary" if table.binary else "text") + (", FREEZE" if table.freeze else "")
    with (
        encoded(snapshot, table, settings) as stream,
        connection.cursor() as cursor,
        cursor.copy(statement.format(into, _names(table.columns), sql.SQL(options))) as copy,
    ):
        if table.binary:
            copy.write(BINARY_HEADER)
        waiting = time.monotonic()
        for batch in stream:
            times["starved"] += time.monotonic() - waiting
            working = time.thread_time()
            copy.write(memoryview(batch.data))
            times["send"] += time.thread_time() - working
            times["read"] += batch.read_seconds
            times["encode"] += batch.encode_seconds
            rows += batch.rows
            size += batch.data.size
            listener(Advanced(table.entity.name, rows, table.entity.rows, bytes=size))
            waiting = time.monotonic()
        times["starved"] += time.monotonic() - waiting
        if table.binary:
            copy.write(BINARY_TRAILER)
    times["seconds"] = time.monotonic() - started
    times["server"] = max(0.0, times["seconds"] - times["starved"] - times["send"])
    return EntityLoad(table.entity.name, rows, size, **times)


def stage_table(connection: Connection, table: TablePlan) -> sql.Identifier:
    """Create the temporary table for an upsert, with the columns of `table` and no constraints; gone at the commit."""
    query = sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA")
    connection.execute(query.format(stage_of(table), _names(table.columns), table.table.identifier()))
    return stage_of(table)


def merge_rows(connection: Connection, table: TablePlan) -> None:
    """Insert the staged rows, and update existing rows with the same key that differ.

    Rows are compared by their hashes, because some types (json, point) have no equality; not at all if the plan says
    `updates_all`.
    """
    columns = table.entity.columns
    others = [sql.Identifier(column.name) for column in columns if column not in table.entity.key_columns]
    action: sql.Composable = sql.SQL("NOTHING")
    if others:
        assignments = listed(sql.SQL("{0} = excluded.{0}").format(name) for name in others)
        differ = sql.SQL("{} OPERATOR(pg_catalog.<>) {}").format(
            row_hash(columns, "held"), row_hash(columns, "excluded")
        )
        action = sql.SQL("UPDATE SET {} WHERE {}").format(assignments, sql.SQL("true") if table.updates_all else differ)
    target, names, keys = table.table.identifier(), _names(table.columns), _names(table.entity.key_columns)
    query = sql.SQL("INSERT INTO {} AS held ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ON CONFLICT ({}) DO {}")
    connection.execute(query.format(target, names, names, stage_of(table), keys, action))


def staged_keys(table: TablePlan) -> sql.Composed:
    """The SQL condition for the rows of `table` that were upserted."""
    keys = _names(table.entity.key_columns)
    return sql.SQL("({}) IN (SELECT {} FROM {})").format(keys, keys, stage_of(table))


def stage_of(table: TablePlan, rows: str = "new") -> sql.Identifier:
    """The name of the temporary table for some `rows`. It is short even if the entity's is not: PostgreSQL cuts it."""
    digest = hashlib.sha256(table.entity.name.encode()).hexdigest()[:16]
    return sql.Identifier("pg_temp", f"snapseed_{rows}_{digest}")


@contextmanager
def encoded(snapshot: Snapshot, table: TablePlan, settings: LoadSettings = LoadSettings()) -> Iterator[Iterator[Batch]]:
    """The encoded rows of an entity in key order. The encoding thread has ended when the block is left.

    Iterating raises `SnapshotError` for a file that cannot be read or lacks a column of the manifest.
    """
    with (
        closing(_batches(snapshot, table, settings.batch_bytes)) as batches,
        read_ahead(batches, settings.queue_depth, f"encode {table.entity.name}") as ahead,
    ):
        yield ahead


@contextmanager
def read_ahead(items: Iterator[_Item], depth: int, name: str) -> Iterator[Iterator[_Item]]:
    """The items, which a thread called `name` produces: it is at most `depth` + 1 items ahead.

    The thread has ended when the block is left, and never keeps the process alive. An exception ends the items.
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
    try:
        waiting = deque(thread.submit(next, items, None) for _ in range(depth + 1))

        def taken() -> Iterator[_Item]:
            """Each item, after asking for one more."""
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, items, None))
                yield item

        yield taken()
    finally:
        thread.shutdown(cancel_futures=True)


def _batches(snapshot: Snapshot, table: TablePlan, batch_bytes: int) -> Generator[Batch]:
    """The encoded rows, file by file."""
    whole = (Slice(file, 0, len(file.chunks)) for file in table.entity.files)
    slices, opened = tee(whole if table.slices is None else table.slices)
    files = (rows_of.file for rows_of in opened)
    with readable(str(snapshot.place)), closing(snapshot.parts(table.entity, files, whole=True)) as parts:
        # One more step than slices ends the last part: only then all of it was compared.
        for part, rows_of in zip(parts, slices, strict=True):
            yield from _batches_of(part, rows_of, table, batch_bytes)


def _batches_of(part: Part, rows_of: Slice, table: TablePlan, batch_bytes: int) -> Iterator[Batch]:
    """The encoded rows of some chunks of a file."""
    names = [column.name for column in table.columns]
    for number in range(rows_of.first, rows_of.end):
        started = time.monotonic()
        # PostgreSQL checks that texts are UTF-8.
        for chunk in map(rows_of.cut, part.batches(number, names, utf8=False)):
            read_seconds = time.monotonic() - started
            rows = max(1, min(len(chunk), batch_bytes * len(chunk) // max(1, chunk.nbytes)))
            for start in range(0, len(chunk), rows):
                started = time.monotonic()
                slices = [column.slice(start, rows) for column in chunk.columns]
                data = encode_rows(slices, table)
                yield Batch(data, len(slices[0]), read_seconds, time.monotonic() - started)
                read_seconds = 0.0
                # Free these rows before the next are read: two at once would be the peak of a load's memory.
                del slices, data
            del chunk
            started = time.monotonic()


def _widen_socket(connection: Connection, size: int) -> None:
    """Let the kernel buffer a whole batch, so that the server does not wait for this thread between pieces.

    The kernel grants at most `net.core.wmem_max`. TCP sockets are left alone: TCP sizes its window itself.
    """
    if not connection.info.host.startswith("/"):
        return
    with suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _names(columns: Sequence[Column | ColumnPlan]) -> sql.Composed:
    """The names of these columns, separated by commas."""
    return listed(column.name for column in columns)
