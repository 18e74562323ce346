"""The tables of an entity on both sides, and the rows in which they differ: where fingerprints agree, none are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

from snapseed.diff.rows import Difference, differences, overlapping, with_keys
from snapseed.diff.tables import DatabaseTable, KeyRange, SnapshotTable, Table, common_array_type, common_type
from snapseed.postgres.copy_out import UnstorableError
from snapseed.postgres.rowhash import key_type
from snapseed.snapshot.hashing import EMPTY, Fingerprint
from snapseed.snapshot.manifest import Column, FirstKey


@dataclass(frozen=True)
class Pair:
    """The tables of an entity on both sides, and the columns by which their rows are compared.

    `keys` are the keys of the rows that are wanted, as `DiffRequest` has them; all rows if there are none. Only rows in
    the `ranges` are compared.
    """

    entity: str
    left: Table
    right: Table
    columns: tuple[Column, ...]
    keys: Sequence[str] = ()
    ranges: Sequence[KeyRange] = (KeyRange(),)

    @classmethod
    def of(cls, entity: str, left: Table, right: Table, chosen: Sequence[str] = (), keys: Sequence[str] = ()) -> Pair:
        """Both tables, to be compared by the columns that they have in common, or by those that are `chosen`."""
        if set(left.columns.values()) == set(right.columns.values()):
            # Fingerprints depend on the order of columns, in which only a database is free.
            if isinstance(right, DatabaseTable):
                right = replace(right, columns=left.columns)
            elif isinstance(left, DatabaseTable):
                left = replace(left, columns=right.columns)
        wanted = {*chosen, *(column.name for column in (*left.key, *right.key))}
        are_files = isinstance(left, SnapshotTable) and isinstance(right, SnapshotTable)
        common = common_type if are_files else common_array_type
        columns = tuple(
            Column(name, common(column.kind(), right.columns[name].kind()))
            for name, column in left.columns.items()
            if name in right.columns and (not chosen or name in wanted)
        )
        return cls(entity, left, right, columns, keys)

    @property
    def key(self) -> tuple[Column, ...]:
        """The key, if both sides have it and their rows in its order; otherwise none."""
        by_name = {column.name: column for column in self.columns}
        common = tuple(by_name[column.name] for column in self.left.key if column.name in by_name)
        keys = [[(each.name, key_type(each.kind())) for each in key] for key in (common, self.left.key, self.right.key)]
        return common if keys[0] == keys[1] == keys[2] else ()

    @property
    def is_indexed(self) -> bool:
        """Whether the fingerprints of both sides are of the same columns."""
        return list(self.left.columns.values()) == list(self.right.columns.values())

    @property
    def agrees(self) -> bool:
        """Whether fingerprints prove that both sides have the same rows in the ranges."""
        return self.is_indexed and self.left.total(self.ranges) == self.right.total(self.ranges)

    def narrowed(self) -> Pair:
        """The same pair, with only the ranges in which the fingerprints differ."""
        return replace(self, ranges=_differing_ranges(self))

    def with_texts(self, error: UnstorableError) -> Pair:
        """The same pair, which compares the column that caused the error by its texts; raises it if it does already."""
        columns = tuple(Column(each.name, "text") if each.name == error.column else each for each in self.columns)
        if columns == self.columns:
            raise error
        return replace(self, columns=columns)

    def differences(self) -> Generator[Difference]:
        """The rows that differ, a batch at a time. Close it: until then, a server is sending rows.

        Raises `UnstorableError` for a value that no snapshot holds.
        """
        left, right, key = self.left, self.right, self.key
        if self.is_indexed and not key and isinstance(left, SnapshotTable) and isinstance(right, SnapshotTable):
            left, right = _unlike(left, right), _unlike(right, left)
        for nulls in (False, True):
            if not (chosen := [each for each in self.ranges if each.nulls == nulls]):
                continue
            streams = [closing(side.rows(chosen, self.columns, key)) for side in (left, right)]
            with streams[0] as mine, streams[1] as yours:
                for found in differences((mine, yours), self.columns, () if nulls else key):
                    tables = (found.removed, found.added, found.before, found.after)
                    yield Difference(*(with_keys(rows, key, self.keys) for rows in tables))


def _unlike(table: SnapshotTable, other: SnapshotTable) -> SnapshotTable:
    """The table without chunks whose rows the other side has in one chunk too."""
    digests = [chunk.digest() for chunk in table.record.chunks]
    common = Counter(digests) & Counter(chunk.digest() for chunk in other.record.chunks)
    seen, skipped = Counter[Fingerprint](), set()
    for number, digest in enumerate(digests):
        if seen[digest] < common[digest]:
            skipped.add(number)
        seen[digest] += 1
    return replace(table, skipped=frozenset(skipped))


def _differing_ranges(pair: Pair) -> list[KeyRange]:
    """The ranges of keys in which the fingerprints differ, neighbors as one."""
    left, right, key = pair.left, pair.right, pair.key
    snapshots: list[Table] = [side for side in (left, right) if isinstance(side, SnapshotTable)]
    # A server computes the sums of all ranges in little more time than the one of all rows.
    if (not key or len(snapshots) > 1) and pair.agrees:
        return []
    if not key:
        return [KeyRange()]
    bounds = (snapshots or [left])[0].bounds()
    if len(snapshots) > 1:
        known = set(right.bounds())
        bounds = [bound for bound in bounds if bound in known]
    begins, ends = [None, *bounds], [*bounds, None]
    wanted = overlapping(bounds, key, pair.keys)
    among = KeyRange(begins[wanted.start], ends[wanted.stop - 1])
    nulls = [] if pair.keys else [KeyRange(nulls=True)]
    if not pair.is_indexed:
        return [among, *nulls]
    inside = bounds[wanted.start : wanted.stop - 1]
    mine, yours = _sums(left, right, inside, among)
    found: list[KeyRange] = []
    for number, place in enumerate(wanted, -1):
        if mine.get(number, EMPTY) != yours.get(number, EMPTY):
            if found and found[-1].last == begins[place]:
                found[-1] = replace(found[-1], last=ends[place])
            else:
                found.append(KeyRange(begins[place], ends[place]))
    # A key that contains NULL counts as one before the first range.
    return found + nulls if mine.get(-1, EMPTY) != yours.get(-1, EMPTY) else found


def _sums(left: Table, right: Table, bounds: Sequence[FirstKey], among: KeyRange) -> tuple[dict[int, Fingerprint], ...]:
    """The sums of both sides. Two servers work at the same time."""
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(right.sums, bounds, among)
        try:
            return left.sums(bounds, among), other.result()
        except BaseException:
            if isinstance(right, DatabaseTable):
                right.connection.cancel_safe()
            raise
