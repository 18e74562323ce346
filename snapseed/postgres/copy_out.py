"""Read rows by `COPY … TO STDOUT (FORMAT binary)` into Arrow: libpq hands them to the compiled core, without Python."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import pyarrow as pa
from psycopg import errors, generators, pq, sql

from snapseed.core import BAD_STREAM, BEYOND_ARROW, NO_ROOM, CopyStream, library, reason
from snapseed.errors import ServerError, SnapseedError, SnapshotError
from snapseed.postgres import listed
from snapseed.postgres.connect import Connection
from snapseed.snapshot.decoding import Receiver
from snapseed.snapshot.manifest import Column

# Why the core returned: `enum pause` in decode.c. After `WAITING`, there is nothing to do but to call it again.
_FULL, _ENDED, _LOST = 0, 2, 3


@dataclass(eq=False, repr=False)
class UnstorableError(SnapshotError):
    """A value that no snapshot can hold. If it is one of `column`, it could be stored as text.

    `table` says where the rows are from, in the words of who reads them.
    """

    table: str = field(kw_only=True)
    column: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class BatchLimits:
    """The most rows of a batch, and the most bytes in the server's binary format; a single row may be larger."""

    rows: int = 65_536
    bytes: int = 4_000_000


def copied_out(
    connection: Connection,
    columns: Sequence[Column],
    source: sql.Composable,
    where: str,
    limits: BatchLimits = BatchLimits(),
) -> closing[Generator[pa.RecordBatch]]:
    """Columns of `source`, in batches. `source` is what follows FROM: a table or subquery, conditions, an order.

    Use it in a `with` block. When the block is left early, the COPY is canceled: its transaction has failed, but the
    connection can be used again. Until then, nothing else may use the connection.

    Iterating raises the driver's errors, `SnapshotError` for a value that a snapshot cannot hold, and `ServerError` if
    the server does not send rows of these columns; `where` says in these errors where the rows are from.
    """
    names = listed(_as_stored(column) for column in columns)
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(names, source)
    return closing(_batches(connection, statement, columns, where, limits))


def _as_stored(column: Column) -> sql.Composed:
    """A column in the form that a snapshot stores: as text if we do not know its type."""
    kind = column.kind()
    form = "{}" if kind.has_binary_form else "{}::text[]" if kind.is_array else "{}::text"
    return sql.SQL(form).format(sql.Identifier(column.name))


def _batches(
    connection: Connection, statement: sql.Composed, columns: Sequence[Column], where: str, limits: BatchLimits
) -> Generator[pa.RecordBatch]:
    """The rows of a COPY, in batches."""
    receiver, read, taken, state = Receiver(columns), library().snapseed_read, 0, _FULL
    with _copying(connection, statement), _stream(connection.pgconn) as stream:
        while state != _ENDED:
            # Returns ten times a second at least, so that Python notices Ctrl-C.
            state = read(stream, receiver.sinks, len(columns), limits.rows, limits.bytes)
            if state == NO_ROOM:
                receiver.grow(stream.column)
            elif state == _LOST:
                raise errors.OperationalError(connection.pgconn.get_error_message())
            elif state == _ENDED:
                _require_end(connection, stream, where)
            elif state < 0:
                name = columns[stream.column].name if stream.column >= 0 else None
                place = f"{where}{f', column {name}' if name else ''}, row {taken + stream.rows + 1:,}"
                if state in BEYOND_ARROW:
                    raise _unstorable(place, reason(state), where, name)
                raise _unexpected(place, reason(state))
            if state in {_FULL, _ENDED} and stream.rows:
                first, taken = taken + 1, taken + stream.rows
                try:
                    batch = receiver.batch(stream.rows)
                except ValueError as exc:
                    raise _unstorable(f"{where}, rows {first:,} to {taken:,}", str(exc), where) from exc
                yield batch
                stream.rows = stream.bytes = 0


@contextmanager
def _copying(connection: Connection, statement: sql.Composed) -> Iterator[None]:
    """The COPY, which has ended when the block is left."""
    with connection.cursor() as cursor:
        try:
            with cursor.copy(statement):
                yield
        except KeyboardInterrupt:
            # Before the first rows, the driver cancels the COPY, but leaves the answer unread.
            if connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                with suppress(psycopg.Error):
                    deque(psycopg.Copy(cursor), maxlen=0)
            raise


def _require_end(connection: Connection, stream: CopyStream, where: str) -> None:
    """Raise the server's error, if it was one that ended the rows."""
    result = connection.wait(generators.fetch_many(connection.pgconn))[-1]
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result, encoding="utf-8")
    if not stream.ended:
        raise _unexpected(where, reason(BAD_STREAM))


def _unstorable(place: str, observed: str, table: str, column: str | None = None) -> SnapseedError:
    """The error about a value that no snapshot can hold."""
    summary, advice = "a snapshot cannot hold a value of the database", "change the value, or leave out its column"
    return UnstorableError(summary, where=place, observed=observed, next_step=advice, table=table, column=column)


def _unexpected(where: str, observed: str) -> SnapseedError:
    """The error about an answer that is not the rows that were asked for."""
    return ServerError(
        "the server sent something other than the rows",
        where=where,
        observed=observed,
        expected="the columns of the query in PostgreSQL's binary COPY format",
        next_step="check what is between snapseed and PostgreSQL, such as a connection pooler",
    )


@contextmanager
def _stream(pgconn: pq.abc.PGconn) -> Iterator[CopyStream]:
    """The driver's connection, and the functions by which the core reads from it.

    They are those of the libpq that the driver uses: in another one, a connection could be laid out differently. A
    compiled driver is linked with it, so that it is found through the driver's own library.
    """
    driver = sys.modules["psycopg.pq._pq_ctypes" if pq.__impl__ == "python" else pq.PGconn.__module__]
    libpq = driver.pq if pq.__impl__ == "python" else ctypes.CDLL(driver.__file__)
    functions = [libpq.PQgetCopyData, libpq.PQconsumeInput, libpq.PQfreemem]
    addresses = [ctypes.cast(function, ctypes.c_void_p) for function in functions]
    connection = pgconn.pgconn_ptr  # type: ignore[attr-defined] # all implementations have it
    stream = CopyStream(connection, *addresses, socket=pgconn.socket)
    try:
        yield stream
    finally:
        if stream.message:
            libpq.PQfreemem(ctypes.c_void_p(stream.message))
