"""Keys identify rows: they are unique, ascend in row order and do not collide between levels."""

from __future__ import annotations

import uuid
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import Entity, Rows, entity, exactly
from tests.generate.making import make_rows

UInt64s = npt.NDArray[np.uint64]


def tree(kind: str, *maxima: int) -> list[Entity]:
    """A chain of entities from the root down, with these maxima of children."""

    def function(rows: Rows) -> None: ...

    declared: list[Entity] = []
    for level, maximum in enumerate([0, *maxima]):
        parent = declared[-1] if level else None
        declare = entity(
            key="id",
            columns={"id": kind},
            parent=parent,
            per_parent=exactly(maximum) if parent else None,
            name=f"level_{level}",
        )
        declared.append(declare(function))  # type: ignore[arg-type]
    return declared


def test_one_column_is_a_key_in_a_list_or_not() -> None:
    """Both give the same entity; several columns keep their order."""

    def function(rows: Rows) -> None: ...

    columns = {"a": "bigint", "b": "uuid"}
    keys = [entity(key=key, columns=columns)(function).key for key in ("a", ["a"], ("b", "a"))]  # type: ignore[arg-type]
    assert keys == ["a", "a", ("b", "a")]


def identities(roots: list[int], ordinals: list[int]) -> tuple[UInt64s, UInt64s]:
    """Both as arrays."""
    return np.array(roots, dtype=np.uint64), np.array(ordinals, dtype=np.uint64)


def uuids(kind: Entity, roots: list[int], ordinals: list[int], seed: int = 1) -> list[uuid.UUID]:
    """The uuid keys of these rows."""
    return [uuid.UUID(bytes=key) for key in kind.keys_of(*identities(roots, ordinals), seed)]


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**24 - 1), st.integers(0, 2**64 - 1))
def test_a_uuid_is_of_version_8_and_contains_its_row(root: int, ordinal: int, seed: int) -> None:
    """RFC 9562: version 8, variant 10; first 48 bits of root row, then 24 bits of ordinal around the variant."""
    key = uuids(tree("uuid")[0], [root], [ordinal], seed)[0]
    assert key.version == 8
    assert key.variant == uuid.RFC_4122
    assert key.int >> 80 == root
    assert (key.int >> 64 & 0xFFF) << 12 | key.int >> 50 & 0xFFF == ordinal


@given(st.lists(st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**24 - 1)), min_size=2, unique=True))
def test_uuids_sort_as_their_rows(rows: list[tuple[int, int]]) -> None:
    """By root row, then by ordinal; so none appears twice."""
    rows.sort()
    keys = uuids(tree("uuid")[0], [root for root, _ in rows], [ordinal for _, ordinal in rows])
    assert all(before < after for before, after in pairwise(keys))


def test_uuids_of_two_seeds_and_two_entities_differ_in_their_hash_bits() -> None:
    """The last 50 bits are random."""
    one, two = tree("uuid", 3)
    found = [uuids(one, [5], [0], 1), uuids(one, [5], [0], 2), uuids(two, [5], [0], 1)]
    assert len({key[0].int & (1 << 50) - 1 for key in found}) == 3


def test_a_uuid_is_the_same_as_in_every_earlier_version() -> None:
    """A golden value: keys of committed snapshots never change."""
    assert str(uuids(tree("uuid")[0], [1_000_000], [4097], 42)[0]) == "0000000f-4240-8001-8006-f62bef40eb76"


@given(st.lists(st.integers(0, 6), max_size=4), st.integers(0, 10**9))
def test_numbers_are_unique_across_siblings_and_levels(maxima: list[int], first: int) -> None:
    """On each level, all possible descendants of neighboring root rows have different numbers, in row order."""
    stride = 1
    for level, maximum in zip(tree("bigint", *maxima), [1, *maxima], strict=True):
        stride *= max(1, maximum)
        roots = np.repeat(np.arange(first, first + 3, dtype=np.uint64), stride)
        ordinals = np.tile(np.arange(stride, dtype=np.uint64), 3)
        numbers = level.numbers_of(roots, ordinals)
        assert numbers[0] == first * stride + 1
        assert (np.diff(numbers) == 1).all()


@pytest.mark.parametrize(("kind", "limit"), [("bigint", 2**63), ("integer", 2**31), ("smallint", 2**15)])
def test_numbers_that_exceed_the_type_are_an_error(kind: str, limit: int) -> None:
    """The last number of the type is a key; the next one is an error and does not wrap around."""
    root, child = tree(kind, 4)
    last = (limit - 2) // 4 - 1
    assert len(child.keys_of(*identities([last], [3]), 1)) == 1
    with pytest.raises(ValueError, match=rf"level_1: .* 2\^{limit.bit_length() - 1}; "):
        child.keys_of(*identities([limit // 4], [3]), 1)
    assert root.keys_of(*identities([0], [0]), 1).to_list() == [1]


def test_strides_beyond_64_bits_are_an_error() -> None:
    """A deep tree of wide fan-outs has no room for numbers; the error says which maximum to lower."""
    deepest = tree("bigint", 2**31, 2**31, 2**31)[-1]
    with pytest.raises(ValueError, match=r"level_3: .* 2\^63; "):
        deepest.keys_of(*identities([0], [0]), 1)
    assert len(deepest.keys_of(*identities([], []), 1)) == 0


def test_more_descendants_than_a_uuid_holds_are_an_error() -> None:
    """The ordinal has 24 bits, the root row 48."""
    for root, ordinal in ((0, 2**24), (2**48, 0)):
        with pytest.raises(ValueError, match=r"more than 16777216 descendants|2\^48"):
            uuids(tree("uuid")[0], [root], [ordinal])


def test_text_keys_ascend_by_their_bytes() -> None:
    """Name and number with leading zeros, the digits alone if that is too long, and an error if these are too long."""
    given = identities([0, 8, 9], [0, 0, 0])
    assert tree("text")[0].keys_of(*given, 1).to_list() == [f"level_0-{n:012}" for n in (1, 9, 10)]
    assert tree("varchar(20)")[0].keys_of(*given, 1)[0] == "level_0-000000000001"
    assert tree("varchar(19)")[0].keys_of(*given, 1)[0] == "000000000001"
    with pytest.raises(ValueError, match="level_0: there are more rows than texts of 1 digits"):
        tree("varchar(1)")[0].keys_of(*given, 1)


def test_several_columns_have_no_keys_of_ours() -> None:
    """The generator fills them itself."""

    def function(rows: Rows) -> None: ...

    declared = entity(key=("a", "b"), columns={"a": "bigint", "b": "text"})(function)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"function: .*a bigint, b text"):
        declared.keys_of(*identities([0], [0]), 1)


def test_row_numbers_start_at_one() -> None:
    """Like sequences in PostgreSQL."""
    assert make_rows(3).number().to_list() == [1, 2, 3]
