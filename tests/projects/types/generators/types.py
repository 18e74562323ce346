"""An entity for each type: its values one a row, an array of each, and an array of two dimensions.

Values of types without an encoder of ours are spelled as PostgreSQL prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

import polars as pl

from snapseed import Entity, Rows, entity

LONGEST = "9" * 131_072 + "." + "9" * 16_383
UUIDS = [bytes(16), bytes(range(16)), b"\xff" * 16]
MOMENTS = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
MULTIRANGE = ["{}", "{[1,2),[5,)}", "{(,)}"]


@dataclass(frozen=True)
class Kind:
    """A type and its values. `declared` is the type in the snapshot where it is not the table's.

    `needs` is an extension, or a query that fails where the server was built without the type. `nulls` says whether
    NULL is a value, `arrays` whether the table has arrays of it; `is_enum` marks those that binary COPY can carry.
    """

    type: str
    values: Sequence[object]
    declared: str = ""
    needs: str = ""
    nulls: bool = True
    arrays: bool = True
    is_enum: bool = False

    @property
    def name(self) -> str:
        """The name of the entity and of its table."""
        names = f"{self.type}_{self.declared}".strip("_")
        return "type_" + "".join(letter if letter.isalnum() else "_" for letter in names)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of the table."""
        arrays = {"flat": f"{self.type}[]", "box": f"{self.type}[][]"} if self.arrays else {}
        return {"id": "integer", "value": self.type, **arrays}

    @property
    def rows(self) -> list[object]:
        """The values of the column `value`."""
        return [*self.values, *([None] if self.nulls else [])]

    @property
    def flat(self) -> list[list[object] | None]:
        """The arrays of the column `flat`: each value with its neighbor, then an empty one or NULL."""
        some: list[object] = [None] if self.nulls else []
        pairs: list[list[object] | None] = [[value, *some, self.values[0]] for value in self.values]
        return [*pairs, *([[]] if self.nulls else [])]

    @property
    def box(self) -> list[list[list[object]] | None]:
        """The arrays of the column `box`, of two by two values."""
        second = self.rows[-1]
        boxes: list[list[list[object]] | None] = [[[value, second], [self.values[0], value]] for value in self.values]
        return [*boxes[1:], [], *([None] if self.nulls else [])]


