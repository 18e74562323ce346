from __future__ import annotations

import uuid
from collections.abc import Sequence
from random import Random

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed.snapshot.hashing import EMPTY, SEED, Fingerprint, combined, fingerprint, hash_bytes, row_hashes
from snapseed.snapshot.types import parse_type
from tests.examples import examples

Connection = psycopg.Connection[tuple[object, ...]]

# hashtextextended(x COLLATE "C", seed) mod 2^64, from PostgreSQL 15.18 and 18.4 on x86-64, which agree. Lengths on
# both sides of lookup3's 12-byte block; the last text is the one of Bob Jenkins' own driver5 in lookup3.c.
GOLDEN = [
    (b"", 0, 0x9FB1B765A7EA466D),
    (b"", 1, 0xFDEAD6847E4D66DD),
    (b"", SEED, 0x0A79E1519B2A45E1),
    (b"a", 0, 0x31D94C66401370B1),
    (b"a", SEED, 0x270259B1376F5E29),
    (b"abcdefghijk", 0, 0x2B3346A5A78EF3D3),
    (b"abcdefghijk", SEED, 0xB60D7399089DFE6A),
    (b"abcdefghijkl", 1, 0xA6C4EC1164A36857),
    (b"abcdefghijkl", SEED, 0x039F92FBA3DB6290),
    (b"abcdefghijklm", 1, 0x34DBBA6B08D59AB5),
    (b"abcdefghijklm", SEED, 0x43D2055E06D78CF3),
    (b"Four score and seven years ago", 0, 0xD2E3A253F1F9FCA3),
    (b"Four score and seven years ago", 1, 0xBE549A0C8C824D0B),
    (b"Four score and seven years ago", SEED, 0x1F26174896A92862),
]
# hash_record_extended(ROW(int8send(r)), SEED) of the same servers, where r is
# hash_record_extended(ROW(int4send(7), 'a'::text COLLATE "C", NULL::bytea, uuid), SEED).
GOLDEN_ROW = 0x16BBE810B2F2675
SEEDS = [0, 1, SEED, -1 % 2**64]

KINDS = [parse_type(name) for name in ("integer", "text", "uuid", "text[]")]
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**31), 2**31 - 1),
        st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
        st.none() | st.binary(min_size=16, max_size=16),
        st.none() | st.lists(st.none() | st.sampled_from(["", "a", "é"]), max_size=3),
    ),
    max_size=20,
)
Row = tuple[object, ...]
property_test = examples(40)


def variable(values: Sequence[bytes], seed: int = SEED) -> list[int]:
    """The hashes of values of any lengths."""
    return [int(item) for item in hash_bytes(pa.array(values, type=pa.binary()), seed)]


def columns(rows: Sequence[Row]) -> list[pa.Array]:
    """The rows as Arrow columns of `KINDS`."""
    parts = list(zip(*rows, strict=True)) or [()] * len(KINDS)
    storage = [pa.int32(), pa.string(), pa.binary(16), pa.list_(pa.string())]
    arrays = [pa.array(part, type=kind) for part, kind in zip(parts, storage, strict=True)]
    arrays[2] = pa.ExtensionArray.from_storage(pa.uuid(), arrays[2])
    return arrays


def digest(rows: Sequence[Row]) -> Fingerprint:
    """The fingerprint of rows of `KINDS`."""
    return fingerprint(columns(rows), KINDS)


@pytest.mark.parametrize(("value", "seed", "expected"), GOLDEN)
def test_published_hashes(value: bytes, seed: int, expected: int) -> None:
    """A value hashes as in PostgreSQL's hash_bytes_extended."""
    assert variable([value], seed) == [expected]


def test_published_row() -> None:
    """A row has the server's hash: the hash of the record, with 0 for a NULL field, hashed once more."""
    arrays = [
        pa.array([7], type=pa.int32()),
        pa.array(["a"]),
        pa.array([None], type=pa.binary()),
        pa.array([uuid.UUID("00112233-4455-6677-8899-aabbccddeeff").bytes], type=pa.binary(16)).cast(pa.uuid()),
    ]
    kinds = [parse_type(name) for name in ("integer", "text", "bytea", "uuid")]
    assert [int(item) for item in row_hashes(arrays, kinds)] == [GOLDEN_ROW]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_length(connection: Connection, seed: int) -> None:
    """Texts of 0 to 40 bytes, and long ones, have the server's hashtextextended, hashed together."""
    texts = ["sn✓pséed!"[: length % 9] + "x" * length for length in range(41)]
    texts += ["y" * length for length in (*range(41), 1000, 4095, 4096, 20_003)]
    rows = connection.execute(
        'SELECT hashtextextended(x COLLATE "C", %s::bigint)'
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u (x, n) ORDER BY n",
        [seed - 2**64 if seed >= 2**63 else seed, texts],
    ).fetchall()
    expected = [int(str(row[0])) % 2**64 for row in rows]
    values = [text.encode() for text in texts]
    assert variable(values, seed) == expected


@property_test
@given(st.lists(st.binary(max_size=80), max_size=12), st.integers(0, 3))
def test_neighbours_do_not_matter(values: list[bytes], skipped: int) -> None:
    """A value has the same hash whatever values are next to it, and in a slice of a longer column."""
    column = pa.array([b"before"] * skipped + values, type=pa.binary()).slice(skipped)
    assert [int(item) for item in hash_bytes(column, SEED)] == [variable([value])[0] for value in values]


