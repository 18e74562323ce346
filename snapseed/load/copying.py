"""COPY one entity's rows into a table, and measure what the time went to."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from psycopg import sql

from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER
from snapseed.load.plan import TablePlan
from snapseed.load.stream import BATCH_BYTES, encoded
from snapseed.postgres.connect import Connection
from snapseed.snapshot.store import Snapshot


@dataclass(frozen=True)
class EntityLoad:
    """The COPY of one entity, in seconds.

    `read` and `encode` pass on the encoding thread, beside the others, which add up to `seconds`: `starved` is waiting
    for encoded rows, `send` the work of handing them over, `server` waiting until the server has taken them.
    """

    entity: str
    rows: int
    bytes: int
    seconds: float
    read: float
    encode: float
    starved: float
    send: float
    server: float


def copy_rows(
    connection: Connection,
    snapshot: Snapshot,
    table: TablePlan,
    target: sql.Composable,
    advance: Callable[[int], None],
) -> EntityLoad:
    """Stream the entity through COPY into `target`; `advance` gets the rows sent so far."""
    rows = size = 0
    starved = send = 0.0
    started = time.monotonic()
    _widen_socket(connection)
    with (
        encoded(snapshot, table) as stream,
        connection.cursor() as cursor,
        cursor.copy(_statement(table, target)) as copy,
    ):
        if table.binary:
            copy.write(BINARY_HEADER)
        waiting = time.monotonic()
        for batch in stream:
            starved += time.monotonic() - waiting
            working = time.thread_time()
            copy.write(memoryview(batch.data))
            send += time.thread_time() - working
            rows += batch.rows
            size += batch.data.size
            advance(rows)
            waiting = time.monotonic()
        starved += time.monotonic() - waiting
        if table.binary:
            copy.write(BINARY_TRAILER)
    seconds = time.monotonic() - started
    return EntityLoad(
        entity=table.entity.name,
        rows=rows,
        bytes=size,
        seconds=seconds,
        read=stream.times.read,
        encode=stream.times.encode,
        starved=starved,
        send=send,
        server=max(0.0, seconds - starved - send),
    )


def _widen_socket(connection: Connection) -> None:
    """Let the kernel take a whole batch, so that the server need not wait for this thread to wake between pieces.

    It gives what `net.core.wmem_max` allows, and TCP, which would widen its window by itself, is left to that.
    """
    if not connection.info.host.startswith("/"):
        return
    with suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BATCH_BYTES)


def _statement(table: TablePlan, target: sql.Composable) -> sql.Composed:
    options = [sql.SQL("FORMAT binary" if table.binary else "FORMAT text")]
    if table.freeze:
        options.append(sql.SQL("FREEZE"))
    return sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(
        target,
        sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
        sql.SQL(", ").join(options),
    )
