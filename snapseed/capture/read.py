"""Read the rows of tables over one connection or several, all as of one moment, and write them to files.

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
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import pyarrow as pa
from psycopg import sql

from snapseed.capture.connections import Readers, capturing
from snapseed.capture.files import FileSeries, placed
from snapseed.capture.mask.masks import NO_MASKS, MaskedOrder, Masks
from snapseed.capture.prepare import SourceTable
from snapseed.capture.request import Sizes
from snapseed.events import Advanced, Listener, ignore
from snapseed.postgres.connect import Connection, Session, Target
from snapseed.postgres.copy_out import BatchLimits, copied_out
from snapseed.postgres.rowhash import between, key_order, key_type, whole_row_order
from snapseed.snapshot.arrow import pc
from snapseed.snapshot.hashing import EMPTY, Fingerprint, combined, fingerprint
from snapseed.snapshot.manifest import FirstKey, PartFile
from snapseed.snapshot.store import Staging

# Batches that wait for the thread that writes, and the most bytes of each: each connection has as many.
_WAITING_BATCHES = 4
_BATCH_BYTES = 2_000_000


@dataclass(frozen=True)
class TableRows:
    """Rows of a table. A source is what follows FROM, without an order: `users WHERE id < 9`.

    One after the other, and each in the order of the key, the sources have the rows in the order of the key. With
    `ranges`, each begins a file, and may be read over a connection of its own. `everything` is a source that has all
    rows at once, if there is one.
    """

    table: SourceTable
    sources: Sequence[sql.Composable]
    ranges: bool = False
    everything: sql.Composable | None = None

    @property
    def pieces(self) -> int:
        """How many connections could read these rows at a time."""
        return len(self.sources) if self.ranges else 1


@dataclass(frozen=True)
class CapturedTable:
    """The files of a table, the fingerprint of the rows as they were read, and how many seconds that took.

    `ends` are the smallest and the largest values, as they were written, of columns that sequences fill.
    """

    table: SourceTable
    files: tuple[PartFile, ...]
    observed: Fingerprint
    seconds: float
    ends: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class _Range:
    """What a connection reads at a time, and then: its files, the fingerprint of its rows, when it began and ended."""

    table: SourceTable
    sources: Sequence[sql.Composable]
    name: str
    files: Sequence[PartFile] = ()
    observed: Fingerprint = EMPTY
    ends: Mapping[str, Sequence[int]] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True)
class Reading:
    """How rows are read: into which files, and what replaces their values before they are written. Picklable."""

    staging: Staging
    sizes: Sizes
    masks: Masks = NO_MASKS


def whole_table(connection: Connection, table: SourceTable, sizes: Sizes, *, jobs: int) -> TableRows:
    """All rows of a table: for several jobs, one source for each file, if an index can find where it begins."""
    rows = table.name.rows()
    is_ordered = table.key and all(key_type(column.kind()) != "text" for column in table.key)
    if jobs == 1 or not is_ordered:
        return TableRows(table, [rows])
    bounds: list[FirstKey | None] = [*_first_keys(connection, table, sizes.part_rows), None]
    ranges = pairwise(bounds if len(bounds) > 1 else [None, None])
    condition = sql.SQL("{} WHERE {}")
    sources = [condition.format(rows, between(table.key, first, last)) for first, last in ranges]
    return TableRows(table, sources, ranges=True, everything=rows)


def _first_keys(connection: Connection, table: SourceTable, part_rows: int) -> list[FirstKey]:
    """The first key of each file, from an index alone where the server can."""
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.key)
    statement = sql.SQL(
        "SELECT {texts} FROM (SELECT {names}, row_number() OVER (ORDER BY {order}) AS number FROM {rows}) AS numbered"
        " WHERE number % {part_rows} = 1 ORDER BY number"
    )
    found = connection.execute(
        statement.format(
            texts=texts,
            names=names,
            order=key_order(table.key),
            rows=table.name.rows(),
            part_rows=sql.Literal(part_rows),
        )
    ).fetchall()
    return [tuple(map(str, row)) for row in found]


def read_parts(
    target: Target, readers: Readers, tables: Sequence[TableRows], reading: Reading, listener: Listener = ignore
) -> list[CapturedTable]:
    """Read the rows of all tables and write them into files, by all these readers at once.

    Raises `SnapshotError` for a value that no snapshot can hold, with its table, column and row, or if a file cannot be
    written; `ServerError` and `LoadError` if the server fails or refuses.
    """
    ranges = [
        _Range(rows.table, sources, f"{rows.table.entity}/range-{number:05d}")
        for rows in tables
        for number, sources in enumerate([[source] for source in rows.sources] if rows.ranges else [rows.sources])
    ]
    # The largest tables first, so that no connection is left alone with one in the end.
    ranges.sort(key=lambda part: part.table.facts.estimated_rows, reverse=True)
    progress = _Progress(listener, ranges)
    left = Counter(part.table.entity for part in ranges)
    read: dict[str, dict[int, _Range]] = {entity: {} for entity in left}
    captured: dict[str, CapturedTable] = {}

    def keep(number: int, part: _Range) -> None:
        """Put the files of a table in place once all of it is read, while others are being read."""
        entity = part.table.entity
        if readers.executor:
            progress.add(part.table, sum(file.rows for file in part.files), sum(file.bytes for file in part.files))
        progress.end(part.table)
        read[entity][number] = part
        left[entity] -= 1
        if not left[entity]:
            captured[entity] = _captured(part.table, [own for _, own in sorted(read.pop(entity).items())], reading)

    if readers.executor:
        readers.share([partial(_read_elsewhere, target, reading, part) for part in ranges], keep)
    else:
        readers.share(
            [partial(_read, target, reading, part, partial(progress.add, part.table)) for part in ranges], keep
        )
    return [captured[rows.table.entity] for rows in tables]


def _read_elsewhere(target: Target, reading: Reading, part: _Range, session: Session, stop: threading.Event) -> _Range:
    """Read one range of a table, on a machine from which the files have to be sent."""
    part = _read(target, reading, part, lambda _rows, _bytes: None, session, stop)
    for file in part.files:
        reading.staging.send(file)
    return part


def _read(
    target: Target,
    reading: Reading,
    part: _Range,
    tell: Callable[[int, int], object],
    session: Session,
    stop: threading.Event,
) -> _Range:
    """Read one range of a table, while a second thread writes, and a third one ends files; `tell` rows and bytes."""
    table, began, observed = part.table, time.monotonic(), EMPTY
    is_masked, order = bool(reading.masks.names_in(table.name)), None
    filled = {sequence.column for sequence in table.facts.sequences} & {column.name for column in table.columns}
    ends: dict[str, list[int]] = {name: [] for name in filled}
    if reading.masks.reorders(table.name, table.key):
        order = MaskedOrder(table.columns, table.key, reading.staging.folder / f"{part.name}-rows")
    waiting: deque[Future[None]] = deque()
    with (
        capturing(f"capturing {table.name}", target),
        ThreadPoolExecutor(1, thread_name_prefix="finish") as finisher,
        ThreadPoolExecutor(1, thread_name_prefix="write") as writer,
        closing(_batches(session, part, stop, reading.sizes)) as batches,
    ):
        series = FileSeries(reading.staging.folder, reading.sizes, part.name, table.columns, table.key, finisher)
        try:
            for batch in batches:
                rows = batch
                if is_masked:
                    observed += fingerprint(batch.columns, [column.kind() for column in table.columns])
                    rows = reading.masks.apply(table.name, batch)
                for name, found in ends.items():
                    found += [end for end in pc.min_max(rows.column(name)).as_py().values() if end is not None]
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
    if not is_masked:
        observed = combined(chunk.digest() for file in files for chunk in file.chunks)
    return replace(part, files=files, observed=observed, ends=ends, began=began, ended=time.monotonic())


def _batches(session: Session, part: _Range, stop: threading.Event, sizes: Sizes) -> Generator[pa.RecordBatch]:
    """The rows of all sources, in the order of the key. Ends with `CancelledError` when `stop` is set."""
    table = part.table
    order = key_order(table.key) if table.key else whole_row_order(table.columns)
    # A batch that is a chunk is written without a copy.
    limits = BatchLimits(rows=sizes.chunk_rows, bytes=_BATCH_BYTES)
    for source in part.sources:
        ordered = sql.SQL("{} ORDER BY {}").format(source, order)
        with copied_out(session, table.columns, ordered, str(table.name), limits) as batches:
            for batch in batches:
                if stop.is_set():
                    raise CancelledError
                yield batch


def _captured(table: SourceTable, ranges: Sequence[_Range], reading: Reading) -> CapturedTable:
    files = placed(reading.staging, table.entity, [file for part in ranges for file in part.files])
    seconds = max(part.ended for part in ranges) - min(part.began for part in ranges)
    ends = {name: [end for part in ranges for end in part.ends[name]] for name in ranges[0].ends}
    return CapturedTable(table, files, combined(part.observed for part in ranges), seconds, ends)


class _Progress:
    """Tells how many rows of each table have come, whichever connection they came over.

    Until the last range of a table is read, their number is what the server expects, and more than have come.
    """

    def __init__(self, listener: Listener, ranges: Sequence[_Range]) -> None:
        self._listener = listener
        self._left = Counter(part.table.entity for part in ranges)
        self._lock = threading.Lock()
        self._done: dict[str, tuple[int, int]] = {}

    def add(self, table: SourceTable, rows: int, size: int) -> None:
        """So many more rows of a table have come, of so many bytes."""
        with self._lock:
            before = self._done.get(table.entity, (0, 0))
            done, size = self._done[table.entity] = before[0] + rows, before[1] + size
            self._listener(Advanced(table.entity, done, max(done + 1, table.facts.estimated_rows), bytes=size))

    def end(self, table: SourceTable) -> None:
        """A range of a table has been read."""
        with self._lock:
            self._left[table.entity] -= 1
            if not self._left[table.entity]:
                done, size = self._done.get(table.entity, (0, 0))
                self._listener(Advanced(table.entity, done, done, bytes=size))
