"""The fingerprint that we compute from Arrow is the one that PostgreSQL computes after COPY, and what it sends back.

Columns of every type are drawn as cells: a value, and whether a NULL hides it. So every NULL has bytes that must not
count, and every column is a slice of a longer one.
"""

from __future__ import annotations

import json
import math
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from psycopg import sql

from snapseed.generate.draws.texts import canonical_json
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_binary, encode_text
from snapseed.load.plan import ColumnPlan, Prepared
from snapseed.load.plan.tables import plan_load
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.copy_out import BatchLimits, copied_out
from snapseed.postgres.facts import TableName
from snapseed.snapshot import types as known_types
from snapseed.snapshot.hashing import Fingerprint, fingerprint, row_hashes
from snapseed.snapshot.manifest import Column, EntityRecord
from snapseed.snapshot.types import parse_type
from snapseed.verify.database import verify_entity
from tests.conftest import new_database
from tests.examples import examples

Connection = psycopg.Connection[tuple[object, ...]]
Cell = tuple[object, bool]
Cells = Sequence[Cell]

MOODS = ["sad", "ok", "très bien", 'quo"te', "back\\slash", "{a,b}", "NULL", "two words", "😀"]
INT64 = np.iinfo(np.int64)
# How a load fills the columns of a table, by their types in the snapshot and in the table.
PLANS: dict[tuple[tuple[str, str], ...], tuple[ColumnPlan, ...]] = {}
DAY = 86_400_000_000


@dataclass(frozen=True)
class Case:
    """A type, the values of its columns, and an independent spelling of a value for PostgreSQL.

    `table_type` is the type of the table's column, if it differs from the snapshot's.
    """

    type: str
    values: st.SearchStrategy[object]
    array: Callable[[Cells], pa.Array]
    spell: Callable[[object], str]
    table_type: str = ""

    @property
    def cells(self) -> st.SearchStrategy[Cell]:
        """Values, one in four of them hidden by a NULL."""
        return st.tuples(self.values, st.sampled_from([False, False, False, True]))

    def spelled(self, cell: Cell) -> str | None:
        """The text PostgreSQL reads for a cell."""
        value, null = cell
        return None if null else self.spell(value)


# ── Arrow arrays from cells ──────────────────────────────────────────────────────────────────────────────────────────


def flat(storage: pa.DataType, *, seen_as: pa.DataType | None = None) -> Callable[[Cells], pa.Array]:
    """Arrays of `storage` with values under their NULLs, seen as arrays of another type of the same layout."""

    def make(cells: Cells) -> pa.Array:
        filled = pa.array([value for value, _ in cells], type=storage)
        bitmap = pa.py_buffer(np.packbits(np.array([not null for _, null in cells], bool), bitorder="little").tobytes())
        kind = seen_as or storage
        layout = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        array = pa.Array.from_buffers(layout, len(cells), [bitmap, *filled.buffers()[1:]])
        return pa.ExtensionArray.from_storage(kind, array) if layout is not kind else array

    return make


def lists(element: Callable[[Cells], pa.Array]) -> Callable[[Cells], pa.Array]:
    """Arrays of lists whose elements are a slice of a longer array."""

    def make(cells: Cells) -> pa.Array:
        inner = [cell for value, _ in cells for cell in _cells(value)]
        values = element([*inner[:1], *inner]).slice(min(1, len(inner)))
        offsets = np.cumsum([0, *(len(_cells(value)) for value, _ in cells)])
        mask = pa.array([null for _, null in cells], type=pa.bool_())
        return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), values, mask=mask)

    return make


def vectors(element: Callable[[Cells], pa.Array], dimensions: int) -> Callable[[Cells], pa.Array]:
    """Arrays of fixed-size lists. The elements of a NULL are NULLs, as polars and Parquet write them."""

    def make(cells: Cells) -> pa.Array:
        inner = [(bits, null) for value, null in cells for bits, _ in _cells(value)]
        values = element([(0, False)] * dimensions + inner).slice(dimensions)
        mask = pa.array([null for _, null in cells], type=pa.bool_())
        return pa.FixedSizeListArray.from_arrays(values, dimensions, mask=mask)

    return make


