"""`@entity`: one table, the generator that fills it, and how its rows are identified. Declarations only, no rows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snapseed.errors import ConfigurationError, GeneratorError
from snapseed.generate import draws
from snapseed.generate.fan_out import FanOut, exactly
from snapseed.snapshot.manifest import names_of
from snapseed.snapshot.types import KEYS, ColumnType, Family, parse_type

Generator = Callable[..., pl.DataFrame]
Int64s = npt.NDArray[np.int64]

_INTEGER_FAMILIES = {Family.SMALLINT: pl.Int16, Family.INTEGER: pl.Int32, Family.BIGINT: pl.Int64}
_INTEGER_BITS = {Family.SMALLINT: 15, Family.INTEGER: 31, Family.BIGINT: 63}
# Our version 8 UUIDs: 48 bits root row | version | 12 + 12 bits ordinal around the variant | 50 bits hash.
_ORDINAL_BITS = 24
# What a manifest takes, so that whatever can be declared can be read back.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_IDENTIFIER_BYTES = 63


@dataclass(frozen=True)
class RootRows:
    """How many rows a root entity has: a fixed number, or a part of the scale."""

    fixed: int | None
    fraction: Fraction

    def at(self, scale: int) -> int:
        """Rows at `scale`; an entity that grows has at least one."""
        return (
            self.fixed
            if self.fixed is not None
            else max(1, scale * self.fraction.numerator // self.fraction.denominator)
        )


def scale(fraction: float) -> RootRows:
    """A root entity whose rows grow with the scale: `scale(0.1)` has one row for every ten of the scale."""
    exact = Fraction(str(fraction))
    if exact <= 0:
        raise ValueError(f"scale() needs a positive number, got {fraction}")
    return RootRows(None, exact)


@dataclass(frozen=True, eq=False)
class Entity:
    """One table and the generator that fills it. Made by `@entity`; calling it calls the generator."""

    name: str
    schema: str | None
    table: str
    key: str | tuple[str, ...]
    columns: Mapping[str, ColumnType]
    parent: Entity | None
    per_parent: FanOut | None
    root_rows: RootRows | None
    function: Generator
    parameters: tuple[str, ...]

    def __call__(self, **arguments: object) -> pl.DataFrame:
        """Call the generator: `rows`, and the frames it names."""
        return self.function(**arguments)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the key, in its order."""
        return names_of(self.key)

    @property
    def root(self) -> Entity:
        """The root entity that this one descends from, itself if it is one."""
        return self if self.parent is None else self.parent.root

    @property
    def ancestors(self) -> list[Entity]:
        """Parent, grandparent, … up to the root entity."""
        return [] if self.parent is None else [self.parent, *self.parent.ancestors]

    @property
    def is_fixed(self) -> bool:
        """Whether this is a root entity with the same rows at every scale: a lookup table."""
        return self.root_rows is not None and self.root_rows.fixed is not None

    @property
    def stride(self) -> int:
        """The most rows of this entity that one root row can have."""
        if self.parent is None or self.per_parent is None:
            return 1
        return self.parent.stride * max(1, self.per_parent.maximum)

    def numbers_of(self, roots: draws.UInt64s, ordinals: draws.UInt64s) -> Int64s:
        """The `number()` of the rows with these identities."""
        return self._numbers_of(roots, ordinals, Family.BIGINT)

    def _numbers_of(self, roots: draws.UInt64s, ordinals: draws.UInt64s, family: Family) -> Int64s:
        bits = _INTEGER_BITS[family]
        if len(roots) and int(roots.max()) >= (2**bits - 1) // self.stride:
            raise ValueError(
                f"{self.name}: numbers pass 2^{bits}; lower the maximum of its fan-out ({self.stride:,} a root row)"
                + ("" if family is Family.BIGINT else ", or make its key a bigint")
            )
        stride = np.uint64(min(self.stride, 2**63))  # larger only where there are no rows
        return (roots * stride + ordinals + np.uint64(1)).astype(np.int64)

    def keys_of(self, roots: draws.UInt64s, ordinals: draws.UInt64s, seed: int) -> pl.Series:
        """The keys of the rows with these identities. Raises `ValueError` for a key neither uuid nor integer."""
        name, *others = self.key_columns
        if others:
            raise ValueError(
                f"{self.name}: a key of several columns is none that is made; the generator gives each of them a value:"
                f" {', '.join(self.key_columns)}"
            )
        family = self.columns[name].family
        if family is Family.UUID:
            return _uuids(roots, ordinals, draws.row_hashes(draws.key(seed, self.name), roots, ordinals))
        if family in _INTEGER_FAMILIES:
            return pl.Series(name, self._numbers_of(roots, ordinals, family)).cast(_INTEGER_FAMILIES[family])
        raise ValueError(
            f"{self.name}: keys are made for uuid and integer columns, {name} is {self.columns[name].name}"
        )

    def scale_needed(self, roots: draws.UInt64s) -> Int64s:
        """The smallest scale at which each of these rows of this root entity exists."""
        assert self.root_rows is not None
        if self.root_rows.fixed is not None:
            return np.zeros(len(roots), dtype=np.int64)
        needed = -_product(-(roots.astype(np.int64) + 1), 1 / self.root_rows.fraction)
        return np.where(roots == 0, 0, needed)

    def rows_before(self, scales: Int64s, *, same: bool, roots: draws.UInt64s) -> Int64s:
        """How many rows of this root entity exist at each of `scales`; where it is the `same` one, rows before each."""
        assert self.root_rows is not None
        if same:
            return roots.astype(np.int64)
        if self.root_rows.fixed is not None:
            return np.full(len(scales), self.root_rows.fixed, dtype=np.int64)
        return np.maximum(1, _product(scales, self.root_rows.fraction))

    def earlier_rows(self, other: Entity, roots: draws.UInt64s) -> Int64s:
        """How many rows of this root entity exist at every scale at which the rows of `other` of these root rows do."""
        return self.rows_before(other.root.scale_needed(roots), same=self is other.root, roots=roots)


