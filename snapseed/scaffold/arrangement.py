"""What is decided about the tables together: which have entities, and what place and key each of these has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from snapseed.scaffold.conditions import Conditions
from snapseed.scaffold.kept import KeptRows
from snapseed.scaffold.parents import ancestors_of, shares_key
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.types import INTEGERS, Family


@dataclass(frozen=True)
class Place:
    """How the rows of a table come about.

    A child has a `parent`, and with `one_each` at most one row for each of its rows. A lookup has `rows`, the same at
    every scale. A root entity of `level` 0 has as many rows as the scale says, one of a higher level has fewer.
    If the `key` has several columns, the parent's key comes first, then the column that differs among its rows; or a
    column whose values are all different. `name` is that of the entity.
    """

    name: str
    key: tuple[str, ...]
    parent: ForeignKey | None = None
    one_each: bool = False
    rows: int | None = None
    level: int = 0

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
        is_drawn = not set(place.key) & target.foreign_columns
        is_free = key.target not in self.lookups and not self.conditions[key.target].on(place.key[0])
        return is_drawn and (family in {*INTEGERS, Family.UUID} or (family is Family.TEXT and is_free))
