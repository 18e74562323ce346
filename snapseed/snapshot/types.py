"""PostgreSQL's types, and the Arrow types that hold their values in a snapshot.

A type has the name that PostgreSQL's `format_type` prints. Values of a type that is not listed here (an enum, a type of
an extension) are stored as text, so every type works.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cache

import pyarrow as pa

from snapseed.errors import ConfigurationError

_TYPE = re.compile(
    r"""(?P<base>(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)(?:\.(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*))?(?:\ [a-z]+)*?)
        (?:\((?P<modifiers>\d+(?:,-?\d+)?|[a-z0-9_]+(?:,-?[a-z0-9_]+)*)\))?
        (?P<zone>\ (?:with|without)\ time\ zone)?
        (?P<dimensions>(?:\[\]){,6})""",
    re.VERBOSE,
)
# No modifier of PostgreSQL is longer, and Python converts no text of more than 4,300 digits.
_NUMBERS = re.compile(r"\d{1,9}(?:,-?\d{1,9})?")
_QUOTED = re.compile(r'("(?:[^"]|"")*")')
_SPACE = re.compile(r"\s+")
_SPACE_AROUND = re.compile(r" ?([(,\[]) ?| (?=\))")
# float(n) counts binary digits; up to this many, it is a real (PostgreSQL manual, 8.1.3).
_REAL_DIGITS = 24
# An Arrow decimal128 holds 38 digits; wider numerics are stored as text.
_DECIMAL_DIGITS = 38
# pgvector's own limit.
_VECTOR_DIMENSIONS = 16_000


class Family(Enum):
    """How the values of a type are encoded: one family, one binary form."""

    BOOLEAN = "boolean"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "real"
    DOUBLE = "double precision"
    NUMERIC = "numeric"
    TEXT = "text"
    CHARACTER = "character"
    BYTEA = "bytea"
    UUID = "uuid"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    JSON = "json"
    JSONB = "jsonb"
    VECTOR = "vector"
    TEXT_FORM = "text form"


INTEGERS = frozenset({Family.SMALLINT, Family.INTEGER, Family.BIGINT})

# Family, Arrow type, object identifier (pg_type.dat; fixed for built-in types), and the other names that people write
# (PostgreSQL manual, table 8.1). The binary form of an array contains the identifier of its element type.
_KNOWN: dict[str, tuple[Family, pa.DataType, int, tuple[str, ...]]] = {
    "boolean": (Family.BOOLEAN, pa.bool_(), 16, ("bool",)),
    "smallint": (Family.SMALLINT, pa.int16(), 21, ("int2",)),
    "integer": (Family.INTEGER, pa.int32(), 23, ("int", "int4")),
    "bigint": (Family.BIGINT, pa.int64(), 20, ("int8",)),
    "real": (Family.REAL, pa.float32(), 700, ("float4",)),
    "double precision": (Family.DOUBLE, pa.float64(), 701, ("float8", "float")),
    "text": (Family.TEXT, pa.string(), 25, ()),
    "character varying": (Family.TEXT, pa.string(), 1043, ("varchar",)),
    "character": (Family.CHARACTER, pa.string(), 1042, ("char", "bpchar")),
    "bytea": (Family.BYTEA, pa.binary(), 17, ()),
    "uuid": (Family.UUID, pa.uuid(), 2950, ()),
    "date": (Family.DATE, pa.date32(), 1082, ()),
    "time without time zone": (Family.TIME, pa.time64("us"), 1083, ("time",)),
    "timestamp without time zone": (Family.TIMESTAMP, pa.timestamp("us"), 1114, ("timestamp",)),
    "timestamp with time zone": (Family.TIMESTAMPTZ, pa.timestamp("us", "UTC"), 1184, ("timestamptz",)),
    "json": (Family.JSON, pa.string(), 114, ()),
    "jsonb": (Family.JSONB, pa.string(), 3802, ()),
}
_ALIASES = {
    **{alias: name for name, (*_, aliases) in _KNOWN.items() for alias in aliases},
    "decimal": "numeric",
    "varbit": "bit varying",
    "timetz": "time with time zone",
    # Integers that own a sequence.
    "smallserial": "smallint",
    "serial": "integer",
    "bigserial": "bigint",
}
# Names of types, also of some that are stored as text: a name that is almost one of these is a mistake.
TYPE_NAMES = frozenset(
    {*_KNOWN, *_ALIASES, *_ALIASES.values(), "citext", "inet", "interval", "money", "tsvector", "vector", "xml"}
)
_NUMERIC_OID = 1700
TEXT_OID = 25
REAL_OID = 700


@dataclass(frozen=True)
class ColumnType:
    """One PostgreSQL type: its canonical name, how its values are encoded, and the Arrow type that holds them.

    `element` is the type of an array's values, whatever the number of `dimensions`. PostgreSQL does not distinguish
    `integer[]` from `integer[][]`; a snapshot does, because in Arrow the latter is a list of lists.
    """

    name: str
    base: str
    modifiers: tuple[int, ...] = ()
    # Types that are not listed here are stored as text.
    family: Family = Family.TEXT_FORM
    arrow: pa.DataType = field(default=pa.string())
    oid: int = 0
    element: ColumnType | None = None
    dimensions: int = 0

    @property
    def is_array(self) -> bool:
        """Whether this is an array of `element`."""
        return self.element is not None

    @property
    def has_binary_form(self) -> bool:
        """Whether the binary form of this type is known without asking the database. Unknown types may be enums."""
        return (self.element or self).family is not Family.TEXT_FORM

    def stores(self, arrow: pa.DataType) -> bool:
        """Whether a column of Arrow type `arrow` can hold values of this type in a snapshot.

        Floats may be stored as float16; they are widened on load.
        """
        return bool(_widened(arrow) == _widened(self.arrow))


@cache
def parse_type(text: str) -> ColumnType:
    """The type that `text` names, in any spelling that PostgreSQL takes (`int8`, `VARCHAR (20)`, `timestamptz[]`).

    Only types that are not listed here can have words as modifiers, as in `geometry(point,4326)`. Raises
    `ConfigurationError` for text that cannot be the name of a type, and for a `vector` without its dimensions.
    """
    match = _TYPE.fullmatch(_folded(text))
    if not match:
        raise ConfigurationError(
            "not the name of a PostgreSQL type",
            observed=repr(text),
            expected="a name such as uuid, varchar(40) or text[]",
        )
    base = _ALIASES.get(match["base"], match["base"]) if not match["zone"] else match["base"] + match["zone"]
    if match["modifiers"] and not _NUMBERS.fullmatch(match["modifiers"]):
        if base in _KNOWN or base == "numeric" or _is_vector(base):
            raise ConfigurationError(
                "not the modifiers of a PostgreSQL type", observed=repr(text), expected="numbers, as in numeric(10,2)"
            )
        scalar = ColumnType(f"{base}({match['modifiers']})", base)
    else:
        modifiers = tuple(int(part) for part in (match["modifiers"] or "").split(",") if part)
        if match["base"] == "float" and modifiers:
            base, modifiers = ("real" if modifiers[0] <= _REAL_DIGITS else base), ()
        scalar = _scalar(base, modifiers)
    return _array(scalar, len(match["dimensions"]) // 2)


def type_in_file(arrow: pa.DataType) -> ColumnType:
    """The type that a column of a file has without its manifest. What several types are stored as is text."""
    if pa.types.is_fixed_size_list(arrow):
        return parse_type(f"vector({arrow.list_size})")
    if pa.types.is_list(arrow):
        return parse_type(f"{type_in_file(arrow.value_type).name}[]")
    if pa.types.is_decimal(arrow):
        return parse_type(f"numeric({arrow.precision},{arrow.scale})")
    names = (name for name, (_, known, *_) in _KNOWN.items() if known == _widened(arrow))
    return parse_type(next(names, "text"))


def _array(scalar: ColumnType, dimensions: int) -> ColumnType:
    """The array of `scalar` with `dimensions`; `scalar` itself for 0."""
    if not dimensions:
        return scalar
    if scalar.family is Family.VECTOR:
        # Each database gives vector another identifier, so the binary form of its arrays differs.
        scalar = ColumnType(scalar.name, scalar.base, scalar.modifiers)
    arrow = scalar.arrow
    for _ in range(dimensions):
        arrow = pa.list_(arrow)
    name = scalar.name + "[]" * dimensions
    return replace(scalar, name=name, arrow=arrow, oid=0, element=scalar, dimensions=dimensions)


def _folded(text: str) -> str:
    """`text` in lower case, with single spaces and only between words. Quoted names stay as they are."""
    parts = _QUOTED.split(text.strip())
    parts[::2] = [_SPACE_AROUND.sub(r"\1", _SPACE.sub(" ", part.lower())) for part in parts[::2]]
    return "".join(parts)


def _is_vector(base: str) -> bool:
    """Whether it is pgvector's type. format_type adds the schema if it is not on the search path."""
    return base.rpartition(".")[2] == "vector"


