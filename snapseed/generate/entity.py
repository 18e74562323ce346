"""`@entity`: declare a table, the generator that fills it, how its rows are identified, and how many there are.

Declarations only; no rows are made here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial

import numpy as np
import polars as pl

from snapseed.errors import ConfigurationError, GeneratorError
from snapseed.generate.draws.bits import Int64s, UInt64s, categories, identity_hashes, skewed_weights, thresholds
from snapseed.generate.draws.numbers import along
from snapseed.generate.draws.unique import text_keys, uuid_keys
from snapseed.snapshot.keys import is_key_type
from snapseed.snapshot.manifest import IDENTIFIER, USERS_TABLE, is_identifier, is_system_table, names_of
from snapseed.snapshot.types import ColumnType, Family, parse_type

Generator = Callable[..., pl.DataFrame]

# The polars type of an integer key, and how many bits its numbers have.
_INTEGERS = {Family.SMALLINT: (pl.Int16, 15), Family.INTEGER: (pl.Int32, 31), Family.BIGINT: (pl.Int64, 63)}
# The limit of a manifest, so that every declared name can be read back.
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class RootRows:
    """How many rows a root entity has: a fixed number, or a fraction of the scale."""

    fixed: int | None = None
    fraction: Fraction = Fraction(1)

    def at(self, scale: int) -> int:
        """Rows at this scale; at least one unless the number is fixed."""
        if self.fixed is not None:
            return self.fixed
        return max(1, scale * self.fraction.numerator // self.fraction.denominator)


def scale(fraction: float) -> RootRows:
    """A root entity whose rows grow with the scale: `scale(0.1)` has one row for every ten of the scale.

    Raises `ValueError` unless the fraction is positive.
    """
    exact = Fraction(str(fraction))
    if exact <= 0:
        raise ValueError(f"scale() needs a positive number, got {fraction}")
    return RootRows(fraction=exact)


@dataclass(frozen=True, eq=False)
class Entity:
    """A table and the generator that fills it. `@entity` makes it; calling it calls the generator.

    `parameters` are the generator's, except `rows`; `root_rows` is ignored for a child.
    """

    name: str
    schema: str | None
    table: str
    key: str | tuple[str, ...]
    columns: Mapping[str, ColumnType]
    parent: Entity | None
    per_parent: FanOut | None
    root_rows: RootRows
    function: Generator
    parameters: tuple[str, ...]

    def __call__(self, **arguments: object) -> pl.DataFrame:
        """Call the generator with `rows` and the frames that it names as parameters."""
        return self.function(**arguments)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the key, in its order."""
        return names_of(self.key)

    @property
    def root(self) -> Entity:
        """The root entity that this one descends from; itself if it is one."""
        return self if self.parent is None else self.parent.root

    @property
    def ancestors(self) -> list[Entity]:
        """Parent, grandparent, … up to the root entity."""
        return [] if self.parent is None else [self.parent, *self.parent.ancestors]

    @property
    def is_fixed(self) -> bool:
        """Whether this is a lookup entity: a root entity with the same rows at every scale."""
        return self.root_rows.fixed is not None

    @property
    def stride(self) -> int:
        """The most rows of this entity that one root row can have."""
        if self.parent is None or self.per_parent is None:
            return 1
        return self.parent.stride * max(1, self.per_parent.maximum)

    def numbers_of(self, roots: UInt64s, ordinals: UInt64s, family: Family = Family.BIGINT) -> Int64s:
        """The numbers of these rows, from 1: unique, in row order, the same at every scale.

        Raises `ValueError` for a number that does not fit into the integer type `family`.
        """
        _, bits = _INTEGERS[family]
        if len(roots) and int(roots.max()) >= (2**bits - 1) // self.stride:
            raise ValueError(
                f"{self.name}: numbers exceed 2^{bits}; lower the maximum of its fan-out ({self.stride:,} per root row)"
                + ("" if family is Family.BIGINT else ", or make its key a bigint")
            )
        stride = np.uint64(min(self.stride, 2**63))  # larger only if there are no rows
        return (roots * stride + ordinals + np.uint64(1)).astype(np.int64)

    def keys_of(self, roots: UInt64s, ordinals: UInt64s, seed: int) -> pl.Series:
        """The keys of these rows. Raises `ValueError` unless the key is one column of uuid, text or an integer type."""
        kind = None if isinstance(self.key, tuple) else self.columns[self.key]
        family = None if kind is None else kind.family
        if family is Family.UUID:
            return uuid_keys(roots, ordinals, identity_hashes(seed, self.name, roots, ordinals))
        if family in _INTEGERS:
            return pl.Series(self.key, self.numbers_of(roots, ordinals, family), _INTEGERS[family][0])
        if kind is not None and family in {Family.TEXT, Family.CHARACTER} and not kind.is_array:
            return text_keys(self.name, self.numbers_of(roots, ordinals), *kind.modifiers).alias(str(self.key))
        columns = ", ".join(f"{name} {self.columns[name].name}" for name in self.key_columns)
        raise ValueError(
            f"{self.name}: rows.key() makes keys of one uuid, integer or text; the generator must fill {columns}"
        )

    def scale_needed(self, roots: UInt64s) -> Int64s:
        """The smallest scale at which each of these rows of this root entity exists."""
        if self.is_fixed:
            return np.ones(len(roots), dtype=np.int64)
        needed = -_product(-(roots.astype(np.int64) + 1), 1 / self.root_rows.fraction)
        return np.where(roots == 0, 1, needed)

    def earlier_rows(self, other: Entity, roots: UInt64s) -> Int64s:
        """For each row of `other` with these root rows: how many rows of this root entity exist whenever it does.

        If this is the root entity of `other`, those are the rows before its own root row.
        """
        if self is other.root:
            return roots.astype(np.int64)
        if self.root_rows.fixed is not None:
            return np.full(len(roots), self.root_rows.fixed, dtype=np.int64)
        return np.maximum(1, _product(other.root.scale_needed(roots), self.root_rows.fraction))


