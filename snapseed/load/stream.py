"""Stream an entity's chunks as COPY data: decoded and encoded on a thread, a bounded queue ahead of the socket."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pyarrow as pa

from snapseed.errors import SnapseedError, SnapshotError
from snapseed.load.encode import encode_rows
from snapseed.load.plan import TablePlan
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.manifest import PartFile
from snapseed.snapshot.store import Snapshot

# Bytes of Arrow data encoded at a time: below 1 MB the cost per batch shows, above 16 MB only memory grows.
BATCH_BYTES = 4 << 20
# Encoded batches that may wait for the socket. Two keep it busy; two more even out chunks of unequal cost.
QUEUE_DEPTH = 4
# How often an encoding thread without room looks whether anybody still wants its batches.
_LOOK_SECONDS = 0.2


@dataclass
class StreamTimes:
    """Seconds that the encoding thread spent on reading and on encoding."""

    read: float = 0.0
    encode: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Encoded rows, ready for the socket."""

    data: pa.Buffer
    rows: int


@dataclass(frozen=True)
class _Failure:
    error: Exception


@dataclass
class Stream:
    """The batches of one entity, to be taken once, and the times they took.

    `taker` is the thread that takes them: where it is gone, by an interrupt that no cleaning up has followed, nobody
    waits for more.
    """

    waiting: queue.Queue[Batch | _Failure | None] = field(default_factory=lambda: queue.Queue(QUEUE_DEPTH))
    times: StreamTimes = field(default_factory=StreamTimes)
    stopped: threading.Event = field(default_factory=threading.Event)
    taker: threading.Thread = field(default_factory=threading.current_thread)

    def __iter__(self) -> Iterator[Batch]:
        while (item := self.waiting.get()) is not None:
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def put(self, item: Batch | _Failure | None) -> bool:
        """Wait for room and leave the item there; False where nobody wants it any more."""
        while not self.stopped.is_set() and self.taker.is_alive():
            with suppress(queue.Full):
                self.waiting.put(item, timeout=_LOOK_SECONDS)
                return True
        return False


@contextmanager
def encoded(snapshot: Snapshot, plan: TablePlan) -> Iterator[Stream]:
    """The encoded rows of the plan's entity in key order. Leaving the block, for whatever reason, ends the thread.

    Iterating raises `SnapshotError` for a file that cannot be read or does not hold the columns the manifest names.
    """
    stream = Stream()
    thread = threading.Thread(target=_produce, args=(snapshot, plan, stream), name=f"encode {plan.entity.name}")
    try:
        thread.start()
        yield stream
    finally:
        stream.stopped.set()
        # Room for what it is about to put, so that it need not wait to see that it is no longer wanted.
        with suppress(queue.Empty):
            stream.waiting.get_nowait()
        if thread.ident is not None:
            thread.join()


def _produce(snapshot: Snapshot, plan: TablePlan, stream: Stream) -> None:
    try:
        for file in plan.entity.files:
            for batch in _file_batches(snapshot, file, plan, stream.times):
                if not stream.put(batch):
                    return
        stream.put(None)
    except SnapseedError as exc:
        stream.put(_Failure(exc))
    except Exception as exc:  # noqa: BLE001 - whatever it is, it belongs to the thread that loads
        stream.put(_Failure(_unreadable(f"{type(exc).__name__}: {exc}", str(snapshot.folder))))


def _file_batches(snapshot: Snapshot, file: PartFile, plan: TablePlan, times: StreamTimes) -> Iterator[Batch]:
    names = [column.name for column in plan.columns]
    path = str(snapshot.path(file))
    with snapshot.open_part(file) as part:
        _check_columns(part.schema_arrow, plan, path)
        for number in range(part.num_row_groups):
            started = time.monotonic()
            table = part.read_row_group(number, columns=names, use_threads=False).select(names)
            columns = [in_one_piece(column) for column in table.columns]
            times.read += time.monotonic() - started
            rows = max(1, min(len(table), BATCH_BYTES * len(table) // max(1, table.nbytes)))
            for start in range(0, len(table), rows):
                started = time.monotonic()
                part_columns = [column.slice(start, rows) for column in columns]
                data = encode_rows(part_columns, plan)
                times.encode += time.monotonic() - started
                yield Batch(data, len(part_columns[0]))
            # Before the next chunk is read: two at a time would be the peak of a load's memory.
            del table, columns, part_columns, data


def _check_columns(schema: pa.Schema, plan: TablePlan, path: str) -> None:
    for column in plan.columns:
        index = schema.get_field_index(column.name)
        if index < 0 or not column.kind.stores(schema.field(index).type):
            observed = "no such column" if index < 0 else str(schema.field(index).type)
            raise _unreadable(f"column {column.name!r}: {observed}, expected {column.kind.arrow}", path)


def _unreadable(observed: str, path: str) -> SnapshotError:
    return SnapshotError(
        "a part cannot be read", where=path, observed=observed, next_step="restore it from git, or generate it again"
    )