@pytest.mark.parametrize("size", [*range(26), 1000])
def test_jsonb_is_a_version_and_a_text(size: int) -> None:
    """A jsonb value hashes as its text after a byte 1, whatever its length."""
    text = "x" * size
    jsonb = row_hashes([pa.array([text])], [parse_type("jsonb")])
    assert jsonb.tolist() == row_hashes([pa.array([b"\x01" + text.encode()])], [parse_type("bytea")]).tolist()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 384])
@pytest.mark.parametrize("rows", [1, 70, 8193])
def test_vectors_are_arrays(dimensions: int, rows: int) -> None:
    """A vector has the fingerprint of the real[] with the same elements, stored in 16 bits or in 32."""
    elements = np.random.default_rng(1).normal(size=rows * dimensions).astype(np.float16)
    elements[::5] = np.nan
    array = pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * dimensions, elements.astype(np.float32))
    expected = fingerprint([array], [parse_type("real[]")])
    for dtype in (np.float16, np.float32):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(elements.astype(dtype)), dimensions)
        assert fingerprint([vectors], [parse_type(f"vector({dimensions})")]) == expected


@pytest.mark.parametrize("rows", [0, 1, 1023, 1024, 1025, 3000])
def test_blocks_of_rows(rows: int) -> None:
    """Rows have the same hashes however many there are."""
    arrays = [pa.array(range(rows), pa.int64()), pa.array([f"text {row}" for row in range(rows)], pa.string())]
    kinds = [parse_type("bigint"), parse_type("text")]
    apart = [row_hashes([array.slice(row, 1) for array in arrays], kinds)[0] for row in range(rows)]
    assert row_hashes(arrays, kinds).tolist() == apart


@property_test
@given(ROWS, st.integers(0, 20))
def test_parts_add_up(rows: list[Row], cut: int) -> None:
    """The fingerprints of two parts add up to that of the whole."""
    assert combined([digest(rows[:cut]), digest(rows[cut:])]) == digest(rows)


@property_test
@given(ROWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows: list[Row], random: Random) -> None:
    """Rows in another order have the same fingerprint."""
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert digest(shuffled) == digest(rows)


@property_test
@given(ROWS, st.integers(0, 20), st.integers(0, 20))
def test_slices(rows: list[Row], start: int, length: int) -> None:
    """A slice of Arrow columns has the fingerprint of a copy of its rows."""
    sliced = [column.slice(start, length) for column in columns(rows)]
    assert fingerprint(sliced, KINDS) == digest(rows[start : start + length])


@property_test
@given(ROWS, ROWS)
def test_other_rows_differ(rows: list[Row], others: list[Row]) -> None:
    """Different rows, counting duplicates, have different fingerprints."""
    same = sorted(map(repr, rows)) == sorted(map(repr, others))
    assert (digest(rows) == digest(others)) is same


def test_duplicates_count() -> None:
    """A row that occurs twice does not cancel itself out."""
    row = (1, "a", None, None)
    assert len({digest([]), digest([row]), digest([row] * 2), digest([row] * 3)}) == 4


def test_null_is_not_empty() -> None:
    """NULL, the empty text and the empty array all differ, and so do columns that swap their values."""
    texts = [digest([(1, text, None, items)]) for text in (None, "") for items in (None, [], [None])]
    assert len(set(texts)) == 6
    integers, kinds = [pa.array([1], pa.int32()), pa.array([2], pa.int32())], [parse_type("integer")] * 2
    assert fingerprint(integers, kinds) != fingerprint(integers[::-1], kinds)


def test_any_nan_is_nan() -> None:
    """NaNs have one fingerprint whatever their bits; negative zero is not zero."""
    bits = np.array([0x7FF8 << 48, 0xFFF8 << 48, (0x7FF << 52) + 1, 0, 1 << 63], dtype=np.uint64)
    hashes = row_hashes([pa.array(bits.view(np.float64))], [parse_type("double precision")])
    assert hashes[0] == hashes[1] == hashes[2]
    assert hashes[3] != hashes[4]


@pytest.mark.parametrize("step", [0, 1, 946_684_800_000_000])
def test_moments_before_time(step: int) -> None:
    """A timestamp that would wrap around to the far future is refused; under a NULL it does not matter."""
    early, kind = np.iinfo(np.int64).min + max(step, 1), parse_type("timestamptz")
    column = pa.array([early], type=pa.int64()).cast(kind.arrow)
    with pytest.raises(ValueError, match="4713 BC"):
        fingerprint([column], [kind])
    hidden = pa.Array.from_buffers(kind.arrow, 1, [pa.py_buffer(b"\0"), column.buffers()[1]])
    assert fingerprint([hidden], [kind]) == fingerprint([pa.nulls(1, kind.arrow)], [kind])


def test_empty_is_zero() -> None:
    """The fingerprint of no rows is zero, which changes no sum."""
    assert digest([]) == EMPTY
    assert combined([]) == EMPTY


@given(st.builds(Fingerprint, st.integers(0, 2**40), st.integers(0, 2**64 - 1)))
@property_test
def test_text_round_trip(value: Fingerprint) -> None:
    """The 16 digits of a fingerprint can be parsed again."""
    assert len(str(value)) == 16
    assert Fingerprint.parse(value.rows, str(value)) == value


def test_sums_wrap() -> None:
    """Sums are taken mod 2^64."""
    assert Fingerprint(1, 2**64 - 1) + Fingerprint(2, 3) == Fingerprint(3, 2)
