"""What is decided about the tables together: which have entities, and what place and key each of these has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from snapseed.scaffold.arrange.parents import ancestors_of, shares_key
from snapseed.scaffold.conditions import MOMENTS, Conditions
from snapseed.scaffold.kept import KeptRows
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.types import INTEGERS, Family

# What can tell the rows of a parent apart, the best first: a number, a reference, a lookup's row, a label, a text.
COUNTED, REFERRED, LOOKED_UP, LABELLED, PLACED = range(5)
# A column with room for more values has room for all rows of a parent.
_FEW = 10_000


@dataclass(frozen=True)
class Place:
    """How the rows of a table come about.

    A child has a `parent`, and with `one_each` at most one row for each of its rows. A lookup has `rows`, the same at
    every scale; `combined` are columns whose combinations they are, with code for the place of a row's value among
    those of the column. A root entity of `level` 0 has as many rows as the scale says, one of a higher level has fewer.
    If the `key` has several columns, the parent's key comes first, then the column that differs among its rows; or a
    column whose values are all different. `name` is that of the entity.
    """

    name: str
    key: tuple[str, ...]
    parent: ForeignKey | None = None
    one_each: bool = False
    rows: int | None = None
    level: int = 0
    combined: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_lookup(self) -> bool:
        """Whether other entities may see all its rows."""
        return self.rows is not None

    @property
    def has_own_key(self) -> bool:
        """Whether the first column of the key tells all rows apart."""
        return len(self.key) == 1 or self.parent is None or self.key[0] not in self.parent.columns


@dataclass(frozen=True)
class Arrangement:
    """The tables that have entities, the conditions on their rows, their places, and why others have none.

    Tables that are `kept` have the rows that they hold, which are not made from those of others.
    """

    tables: Mapping[int, Table]
    conditions: Mapping[int, Conditions]
    parents: Mapping[int, ForeignKey]
    lookups: frozenset[int]
    left_out: Mapping[int, str]
    places: Mapping[int, Place]
    kept: Mapping[int, KeptRows]

    def ancestors(self, oid: int) -> list[int]:
        """Parent, grandparent, … up to the root entity."""
        return ancestors_of(self.parents, oid)

    def foreign_keys(self, oid: int) -> list[ForeignKey]:
        """The foreign keys to tables that have entities, whose rows are needed."""
        if oid in self.kept:
            return []
        return [key for key in self.tables[oid].foreign_keys if key.target in self.tables]

    def origin(self, key: ForeignKey) -> ForeignKey:
        """The same key to the table that the target takes its own key from, row by row; itself if there is none."""
        while (parent := self.parents.get(key.target)) and key.target_columns == parent.columns:
            if not shares_key(self.tables[key.target], parent):
                break
            key = replace(key, target=parent.target, target_columns=parent.target_columns)
        return key

    def is_referable(self, key: ForeignKey) -> bool:
        """Whether `rows.reference()` gives the keys that this foreign key asks for."""
        place = self.places.get(key.target)
        if place is None or place.parent is not None or key.target in self.kept:
            return False
        if key.target_columns != place.key or len(place.key) > 1:
            return False
        target, family = self.tables[key.target], self.tables[key.target].kind(place.key[0]).family
        low, high = self.conditions[key.target].limits[place.key[0]].ends
        is_drawn = not set(place.key) & target.foreign_columns
        is_free = key.target not in self.lookups and not self.conditions[key.target].on(place.key[0])
        is_counted = family in {*INTEGERS, Family.UUID} and low <= 1 and high >= min(_FEW, place.rows or _FEW)
        return is_drawn and (is_counted or (family in {Family.TEXT, Family.CHARACTER} and is_free))


@dataclass(frozen=True)
class Numbering:
    """How a column tells the rows of a parent apart: how well, by which labels if any, and how many at most."""

    rank: int
    labels: tuple[str, ...] = ()
    most: int | None = None


def numbering_of(table: Table, conditions: Conditions, name: str, *, in_key: bool) -> Numbering | None:
    """How a column that is no reference tells the rows of a parent apart; in a key, texts and moments do too."""
    column, limits, kind = table.column(name), conditions.limits[name], table.kind(name)
    room, is_ordered = conditions.room[name], name in conditions.ordered
    labels = tuple(column.labels) or tuple(value for value in limits.allowed or () if isinstance(value, str))
    if kind.is_array or (in_key and (column.identity or name in table.serials)):
        return None
    if labels:
        return Numbering(LABELLED, labels, len(labels))
    if kind.family in INTEGERS and not is_ordered and limits.allowed is None and room > 1:
        return Numbering(COUNTED, most=int(room) if room < _FEW else None)
    # Moments may be those that others come after.
    is_free = not (limits.allowed or limits.high or limits.patterns or limits.min_length) and not (
        kind.family in MOMENTS and conditions.is_last((name,))
    )
    texts = {Family.TEXT, Family.CHARACTER, *MOMENTS}
    return Numbering(PLACED) if in_key and is_free and kind.family in texts else None
