"""How unique constraints are met by construction: by a column's own values, or by a row's place among others."""

from __future__ import annotations

from collections.abc import Mapping

from snapseed.scaffold.arrange import Place
from snapseed.scaffold.facts import ForeignKey, Table
from snapseed.scaffold.limits import Limits
from snapseed.scaffold.relations import Relations, Source
from snapseed.snapshot.types import Family, parse_type

# Which columns are made unique first.
_PREFERENCE = {
    Family.TEXT: 0,
    Family.UUID: 1,
    Family.BIGINT: 2,
    Family.INTEGER: 2,
    Family.TIMESTAMPTZ: 3,
    Family.TIMESTAMP: 3,
    Family.CHARACTER: 4,
    Family.DATE: 4,
    Family.SMALLINT: 5,
    Family.NUMERIC: 6,
    Family.DOUBLE: 6,
    Family.REAL: 6,
    Family.BYTEA: 7,
}
# So many characters, or digits.
_ROOMY = 6
_POSITIONED = {Family.SMALLINT, Family.INTEGER, Family.BIGINT}


class Uniqueness:
    """After `settle`: `columns` whose values must each come once, `by_position` those that differ within a parent.

    `by_position` has the labels to choose from, none for whole numbers. `replaced` are foreign keys with another
    source than before. `most_per_parent` limits the rows of each parent. For `unmet` indexes there is no way.
    """

    def __init__(self, table: Table, place: Place, relations: Relations) -> None:
        self.columns: set[str] = set()
        self.by_position: dict[str, tuple[str, ...]] = {}
        self.replaced: dict[ForeignKey, Source] = {}
        self.unmet: list[tuple[str, ...]] = []
        self.most_per_parent: int | None = 1 if place.one_each else None
        self._table, self._place, self._relations = table, place, relations

    def settle(self, foreign: set[str], missing: set[str], limits: Mapping[str, Limits], ordered: set[str]) -> None:
        """Find a way for each unique index.

        `missing` columns stay NULL or are numbered by the database. Checks put `ordered` ones before or after others,
        so that their values cannot be chosen freely.
        """
        # Ranges have nothing in common as they are drawn.
        excluded = [
            exclusion.equal
            for exclusion in self._table.exclusions
            if exclusion.equal and not any("range" in self._table.column(name).type for name in exclusion.columns)
        ]
        if self._place.is_joint and not self._meet_key(foreign, limits):
            self.unmet.append(self._place.key)
        for index in sorted([*self._table.unique, *excluded], key=len):
            if not self._is_met(index, missing) and not self._meet(index, foreign | ordered, limits):
                self.unmet.append(index)

    def _is_met(self, index: tuple[str, ...], missing: set[str]) -> bool:
        names = set(index)
        parent = self._place.parent
        if set(self._place.key) <= names or names & missing or names & self.columns:
            return True
        return self.most_per_parent == 1 and parent is not None and set(parent.columns) <= names

    def _meet_key(self, foreign: set[str], limits: Mapping[str, Limits]) -> bool:
        """See that the column behind the parent's key differs among the rows of each parent, and ascends."""
        parent = self._place.parent
        assert parent is not None
        name = self._place.key[len(parent.columns)]
        if name not in foreign:
            return self._positioned([name], limits)
        key = next(key for key in self._table.foreign_keys if key.columns == (name,))
        source = self._relations.ascending(key)
        if source is None:
            return False
        self.replaced[key] = source
        if source.among is None:
            self._limit(self._relations.lookup_rows(key))
        return True

    def _meet(self, index: tuple[str, ...], foreign: set[str], limits: Mapping[str, Limits]) -> bool:
        parent = self._place.parent
        within_parent = parent is not None and set(parent.columns) <= set(index)
        own = [name for name in index if name not in foreign]
        if within_parent and self._positioned(own, limits):
            return True
        for name in sorted(own, key=self._preference):
            column = self._table.column(name)
            if self._preference(name) < 2 * len(_PREFERENCE) and not column.labels and limits[name].allowed is None:
                self.columns.add(name)
                return True
        if within_parent and self._chosen(index):
            return True
        if within_parent:
            self.most_per_parent = 1
            return True
        for key in self._table.foreign_keys:
            is_free = key not in self.replaced
            if is_free and set(key.columns) <= set(index) and (source := self._relations.one_each(key)) is not None:
                self.replaced[key] = source
                self.columns |= set(key.columns)
                return True
        return False

    def _preference(self, name: str) -> int:
        kind = parse_type(self._table.column(name).type)
        known = not kind.is_array and kind.family in _PREFERENCE
        # A short text or a small number has no room for many rows.
        size = kind.modifiers[0] if kind.modifiers else _ROOMY
        return _PREFERENCE[kind.family] + (len(_PREFERENCE) if size < _ROOMY else 0) if known else 2 * len(_PREFERENCE)

    def _positioned(self, own: list[str], limits: Mapping[str, Limits]) -> bool:
        """Whole numbers count the rows of a parent; labels are taken in turn, and there are no more rows than those."""
        for name in own:
            column, kind = self._table.column(name), parse_type(self._table.column(name).type)
            allowed = limits[name].allowed
            labels = column.labels or tuple(value for value in allowed or () if isinstance(value, str))
            if kind.is_array:
                continue
            if labels:
                self.by_position[name] = labels
                self._limit(len(labels))
                return True
            if kind.family in _POSITIONED and allowed is None and limits[name].high is None:
                self.by_position[name] = ()
                return True
        return False

    def _chosen(self, index: tuple[str, ...]) -> bool:
        """Another row of a lookup for each row of the parent, and no more of those than of these."""
        for key in self._relations.choosable:
            if key.columns[0] in index and key not in self.replaced:
                self.replaced[key] = self._relations.by_position(key)
                self._limit(self._relations.lookup_rows(key))
                return True
        return False

    def _limit(self, most: int) -> None:
        self.most_per_parent = min(most, self.most_per_parent or most)
