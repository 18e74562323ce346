"""Read `COPY … TO STDOUT (FORMAT binary)` by libpq itself, on the connection of the driver, without Python per row."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import psycopg
import pyarrow as pa
from psycopg import errors, generators, pq, sql
from psycopg.pq import ExecStatus, misc
from psycopg.waiting import Ready, Wait

from snapseed.core import library
from snapseed.postgres.connect import Connection
from snapseed.snapshot.decoding import Decoded, decode, header_bytes
from snapseed.snapshot.types import ColumnType

# Bytes that are read before they are decoded: enough to forget the price of a call, few enough to stay in the cache.
BATCH_BYTES = 4_000_000
# What PQgetCopyData returns in place of a number of bytes (PostgreSQL manual, 32.10.2).
_WAITING, _END, _FAILED = 0, -1, -2
_CANCEL_SECONDS = 5


def copied_out(
    connection: Connection, query: sql.Composable, kinds: Sequence[ColumnType], *, batch_bytes: int = BATCH_BYTES
) -> Iterator[Decoded]:
    """The rows of a query, whose columns are of these types, a batch of columns at a time.

    Take all of them, in a transaction that nothing else uses meanwhile. Raises psycopg's errors, and `ValueError` for
    a value that Arrow's type cannot hold.
    """
    pgconn, message = connection.pgconn, _Message()
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)
    with connection.lock:
        pgconn.send_query(statement.as_bytes(connection))
        _require(connection.wait(generators.execute(pgconn)), ExecStatus.COPY_OUT)
    try:
        ended = yield from _batches(connection, kinds, message, batch_bytes)
        with connection.lock:
            _require(connection.wait(generators.fetch_many(pgconn)), ExecStatus.COMMAND_OK)
    except BaseException:
        _abandon(connection, message)
        raise
    finally:
        message.release()
    if not ended:
        raise ValueError("the stream ends within a row")


def _require(results: Sequence[pq.abc.PGresult], status: ExecStatus) -> None:
    if results[-1].status != status:
        raise errors.error_from_result(results[-1], encoding="utf-8")


def _batches(
    connection: Connection, kinds: Sequence[ColumnType], message: _Message, batch_bytes: int
) -> Generator[Decoded, None, bool]:
    """The batches up to the end of the stream; returns whether its trailer was there."""
    buffer, used, start, begun, ended = pa.allocate_buffer(batch_bytes), 0, 0, False, False
    while message.state != _END:
        with connection.lock:
            used += connection.wait(_filled(connection.pgconn, buffer, used, message))
        if not begun:
            start = header_bytes(buffer, used)
            begun = start > 0
        decoded = decode(buffer, start, used, kinds)
        start, ended = start + decoded.consumed, decoded.ended
        if decoded.rows:
            yield decoded
        # What is left is the beginning of a row.
        left = used - start
        larger = pa.allocate_buffer(max(batch_bytes, 2 * left + message.bytes))
        ctypes.memmove(larger.address, buffer.address + start, left)
        buffer, used, start = larger, left, 0
    return ended and not used


def _abandon(connection: Connection, message: _Message) -> None:
    """End a COPY of which no more is wanted, so that the connection can be used again."""
    if connection.closed or connection.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
        return
    with suppress(psycopg.Error), connection.lock:
        connection.cancel_safe(timeout=_CANCEL_SECONDS)
        while message.state != _END:
            message.release()
            connection.wait(_filled(connection.pgconn, pa.allocate_buffer(BATCH_BYTES), 0, message))
        connection.wait(generators.fetch_many(connection.pgconn))


class _Message:
    """A message of libpq for which there was no room yet, and what libpq said last."""

    def __init__(self) -> None:
        self.kept = (ctypes.c_int64 * 2)()
        self._state = ctypes.c_int64()

    @property
    def state(self) -> int:
        """0: nothing more has arrived; -1: the end; -2: an error; else the bytes of the message."""
        return self._state.value

    @property
    def bytes(self) -> int:
        """The bytes that wait for room."""
        return int(self.kept[1])

    def read(self, connection: int, buffer: pa.Buffer, used: int) -> int:
        """Append what has arrived, and return how many bytes that were. `connection` is libpq's own."""
        return int(
            library().snapseed_read(
                connection,
                *_functions(),
                buffer.address + used,
                buffer.size - used,
                self.kept,
                ctypes.byref(self._state),
            )
        )

    def release(self) -> None:
        """Give back a message that nobody takes any more."""
        if self.kept[0]:
            _libpq().PQfreemem(ctypes.c_void_p(self.kept[0]))
            self.kept[0] = self.kept[1] = 0


def _filled(
    pgconn: pq.abc.PGconn, buffer: pa.Buffer, used: int, message: _Message
) -> Generator[Wait, Ready | int, int]:
    """Read until the buffer is full or the stream has ended; returns the bytes read."""
    pointer, filled = int(pgconn.pgconn_ptr), used  # type: ignore[attr-defined] # all implementations have it
    while True:
        filled += message.read(pointer, buffer, filled)
        if message.state == _FAILED:
            raise errors.OperationalError(pgconn.get_error_message())
        if message.state != _WAITING:
            return filled - used
        while not (yield Wait.R):
            pass
        pgconn.consume_input()


@cache
def _functions() -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
    libpq = _libpq()
    return ctypes.cast(libpq.PQgetCopyData, ctypes.c_void_p), ctypes.cast(libpq.PQfreemem, ctypes.c_void_p)


@cache
def _libpq() -> ctypes.CDLL:
    """The library that the driver uses: the one in its wheel, else that of the system."""
    found = importlib.util.find_spec("psycopg_binary")
    if found and found.submodule_search_locations:
        package = Path(next(iter(found.submodule_search_locations)))
        for folder in (package.parent / "psycopg_binary.libs", package / ".dylibs"):
            for path in sorted(folder.glob("libpq[-.]*")):
                return ctypes.CDLL(str(path))
    return ctypes.CDLL(str(misc.find_libpq_full_path()))
