"""How the rows of an entity are shared out to several connections: by chunks, and by bounds on the key. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

import pyarrow as pa

from snapseed.postgres.partitions import PartitionFacts, TreeFacts
from snapseed.snapshot.manifest import EntityRecord, FirstKey, KeyValue, PartFile
from snapseed.snapshot.types import INTEGERS, Family

# A key that Python orders as PostgreSQL does.
Bound = int | UUID
Read = type[int] | type[UUID]
_Range = tuple[Bound | None, Bound | None]
_RANGE = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)")


@dataclass(frozen=True)
class Slice:
    """Some rows of a file, in key order: its chunks from `first` up to `end`, and of them those with keys in bounds.

    `key` is the column that is compared: at least `low` and below `high`, of which None is no bound.
    """

    file: PartFile
    first: int
    end: int
    key: str = ""
    low: Bound | None = None
    high: Bound | None = None

    @property
    def rows(self) -> int:
        """The rows of these chunks."""
        return sum(chunk.rows for chunk in self.file.chunks[self.first : self.end])

    def cut(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are within the bounds. They lie beside each other, since the keys are in order."""
        if self.low is None and self.high is None:
            return batch
        column = batch.column(self.key)
        start, stop = (
            edge if bound is None else bisect_left(range(len(column)), bound, key=lambda row: column[row].as_py())
            for edge, bound in ((0, self.low), (len(column), self.high))
        )
        return batch.slice(start, max(0, stop - start))


def whole(entity: EntityRecord) -> Iterator[Slice]:
    """All rows."""
    return (Slice(file, 0, len(file.chunks)) for file in entity.files)


@dataclass(frozen=True)
class Share:
    """Rows that one task copies: those of one partition or, without one, rows that the server has to distribute."""

    slices: tuple[Slice, ...]
    partition: PartitionFacts | None = None


@dataclass(frozen=True)
class ParallelPlan:
    """How a partitioned table is filled over several connections, before the last transaction.

    `routed`: the server finds the partition of each row, in a staging table that is partitioned in the same way.
    `referenced`: foreign keys of other tables refer to the table.
    """

    tree: TreeFacts
    connections: int
    shares: tuple[Share, ...]
    routed: bool
    referenced: bool


def shares_by_bounds(entity: EntityRecord, tree: TreeFacts) -> tuple[Share, ...] | None:
    """For each partition its rows, which lie together in a snapshot in key order; None if they do not.

    They do if the table is partitioned by ranges of the first column of its key, an integer or a uuid.
    """
    key = entity.key_columns[0] if entity.key_columns else None
    if key is None or tree.divided_by != f"RANGE ({key.name})" or len({found.parent for found in tree.partitions}) > 1:
        return None
    family = key.kind().family
    if key.kind().is_array or family not in {*INTEGERS, Family.UUID}:
        return None
    read: Read = int if family in INTEGERS else UUID
    ranges = {found: _bounds(found, read) for found in tree.partitions if not found.defaults}
    chunks = [(file, number) for file in entity.files for number in range(len(file.chunks))]
    firsts = [read(str(key_of(chunk.first_key))) for chunk in entity.chunks]

    def within(low: Bound | None, high: Bound | None) -> Iterator[Slice]:
        # Rows with the key `low` may begin in the chunk before.
        start = 0 if low is None else max(0, bisect_left(firsts, low) - 1)
        stop = len(firsts) if high is None else bisect_left(firsts, high)
        for _, group in groupby(chunks[start:stop], key=lambda chunk: chunk[0].path):
            (file, first), *others = group
            yield Slice(file, first, first + 1 + len(others), key.name, low, high)

    shares = [Share(tuple(within(*bounds)), found) for found, bounds in ranges.items()]
    gaps = list(_gaps(list(ranges.values())))
    rest = [found for found in tree.partitions if found.defaults]
    return (*shares, *(Share(tuple(part for gap in gaps for part in within(*gap)), found) for found in rest))


def shares_by_size(entity: EntityRecord, rows: int) -> tuple[Share, ...]:
    """Shares of about so many rows, each of chunks that follow each other."""
    shares: list[list[Slice]] = [[]]
    size = 0
    for file in entity.files:
        for number in range(len(file.chunks)):
            if size >= rows:
                shares.append([])
                size = 0
            size += file.chunks[number].rows
            last = shares[-1][-1] if shares[-1] else None
            if last is not None and last.file is file:
                shares[-1][-1] = replace(last, end=number + 1)
            else:
                shares[-1].append(Slice(file, number, number + 1))
    return tuple(Share(tuple(slices)) for slices in shares if slices)


def key_of(key: FirstKey) -> KeyValue:
    """The first column of a key."""
    return key[0] if isinstance(key, tuple) else key


def _bounds(partition: PartitionFacts, read: Read) -> _Range:
    """The range of one column that a partition is for, as the server prints it."""
    found = _RANGE.fullmatch(partition.bound)
    assert found is not None
    low, high = (None if text in {"MINVALUE", "MAXVALUE"} else read(text.strip("'")) for text in found.groups())
    return low, high


def _gaps(ranges: Sequence[_Range]) -> Iterator[_Range]:
    """What lies before, between and after ranges that do not overlap."""
    end: Bound | None = None
    for low, high in sorted(ranges, key=lambda bounds: (bounds[0] is not None, bounds[0])):
        if low is not None and low != end:
            yield end, low
        end = high
    if not ranges or end is not None:
        yield end, None