def _cells(value: object) -> list[Cell]:
    assert isinstance(value, list)
    return value


# ── PostgreSQL's spelling of values ──────────────────────────────────────────────────────────────────────────────────


def number(value: object) -> str:
    """Decimal digits, never an exponent."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def floating(form: str) -> Callable[[object], str]:
    """The number with these bits, in the struct form e, f or d."""
    width = struct.calcsize(form)

    def spell(bits: object) -> str:
        assert isinstance(bits, int)
        value: float = struct.unpack(f"<{form}", bits.to_bytes(width, "little"))[0]
        return "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")

    return spell


def day(value: object) -> str:
    """Days since 1970 as a date of the proleptic Gregorian calendar (Hinnant, chrono-compatible date algorithms)."""
    assert isinstance(value, int)
    if value in {np.iinfo(np.int32).min, np.iinfo(np.int32).max}:
        return "-infinity" if value < 0 else "infinity"
    era, of_era = divmod(value + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    date = f"{year if year > 0 else 1 - year:04}-{month:02}-{of_year - (153 * shifted + 2) // 5 + 1:02}"
    return date if year > 0 else f"{date} BC"


def clock(value: object) -> str:
    """Microseconds since midnight."""
    assert isinstance(value, int)
    seconds, microseconds = divmod(value, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{microseconds:06}"


def moment(zone: str) -> Callable[[object], str]:
    """Microseconds since 1970."""

    def spell(value: object) -> str:
        assert isinstance(value, int)
        if value in {INT64.min, INT64.max}:
            return "-infinity" if value < 0 else "infinity"
        date, _, era = day(value // DAY).partition(" ")
        return f"{date} {clock(value % DAY)}{zone} {era}"

    return spell


def array_of(spell: Callable[[object], str]) -> Callable[[object], str]:
    """Every element in quotes."""

    def quoted(cell: Cell) -> str:
        value, null = cell
        return "NULL" if null else '"' + spell(value).replace("\\", "\\\\").replace('"', '\\"') + '"'

    return lambda value: "{" + ",".join(map(quoted, _cells(value))) + "}"


def box_of(spell: Callable[[object], str]) -> Callable[[object], str]:
    """An array of two dimensions; its inner arrays have no quotes."""
    return lambda value: "{" + ",".join(array_of(spell)(inner) for inner, _ in _cells(value)) + "}"


def vector_of(spell: Callable[[object], str], brackets: str) -> Callable[[object], str]:
    """The numbers in brackets: [] for a vector, {} for a real[], which replaces it without pgvector."""
    return lambda value: brackets[0] + ",".join(spell(bits) for bits, _ in _cells(value)) + brackets[1]


# ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def integers(bits: int) -> st.SearchStrategy[object]:
    """All integers of a width, often its limits."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return st.sampled_from([low, -1, 0, high]) | st.integers(low, high)


