"""`Rows`, all that a generator sees: the rows that it fills, and the draws for their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.generate.draws import choices, numbers, unique
from snapseed.generate.draws.bits import Int64s, UInt64s, below, identity_hashes, name_hash, numbered
from snapseed.generate.draws.choices import Options
from snapseed.generate.draws.numbers import Number, int64s
from snapseed.generate.draws.unique import LETTERS
from snapseed.generate.entity import Entity
from snapseed.generate.number_draws import NumberDraws, Settings, named_draw
from snapseed.generate.pools import NULL, Derive, values_of


@dataclass(frozen=True)
class Draws(NumberDraws):
    """All that can be drawn for rows and for items: also choices, rows of pools and of other entities, and items."""

    @named_draw
    def choice(
        self, column: str, options: Options, weights: Sequence[int] | None = None, *, distinct: bool = False
    ) -> pl.Series:
        """One of `options`: a list, an `enum.Enum` (its values), or a series such as a column of a pool.

        Weights are whole numbers: a mapping gives each option its own, or `weights` has one for each. With `distinct`,
        siblings (children of one parent, items of one row) get different options. Raises `ValueError` if there is no
        option, too few for distinct ones, not one weight per option, or weights for distinct ones.

        >>> rows.choice("status", {"done": 6, "pending": 3, "error": 1}).to_list()
        ['pending', 'done', 'done', 'done']
        """
        siblings = self._siblings() if distinct else None
        return choices.chosen(self.bits(column), options, weights, siblings).alias(column)

    @named_draw
    def sample(
        self, column: str, table: pl.DataFrame, weights: str | None = None, **match: pl.Series | str
    ) -> pl.DataFrame:
        """One row of `table` for each row, as a frame with the table's columns.

        `match` limits the choice: it names columns of the table and the value wanted there, one for all or a series
        with one per row. `weights` names a column of whole numbers. A table from `pool` or `derived` is prepared once,
        any other for every call. Raises `ValueError` if the table has no row for a wanted combination.

        >>> towns = pl.DataFrame({"land": ["FR", "FR", "JP"], "town": ["Lyon", "Nice", "Kobe"], "size": [5, 3, 15]})
        >>> rows.sample("home", towns, weights="size", land=rows.choice("land", ["FR", "JP"])).rows()
        [('JP', 'Kobe', 15), ('JP', 'Kobe', 15), ('FR', 'Lyon', 5), ('FR', 'Lyon', 5)]
        """
        groups = self.settings.pools.grouped(table, tuple(match), weights)
        return groups.drawn(self.bits(column), match)

    @named_draw
    def reference(
        self,
        column: str,
        entity: Entity,
        exponent: Number = 0,
        *,
        latest: float = 1,
        distinct: bool = False,
        unique: bool = False,
    ) -> pl.Series:
        """The key of a random row of a root entity. It exists at every scale that has this row.

        In a root entity that grows, these are the earlier rows; the very first row has none, and gets null. All are
        equally likely, or with an `exponent` the first ones the most popular, as in `zipf`. Rows that exist early are
        referred to more often. With `latest`, a share such as 0.2 (in hundredths), only the latest ones are drawn, and
        at least those that are new since the last root row, so that all get about as many references. With `distinct`,
        siblings get different keys, in ascending order, as tables that join two others need; `among` in the fan-out
        limits the number of siblings to the rows that exist. With `unique`, no key comes twice: root rows get the key
        of the row of their own number, and so do their children where each has one at most. The keys are those that
        `rows.key()` makes. Raises `ValueError` if `entity` is not a root entity or has a key of several columns, for a
        share that is not between 0 and 1, and if there are too few rows for distinct or unique keys.

        >>> rows.reference("invited_by", things).to_list()
        [None, 1, 1, 2]
        """
        if entity.parent is not None:
            raise ValueError(f"{entity.name} is not a root entity")
        if not 0 <= latest <= 1:
            raise ValueError(f"`latest` is a share from 0 to 1, got {latest}")
        existing = entity.earlier_rows(self.entity, self.roots)
        sizes = everything = np.maximum(existing, 1)
        if latest != 1 and not unique:
            before = entity.earlier_rows(self.entity, self.roots - np.minimum(self.roots, 1))
            added = existing - before * (self.roots > 0)
            together = choices.counts(self._siblings()) if distinct else np.ones_like(sizes)
            share = everything * round(100 * latest) // 100
            sizes = np.minimum(np.maximum.reduce([share, added, together]), everything)
        if unique:
            if self.entity.stride > 1 or np.any(self.roots >= sizes.astype(np.uint64)):
                raise ValueError(f"{entity.name} has too few rows for unique keys, one for each of {self.entity.name}")
            chosen = self.roots
        elif distinct:
            if exponent != 0:
                raise ValueError("distinct keys cannot have an exponent")
            remedy = "" if entity.is_fixed else f"; fan_out(…, among={entity.name}) limits them to the rows that exist"
            siblings = self._siblings()
            drawn = choices.distinct_below(self.bits(column), siblings, sizes, remedy)
            chosen = choices.ascending(pl.Series(drawn), siblings).to_numpy()
        elif exponent == 0:
            chosen = below(self.bits(column), sizes.astype(np.uint64))
        else:
            chosen = (numbers.ranks(self.bits(column), sizes, exponent) - 1).astype(np.uint64)
        chosen = chosen + (everything - sizes).astype(np.uint64)
        keys = entity.keys_of(chosen, np.zeros(len(self), dtype=np.uint64), self.settings.seed)
        frame = pl.DataFrame({"key": keys, "exists": existing > 0})
        return frame.select(pl.when("exists").then("key").alias(column)).to_series()

    def uuids(self, column: str) -> pl.Series:
        """Random UUIDs of version 4, like those of `gen_random_uuid()` (16 bytes). Not for the key: see `Rows.key`.

        >>> [str(uuid.UUID(bytes=token))[:13] for token in rows.uuids("token")]
        ['d56b5a72-9e67', '6d19d6a5-8179', 'ef320e96-445c', '4f93da1e-9e02']
        """
        return unique.random_uuids(self.bits(column))

    def ascending(self, values: pl.Series) -> pl.Series:
        """The values sorted among siblings: children of one parent, items of one row. Nulls come last, texts by bytes.

        Every column of a key after the parent's has to ascend like this. Raises `ValueError` for rows of a root entity,
        which have no siblings.

        >>> items = rows.items("tags", pl.Series([2, 0, 3, 1]))
        >>> items.lists(items.ascending(items.choice("tag", list("vwxyz"), distinct=True))).to_list()
        [['v', 'y'], [], ['v', 'w', 'z'], ['z']]
        """
        return choices.ascending(values, self._siblings())

    @named_draw
    def items(self, column: str, counts: pl.Series) -> Items:
        """`counts[i]` items for row i, to draw the elements of a list or the pieces of a text.

        Raises `ValueError` for counts that are null or negative, or not one for each row.

        >>> items = rows.items("tags", rows.integers("number of tags", 0, 3))
        >>> items.lists(items.choice("tag", ["red", "hot", "new"])).to_list()
        [['red'], ['red', 'hot', 'hot'], [], ['new', 'red', 'hot']]
        """
        sizes = np.atleast_1d(int64s(counts))
        if len(sizes) != len(self) or np.any(sizes < 0):
            raise ValueError(
                f"items({column!r}): needs one count for each of {len(self)} rows, none negative; got {len(sizes)}"
            )
        owners = np.repeat(np.arange(len(self)), sizes)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        positions = np.arange(len(owners)) - offsets[owners]
        hashes = numbered(self.bits(column)[owners], positions.astype(np.uint64))
        roots, ordinals = self.roots[owners], self.ordinals[owners]
        return Items(self.entity, self.settings, roots, ordinals, pl.Series(positions), hashes, owners, offsets)

    def pool(self, name: str) -> pl.DataFrame:
        """The pool `pools/NAME.csv` in the generators folder, every column as text.

        Raises `GeneratorError` if there is no such file, or it is not a CSV file with rows.

        >>> rows.pool("names").columns
        ['name']
        """
        return self.settings.pools.table(name)

    def derived(self, build: Derive) -> pl.DataFrame:
        """The table that `build` makes of pools, given a function like `pool`. It must not depend on anything else.

        It is built once per process, so even a large one costs nothing per call.

        >>> def shouted(pool):
        ...     return pool("names").select(pl.col("name").str.to_uppercase())
        >>> rows.sample("name", rows.derived(shouted)).columns
        ['name']
        """
        return self.settings.pools.derived(build)


@dataclass(frozen=True)
class Rows(Draws):
    """The rows of one entity that a generator is asked for: all descendants of some root rows."""

    @classmethod
    def of(cls, entity: Entity, settings: Settings, roots: UInt64s, parents: Int64s) -> Rows:
        """All descendants of these root rows: the root row and the parent of each, both in ascending order."""
        ordinals, positions = _places(roots), _places(parents)
        identities = roots, ordinals.astype(np.uint64)
        hashes = identity_hashes(settings.seed, entity.name, *identities)
        return cls(entity, settings, *identities, pl.Series(positions), hashes)

    def key(self) -> pl.Series:
        """The keys of the rows, in ascending order and of the type that the entity declares for its key column.

        A uuid is of version 8 (RFC 9562): 48 bits root row, 24 bits ordinal, 50 bits hash. An integer is `number()`, a
        text the name of the entity and that number: `orders-000000000001`, or the digits alone where the column is too
        short. Raises `ValueError` for a key of several columns, which the generator fills itself.

        >>> rows.key().to_list()
        [1, 2, 3, 4]
        """
        return self.entity.keys_of(self.roots, self.ordinals, self.settings.seed)

    def from_pool(self, name: str) -> pl.DataFrame:
        r"""All columns that the entity declares, from the pool `name`: row by row, in their types.

        Values are written as PostgreSQL prints them, NULL as `\N`, an array as a JSON list of texts. Raises
        `ValueError` if the pool has another number of rows, lacks a column, or has a value that does not fit.

        >>> rows.from_pool("things").rows()
        [(1,), (2,), (3,), (5,)]
        """
        table, entity = self.pool(name), self.entity
        if len(table) != (entity.root_rows.fixed or len(table)) or not entity.columns.keys() <= {*table.columns}:
            columns = ", ".join(entity.columns)
            raise ValueError(
                f"from_pool({name!r}): the pool has {len(table)} rows of {', '.join(table.columns)};"
                f" expected rows={len(table)} in the declaration, and the columns {columns}"
            )
        chosen = table.select(pl.col(*entity.columns).gather(self.roots).replace(NULL, None))
        values = {column: values_of(chosen[column].to_list(), kind) for column, kind in entity.columns.items()}
        return pl.DataFrame({column: pl.Series(column, array) for column, array in values.items()})

    def number(self, first: int = 1, step: int = 1) -> pl.Series:
        """A sequence in row order: `first`, `first + step`, …, the same at every scale (Int64).

        No two rows of an entity have the same number. A root entity has no gaps; a child has gaps where a parent has
        fewer children than it could have.

        >>> rows.number(first=1000, step=10).to_list()
        [1000, 1010, 1020, 1030]
        """
        return pl.Series(self._numbers() - 1) * step + first

    @named_draw
    def code(self, column: str, length: int, alphabet: str = LETTERS, *, ascending: bool = False) -> pl.Series:
        """Unique texts of `length` characters from `alphabet`, in no visible order or, for keys, `ascending` (String).

        Raises `ValueError` if there are more rows than such texts, and for an alphabet of fewer than two characters, a
        repeated one, or one that is not ASCII.

        >>> rows.code("voucher", 8, "ABCDEFGHJKLMNPQRSTUVWXYZ23456789").to_list()
        ['372YH7MN', 'ZR985WK2', 'BTVRK646', 'QUYZ3SDN']
        """
        key = None if ascending else self._permutation(column)
        return unique.codes(self.bits(column), self._numbers(), key, length, alphabet)

    @named_draw
    def unique(self, column: str, texts: pl.Series | str, separator: str = "", longest: int | None = None) -> pl.Series:
        """The texts, or a single one, made unique by a number at the end: for usernames, mail addresses, URLs (String).

        The number has as many digits as the row's own, so early rows have short ones. Before it comes `separator`, or a
        "-" if there is none and the text ends in a digit, so that `a1` + `2` differs from `a` + `12`. The text is cut
        so that the result has at most `longest` characters. A null stays null. Raises `ValueError` for a separator that
        ends in a digit, and if `longest` leaves no room for the number.

        >>> rows.unique("username", rows.choice("nickname", ["bee", "fox"])).to_list()
        ['fox7', 'bee8', 'bee9', 'bee1']
        """
        key, texts = (
            self._permutation(column),
            pl.repeat(texts, len(self), eager=True) if isinstance(texts, str) else texts,
        )
        return unique.numbered_texts(texts, self._numbers(), key, separator, longest).alias(column)

    def _siblings(self) -> pl.Series:
        if self.entity.parent is None:
            raise ValueError("rows of a root entity have no siblings")
        return self.positions

    def _numbers(self) -> Int64s:
        return self.entity.numbers_of(self.roots, self.ordinals)

    def _permutation(self, column: str) -> np.uint64:
        return name_hash(self.settings.seed, self.entity.name, column)


@dataclass(frozen=True)
class Items(Draws):
    """The items of some rows, made by `Rows.items`, in the order of their rows.

    `owners` is the number of each item's row; row i has the items from `offsets[i]` to `offsets[i + 1]`. Items have no
    number and no key of their own, so `key`, `number`, `code` and `unique` exist for rows alone.
    """

    owners: Int64s
    offsets: Int64s

    def of_owner(self, values: pl.Series) -> pl.Series:
        """A series with one value per row, repeated for each of the row's items.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.of_owner(rows.number()).to_list()
        [1, 1, 3, 4]
        """
        return values.gather(self.owners)

    def lists(self, values: pl.Series) -> pl.Series:
        """A series with one value per item, as one list per row.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.lists(items.integers("size", 1, 9)).to_list()
        [[4, 5], [], [7], [2]]
        """
        self._check(values)
        offsets = pa.array(self.offsets, type=pa.int64())
        # In the newest of Arrow's formats, which is that of polars itself, no text is copied.
        elements = values.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
        return pl.Series(pa.LargeListArray.from_arrays(offsets, elements))

    def joined(self, values: pl.Series, separator: str = " ") -> pl.Series:
        """A series with one text per item, joined to one text per row.

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.joined(items.choice("word", ["so", "well", "now"]), separator=", ").to_list()
        ['now, now', '', 'well', 'well']
        """
        return self.lists(values).list.join(separator)

    def total(self, values: pl.Series) -> pl.Series:
        """The sum of the whole numbers of each row's items (Int64).

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.total(items.integers("cents", 1, 9)).to_list()
        [6, 0, 4, 3]
        """
        return self.lists(pl.Series(int64s(values))).list.sum()

    def running_total(self, values: pl.Series) -> pl.Series:
        """For each item, the sum over the row's items before it: where it starts, if the values are lengths (Int64).

        >>> items = rows.items("tags", pl.Series([2, 0, 1, 1]))
        >>> items.running_total(items.integers("seconds", 1, 9)).to_list()
        [0, 9, 0, 0]
        """
        self._check(values)
        running = np.concatenate([[0], np.cumsum(int64s(values))])
        return pl.Series(running[:-1] - running[self.offsets[self.owners]])

    def _check(self, values: pl.Series) -> None:
        if len(values) != len(self):
            raise ValueError(f"there are {len(self)} items, but {len(values)} values for them")


def _places(ids: UInt64s | Int64s) -> Int64s:
    """The place of each row among those with the same of these ascending numbers, from 0."""
    first = np.flatnonzero(np.diff(ids, prepend=ids[:1] + 1))
    return np.arange(len(ids)) - np.repeat(first, np.diff(first, append=len(ids)))