@dataclass(frozen=True)
class FanOut:
    """How many children each parent has: what `per_parent` accepts. `exactly`, `fan_out` and `counted` make it.

    `count` gets 64 uniform bits per parent and the parents' frame, and must depend on nothing else. `maximum` is the
    most children that a parent can have; the children's keys depend on it. For `among`, see `fan_out()`.
    """

    maximum: int
    count: Callable[[UInt64s, pl.DataFrame], Int64s]
    among: Entity | None = None

    def __post_init__(self) -> None:
        if self.among is not None and self.among.parent is not None:
            raise ValueError(f"among: {self.among.name} is not a root entity")

    def counts(self, parent: Entity, roots: UInt64s, bits: UInt64s, frame: pl.DataFrame) -> Int64s:
        """The number of children of each of these rows of `parent`. Raises `ValueError` if it is not 0 to `maximum`."""
        counts = self.count(bits, frame)
        if len(counts) and not 0 <= counts.min() <= counts.max() <= self.maximum:
            raise ValueError(f"a fan-out gave {counts.min()} to {counts.max()} children, expected 0 to {self.maximum}")
        return counts if self.among is None else np.minimum(counts, self.among.earlier_rows(parent, roots))


def exactly(children: int, *, among: Entity | None = None) -> FanOut:
    """Give every parent the same number of children; for `among`, see `fan_out`."""
    if children < 0:
        raise ValueError(f"a parent cannot have {children} children")
    return FanOut(children, lambda bits, _: np.full(len(bits), children, dtype=np.int64), among)


def fan_out(
    mean: float | Mapping[object, float], maximum: int, *, by: str | None = None, among: Entity | None = None
) -> FanOut:
    """Give few parents many children and most parents few or none: weights fall with the square of the number.

    The mean is met within one percent. With `by`, a column of the parent, each of its values has a mean of its own:
    `fan_out({"free": 2, "team": 30}, maximum=200, by="plan")`.

    With `among`, the root entity that the children refer to by `rows.reference(…, distinct=True)`, no parent has more
    children than there are rows to refer to: the first parents, which exist when that entity has few rows, have fewer.

    Raises `ValueError` for a mean that is not between 0 and half the maximum, which leaves no room for weights that
    fall, and for an `among` that is not a root entity.
    """
    if isinstance(mean, Mapping) != (by is not None):
        raise ValueError("fan_out() needs one mean, or a mapping of means together with the column `by`")
    means = dict(mean) if isinstance(mean, Mapping) else {None: mean}
    for value in means.values():
        if not 0 < value < maximum / 2:
            raise ValueError(f"fan_out() needs 0 < mean < maximum / 2, got mean={value}, maximum={maximum}")
    ends = cache(lambda mean: thresholds(skewed_weights(mean, maximum)))

    def count(bits: UInt64s, frame: pl.DataFrame) -> Int64s:
        """Draw the number of children of each parent, by the mean for its value of `by`."""
        if by is None:
            return categories(bits, ends(means[None])).astype(np.int64)
        counts = np.full(len(bits), -1, dtype=np.int64)
        for value, own in means.items():
            here = frame[by].eq_missing(value).to_numpy()
            counts[here] = categories(bits[here], ends(own))
        unknown = frame[by].filter(pl.Series(counts < 0))
        if len(unknown):
            raise ValueError(f"fan_out() has no mean for {by} = {unknown[0]!r}, only for {list(means)}")
        return counts

    return FanOut(maximum, count, among)


def spread(bounds: Sequence[int], *, among: Entity | None = None) -> FanOut:
    """Give equally many parents a number of children between each bound and the next; for `among`, see `fan_out`."""
    ends = np.array(bounds, dtype=np.int64)
    along(np.zeros(1, dtype=np.uint64), ends)
    return FanOut(int(ends[-1]), lambda bits, _: along(bits, ends), among)