def _scalar(base: str, modifiers: tuple[int, ...]) -> ColumnType:
    """The type of this name and these modifiers. Raises `ConfigurationError` for a vector without dimensions."""
    name = _name(base, modifiers)
    if base == "numeric" and modifiers:
        precision, scale = digits = (*modifiers, 0)[:2]
        if 1 <= precision <= _DECIMAL_DIGITS and 0 <= scale <= precision:
            arrow = pa.decimal128(precision, scale)
            return ColumnType(_name(base, digits), base, digits, Family.NUMERIC, arrow, _NUMERIC_OID)
    if _is_vector(base):
        if len(modifiers) != 1 or not 1 <= modifiers[0] <= _VECTOR_DIMENSIONS:
            raise ConfigurationError(
                "a vector needs its dimensions",
                observed=name,
                expected=f"vector(n) with 1 <= n <= {_VECTOR_DIMENSIONS}",
            )
        return ColumnType(name, base, modifiers, Family.VECTOR, pa.list_(pa.float32(), modifiers[0]))
    if base in _KNOWN:
        family, arrow, oid, _ = _KNOWN[base]
        return ColumnType(name, base, modifiers, family, arrow, oid)
    return ColumnType(name, base, modifiers)


def _name(base: str, modifiers: tuple[int, ...]) -> str:
    """The name as `format_type` prints it."""
    if not modifiers:
        return base
    inside = f"({','.join(map(str, modifiers))})"
    head, space, zone = base.partition(" with")  # timestamp(3) with time zone: the modifier is inside the name
    return f"{head}{inside}{space}{zone}" if zone and head in {"timestamp", "time"} else f"{base}{inside}"


def _widened(arrow: pa.DataType) -> pa.DataType:
    """`arrow` with float32 for float16, and without what writers differ in: the name and nullability of list items."""
    if pa.types.is_fixed_size_list(arrow):
        return pa.list_(_widened(arrow.value_type), arrow.list_size)
    if pa.types.is_list(arrow):
        return pa.list_(_widened(arrow.value_type))
    return pa.float32() if pa.types.is_float16(arrow) else arrow