def float_bits(form: str, *, finite: bool = False) -> st.SearchStrategy[object]:
    """Bits of floats in the struct form e, f or d, with NaNs of either sign and any payload unless `finite`."""
    width = struct.calcsize(form)
    infinity = {"e": 0x1F << 10, "f": 0xFF << 23, "d": 0x7FF << 52}[form]
    sign = 1 << (8 * width - 1)
    special = [sign, 1, infinity - 1]
    if not finite:
        special += [infinity, infinity + 1, infinity * 3 // 2, sign | infinity, sign | infinity + 1]
    widths: dict[str, Literal[16, 32, 64]] = {"e": 16, "f": 32, "d": 64}
    drawn = st.floats(width=widths[form], allow_nan=not finite, allow_infinity=not finite)
    return st.sampled_from(special) | drawn.map(lambda value: int.from_bytes(struct.pack(f"<{form}", value), "little"))


def decimals(precision: int, scale: int) -> st.SearchStrategy[object]:
    """Every numeric(precision, scale)."""
    limit = 10**precision - 1
    unscaled = st.sampled_from([-limit, -1, 0, 1, 10**scale % limit, limit]) | st.integers(-limit, limit)
    return unscaled.map(lambda value: Decimal((int(value < 0), tuple(map(int, str(abs(value)))), -scale)))


CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
AWKWARD = ["", " ", "\\N", "\\.", "\t", "\n", "\r\n", "\\", '"', "NULL", "{}", "😀" * 9, "a" * 301]
TEXTS = st.sampled_from(AWKWARD) | st.text(CHARACTERS, max_size=40)
SHORT_TEXTS = st.text(CHARACTERS, max_size=5) | st.sampled_from(["a b", "  a", "a\\\t", "a  ", "", "😀😀😀😀😀"])
DAYS = st.sampled_from(
    [-(2**31), 2**31 - 1, -2_440_588, -719_163, -719_162, -1, 0, 10_956, 10_957, 2_145_042_905]
) | st.integers(-2_440_588, 2_145_042_905)
MOMENTS = st.sampled_from(
    [INT64.min, INT64.max, -210_866_803_200_000_000, -62_135_596_800_000_001, -1, 0, 946_684_799_999_999, INT64.max - 1]
).map(int) | st.integers(-210_866_803_200_000_000, int(INT64.max) - 1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(CHARACTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(CHARACTERS, max_size=4), inner, max_size=3),
    max_leaves=6,
)
JSON_TEXTS = st.builds(json.dumps, JSON_VALUES, ensure_ascii=st.booleans(), indent=st.sampled_from([None, 2]))


def boxes(cells: st.SearchStrategy[Cell]) -> st.SearchStrategy[object]:
    """Up to three lists of one length, as cells that are never NULL; only the outermost list may be empty."""
    inner = st.integers(1, 3).flatmap(lambda size: st.lists(st.lists(cells, min_size=size, max_size=size), max_size=3))
    return inner.map(lambda found: [(cell, False) for cell in found])


TEXT = flat(pa.string())
SCALARS = [
    Case("boolean", st.booleans(), flat(pa.bool_()), lambda value: str(value).lower()),
    Case("smallint", integers(16), flat(pa.int16()), number),
    Case("integer", integers(32), flat(pa.int32()), number),
    Case("bigint", integers(64), flat(pa.int64()), number),
    Case("real", float_bits("f"), flat(pa.uint32(), seen_as=pa.float32()), floating("f")),
    Case("double precision", float_bits("d"), flat(pa.uint64(), seen_as=pa.float64()), floating("d")),
    *(
        Case(f"numeric({precision},{scale})", decimals(precision, scale), flat(pa.decimal128(precision, scale)), number)
        for precision, scale in [(1, 0), (4, 4), (10, 2), (19, 5), (38, 0), (38, 19), (38, 37), (38, 38)]
    ),
    Case("text", TEXTS, TEXT, str),
    Case("character varying(5)", SHORT_TEXTS, TEXT, str),
    Case("character(5)", SHORT_TEXTS, TEXT, str),
    Case("bytea", st.binary(max_size=40), flat(pa.binary()), lambda value: "\\x" + bytes(value).hex()),  # type: ignore[call-overload]
    Case(
        "uuid",
        st.binary(min_size=16, max_size=16),
        flat(pa.binary(16), seen_as=pa.uuid()),
        lambda value: str(uuid.UUID(bytes=value)),  # type: ignore[arg-type]
    ),
    Case("date", DAYS, flat(pa.int32(), seen_as=pa.date32()), day),
    Case("time without time zone", st.integers(0, DAY - 1), flat(pa.int64(), seen_as=pa.time64("us")), clock),
    Case("timestamp without time zone", MOMENTS, flat(pa.int64(), seen_as=pa.timestamp("us")), moment("")),
    Case("timestamp with time zone", MOMENTS, flat(pa.int64(), seen_as=pa.timestamp("us", "UTC")), moment("+00")),
    Case(
        "timestamp(0) with time zone",
        st.integers(-(2 * 10**11), 9 * 10**12).map(lambda seconds: seconds * 1_000_000),
        flat(pa.int64(), seen_as=pa.timestamp("us", "UTC")),
        moment("+00"),
    ),
    Case("json", JSON_TEXTS, TEXT, str),
    Case("jsonb", JSON_TEXTS.map(canonical_json), TEXT, str),
    Case("mood", st.sampled_from(MOODS), TEXT, str),
    # Types without an encoder of ours travel as their text, spelled as PostgreSQL prints them.
    Case("numeric", st.sampled_from(["NaN", "-1", "0.10", "1" * 60]), TEXT, str),
    Case("inet", st.sampled_from(["10.0.0.1/32", "10.0.0.0/8", "::1/128"]), TEXT, str),
    Case("bit varying(9)", st.sampled_from(["", "0", "101010101"]), TEXT, str),
]
ARRAYS = [
    Case(
        f"{case.type}[]",
        st.lists(case.cells, max_size=4),
        lists(case.array),
        array_of(case.spell),
    )
    for case in SCALARS
]
NESTED = [
    Case(f"{case.type}[][]", boxes(case.cells), lists(lists(case.array)), box_of(case.spell))
    for case in SCALARS
    if case.type in {"boolean", "integer", "numeric(10,2)", "text", "character(5)", "bytea", "uuid", "date", "mood"}
]
HALF = flat(pa.uint16(), seen_as=pa.float16())
SINGLE = flat(pa.uint32(), seen_as=pa.float32())
NARROW = [
    Case("real", float_bits("e"), HALF, floating("e")),
    Case(
        "real[]",
        st.lists(st.tuples(float_bits("e"), st.booleans()), max_size=4),
        lists(HALF),
        array_of(floating("e")),
    ),
]
CASES = {case.type: case for case in SCALARS + ARRAYS + NESTED} | {f"{case.type} from float16": case for case in NARROW}


def vector_case(table_type: str, form: str, dimensions: int) -> Case:
    """A `vector` of the snapshot, in a table whose column is a vector or real[]."""
    element = float_bits(form, finite=table_type == "vector")
    values = st.lists(st.tuples(element, st.just(value=False)), min_size=dimensions, max_size=dimensions)
    array = vectors({"e": HALF, "f": SINGLE}[form], dimensions)
    name = f"vector({dimensions})"
    if table_type == "vector":
        return Case(name, values, array, vector_of(floating(form), "[]"))
    return Case(name, values, array, vector_of(floating(form), "{}"), "real[]")


# ── The server's side ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def types(server: str) -> Iterator[Connection]:
    """A connection to a database that has the enum, and `vector` if the server has pgvector.

    Its settings differ from those of a load, because no type that we encode may depend on them.
    """
    with new_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        labels = sql.SQL(", ").join(map(sql.Literal, MOODS))
        connection.execute(sql.SQL("CREATE TYPE mood AS ENUM ({})").format(labels))
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            connection.execute("CREATE EXTENSION vector")
        connection.execute("SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'")
        yield connection


def has_vector(connection: Connection) -> bool:
    """Whether the database has pgvector's type."""
    return connection.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone() is not None


@dataclass(frozen=True)
class DrawnTable:
    """Columns of cells, and the Arrow columns made from them."""

    cases: Sequence[Case]
    cells: Sequence[Cells]
    arrays: Sequence[pa.Array]

    @classmethod
    def sliced(cls, cases: Sequence[Case], cells: Sequence[Cells], start: int, stop: int) -> DrawnTable:
        """A table of the rows from start to stop; the Arrow columns are slices of longer ones."""
        arrays = [case.array(column).slice(start, stop - start) for case, column in zip(cases, cells, strict=True)]
        return cls(cases, [column[start:stop] for column in cells], arrays)

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [f"c{number}" for number in range(len(self.cases))]

    def fingerprint(self) -> Fingerprint:
        """Our side."""
        return fingerprint(self.arrays, [parse_type(case.type) for case in self.cases])

    def hashes(self) -> list[int]:
        """Our hash of each row."""
        return list(row_hashes(self.arrays, [parse_type(case.type) for case in self.cases]))

    def read_back(self, connection: Connection) -> list[int]:
        """The hash of each row as it comes out of the server, a few rows in a batch."""
        kinds = [parse_type(case.table_type or case.type) for case in self.cases]
        columns = [Column(name, kind.name) for name, kind in zip(self.names, kinds, strict=True)]
        with copied_out(connection, columns, sql.SQL("t ORDER BY n"), "t", BatchLimits(rows=7)) as batches:
            return [value for batch in batches for value in row_hashes(batch.columns, kinds)]

    def record(self, digest: Fingerprint) -> EntityRecord:
        """The table as a manifest would have it, with this fingerprint."""
        columns = [Column(name, parse_type(case.type).name) for name, case in zip(self.names, self.cases, strict=True)]
        return EntityRecord("t", None, "t", "c0", tuple(columns), None, digest.rows, str(digest), ())

    def create(self, connection: Connection) -> None:
        """Make the table."""
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(case.table_type or case.type))
            for name, case in zip(self.names, self.cases, strict=True)
        ]
        connection.execute(sql.SQL("CREATE TEMP TABLE t ({}, n serial)").format(sql.SQL(", ").join(columns)))

    def plans(self, connection: Connection, record: EntityRecord) -> tuple[ColumnPlan, ...]:
        """How a load would fill the table's columns; cached for tables with the same columns."""
        key = tuple((case.type, case.table_type) for case in self.cases)
        if key not in PLANS:
            name = TableName(None, "t")
            PLANS[key] = plan_load(Prepared([record], {"t": read_tables(connection, [name])[name]})).tables[0].columns
        return PLANS[key]

    def wrong_values(self, connection: Connection) -> list[tuple[object, ...]]:
        """Cells that differ from what PostgreSQL reads from our spelling: column, row, observed, expected."""
        wrong: list[tuple[object, ...]] = []
        for name, case, column in zip(self.names, self.cases, self.cells, strict=True):
            query = sql.SQL(
                "SELECT {name}, n, {column}::text, expected FROM t"
                " JOIN unnest(%s::text[]) WITH ORDINALITY AS x (expected, n) USING (n)"
                " WHERE {column}::text IS DISTINCT FROM expected::{type}::text"
            ).format(name=sql.Literal(name), column=sql.Identifier(name), type=sql.SQL(case.table_type or case.type))
            wrong += connection.execute(query, [[case.spelled(cell) for cell in column]]).fetchall()
        return wrong


