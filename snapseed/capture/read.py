"""Read the rows of tables over one connection or several, write them to files, and prove that they are the source's.

Each connection has a thread that reads, one that writes what was read, and one that ends files. What a table's
files hold does not depend on the number of connections, nor on the machine that they are opened on.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from psycopg import sql

from snapseed.capture.connections import Readers, capturing
from snapseed.capture.files import FileSeries, MaskedOrder, placed
from snapseed.capture.plan import Piece, TableRows
from snapseed.capture.prepare import Source, SourceTable
from snapseed.capture.request import Sizes
from snapseed.errors import VerificationError
from snapseed.events import Advanced, Listener, ignore
from snapseed.postgres.connect import Connection, Session, Target
from snapseed.postgres.copy_out import BatchLimits, copied_out
from snapseed.postgres.facts import SequenceFacts, TableName
from snapseed.postgres.rowhash import row_order, rows_fingerprint
from snapseed.snapshot.arrow import pc
from snapseed.snapshot.hashing import EMPTY, Fingerprint, combined, fingerprint
from snapseed.snapshot.manifest import PartFile, SequencePosition
from snapseed.snapshot.store import Staging

# Batches that wait for the thread that writes, and the most bytes of each: each connection has as many.
_WAITING_BATCHES = 4
_BATCH_BYTES = 2_000_000


@dataclass(frozen=True)
class Reading:
    """Where rows are read from, and into which files they are written. Picklable, and with the password."""

    target: Target
    staging: Staging
    sizes: Sizes


@dataclass(frozen=True)
class CapturedTable:
    """The files of a table, or of a piece of it, the fingerprint of the rows as they were read, and how long that took.

    `ends` are the smallest and the largest values, as they were written, of columns that sequences fill.
    """

    table: SourceTable
    files: Sequence[PartFile]
    observed: Fingerprint
    ends: Mapping[str, Sequence[int]]
    began: float
    ended: float


def read_parts(
    readers: Readers, tables: Sequence[TableRows], reading: Reading, listener: Listener = ignore
) -> list[CapturedTable]:
    """Read the rows of all tables and write them into files, by all these readers at once.

    Raises `SnapshotError` for a value that no snapshot can hold, with its table, column and row, or if a file cannot be
    written; `ServerError` and `LoadError` if the server fails or refuses.
    """
    pieces = [piece for rows in tables for piece in rows.pieces]
    # The largest tables first, so that no connection is left alone with one in the end.
    pieces.sort(key=lambda piece: piece.table.facts.estimated_rows, reverse=True)
    counts = Counter(piece.table.entity for piece in pieces)
    progress = _Progress(listener, counts)
    read: dict[str, dict[int, CapturedTable]] = {rows.table.entity: {} for rows in tables}
    captured: dict[str, CapturedTable] = {}

    def keep(number: int, found: CapturedTable) -> None:
        """Put the files of a table in place once all of it is read, while others are being read."""
        entity = found.table.entity
        read[entity][number] = found
        if len(read[entity]) == counts[entity]:
            captured[entity] = _whole([own for _, own in sorted(read.pop(entity).items())], reading.staging)
        # What another machine has read is told at once.
        rows, size = (found.observed.rows, sum(file.bytes for file in found.files)) if readers.executor else (0, 0)
        progress.add(found.table, rows, size, ended=True)

    if readers.executor:
        readers.share([partial(_read_elsewhere, reading, piece) for piece in pieces], keep)
    else:
        readers.share([partial(_read, reading, piece, partial(progress.add, piece.table)) for piece in pieces], keep)
    return [captured[rows.table.entity] for rows in tables]


def _read_elsewhere(reading: Reading, piece: Piece, session: Session, stop: threading.Event) -> CapturedTable:
    """Read one piece of a table, on a machine from which the files have to be sent."""
    found = _read(reading, piece, lambda _rows, _bytes: None, session, stop)
    for file in found.files:
        reading.staging.put(file)
    return found


def _read(
    reading: Reading, piece: Piece, tell: Callable[[int, int], object], session: Session, stop: threading.Event
) -> CapturedTable:
    """Read one piece of a table, while a second thread writes, and a third one ends files."""
    table, masks, began, observed = piece.table, piece.masks, time.time(), EMPTY
    folder, order = reading.staging.folder, None
    filled = {sequence.column for sequence in table.facts.sequences} & {column.name for column in table.columns}
    ends: dict[str, list[int]] = {name: [] for name in filled}
    if piece.is_reordered:
        order = MaskedOrder(table.columns, table.key, folder / f"{piece.name}-rows")
    waiting: deque[Future[None]] = deque()
    with (
        capturing(f"capturing {table.name}", reading.target),
        ThreadPoolExecutor(1, thread_name_prefix="finish") as finisher,
        ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
        closing(_batches(session, piece, stop, reading.sizes)) as batches,
    ):
        series = FileSeries(folder, reading.sizes, piece.name, table.columns, table.key, finisher)
        try:
            for batch in batches:
                rows = batch
                if masks:
                    observed += fingerprint(batch.columns, [column.kind() for column in table.columns])
                    rows = masks.apply(batch)
                for column, found in ends.items():
                    found += [end for end in pc.min_max(rows.column(column)).as_py().values() if end is not None]
                waiting.append(writer.submit(order.add if order else series.add, rows))
                if len(waiting) > _WAITING_BATCHES:
                    waiting.popleft().result()
                tell(len(batch), batch.nbytes)
            for written in waiting:
                written.result()
            for rows in order.batches() if order else ():
                series.add(rows)
            series.end_file()
            files = series.files
        except BaseException:
            writer.shutdown(cancel_futures=True)
            series.abandon()
            raise
    if not masks:
        observed = combined(chunk.digest() for file in files for chunk in file.chunks)
    return CapturedTable(table, files, observed, ends, began, time.time())


def _batches(session: Session, piece: Piece, stop: threading.Event, sizes: Sizes) -> Generator[pa.RecordBatch]:
    """The rows of all sources, in the order of the key. Ends with `CancelledError` when `stop` is set."""
    table = piece.table
    order = row_order(table.key, table.columns)
    # A batch that is a chunk is written without a copy.
    limits = BatchLimits(rows=sizes.chunk_rows, bytes=_BATCH_BYTES)
    for source in piece.sources:
        ordered = sql.SQL("{} ORDER BY {}").format(source, order)
        with copied_out(session, table.columns, ordered, str(table.name), limits) as batches:
            for batch in batches:
                if stop.is_set():
                    raise CancelledError
                yield batch


def _whole(pieces: Sequence[CapturedTable], staging: Staging) -> CapturedTable:
    """A table of which all pieces were read, its files put where the snapshot has them."""
    table = pieces[0].table
    return CapturedTable(
        table,
        placed(staging, table.entity, [file for piece in pieces for file in piece.files]),
        combined(piece.observed for piece in pieces),
        {name: [end for piece in pieces for end in piece.ends[name]] for name in pieces[0].ends},
        min(piece.began for piece in pieces),
        max(piece.ended for piece in pieces),
    )


class _Progress:
    """Tells how many rows of each table have come, whichever connection they came over.

    Until the last piece of a table is read, their number is what the server expects, and more than have come.
    """

    def __init__(self, listener: Listener, pieces: Mapping[str, int]) -> None:
        self._listener = listener
        self._left = Counter(pieces)
        self._lock = threading.Lock()
        self._done: dict[str, tuple[int, int]] = {}

    def add(self, table: SourceTable, rows: int, size: int, *, ended: bool = False) -> None:
        """Tell that this many more rows of a table have come, of this many bytes, or that a piece of it has `ended`."""
        with self._lock:
            before = self._done.get(table.entity, (0, 0))
            done, size = self._done[table.entity] = before[0] + rows, before[1] + size
            self._left[table.entity] -= ended
            expected = max(done + 1, table.facts.estimated_rows) if self._left[table.entity] else done
            self._listener(Advanced(table.entity, done, expected, bytes=size))


# ── What the source is asked when all rows were read, as of the same moment ──────────────────────────────────────────


def prove(readers: Readers, tables: Sequence[TableRows], captured: Sequence[CapturedTable], target: Target) -> None:
    """Raise `VerificationError` unless the server computes the same fingerprint of each table as we did."""
    found = readers.share([partial(_fingerprint, rows, target) for rows in tables])
    if differing := [
        f"{read.table.name}: {read.observed.rows:,} rows with fingerprint {read.observed},"
        f" the server has {own.rows:,} with {own}"
        for read, own in zip(captured, found, strict=True)
        if own != read.observed
    ]:
        raise VerificationError(
            "the rows that were read are not those of the database; the snapshot before stays",
            where=target.described,
            observed="; ".join(differing),
            expected="the same rows, as of one moment",
            next_step="this is a bug in snapseed, or in what is between it and PostgreSQL: please report it",
        )


def _fingerprint(rows: TableRows, target: Target, session: Session, _stop: threading.Event) -> Fingerprint:
    """What the server computes for all rows of a table."""
    with capturing(f"verifying {rows.table.name}", target):
        return combined(rows_fingerprint(session, rows.table.columns, source) for source in rows.sources)


def read_positions(
    connection: Connection, source: Source, captured: Sequence[CapturedTable]
) -> dict[str | None, tuple[SequencePosition, ...]]:
    """The positions of all sequences: by entity those that fill its columns, and at None those of no entity.

    A sequence of several entities is told once. Each is at or past the furthest key that was written: sequences are not
    part of a transaction.
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
    """Where a sequence stands, moved on to the furthest of the keys that it fills."""
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
