"""Two streams of rows are compared in any batches: what comes out is what a dictionary, or a multiset, would say."""

from __future__ import annotations

import cProfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.diff.rows import differences, overlapping, with_keys
from snapseed.diff.tables import HashedRows
from snapseed.errors import UsageError
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import row_hashes
from snapseed.snapshot.manifest import Column

COLUMNS = [Column("number", "integer"), Column("text", "text"), Column("value", "bigint")]
Row = tuple[int, str, int]
ROWS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("aBé"), st.integers(0, 2)), max_size=12)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table."""
    values = list(zip(*rows, strict=True)) or [(), (), ()]
    kinds = [column.kind().arrow for column in COLUMNS]
    arrays = [pa.array(column, kind) for column, kind in zip(values, kinds, strict=True)]
    return pa.table(arrays, [column.name for column in COLUMNS])


def in_batches(rows: Sequence[Row], sizes: Sequence[int]) -> Iterator[HashedRows]:
    """Rows in batches of these sizes in turn."""
    start, at = 0, 0
    while start < len(rows):
        size = sizes[at % len(sizes)]
        table = table_of(rows[start : start + size])
        hashes = row_hashes(list(map(in_one_piece, table.columns)), [column.kind() for column in COLUMNS])
        yield HashedRows(table, hashes)
        start, at = start + size, at + 1


def rows_of(table: pa.Table) -> list[Row]:
    """A table as rows."""
    return [tuple(row.values()) for row in table.to_pylist()]


@given(
    left=ROWS,
    right=ROWS,
    sizes=SIZES,
    others=SIZES,
    key_columns=st.integers(0, 2),
    at_once=st.sampled_from([1, 4, 100]),
)
def test_what_differs_is_what_a_multiset_says(
    left: list[Row], right: list[Row], sizes: list[int], others: list[int], key_columns: int, at_once: int
) -> None:
    """With one column in the key, two or none; with keys that repeat; however many rows are compared at a time."""
    left, right = ([*sorted(rows, key=lambda row: row[:key_columns])] for rows in (left, right))
    streams = in_batches(left, sizes), in_batches(right, others)
    found = list(differences(streams, COLUMNS, COLUMNS[:key_columns], at_once))
    names = ("removed", "added", "before", "after")
    removed, added, before, after = ([row for each in found for row in rows_of(getattr(each, name))] for name in names)
    assert Counter(removed) + Counter(before) == Counter(left) - Counter(right)
    assert Counter(added) + Counter(after) == Counter(right) - Counter(left)
    keys = [[row[:key_columns] for row in rows] for rows in (removed, added, before, after)]
    assert keys[2] == keys[3]
    assert not key_columns or set(keys[0]).isdisjoint(keys[1])


def test_rows_without_a_key_are_compared_a_few_times_however_many_batches_differ() -> None:
    """The time grows with the rows that differ, not with their square: they have doubled before the next comparison."""
    left, right = ([(number, text, 0) for number in range(400)] for text in "aB")
    profile = cProfile.Profile()
    profile.runcall(lambda: list(differences((in_batches(left, [2]), in_batches(right, [2])), COLUMNS, (), 8)))
    joins = [
        entry.callcount for entry in profile.getstats() if getattr(entry.code, "co_qualname", "") == "DataFrame.join"
    ]
    assert 0 < sum(joins) <= 10


@pytest.mark.parametrize("sizes", [([10], [10]), ([10], [4]), ([4], [10])])
def test_no_side_is_read_far_ahead_of_the_other(sizes: tuple[list[int], list[int]]) -> None:
    """Only by the rows that it alone has, and by those that are compared at a time."""
    rows = [(number, "a", 0) for number in range(200)]
    sides = [rows, [*((number - 50, "a", 0) for number in range(50)), *rows]]
    read, apart = [0, 0], list[int]()

    def counted(side: int) -> Iterator[HashedRows]:
        for batch in in_batches(sides[side], sizes[side]):
            read[side] += len(batch.hashes)
            apart.append(abs(read[1] - read[0]))
            yield batch

    found = list(differences((counted(0), counted(1)), COLUMNS, COLUMNS[:1], 8))
    assert sum(each.added.num_rows for each in found) == 50
    assert not any(each.removed.num_rows or each.before.num_rows for each in found)
    assert max(apart) <= 50 + 8 + 2 * 10


def test_a_row_at_the_front_does_not_change_the_others() -> None:
    """All batches hold other rows then, and still only one row differs."""
    rows = [(number, "a", 0) for number in range(1000)]
    (found,) = [
        each
        for each in differences((in_batches(rows, [10]), in_batches([(-1, "a", 0), *rows], [10])), COLUMNS, COLUMNS[:1])
        if each.added.num_rows + each.removed.num_rows + each.before.num_rows
    ]
    assert (rows_of(found.added), found.removed.num_rows, found.before.num_rows) == ([(-1, "a", 0)], 0, 0)


KEYS = [
    (["1"], [1]),
    (["0..1"], [0, 1]),
    (["2.."], [2, 3]),
    (["..0", "3"], [0, 3]),
]


@pytest.mark.parametrize(("wanted", "expected"), KEYS)
def test_keys_are_chosen_by_value_or_range(wanted: list[str], expected: list[int]) -> None:
    """Both ends of a range are in it."""
    rows = table_of([(number, "a", 0) for number in range(4)])
    assert with_keys(rows, COLUMNS[:1], wanted)["number"].to_pylist() == expected


@given(
    bounds=st.sets(st.integers(0, 20)), ends=st.lists(st.tuples(st.integers(-1, 21), st.integers(-1, 21)), max_size=3)
)
def test_no_row_with_a_wanted_key_is_outside_the_ranges_that_are_read(
    bounds: set[int], ends: list[tuple[int, int]]
) -> None:
    """And of the ranges at both ends, none is read in vain."""
    begins, wanted = sorted(bounds), [f"{min(each)}..{max(each)}" for each in ends]
    rows = with_keys(table_of([(number, "a", 0) for number in range(-1, 22)]), COLUMNS[:1], wanted)
    places = {bisect_right(begins, number) for number in rows["number"].to_pylist()}
    found = overlapping(begins, COLUMNS[:1], wanted)
    assert places <= set(found)
    if wanted and begins and places:
        assert {found[0], found[-1]} <= places


@pytest.mark.parametrize("wanted", ["x", "1,2", "9999999999", "5..3"])
def test_what_is_no_key_is_an_error(wanted: str) -> None:
    """Text for an integer, too many values, a value out of range, and a range that ends before it begins."""
    with pytest.raises(UsageError):
        with_keys(table_of([(1, "a", 0)]), COLUMNS[:1], [wanted])