def check(connection: Connection, table: DrawnTable, *, text_only: bool = False) -> None:
    """Load the table in both forms of COPY; the server's fingerprint is ours and its values are the drawn ones.

    What is read from the server afterwards are the rows that were loaded, one by one.
    """
    digest = table.fingerprint()
    record = table.record(digest)
    with connection.transaction(force_rollback=True):
        table.create(connection)
        plans = table.plans(connection, record)
        for binary in [False] if text_only else [True, False]:
            names = sql.SQL(", ").join(map(sql.Identifier, table.names))
            options = sql.SQL("binary" if binary else "text")
            statement = sql.SQL("COPY t ({}) FROM STDIN (FORMAT {})").format(names, options)
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                if binary:
                    copy.write(BINARY_HEADER + encode_binary(table.arrays, plans).to_pybytes() + BINARY_TRAILER)
                else:
                    copy.write(encode_text(table.arrays, plans).to_pybytes())
            result = verify_entity(connection, record, TableName(None, "t"))
            assert not table.wrong_values(connection), options
            assert result.observed == digest, options
            if not binary:
                assert table.read_back(connection) == table.hashes(), options
            connection.execute("TRUNCATE t RESTART IDENTITY")


def is_text_only(case: Case) -> bool:
    """Whether a load would use text COPY: types without an encoder of ours, except enums."""
    return not parse_type(case.type).has_binary_form and not case.type.startswith("mood")