def entity(  # noqa: PLR0913 - one keyword for each thing that can be declared
    *,
    key: str | Sequence[str],
    columns: Mapping[str, str],
    parent: Entity | None = None,
    per_parent: FanOut | int | None = None,
    rows: RootRows | int | None = None,
    name: str | None = None,
    table: str | None = None,
    schema: str | None = None,
) -> Callable[[Generator], Entity]:
    """Declare the entity that the decorated generator fills.

    `columns` gives each column its PostgreSQL type, in any spelling; `key` is the one that identifies a row, or a tuple
    of those that do together: rows ascend by the first of them, among equal ones by the second, and so on. A child
    names its `parent` and how many rows it has `per_parent` (`fan_out`, `exactly`, `counted` or a number); a root
    entity may say how many `rows` it has (a number, or `scale(0.1)`; default: the scale itself). The table is named
    like the function unless `table` and `schema` say otherwise.

    The generator takes `rows` and, by name, its ancestors (their rows aligned to its own) and lookup entities (all
    their rows). Raises `GeneratorError` for a declaration that contradicts itself.
    """
    keys = (key,) if isinstance(key, str) else tuple(key)

    def declare(function: Generator) -> Entity:
        entity_name = name or function.__name__
        where = f"{inspect.getsourcefile(function)}, entity {entity_name!r}"
        parameters = tuple(inspect.signature(function).parameters)
        if "rows" not in parameters:
            raise GeneratorError("a generator takes `rows`", where=where, observed=f"parameters {list(parameters)}")
        _check_key(keys, columns, where)
        for identifier in [entity_name, table or entity_name, *([schema] if schema is not None else []), *columns]:
            if not identifier or "\0" in identifier or len(identifier.encode()) > _IDENTIFIER_BYTES:
                raise GeneratorError(
                    "not a PostgreSQL identifier",
                    where=where,
                    observed=repr(identifier),
                    expected=f"1 to {_IDENTIFIER_BYTES} bytes without NUL",
                )
        if not _NAME.fullmatch(entity_name):
            raise GeneratorError(
                "an entity's name is also that of its files",
                where=where,
                observed=repr(entity_name),
                expected="letters from A to Z, digits, '-' and '_'",
                next_step="give the entity another `name`, and this one as its `table`",
            )
        try:
            kinds = {column: parse_type(kind) for column, kind in columns.items()}
        except ConfigurationError as exc:
            raise GeneratorError(exc.summary, where=where, observed=exc.observed, expected=exc.expected) from exc
        _check_key_types(keys, kinds, where)
        if (parent is None) != (per_parent is None) or (parent is not None and rows is not None):
            raise GeneratorError(
                "a child has `parent` and `per_parent`, a root entity has neither and may have `rows`", where=where
            )
        return Entity(
            name=entity_name,
            schema=schema,
            table=table or entity_name,
            key=keys if len(keys) > 1 else keys[0],
            columns=kinds,
            parent=parent,
            per_parent=exactly(per_parent) if isinstance(per_parent, int) else per_parent,
            root_rows=None if parent is not None else _root_rows(rows, where),
            function=function,
            parameters=tuple(parameter for parameter in parameters if parameter != "rows"),
        )

    return declare


