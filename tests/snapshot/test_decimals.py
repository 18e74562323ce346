from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from psycopg import sql

from snapseed.snapshot.types import parse_type
from snapseed.snapshot.values import for_copy
from tests.examples import examples

Connection = psycopg.Connection[tuple[object, ...]]

# numeric_send(value::numeric(precision,scale)) of PostgreSQL 15.18 and 18.4: number of digits, weight, sign, display
# scale, then the digits in base 10,000.
GOLDEN = [
    (1, 0, "0", "0000 0000 0000 0000"),
    (10, 2, "0.00", "0000 0000 0000 0002"),
    (10, 2, "1.50", "0002 0000 0000 0002 0001 1388"),
    (10, 2, "-1.50", "0002 0000 4000 0002 0001 1388"),
    (8, 0, "10000", "0001 0001 0000 0000 0001"),
    (12, 4, "10000.0001", "0003 0001 0000 0004 0001 0000 0001"),
    (5, 5, "0.00001", "0001 fffe 0000 0005 03e8"),
    (38, 38, "0.00000000000000000000000000000000000001", "0001 fff6 0000 0026 0064"),
    (38, 38, "-0." + "9" * 38, "000a ffff 4000 0026" + " 270f" * 9 + " 26ac"),
    (38, 0, "9" * 38, "000a 0009 0000 0000 0063" + " 270f" * 9),
    (38, 19, "-" + "9" * 19 + "." + "9" * 19, "000a 0004 4000 0013 03e7" + " 270f" * 8 + " 2706"),
]
SHAPES = [
    (1, 0), (1, 1), (4, 0), (4, 4), (5, 1), (9, 2), (18, 18), (19, 0), (20, 7), (28, 9), (37, 36),
    (38, 0), (38, 1), (38, 2), (38, 3), (38, 4), (38, 19), (38, 35), (38, 36), (38, 37), (38, 38),
]  # fmt: skip


def fields(column: pa.Array) -> list[bytes | None]:
    """The binary form of each value, None where NULL: the fields of a COPY stream of one column."""
    kind = parse_type(f"numeric({column.type.precision},{column.type.scale})")
    stream, found = for_copy([column], [kind]).encoded().to_pybytes(), []
    while stream:
        length = int.from_bytes(stream[2:6], "big", signed=True)
        found.append(None if length < 0 else stream[6 : 6 + length])
        stream = stream[6 + max(length, 0) :]
    return found


def encoded(values: Sequence[Decimal | None], precision: int, scale: int) -> list[bytes | None]:
    """What each value is encoded as."""
    return fields(pa.array(values, type=pa.decimal128(precision, scale)))


def unscaled(value: int, scale: int) -> Decimal:
    """The decimal with these digits, exact whatever the context's precision."""
    return Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -scale))


@pytest.mark.parametrize(("precision", "scale", "text", "expected"), GOLDEN)
def test_golden_bytes(precision: int, scale: int, text: str, expected: str) -> None:
    """A numeric has the bytes that numeric_send gives it."""
    assert encoded([Decimal(text)], precision, scale) == [bytes.fromhex(expected)]


@pytest.mark.parametrize(("precision", "scale"), SHAPES)
@examples(4, suppress=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_agrees_with_the_server(connection: Connection, precision: int, scale: int, data: st.DataObject) -> None:
    """Every numeric(p,s) has the server's bytes: the extremes, powers of ten, and values in between."""
    powers = [sign * 10**power + near for power in range(precision) for sign in (1, -1) for near in (-1, 0, 1)]
    drawn = data.draw(st.lists(st.integers(-(10**precision) + 1, 10**precision - 1), max_size=30))
    limits = [10**precision - 1, 1 - 10**precision]
    values = [unscaled(value, scale) for value in limits + powers + drawn if abs(value) < 10**precision]
    query = sql.SQL("SELECT numeric_send(x::{}) FROM unnest(%s::text[]) WITH ORDINALITY AS u (x, n) ORDER BY n").format(
        sql.SQL(f"numeric({precision},{scale})")
    )
    rows = connection.execute(query, [[format(value, "f") for value in values]]).fetchall()
    assert encoded(values, precision, scale) == [row[0] for row in rows]


def test_null_has_no_bytes() -> None:
    """A NULL takes no bytes, and does not move its neighbors in a slice."""
    values = [Decimal(1), None, Decimal(-2), None, Decimal(3)]
    column = pa.array(values, type=pa.decimal128(5, 0)).slice(1, 3)
    assert fields(column) == [None, bytes.fromhex("0001 0000 4000 0000 0002"), None]


def test_no_rows() -> None:
    """No rows give no bytes."""
    assert encoded([], 38, 19) == []