def a_table(data: st.DataObject, case: Case) -> DrawnTable:
    """A table of one column."""
    before, rows, after = (data.draw(st.lists(case.cells, max_size=size)) for size in (2, 16, 2))
    return DrawnTable.sliced([case], [before + rows + after], len(before), len(before + rows))


# ── Facts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CASES)
@examples(10, suppress=list(HealthCheck))
@given(data=st.data())
def test_column_has_one_fingerprint(types: Connection, name: str, data: st.DataObject) -> None:
    """A column of this type survives binary and text COPY unchanged, and the server's fingerprint of it is ours."""
    check(types, a_table(data, CASES[name]), text_only=is_text_only(CASES[name]))


@pytest.mark.parametrize("form", ["e", "f"], ids=["float16", "float32"])
@pytest.mark.parametrize("dimensions", [1, 3, 16])
@examples(10, suppress=list(HealthCheck))
@given(data=st.data())
def test_vector_stands_as_real_array(types: Connection, form: str, dimensions: int, data: st.DataObject) -> None:
    """A vector(n) of the snapshot in a real[] column has the fingerprint that it has in a vector(n) column."""
    check(types, a_table(data, vector_case("real[]", form, dimensions)))


@pytest.mark.parametrize("form", ["e", "f"], ids=["float16", "float32"])
@pytest.mark.parametrize("dimensions", [1, 3, 16])
@examples(10, suppress=list(HealthCheck))
@given(data=st.data())
def test_vector_has_one_fingerprint(types: Connection, form: str, dimensions: int, data: st.DataObject) -> None:
    """A vector(n) column has one fingerprint and survives COPY unchanged; without pgvector, real[] replaces it."""
    check(types, a_table(data, vector_case("vector" if has_vector(types) else "real[]", form, dimensions)))


