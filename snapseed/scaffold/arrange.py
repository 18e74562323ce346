"""Which table is a root entity, which a lookup, which the child of which other: by foreign keys, and by names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from snapseed.scaffold.facts import ForeignKey, Table
from snapseed.scaffold.keys import key_of, kind_of
from snapseed.scaffold.naming import singular, words_of
from snapseed.snapshot.types import INTEGERS, Family

# Tables whose names end so hold a handful of rows that others choose from.
_LOOKUPS = re.compile(
    r"(?:^|_)(?:categor(?:y|ie)|class|colou?r|countr(?:y|ie)|currenc(?:y|ie)|demographic|department|genre|kind|language|"
    r"level|locale|method|mode|permission|plan|priorit(?:y|ie)|region|role|severity|shipper|size|state|status|tier|"
    r"timezone|topic|type|unit)s?(?:es)?$"
)
# Whose rows others belong to, and of which there are many.
_PEOPLE = re.compile(r"(?:^|_)(?:account|author|client|customer|guest|member|owner|patient|person|player|student|user)")
# Of which there are few beside those.
_FEW = re.compile(
    r"(?:^|_)(?:branch|brand|compan(?:y|ie)|employee|facilit(?:y|ie)|hotel|manufacturer|office|organi[sz]ation|publisher|"
    r"restaurant|school|seller|shop|site|staff|store|supplier|team|tenant|vendor|venue|warehouse|workspace)"
)
_SMALL_COLUMNS = 5
# Texts with room for a hundred or a thousand numbers at most.
_SHORT = re.compile(r"character varying\([123]\)|character(?:\([123]\))?")
# No root entity is further than this from the one that the scale counts.
_LEVELS = 2
# Points that speak for a foreign key as the one to the parent.
_ONE_EACH, _IN_KEY, _BETWEEN, _REQUIRED, _CASCADES, _NAMED_LIKE, _TO_PEOPLE = 60, 30, 25, 20, 15, 12, 6


@dataclass(frozen=True)
class Place:
    """How the rows of a table come about.

    A child has a `parent`, with `one_each` at most one row for each of its rows. A lookup has `rows`, the same at
    every scale. Any other is a root entity with `level` 0 for one row for each of the scale, and fewer from there on.
    `key` identifies its rows. One column is drawn by `rows.key()` or from the row's number, unless it is a foreign key;
    of several the first are the parent's key, and the next one differs among the rows of each parent.
    """

    key: tuple[str, ...]
    parent: ForeignKey | None = None
    one_each: bool = False
    rows: int | None = None
    level: int = 0

    @property
    def is_joint(self) -> bool:
        """Whether the key has several columns."""
        return len(self.key) > 1

    @property
    def is_lookup(self) -> bool:
        """Whether every other entity may see all its rows."""
        return self.rows is not None

    @property
    def is_root(self) -> bool:
        """Whether it has no parent."""
        return self.parent is None


class Arrangement:
    """The places of all tables, and why some have none. `narrow` are columns that take few values, by table."""

    def __init__(self, tables: Sequence[Table], narrow: Mapping[int, frozenset[str]]) -> None:
        self.tables: Mapping[int, Table] = {table.oid: table for table in tables}
        self.left_out: dict[int, str] = {}
        self.narrow = narrow
        self.places: dict[int, Place] = {}
        self._parents: dict[int, ForeignKey | None] = {}
        self._forced_lookups: set[int] = set()
        self._never_joint: set[int] = set()
        self._arrange()

    def ancestors(self, oid: int) -> list[int]:
        """Parent, grandparent, … up to the root entity."""
        found = []
        while (key := self._parents.get(oid)) is not None:
            oid = key.target
            found.append(oid)
        return found

    def root(self, oid: int) -> int:
        """The root entity that it descends from, itself if it is one."""
        return (self.ancestors(oid) or [oid])[-1]

    def foreign_keys(self, oid: int) -> list[ForeignKey]:
        """Those to tables that have a place."""
        return [
            key
            for key in self.tables[oid].foreign_keys
            if key.target in self.tables and key.target not in self.left_out
        ]

    def is_referable(self, key: ForeignKey) -> bool:
        """Whether `rows.reference()` gives the keys that this foreign key asks for."""
        place, target = self.places[key.target], self.tables[key.target]
        return (
            place.is_root
            and key.target_columns == place.key
            and not set(place.key) & target.foreign_columns
            and kind_of(target, place.key[0]).family in {*INTEGERS, Family.UUID}
        )

    def is_lookup(self, oid: int) -> bool:
        """Whether every other entity may see all rows of a table."""
        return oid in self._lookups()

    def _arrange(self) -> None:
        while True:
            self._choose_parents()
            self._free_those_referred_to()
            self.places = {}
            for oid in sorted(self._present(), key=lambda oid: len(self.ancestors(oid))):
                is_joint = oid not in self._never_joint
                key, one_each = key_of(self, self.tables[oid], self._parents[oid], may_be_joint=is_joint)
                if not key:
                    self._leave_out(oid, "it has no column that can be the key of its rows")
                    break
                self.places[oid] = Place(key, self._parents[oid], one_each)
            else:
                fresh = self._lookups_needed() - self._forced_lookups
                if not fresh:
                    break
                self._forced_lookups |= fresh
        for oid in self._lookups():
            self.places[oid] = replace(self.places[oid], rows=20 if oid in self._forced_lookups else 8)
        for oid, place in self.places.items():
            if place.is_root and not place.is_lookup:
                self.places[oid] = replace(place, level=self._level(oid, ()))
        self._match_levels()

    def _match_levels(self) -> None:
        """A root entity that refers to each row of another once has no more rows than that."""
        for _ in self.places:
            for oid, place in self.places.items():
                for key in self.foreign_keys(oid):
                    other = self.places[key.target]
                    if place.is_root and other.is_root and self.tables[oid].are_unique(key.columns):
                        self.places[oid] = replace(place, level=max(place.level, other.level))

    def _present(self) -> list[int]:
        return [oid for oid in self.tables if oid not in self.left_out]

    def _leave_out(self, oid: int, why: str) -> None:
        """And with it the tables that cannot do without it."""
        self.left_out[oid] = why
        for other in self._present():
            for key in self.tables[other].foreign_keys:
                if key.target == oid and key.is_required and other not in self.left_out:
                    self._leave_out(other, f"it needs rows of {self.tables[oid]}")

    def leave_out(self, oid: int, why: str) -> None:
        """Take a table, and those that need its rows, out, and arrange the others anew.

        One with a key of several columns is not taken out but once more tried with one of them.
        """
        if self.places[oid].is_joint:
            self._never_joint.add(oid)
        else:
            self._leave_out(oid, why)
        self._arrange()

    def _choose_parents(self) -> None:
        self._parents = dict.fromkeys(self.tables)
        for oid in self._present():
            if oid in self._lookups():
                continue
            table = self.tables[oid]
            scored = [
                (_score(table, key, self.tables[key.target]), -place, key)
                for place, key in enumerate(self.foreign_keys(oid))
                if key.target != oid and key.target not in self._lookups() and oid not in self.ancestors(key.target)
            ]
            if scored and max(found[0] for found in scored) > 0:
                self._parents[oid] = max(scored, key=lambda found: found[:2])[2]

    def _free_those_referred_to(self) -> None:
        """Make root entities of what others refer to than their own descendants: only those can be chosen from."""
        while True:
            freed = {
                key.target
                for oid in self._present()
                for key in self.foreign_keys(oid)
                if self._parents[key.target] is not None
                and key.target != oid
                and key.target not in self.ancestors(oid)
                and (key.is_required or oid not in self.ancestors(key.target))
            }
            if not freed:
                return
            self._parents |= dict.fromkeys(freed)

    def _lookups(self) -> set[int]:
        return {
            oid
            for oid in self._present()
            if oid in self._forced_lookups or self._looks_like_lookup(oid) or self._has_no_room(oid)
        }

    def _has_no_room(self, oid: int) -> bool:
        """Whether a column of few characters has to have another value in each row."""
        table = self.tables[oid]
        alone = [table.column(key[0]) for key in table.unique if len(key) == 1]
        return any(column.not_null and _SHORT.fullmatch(column.type) is not None for column in alone)

    def _looks_like_lookup(self, oid: int) -> bool:
        table = self.tables[oid]
        referred = any(
            key.target == oid for other in self.tables.values() for key in other.foreign_keys if other is not table
        )
        others = [key for key in table.foreign_keys if key.target != oid]
        return (
            referred
            and not others
            and len([column for column in table.columns if not column.generated]) <= _SMALL_COLUMNS
            and _LOOKUPS.search(words_of(table.name)) is not None
        )

    def _lookups_needed(self) -> set[int]:
        """Root entities that others choose from, and whose keys `rows.reference()` cannot give."""
        return {
            key.target
            for oid in self._present()
            for key in self.foreign_keys(oid)
            if key.target not in self.ancestors(oid)
            and key.target != oid
            and self._parents[key.target] is None
            and key.target not in self._lookups()
            and not self.is_referable(key)
        }

    def _level(self, oid: int, path: tuple[int, ...]) -> int:
        """How many root entities refer to this one in a row: the more, the fewer rows it has."""
        if len(path) == _LEVELS:
            return 0
        above = [
            self._level(other, (*path, oid))
            for other, place in self.places.items()
            if place.is_root and not place.is_lookup and other not in {*path, oid}
            for key in self.foreign_keys(other)
            if key.target == oid
        ]
        name = words_of(self.tables[oid].name)
        if "address" in name:
            return max(above, default=0)
        few = 1 if _FEW.search(name) else 0
        return min(_LEVELS, max([few, *(level + 1 for level in above)]))


def _score(table: Table, key: ForeignKey, target: Table) -> int:
    """How much speaks for the table that `key` refers to as the parent."""
    ours, theirs = words_of(table.name), words_of(target.name)
    points = _ONE_EACH if table.are_unique(key.columns) else 0
    points += _IN_KEY if any(set(key.columns) <= set(index) for index in table.unique) else 0
    # Of a rental and its customer, the rental: it leads to the customer as well.
    others = {other.target for other in table.foreign_keys if other.target != key.target}
    points += _BETWEEN if any(other.target in others and other.is_required for other in target.foreign_keys) else 0
    points += _REQUIRED if key.is_required else 0
    points += _CASCADES if key.cascades else 0
    points += _NAMED_LIKE if ours.startswith(singular(theirs)) else _NAMED_LIKE // 2 if ours.endswith(theirs) else 0
    points += _TO_PEOPLE if _PEOPLE.search(theirs) else 0
    points -= _REQUIRED if _FEW.search(theirs) and not key.cascades else 0
    # People come first: what they refer to (a home, a shop) is not what they are counted by.
    is_owned = key.cascades or points >= _ONE_EACH
    return points if is_owned or not _PEOPLE.search(ours) else 0