def counted(expression: pl.Expr, maximum: int) -> FanOut:
    """Give each parent as many children as a polars expression over its columns says; true is 1, false 0.

    Generating fails if the expression gives null, a negative number or more than `maximum`.
    """

    def count(_: UInt64s, frame: pl.DataFrame) -> Int64s:
        """What the expression says for each parent."""
        series = frame.select(expression.cast(pl.Int64).alias("count"))["count"]
        if series.null_count():
            raise ValueError(f"counted() gave {series.null_count()} nulls; add .fill_null(0) to its expression")
        return series.to_numpy()

    return FanOut(maximum, count)


@dataclass(frozen=True, kw_only=True)
class entity:  # noqa: N801 - written as a decorator
    """Declare the entity that the decorated generator fills.

    `columns` gives each column its PostgreSQL type, in any spelling. `key` names the column that identifies a row, or
    several in a tuple; rows ascend by the key. A child names its `parent` and how many rows it has `per_parent`:
    `fan_out`, `exactly`, `counted` or a number. A root entity may say how many `rows` it has: a number or `scale(0.1)`;
    by default as many as the scale. Entity and table are named like the function, unless `name`, `table` and `schema`
    say otherwise.

    The generator's parameters are `rows` and any ancestors and lookup entities, by name. An ancestor's frame is aligned
    to `rows`; a lookup entity's has all its rows. Raises `GeneratorError` for a declaration that contradicts itself.
    """

    key: str | Sequence[str]
    columns: Mapping[str, str]
    parent: Entity | None = None
    per_parent: FanOut | int | None = None
    rows: RootRows | int | None = None
    name: str | None = None
    table: str | None = None
    schema: str | None = None

    def __call__(self, function: Generator) -> Entity:
        """Check the declaration and bind it to the generator."""
        name = self.name or function.__name__
        error = partial(GeneratorError, where=f"{inspect.getsourcefile(function)}, entity {name!r}")
        parameters = tuple(inspect.signature(function).parameters)
        if "rows" not in parameters:
            raise error("a generator needs the parameter `rows`", observed=str(list(parameters)))
        if (self.parent is None) != (self.per_parent is None) or (self.parent is not None and self.rows is not None):
            raise error("a child needs `parent` and `per_parent`; a root entity has neither, and may have `rows`")
        if isinstance(self.rows, int) and self.rows < 1:
            raise error("a root entity needs at least one row", observed=f"rows={self.rows}")
        self._check_names(name, error)
        try:
            columns = {column: parse_type(kind) for column, kind in self.columns.items()}
        except ConfigurationError as exc:
            raise error(exc.summary, observed=exc.observed, expected=exc.expected) from exc
        keys = (self.key,) if isinstance(self.key, str) else tuple(self.key)
        _check_key(keys, columns, error)
        return Entity(
            name=name,
            schema=self.schema,
            table=self.table or name,
            key=keys if len(keys) > 1 else keys[0],
            columns=columns,
            parent=self.parent,
            per_parent=exactly(self.per_parent) if isinstance(self.per_parent, int) else self.per_parent,
            root_rows=self.rows if isinstance(self.rows, RootRows) else RootRows(self.rows),
            function=function,
            parameters=tuple(parameter for parameter in parameters if parameter != "rows"),
        )

    def _check_names(self, name: str, error: partial[GeneratorError]) -> None:
        """Raise `GeneratorError` for names that PostgreSQL or the file system would not take."""
        for identifier in [name, self.table or name, name if self.schema is None else self.schema, *self.columns]:
            if not is_identifier(identifier):
                raise error("not a PostgreSQL identifier", observed=repr(identifier), expected=IDENTIFIER)
        if is_system_table(self.schema, self.table or name):
            observed = f"table {self.table or name}, schema {self.schema}"
            raise error("a table of the system", observed=observed, expected=USERS_TABLE)
        if not _NAME.fullmatch(name):
            raise error(
                "the name of an entity is also the name of its files",
                observed=repr(name),
                expected="letters from A to Z, digits, '-' and '_'",
                next_step="give the entity another `name`, and this one as its `table`",
            )


def _check_key(keys: tuple[str, ...], columns: Mapping[str, ColumnType], error: partial[GeneratorError]) -> None:
    """Raise `GeneratorError` for a key that is not made of columns that can be in one."""
    if not keys or len(set(keys)) < len(keys):
        raise error("a key needs one column, or several different ones", observed=", ".join(keys) or "no column")
    for name in keys:
        if name not in columns:
            raise error("the key is not one of the columns", observed=name, expected=f"one of: {', '.join(columns)}")
        if not is_key_type(columns[name]):
            raise error(
                "a column of this type cannot be a key",
                observed=f"{name} {columns[name].name}",
                expected="any other type than an array or a vector",
            )


def _product(numbers: Int64s, fraction: Fraction) -> Int64s:
    """`numbers` times `fraction`, rounded down. Exact: in Python's integers where 64 bits might overflow."""
    if len(numbers) and int(np.abs(numbers).max()) * fraction.numerator >= 2**63:
        numbers = numbers.astype(object)
    return np.asarray(numbers * fraction.numerator // fraction.denominator, dtype=np.int64)