def _check_key(keys: tuple[str, ...], columns: Mapping[str, str], where: str) -> None:
    if not keys or len(set(keys)) < len(keys):
        raise GeneratorError(
            "a key has one column, or several different ones", where=where, observed=", ".join(keys) or "no column"
        )
    for name in keys:
        if name not in columns:
            raise GeneratorError(
                "the key is not among the columns", where=where, observed=name, expected=f"one of: {', '.join(columns)}"
            )


def _check_key_types(keys: tuple[str, ...], kinds: Mapping[str, ColumnType], where: str) -> None:
    for name in keys:
        if kinds[name].is_array or kinds[name].family not in KEYS:
            raise GeneratorError(
                "a column of this type cannot be the key",
                where=where,
                observed=f"{name} {kinds[name].name}",
                expected="uuid, bigint, integer, smallint or text",
            )


def _product(numbers: Int64s, fraction: Fraction) -> Int64s:
    """`numbers` times `fraction`, rounded down. Exact: with Python's integers where 64 bits might not do."""
    if len(numbers) and int(np.abs(numbers).max()) * fraction.numerator >= 2**63:
        numbers = numbers.astype(object)
    result: Int64s = (numbers * fraction.numerator // fraction.denominator).astype(np.int64)
    return result


def _root_rows(rows: RootRows | int | None, where: str) -> RootRows:
    if isinstance(rows, RootRows):
        return rows
    if isinstance(rows, int) and rows < 1:
        raise GeneratorError("a root entity has at least one row", where=where, observed=f"rows={rows}")
    return RootRows(rows, Fraction(1))


def _uuids(roots: draws.UInt64s, ordinals: draws.UInt64s, hashes: draws.UInt64s) -> pl.Series:
    """UUIDs of version 8 (RFC 9562, section 5.8) that sort by (root row, ordinal), as 16 bytes each."""
    if len(ordinals) and (int(ordinals.max()) >= 2**_ORDINAL_BITS or int(roots.max()) >= 2**48):
        raise ValueError(
            f"a root row has more than {2**_ORDINAL_BITS} descendants of one entity, or the scale passes 2^48"
        )
    half = np.uint64(_ORDINAL_BITS // 2)
    words = np.empty((len(roots), 2), dtype=">u8")
    words[:, 0] = (roots << np.uint64(16)) | np.uint64(0x8000) | (ordinals >> half)
    words[:, 1] = np.uint64(1 << 63) | ((ordinals & np.uint64(0xFFF)) << np.uint64(50)) | (hashes >> np.uint64(14))
    binary = pa.Array.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(words)])
    series = pl.from_arrow(binary)
    assert isinstance(series, pl.Series)
    return series