BUILT_IN = [
    Kind("boolean", [True, False]),
    Kind("bytea", [b"", b"\0\xff\\"]),
    Kind('"char"', ["a", ""]),
    Kind("name", ["", 'a "name"', "n" * 63]),
    Kind("bigint", [-(2**63), 0, 2**63 - 1]),
    Kind("smallint", [-(2**15), 0, 2**15 - 1]),
    Kind("integer", [-(2**31), 0, 2**31 - 1]),
    Kind("int2vector", ["", "1 -2 32767"]),
    Kind("oidvector", ["", "0 4294967295"]),
    Kind("text", ["", "tab\tand\nbreak", "\\N", 'quo"te', "NULL", "ünïcödé 😀"]),
    Kind("oid", ["0", "4294967295"]),
    Kind("tid", ["(0,0)", "(4294967295,65535)"]),
    Kind("xid", ["0", "4294967295"]),
    Kind("cid", ["0", "4294967295"]),
    Kind("xid8", ["0", "18446744073709551615"]),
    Kind("regclass", ["pg_class", "information_schema.tables"]),
    Kind("regcollation", ["-", '"C"']),
    Kind("regconfig", ["-", "simple"]),
    Kind("regdictionary", ["-", "simple"]),
    Kind("regnamespace", ["-", "pg_catalog"]),
    Kind("regoper", ["0", "||/"]),
    Kind("regoperator", ["0", "+(integer,integer)"]),
    Kind("regproc", ["-", "now"]),
    Kind("regprocedure", ["-", "lower(text)"]),
    Kind("regrole", ["-", "pg_monitor"]),
    Kind("regtype", ["-", "timestamp with time zone[]"]),
    Kind("json", ["{}", '{"b": 1,  "a": "\\u0000 \\\\"}']),
    Kind("jsonb", ["{}", '{"a": "\\\\u0000", "b": [1.50, null, "x\\"y"]}']),
    Kind("jsonpath", ["$", '$."a"[*]?(@ > 1 && @."b" like_regex "^x")']),
    Kind("xml", ["", '<a b="c">d</a>', "two <b/> parts"], needs="SELECT '<a/>'::xml"),
    Kind("real", [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), 2.0**-149]),
    Kind("double precision", [0.0, -0.0, 0.1, float("inf"), float("nan"), 5e-324, 1.7976931348623157e308]),
    Kind("money", ["$0.00", "$1,234.50", "-$92,233,720,368,547,758.08"]),
    Kind("character(5)", ["", "ab", "  ab", "12345"]),
    Kind("bpchar", ["", "ab"]),
    Kind("character varying(5)", ["", "ab  ", "12345"]),
    Kind("varchar", ["", "x" * 300]),
    Kind("date", [date(1, 1, 1), date(2000, 2, 29), date(9999, 12, 31)]),
    Kind("time", [time(), time(23, 59, 59, 999_999)]),
    Kind("time(3)", [time(1, 2, 3, 456_000)]),
    Kind("timestamp", [moment.replace(tzinfo=None) for moment in MOMENTS]),
    Kind("timestamp(0)", [datetime.fromisoformat("2000-01-01 01:02:03")]),
    Kind("timestamptz", MOMENTS),
    Kind("timestamp(2) with time zone", [datetime(2000, 1, 1, 1, 2, 3, 450_000, tzinfo=UTC)]),
    Kind("timetz", ["00:00:00+00", "24:00:00-15:59:59", "04:05:06.789012+05:30"]),
    Kind("time(0) with time zone", ["04:05:06+00"]),
    Kind("interval", ["00:00:00", "1 year 2 mons -3 days +04:05:06.789", "-178000000 years", "00:00:00.000001"]),
    Kind("interval year to month", ["1 year 2 mons"]),
    Kind("interval day to second(3)", ["3 days 04:05:06.789"]),
    Kind("interval(0)", ["1 mon 00:00:01"]),
    Kind("bit(1)", ["0", "1"]),
    Kind("bit(12)", ["101010101010"]),
    Kind('"bit"', ["1010"]),
    Kind("bit varying", ["", "1" * 70]),
    Kind("bit varying(9)", ["", "101010101"]),
    Kind("numeric", ["0", "0.00", "-1.50", "NaN", "Infinity", "-Infinity", LONGEST]),
    Kind("numeric(10,2)", [Decimal("0.00"), Decimal("-99999999.99")]),
    Kind("numeric(38,10)", [Decimal(1) / 2**10, Decimal("9" * 28)]),
    Kind("numeric(50,20)", ["0.00000000000000000000", "-" + "9" * 30 + ".99999999999999999999", "NaN"]),
    Kind("numeric(3,-2)", ["0", "99900", "-100"], needs="SELECT 1::numeric(3,-2)"),
    Kind("numeric(2,4)", ["0.0000", "0.0099"], needs="SELECT 0::numeric(2,4)"),
    Kind("refcursor", ["", "cursor"]),
    Kind("uuid", UUIDS),
    Kind("pg_lsn", ["0/0", "FFFFFFFF/FFFFFFFF"]),
    Kind("pg_snapshot", ["10:20:10,14,15", "1:1:"]),
    Kind("txid_snapshot", ["10:20:10,14,15", "1:1:"]),
    Kind("tsvector", ["", "'\\\\' 'a':1A,2 'b c':3B 'it''s'"]),
    Kind("tsquery", ["", "'a' & !( 'b c' | 'd':*AB ) <2> 'e'"]),
    Kind("aclitem", ["pg_monitor=r*w/pg_monitor", "=X/pg_monitor"]),
    Kind("inet", ["10.0.0.1/32", "10.1.2.3/8", "::1/128", "fe80::1/64"]),
    Kind("cidr", ["10.0.0.0/8", "0.0.0.0/0", "::/0"]),
    Kind("macaddr", ["00:00:00:00:00:00", "08:00:2b:01:02:ff"]),
    Kind("macaddr8", ["08:00:2b:01:02:03:04:ff"]),
    Kind("point", ["(0,0)", "(-1e+300,Infinity)", "(NaN,0.1)"]),
    Kind("line", ["{1,-1,0}"]),
    Kind("lseg", ["[(0,0),(1.5,2)]"]),
    Kind("box", ["(1,1),(0,0)", "(Infinity,0.1),(-1,-2)"]),
    Kind("path", ["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"]),
    Kind("polygon", ["((0,0))", "((0,0),(1,1),(2,0))"]),
    Kind("circle", ["<(0,0),1.5>", "<(1,2),0>"]),
    Kind("int4range", ["empty", "[1,5)", "(,)", "[1,)"]),
    Kind("int8range", ["empty", "[-9223372036854775808,9223372036854775807)"]),
    Kind("numrange", ["empty", "(1.50,2]", "(,NaN)"]),
    Kind("daterange", ["empty", "[2000-01-01,2000-02-29)", "[-infinity,infinity)"]),
    Kind("tsrange", ["empty", '["2000-01-01 00:00:00","2000-01-01 00:00:00.5")']),
    Kind("tstzrange", ["empty", '("0044-03-15 12:00:00+00 BC","2000-01-01 00:00:00+00"]']),
    Kind("int4multirange", MULTIRANGE),
    Kind("int8multirange", MULTIRANGE),
    Kind("nummultirange", MULTIRANGE),
    Kind("datemultirange", ["{}", "{[2000-01-01,2000-02-29)}"]),
    Kind("tsmultirange", ["{}", '{["2000-01-01 00:00:00","2000-01-02 00:00:00")}']),
    Kind("tstzmultirange", ["{}", '{["2000-01-01 00:00:00+00",)}']),
]
MADE = [
    Kind('"Odd Place"."Light"', ["red", "GREEN", 'very "odd", \\ light', ""], is_enum=True),
    Kind('"Dot.ted"', ["a", "b"], is_enum=True),
    Kind("pair", ["(,)", '(1,"")', '(-1,"a ""b"", \\\\ (c)\nd")']),
    Kind("nest", ["(,,,)", '("(1,a)","{""(1,a)"",""(,\\\\""b c\\\\"")"",NULL}",10.0.0.1,"x  ")']),
    Kind("float_range", ["empty", "[0.1,Infinity]", "(,)"]),
    Kind("float_multirange", ["{}", "{[0.1,1),(2,)}"]),
    Kind("text_range", ["empty", '["",a)', '("a b","c""d"]']),
    Kind("positive", [1, 2**31 - 1], declared="integer", arrays=False),
    Kind("word", ["a", "ten letter"], declared="varchar(10)", nulls=False, arrays=False),
    Kind("price", [Decimal("1.50"), Decimal("-9999.99")], declared="numeric(6,2)", arrays=False),
    Kind("padded", ["", "ab", "1234"], declared="character(4)", arrays=False),
    Kind("document", ["{}", '{"a": 1}'], declared="jsonb", arrays=False),
    Kind("light", ["red", "GREEN"], declared='"Odd Place"."Light"', arrays=False, is_enum=True),
    Kind("place", ["10.0.0.1/32"], declared="inet", arrays=False),
    Kind("couple", ["(1,)", '(2,"a b")'], declared="pair", arrays=False),
    Kind("numbers", [[], [1, None, 3]], declared="integer[]", arrays=False),
    Kind("moments", [[], [datetime(2000, 1, 1, tzinfo=UTC), None]], declared="timestamptz(0)[]", arrays=False),
    Kind("small", [1, 99], declared="integer", arrays=False),
    Kind("short", [Decimal("1.50")], declared="numeric(6,2)", arrays=False),
    # Declared by its own name, or by that of a domain beneath it, a domain's values travel as text.
    Kind("positive", ["1", "2147483647"], declared="positive", arrays=False),
    Kind("small", ["1", "99"], declared="small", arrays=False),
    Kind("small", ["1", "99"], declared="positive", arrays=False),
    Kind("light", ["red", "GREEN"], declared="light", arrays=False, is_enum=True),
    Kind("numbers", ["{}", "{1,NULL,3}"], declared="numbers", arrays=False),
    Kind("positive[]", [[], ["1", None, "3"]], arrays=False),
    Kind("word[]", [[], ["a", "b c"]], arrays=False),
    Kind("light[]", [[], ["red", None]], arrays=False),
    Kind("numbers[]", [[], ["{1,2}", None, "{}"]], arrays=False),
]
EXTENSIONS = [
    Kind("hstore", ["", '"a"=>"1", "b"=>NULL, "c d"=>"\\"x\\""'], needs="hstore"),
    Kind("citext", ["", "Any CASE"], needs="citext"),
    Kind("ltree", ["", "Top.Science.x_1"], needs="ltree"),
    Kind("lquery", ["*.foo*{1,2}.!bar@|baz"], needs="ltree"),
    Kind("ltxtquery", ["Europe & Russia@* & !Transportation"], needs="ltree"),
    Kind("cube", ["(1, 2),(3, 4)", "(0.1)"], needs="cube"),
    Kind("seg", ["1 .. 2.50", "~5"], needs="seg"),
    Kind("query_int", ["1 & !2 | 3"], needs="intarray"),
    Kind("isbn", ["0-393-04002-X"], needs="isn"),
    Kind("ean13", ["978-0-393-04002-9"], needs="isn"),
    Kind("lo", ["0", "4294967295"], declared="oid", needs="lo", arrays=False),
    Kind("vector(3)", [[1.5, -0.0, 2.0], [0.0, 1.0, -8.25]], needs="vector", arrays=False),
    Kind("vector(3)[]", [[], ["[1.5,-0,2]", None]], needs="vector", arrays=False),
    Kind("halfvec(3)", ["[1.5,-0,2]"], needs="vector"),
    Kind("sparsevec(5)", ["{1:1.5,3:-2}/5", "{}/5"], needs="vector"),
]
KINDS = [*BUILT_IN, *MADE, *EXTENSIONS]


def _entity(kind: Kind) -> Entity:
    columns = {**kind.columns, "value": kind.declared or kind.type}

    @entity(name=kind.name, key="id", columns=columns, rows=len(kind.rows))
    def values(rows: Rows) -> pl.DataFrame:
        data: dict[str, Sequence[object]] = {"value": kind.rows, "flat": kind.flat, "box": kind.box}
        series = [pl.Series(name, data[name]) for name in columns if name != "id"]
        return pl.DataFrame([rows.key().alias("id"), *series])

    return values


globals().update({kind.name: _entity(kind) for kind in KINDS})
