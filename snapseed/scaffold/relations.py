"""The columns of foreign keys: from the parent, from an ancestor, from a lookup, from a root entity, or from no row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from snapseed.scaffold.arrange import Arrangement
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.facts import ForeignKey
from snapseed.scaffold.keys import kind_of
from snapseed.snapshot.types import INTEGERS


@dataclass(frozen=True)
class Source:
    """Where the columns of a foreign key come from: an expression for each, and what the expressions use.

    `how` says it in a word. In an expression `{own:NAME}` stands for a column of the row itself, and `{entity:NAME}`
    for an entity. `taken` names the columns of the `parameter` where they are others than those referred to. `among` is
    the entity that has to have as many rows as a parent has. Without `codes` the columns stay NULL, or, if they must
    not, cannot be filled.
    """

    key: ForeignKey
    how: str
    codes: Mapping[str, str]
    needs: frozenset[str] = frozenset()
    parameter: str | None = None
    statement: tuple[str, str] | None = None
    taken: Mapping[str, str] = field(default_factory=dict)
    among: str | None = None


class Relations:
    """The foreign keys of one table, each with the rows that its columns are taken from."""

    def __init__(self, arrangement: Arrangement, oid: int, names: Mapping[int, str]) -> None:
        self._arrangement = arrangement
        self._oid = oid
        self._names = names
        self.place = arrangement.places[oid]
        self.table = arrangement.tables[oid]
        self.name = names[oid]
        self.parent = None if self.place.parent is None else arrangement.tables[self.place.parent.target]
        self.parent_name = None if self.place.parent is None else names[self.place.parent.target]
        self.choosable = [
            key for key in arrangement.foreign_keys(oid) if self._is_lookup(key) and len(key.columns) == 1
        ]

    def keys_of(self, oid: int) -> list[ForeignKey]:
        """The foreign keys of any table."""
        return self._arrangement.foreign_keys(oid)

    def sources(self) -> list[Source]:
        """One for each foreign key, in the order in which they take their columns: the parent's, then wide ones."""
        keys = sorted(self.table.foreign_keys, key=lambda key: (key != self.place.parent, -len(key.columns)))
        return [self._source(key) for key in keys]

    def by_position(self, key: ForeignKey) -> Source:
        """Another row of a lookup for each row of the same parent."""
        name = self._names[key.target]
        codes = {
            column: f"rows.choice({quoted(column)}, {name}[{quoted(target)}], distinct=True)"
            for column, target in zip(key.columns, key.target_columns, strict=True)
        }
        return Source(key, "by position", codes, parameter=name)

    def ascending(self, key: ForeignKey) -> Source | None:
        """Another row for each row of the same parent, in the order of their keys, where that can be had."""
        (column,), name = key.columns, self._names.get(key.target)
        if self._is_lookup(key):
            source = self.by_position(key)
            return replace(source, codes={column: f"rows.ascending({source.codes[column]})"})
        if name is None or not self._arrangement.is_referable(key):
            return None
        code = f"rows.reference({quoted(column)}, {{entity:{name}}}, distinct=True)"
        return Source(key, "distinct", {column: code}, frozenset([f"entity:{name}"]), among=name)

    def one_each(self, key: ForeignKey) -> Source | None:
        """Another row for each row, where that can be had: the one of the same number."""
        if key.target == self._oid or len(key.columns) > 1 or key.target not in self._arrangement.places:
            return None
        source = None
        if self._is_lookup(key):
            source = self._from_lookup(key, is_unique=True)
        elif self._arrangement.is_referable(key):
            source = self._referred(key, is_unique=True)
        return source if source is not None and source.codes else None

    def lookup_rows(self, key: ForeignKey) -> int:
        """How many rows the lookup has that a foreign key refers to."""
        return self._arrangement.places[key.target].rows or 0

    def _source(self, key: ForeignKey) -> Source:
        arrangement, target = self._arrangement, key.target
        if target not in arrangement.places or self._oid in arrangement.ancestors(target):
            return Source(key, "nothing", {})
        if target == self._oid:
            return self._to_itself(key)
        if target in arrangement.ancestors(self._oid):
            return self._from_ancestor(key)
        is_unique = self.table.are_unique(key.columns)
        if self._is_lookup(key):
            return self._from_lookup(key, is_unique=is_unique)
        return self._referred(key, is_unique=is_unique) if arrangement.is_referable(key) else self._copied(key)

    def _from_ancestor(self, key: ForeignKey) -> Source:
        """The row itself that this one descends from; of its parent's table, by a second key, any."""
        if key == self.place.parent:
            return self._of(key.target, key, "parent")
        is_second = self.place.parent is not None and key.target == self.place.parent.target
        if is_second and self._arrangement.is_referable(key):
            return self._another(key)
        return self._of(key.target, key, "ancestor")

    def _is_lookup(self, key: ForeignKey) -> bool:
        place = self._arrangement.places.get(key.target)
        return place is not None and place.is_lookup and key.target != self._oid

    def _of(self, target: int, key: ForeignKey, how: str) -> Source:
        """The row of an ancestor that the row belongs to."""
        name = self._names[target]
        codes = {
            column: f"{name}[{quoted(referred)}]"
            for column, referred in zip(key.columns, key.target_columns, strict=True)
        }
        return Source(key, how, codes, parameter=name)

    def _copied(self, key: ForeignKey) -> Source:
        """The row that an ancestor refers to, where no other can be had."""
        for ancestor in self._arrangement.ancestors(self._oid):
            for other in self._arrangement.foreign_keys(ancestor):
                same = other.target == key.target and set(other.target_columns) == set(key.target_columns)
                if same and other.is_required:
                    own = dict(zip(other.target_columns, other.columns, strict=True))
                    name = self._names[ancestor]
                    codes = {
                        column: f"{name}[{quoted(own[referred])}]"
                        for column, referred in zip(key.columns, key.target_columns, strict=True)
                    }
                    taken = {
                        column: own[referred] for column, referred in zip(key.columns, key.target_columns, strict=True)
                    }
                    return Source(key, "ancestor", codes, parameter=name, taken=taken)
        return Source(key, "nothing", {})

    def _from_lookup(self, key: ForeignKey, *, is_unique: bool) -> Source:
        name = self._names[key.target]
        if self.place.is_lookup and self._needs_us(key.target, {self._oid}):
            # Lookups that need each other cannot have each other's rows.
            return (
                self._referred(key, is_unique=is_unique)
                if self._arrangement.is_referable(key)
                else Source(key, "nothing", {})
            )
        if is_unique:
            if not self.place.is_lookup or self.lookup_rows(key) < (self.place.rows or 0):
                return Source(key, "nothing", {})
            codes = {
                column: f"{name}[{quoted(referred)}].gather(rows.number() - 1)"
                for column, referred in zip(key.columns, key.target_columns, strict=True)
            }
            return Source(key, "one each", codes, parameter=name)
        if len(key.columns) == 1:
            code = f"rows.choice({quoted(key.columns[0])}, {name}[{quoted(key.target_columns[0])}])"
            return Source(key, "lookup", {key.columns[0]: code}, parameter=name)
        local = f"one_of_{name}"
        codes = {
            column: f"{local}[{quoted(referred)}]"
            for column, referred in zip(key.columns, key.target_columns, strict=True)
        }
        return Source(
            key,
            "lookup",
            codes,
            parameter=name,
            statement=(local, f"rows.sample({quoted(' '.join(key.columns))}, {name})"),
        )

    def _needs_us(self, target: int, seen: set[int]) -> bool:
        """Whether a lookup, to have its own rows, would need those of this one."""
        for key in self._arrangement.foreign_keys(target):
            place = self._arrangement.places[key.target]
            if key.target == self._oid or (
                place.is_lookup and key.target not in seen and self._needs_us(key.target, {*seen, target})
            ):
                return True
        return False

    def _referred(self, key: ForeignKey, *, is_unique: bool) -> Source:
        """A random row of a root entity; where each may come once only, the one of the same number."""
        name = self._names[key.target]
        if is_unique:
            kind = kind_of(self._arrangement.tables[key.target], key.target_columns[0])
            target = self._arrangement.places[key.target]
            alike = self.place.is_lookup == target.is_lookup and self.place.level >= target.level
            possible = kind.family in INTEGERS and self.place.is_root and alike
            return Source(key, "same number", {key.columns[0]: "rows.number()"} if possible else {})
        code = f"rows.reference({quoted(key.columns[0])}, {{entity:{name}}})"
        return Source(key, "reference", {key.columns[0]: code}, frozenset([f"entity:{name}"]))

    def _another(self, key: ForeignKey) -> Source:
        """Another row of the parent's table than the parent; the first row of all has none but that."""
        source, name = self._referred(key, is_unique=False), self._names[key.target]
        if key.is_required and self._arrangement.root(self._oid) == key.target:
            own = f"{name}[{quoted(key.target_columns[0])}]"
            codes = {column: f"{code}.fill_null({own})" for column, code in source.codes.items()}
            return Source(key, "reference", codes, source.needs, parameter=name)
        return source

    def _to_itself(self, key: ForeignKey) -> Source:
        """An earlier row of the same table; a row without one refers to itself where it must refer to any."""
        is_unique = self.table.are_unique(key.columns)
        if self._arrangement.is_referable(key) and not is_unique:
            code = f"rows.reference({quoted(key.columns[0])}, {self.name})"
            if key.is_required:
                code += f".fill_null({{own:{key.target_columns[0]}}})"
            return Source(key, "self", {key.columns[0]: code})
        pairs = list(zip(key.columns, key.target_columns, strict=True))
        if key.is_required:
            return Source(key, "self", {column: f"{{own:{referred}}}" for column, referred in pairs})
        if self.place.is_root or is_unique:
            return Source(key, "nothing", {})
        codes = {
            column: f"pl.select(pl.when(rows.positions > 0).then({{own:{referred}}}.shift())).to_series()"
            for column, referred in pairs
        }
        return Source(key, "self", codes)