@examples(40, suppress=list(HealthCheck))
@given(data=st.data())
def test_tables_of_any_columns(types: Connection, data: st.DataObject) -> None:
    """Tables of 1 to 12 columns of any types and 0 to 200 rows have one fingerprint."""
    vector = vector_case("vector" if has_vector(types) else "real[]", "f", 4)
    cases = data.draw(st.lists(st.sampled_from([*CASES.values(), vector]), min_size=1, max_size=12))
    rows = data.draw(st.integers(0, 200))
    start = data.draw(st.integers(0, min(rows, 3)))
    shuffle = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pools = [data.draw(st.lists(case.cells, min_size=1, max_size=5)) for case in cases]
    cells = [[pool[index] for index in shuffle.integers(0, len(pool), rows)] for pool in pools]
    check(types, DrawnTable.sliced(cases, cells, start, rows), text_only=any(map(is_text_only, cases)))


@pytest.mark.parametrize("name", ["text", "character(5)", "jsonb", "json", "mood"])
@examples(4, suppress=list(HealthCheck))
@given(data=st.data())
def test_repeated_texts(types: Connection, name: str, data: st.DataObject) -> None:
    """Texts with many repeated values have the server's fingerprint."""
    case = CASES[name]
    pool = data.draw(st.lists(case.cells, min_size=1, max_size=9))
    chosen = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, len(pool), 1000)
    check(types, DrawnTable.sliced([case], [[pool[index] for index in chosen]], 3, 1000))


def test_every_family_is_drawn() -> None:
    """No type that `snapshot.types` encodes is left out of these tests."""
    drawn = {parse_type(case.type).base for case in CASES.values()}
    assert set(known_types._KNOWN) <= drawn
