"""Draws from what is there already: options, rows of a table or a pool, rows of a root entity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from snapseed.generate import draws
from snapseed.generate.drawing.crowded import Number, ranks
from snapseed.generate.drawing.identity import Identities, Int64s
from snapseed.generate.groups import Groups
from snapseed.generate.pools import Build

if TYPE_CHECKING:
    from snapseed.generate.entity import Entity

Options = Iterable[object] | Mapping[object, int] | pl.Series


class ChoiceDraws(Identities):
    """Choices, samples and references."""

    def choice(
        self,
        column: str,
        options: Options,
        weights: Sequence[int] | None = None,
        *,
        distinct: bool = False,
    ) -> pl.Series:
        """One of `options` per row: values, an `enum.Enum` (its values), or a series such as a column of a pool.

        With weights, whole numbers, in that proportion: a mapping gives each option its own, `weights` has one for
        each. `distinct` gives children of one parent, and items of one row, each another option. Raises `ValueError`
        where there is no option, too few to be distinct, or not as many weights; `distinct` takes none.

        >>> rows.choice("status", {"done": 6, "pending": 3, "error": 1}).to_list()
        ['pending', 'done', 'done', 'done']
        """
        if isinstance(options, str):
            raise ValueError(f"choice({column!r}): options are several, {options!r} is one text")  # noqa: TRY004
        if isinstance(options, Mapping):
            weights = list(options.values())  # iterated, a mapping gives its options
        values = options if isinstance(options, pl.Series) else pl.Series([_plain(option) for option in options])
        if not len(values) or (weights is not None and len(weights) != len(values)):
            raise ValueError(f"choice({column!r}): needs options, and as many weights where there are any")
        if distinct:
            if weights is not None:
                raise ValueError(f"choice({column!r}): distinct options have no weights")
            chosen = self._distinct(column, np.full(len(self), len(values)), f"choice({column!r})").astype(np.int64)
        elif weights is None:
            chosen = draws.below(self.bits(column), len(values)).astype(np.int64)
        else:
            chosen = draws.categories(self.bits(column), draws.thresholds(weights)).astype(np.int64)
        return values.gather(chosen).alias(column)

    def sample(
        self, column: str, table: pl.DataFrame, weights: str | None = None, **match: pl.Series | str
    ) -> pl.DataFrame:
        """For each row, one row of `table` among those that match, as a frame with the table's columns.

        `match` names columns of the table and the value wanted there: one for all, or a series with one per row.
        `weights` names a column of whole numbers. Raises `ValueError` where a wanted combination is not in the table.

        >>> towns = pl.DataFrame({"land": ["FR", "FR", "JP"], "town": ["Lyon", "Nice", "Kobe"], "size": [5, 3, 15]})
        >>> rows.sample("home", towns, weights="size", land=rows.choice("land", ["FR", "JP"])).rows()
        [('JP', 'Kobe', 15), ('JP', 'Kobe', 15), ('FR', 'Lyon', 5), ('FR', 'Lyon', 5)]
        """
        what = f"sample({column!r})"
        groups = Groups.of(table, list(match), weights, what)
        starts, totals = groups.ranges(match, len(self), what)
        return groups.rows_at(draws.below(self.bits(column), totals) + starts)

    def reference(self, column: str, entity: Entity, exponent: Number = 0, *, distinct: bool = False) -> pl.Series:
        """The key of a random row of a root entity that exists at every scale at which this row exists.

        For a root entity that grows these are its earlier rows; the first row of all has none and gets null. All are
        equally likely; with an exponent the first rows are the most popular, as `zipf` draws them. `distinct` gives
        children of one parent each another key, in ascending order, for tables that join two; the fan-out says `among`
        which entity, so that no parent has more than there are. The other entity must take its keys from `rows.key()`.
        Raises `ValueError` for an entity that is no root entity, and where there are too few rows to be distinct.

        >>> rows.reference("invited_by", things).to_list()
        [None, 1, 1, 2]
        """
        if entity.parent is not None:
            raise ValueError(f"reference({column!r}): {entity.name} is not a root entity")
        limits = entity.earlier_rows(self.entity, self.roots)
        sizes = np.maximum(limits, 1)
        if distinct:
            if exponent != 0:
                raise ValueError(f"reference({column!r}): distinct keys are drawn without an exponent")
            remedy = "" if entity.is_fixed else f"; fan_out(…, among={entity.name}) has no more of them than there are"
            drawn = self._distinct(column, sizes, f"reference({column!r})", remedy)
            chosen = self.ascending(pl.Series(drawn)).to_numpy()
        elif exponent == 0:
            chosen = draws.below(self.bits(column), sizes.astype(np.uint64))
        else:
            chosen = (ranks(self.bits(column), sizes, exponent, f"reference({column!r})") - 1).astype(np.uint64)
        keys = entity.keys_of(chosen, np.zeros(len(self), dtype=np.uint64), self.seed)
        frame = pl.DataFrame({"key": keys, "exists": limits > 0})
        return frame.select(pl.when("exists").then("key").alias(column)).to_series()

    def ascending(self, values: pl.Series) -> pl.Series:
        """`values` dealt out anew among siblings, smallest first: children of one parent, and items of one row.

        Columns of a key behind the parent's have to ascend so. Texts ascend by their bytes, as such keys do. Raises
        `ValueError` for rows of a root entity, which have no siblings.

        >>> items = rows.items("tags", pl.Series([2, 0, 3, 1]))
        >>> items.lists(items.ascending(items.choice("tag", list("vwxyz"), distinct=True))).to_list()
        [['v', 'y'], [], ['v', 'w', 'z'], ['z']]
        """
        self._require_siblings("ascending()")
        group = (self.positions == 0).cum_sum()
        frame = pl.DataFrame({"group": group, "value": values}).sort("group", "value", nulls_last=True)
        return frame["value"].alias(values.name)

    def _distinct(self, column: str, limits: Int64s, what: str, remedy: str = "") -> draws.UInt64s:
        """Whole numbers below `limits`, which are the same for siblings; siblings have different ones.

        As many ranges as there are siblings, one for each; then all of them turned by as much.
        """
        self._require_siblings(what)
        place = self.positions.to_numpy()
        first = np.flatnonzero(place == 0)
        group = np.cumsum(place == 0) - 1
        count = np.diff(first, append=len(self))[group]
        if np.any(too_many := count > limits):
            row = int(too_many.argmax())
            raise ValueError(f"{what}: {count[row]} siblings cannot be distinct among {limits[row]}{remedy}")
        bits, sizes = self.bits(column), limits.astype(np.uint64)
        width, more = np.divmod(limits, count)
        start, end = (number * width + number * more // count for number in (place, place + 1))
        drawn = start.astype(np.uint64) + draws.below(bits, (end - start).astype(np.uint64))
        drawn += draws.below(draws.mixed(~bits[first[group]]), sizes)
        turned: draws.UInt64s = np.where(drawn >= sizes, drawn - sizes, drawn)
        return turned

    def _require_siblings(self, what: str) -> None:
        if self.entity.parent is None and not self.are_items:
            raise ValueError(f"{what}: rows of a root entity have no siblings to be distinct from")

    def pool(self, name: str) -> pl.DataFrame:
        """The pool `pools/NAME.csv` beside the generators, every column as text.

        >>> rows.pool("names").columns
        ['name']
        """
        return self.pools.table(name)

    def derived(self, build: Build) -> pl.DataFrame:
        """A table that `build` makes of pools, given a function like `pool`. It must depend on nothing else.

        It is made once per process, so a large one costs nothing per call.

        >>> def shouted(pool):
        ...     return pool("names").select(pl.col("name").str.to_uppercase())
        >>> rows.sample("name", rows.derived(shouted)).columns
        ['name']
        """
        return self.pools.derived(build)


def _plain(option: object) -> object:
    return option.value if isinstance(option, Enum) else option
