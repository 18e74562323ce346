"""Keys of chunks are derived from the key of their text, sort with it, and can be computed in SQL as well."""

from __future__ import annotations

import uuid

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapseed import chunk_keys
from tests.conftest import Connection

# The same in SQL, bit by bit.
IN_SQL = """
SELECT substring(t FROM 1 FOR 48) || '1000' || substring(t FROM 53 FOR 12)
       || '10' || substring(t FROM 67 FOR 12) || number::bit(12) || substring(hash FROM 1 FOR 38)
  FROM (SELECT ('x' || replace(text::text, '-', ''))::bit(128)::text AS t, number,
               hashbyteaextended(uuid_send(text) || int4send(number), 426954288747)::bit(64)::text AS hash
          FROM (VALUES (%(text)s::uuid, %(number)s::integer)) chunk(text, number)) made
"""


def keys(pairs: list[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    """The keys of these chunks."""
    texts = pl.Series([text.bytes for text, _ in pairs], dtype=pl.Binary)
    numbers = pl.Series([number for _, number in pairs], dtype=pl.Int64)
    return [uuid.UUID(bytes=key) for key in chunk_keys(texts, numbers)]


@given(st.lists(st.tuples(st.uuids(), st.integers(0, 4095)), max_size=30))
def test_a_key_depends_on_its_text_and_number_alone(pairs: list[tuple[uuid.UUID, int]]) -> None:
    """Not on the other chunks of the call. Different chunks have different keys of version 8."""
    made = keys(pairs)
    assert made == [keys([pair])[0] for pair in pairs]
    assert len(set(made)) == len(set(pairs))
    assert all((key.version, key.variant) == (8, uuid.RFC_4122) for key in made)


@given(st.uuids(), st.lists(st.integers(0, 4095), unique=True, min_size=2))
def test_keys_of_a_text_sort_by_number(text: uuid.UUID, numbers: list[int]) -> None:
    """As chunks lie in a snapshot."""
    made = keys([(text, number) for number in numbers])
    assert sorted(made) == [key for _, key in sorted(zip(numbers, made, strict=True))]


def test_the_keys_can_be_computed_in_sql(connection: Connection) -> None:
    """So that an application's own workers can write the same rows."""
    for text, number in ((uuid.UUID(int=2**128 - 1), 0), (uuid.UUID("01890000-0000-8000-8000-0123456789ab"), 4095)):
        row = connection.execute(IN_SQL, {"text": text, "number": number}).fetchone()
        assert row is not None
        assert f"{keys([(text, number)])[0].int:0128b}" == row[0]


def test_what_cannot_be_a_key_is_an_error() -> None:
    """Too many chunks, no uuid, null."""
    with pytest.raises(ValueError, match="more than 4096 chunks"):
        keys([(uuid.uuid4(), 4096)])
    for text in (b"short", None):
        with pytest.raises(ValueError, match="no uuid"):
            chunk_keys(pl.Series([text], dtype=pl.Binary), pl.Series([0]))
