"""The rows of both sides. Of two snapshots, a column that has the same bytes in both files is decoded once."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, tee, zip_longest

import numpy as np
import pyarrow as pa

from snapseed.diff.tables import HashedRows, KeyRange, SnapshotTable, Table
from snapseed.snapshot.hashing import Fingerprint
from snapseed.snapshot.manifest import Column
from snapseed.snapshot.parquet import Part
from snapseed.snapshot.store_folder import Folder


@contextmanager
def rows_of_both(
    left: Table, right: Table, ranges: Sequence[KeyRange], columns: Sequence[Column], key: Sequence[Column]
) -> Iterator[tuple[Iterator[HashedRows], Iterator[HashedRows]]]:
    """What `rows` gives on both sides, perhaps without rows that are the same. In the block, a server may send rows."""
    # Out of git or from a bucket, the bytes of the left side would come twice.
    near = [side for side in (left, right) if isinstance(side, SnapshotTable) and type(side.snapshot.place) is Folder]
    shapes = [side.shape(ranges) for side in near if list(side.columns.values()) == list(columns)]
    if key and len(near) == len(shapes) == len((left, right)) and shapes[0] == shapes[1]:
        with closing(_rows_of_chunks(near[0], near[1], ranges, columns)) as pairs:
            mine, yours = tee(pairs)
            yield (rows for rows, _ in mine if rows), (rows for _, rows in yours if rows)
    else:
        streams = [closing(side.rows(ranges, columns, key)) for side in (left, right)]
        with streams[0] as here, streams[1] as there:
            yield here, there


def _rows_of_chunks(
    left: SnapshotTable, right: SnapshotTable, ranges: Sequence[KeyRange], columns: Sequence[Column]
) -> Generator[tuple[HashedRows | None, HashedRows | None]]:
    """The rows of chunks that begin at the same keys: of those that come in one batch, only the rows that differ."""
    rows = left.rows(ranges, columns, ())
    with closing(rows), closing(left.chunks(ranges)) as mine, closing(right.chunks(ranges)) as yours:
        for (part, number), (other, place) in zip(mine, yours, strict=True):
            first, count = next(rows), part.file.chunks[number].rows
            same = part.same_columns(number, other, place) if len(first.hashes) == count else set()
            if 0 < len(same) < len(columns):
                changed = [column for column in columns if column.name not in same]
                yield from _rows_that_differ(first, right, other, place, changed)
            else:
                yield from zip_longest(_up_to(count, first, rows), right.chunk(other, place, columns))
        # The proof of the last chunk.
        next(rows, None)


def _up_to(count: int, first: HashedRows, rows: Iterator[HashedRows]) -> Iterator[HashedRows]:
    """The first rows and those after them, so many together."""
    for batch in chain([first], rows):
        yield batch
        count -= len(batch.hashes)
        if count <= 0:
            return


def _rows_that_differ(
    mine: HashedRows, right: SnapshotTable, part: Part, number: int, changed: Sequence[Column]
) -> Iterator[tuple[HashedRows, HashedRows]]:
    """The rows of a chunk that differ, where the right side has the same in all columns but those that have `changed`.

    The rest of its rows have the hashes of the left side, so all of them are proved.
    """
    decoded = pa.Table.from_batches(list(part.batches(number, [column.name for column in changed])))
    names, columns = decoded.column_names, list(right.columns.values())
    table = pa.table(
        {name: (decoded if name in names else mine.table).column(name) for name in mine.table.column_names}
    )
    here, there = (HashedRows.of(each.select(names), changed).hashes for each in (mine.table, table))
    places = np.flatnonzero(here != there)
    yours = HashedRows.of(HashedRows(table, mine.hashes).at(places).table, columns)
    totals = [int(hashes.sum()) for hashes in (mine.hashes, mine.hashes[places], yours.hashes)]
    right.require(part, number, Fingerprint(len(mine.hashes), (totals[0] - totals[1] + totals[2]) % 2**64))
    if len(places):
        yield mine.at(places), yours
