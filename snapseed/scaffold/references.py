"""The columns of foreign keys: each from the parent, an ancestor, a lookup, a root entity or an earlier row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from snapseed.scaffold.arrangement import Arrangement, Place, kind_of
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.types import INTEGERS


@dataclass(frozen=True)
class Source:
    """Where the columns of a foreign key come from: an expression for each, none if there is no row to refer to.

    In an expression, `{own:NAME}` stands for a column of the row, `{rows:NAME}` for the rows of an entity that the
    function receives, and `{entity:NAME}` for the entity itself. `is_fixed`: it is the one possible source, even if
    another key has filled a column differently. `statement` is a variable that the expressions use, and its code.
    Each parent has at most `at_most` rows, and no more than there are of the entity `among`.
    """

    codes: Mapping[str, str] = field(default_factory=dict)
    is_fixed: bool = False
    is_unique: bool = False
    may_be_null: bool = False
    statement: tuple[str, str] | None = None
    among: str | None = None
    at_most: int | None = None


@dataclass(frozen=True)
class References:
    """The foreign keys of one table, each with the rows that its columns are taken from."""

    arrangement: Arrangement
    oid: int
    names: Mapping[int, str]

    @property
    def table(self) -> Table:
        """The table itself."""
        return self.arrangement.tables[self.oid]

    @property
    def place(self) -> Place:
        """The place of the table."""
        return self.arrangement.places[self.oid]

    def source(self, key: ForeignKey) -> Source:
        """Where the columns of a foreign key come from."""
        arrangement, target, parent = self.arrangement, key.target, self.place.parent
        if target not in arrangement.tables or self.oid in arrangement.ancestors(target):
            return Source()
        if target == self.oid:
            return self._to_itself(key)
        is_unique = self.table.are_unique(key.columns)
        if target in arrangement.ancestors(self.oid):
            if key != parent and parent is not None and target == parent.target and arrangement.is_referable(key):
                return self._another(key)
            return Source(self._of(target, key.pairs), is_fixed=key == parent)
        if self._is_lookup(key):
            return self._from_lookup(key, is_unique=is_unique)
        return self._referred(key, is_unique=is_unique)

    def is_implied(self, key: ForeignKey, origins: Mapping[str, tuple[int, str]]) -> bool:
        """Whether the rows that the columns come from refer to the key's table themselves, or are rows of it."""
        for name, referred in key.pairs:
            oid, column = origins[name]
            places = [(oid, column)]
            places += [
                (other.target, its)
                for other in self.arrangement.foreign_keys(oid)
                for own, its in other.pairs
                if own == column
            ]
            if (key.target, referred) not in places:
                return False
        return True

    def by_position(self, key: ForeignKey) -> Source | None:
        """Another row of a lookup for each row of the same parent."""
        if not self._is_lookup(key) or len(key.columns) > 1:
            return None
        (name,), (referred,) = key.columns, key.target_columns
        code = f"rows.choice({quoted(name)}, {self._rows(key.target)}[{quoted(referred)}], distinct=True)"
        return Source({name: code}, at_most=self._lookup_rows(key))

    def ascending(self, key: ForeignKey) -> Source | None:
        """Another row for each row of the same parent, in the order of their keys."""
        (name,) = key.columns
        source = self.by_position(key)
        if source is not None:
            return replace(source, codes={name: f"rows.ascending({source.codes[name]})"})
        if key.target not in self.arrangement.tables or not self.arrangement.is_referable(key):
            return None
        entity = self.names[key.target]
        return Source({name: f"rows.reference({quoted(name)}, {{entity:{entity}}}, distinct=True)"}, among=entity)

    def one_each(self, key: ForeignKey) -> Source | None:
        """Another row for each row: the one of the same number."""
        if key.target == self.oid or len(key.columns) > 1 or key.target not in self.arrangement.tables:
            return None
        source = Source()
        if self._is_lookup(key):
            source = self._from_lookup(key, is_unique=True)
        elif self.arrangement.is_referable(key):
            source = self._referred(key, is_unique=True)
        return source if source.codes else None

    def _rows(self, target: int) -> str:
        return f"{{rows:{self.names[target]}}}"

    def _of(self, target: int, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The columns of an ancestor's row."""
        return {name: f"{self._rows(target)}[{quoted(referred)}]" for name, referred in pairs}

    def _is_lookup(self, key: ForeignKey) -> bool:
        return key.target in self.arrangement.lookups and key.target != self.oid

    def _lookup_rows(self, key: ForeignKey) -> int:
        return self.arrangement.places[key.target].rows or 0

    def _from_lookup(self, key: ForeignKey, *, is_unique: bool) -> Source:
        rows = self._rows(key.target)
        if self.place.is_lookup and self._needs_us(key.target, {self.oid}):
            # Lookups that need each other cannot see each other's rows.
            return self._referred(key, is_unique=is_unique) if self.arrangement.is_referable(key) else Source()
        if is_unique:
            if not self.place.is_lookup or self._lookup_rows(key) < (self.place.rows or 0):
                return Source()
            codes = {name: f"{rows}[{quoted(referred)}].gather(rows.number() - 1)" for name, referred in key.pairs}
            return Source(codes, is_unique=True)
        if len(key.columns) == 1:
            ((name, referred),) = key.pairs
            code = f"rows.choice({quoted(name)}, {rows}[{quoted(referred)}])"
            return Source({name: code}, may_be_null=True)
        local = f"one_of_{self.names[key.target]}"
        codes = {name: f"{local}[{quoted(referred)}]" for name, referred in key.pairs}
        return Source(codes, statement=(local, f"rows.sample({quoted(' '.join(key.columns))}, {rows})"))

    def _needs_us(self, target: int, seen: set[int]) -> bool:
        """Whether a lookup, to have its own rows, would need those of this one."""
        return any(
            key.target == self.oid
            or (
                key.target in self.arrangement.lookups
                and key.target not in seen
                and self._needs_us(key.target, {*seen, target})
            )
            for key in self.arrangement.foreign_keys(target)
        )

    def _referred(self, key: ForeignKey, *, is_unique: bool) -> Source:
        """A random row of a root entity; if each may come once only, the one of the same number."""
        (name,) = key.columns
        if is_unique:
            target = self.arrangement.places[key.target]
            kind = kind_of(self.arrangement.tables[key.target], key.target_columns[0])
            grows_alike = self.place.is_lookup == target.is_lookup and self.place.level >= target.level
            is_possible = kind.family in INTEGERS and self.place.is_root and grows_alike
            return Source({name: "rows.number()"}, is_unique=True) if is_possible else Source()
        code = f"rows.reference({quoted(name)}, {{entity:{self.names[key.target]}}})"
        return Source({name: code}, may_be_null=True)

    def _another(self, key: ForeignKey) -> Source:
        """Another row of the parent's table than the parent; for the very first row there is only the parent."""
        source = self._referred(key, is_unique=False)
        if not key.is_required or self.arrangement.ancestors(self.oid)[-1] != key.target:
            return source
        own = f"{self._rows(key.target)}[{quoted(key.target_columns[0])}]"
        return replace(source, codes={name: f"{code}.fill_null({own})" for name, code in source.codes.items()})

    def _to_itself(self, key: ForeignKey) -> Source:
        """An earlier row of the same table; the first row refers to itself if it must refer to any."""
        is_unique = self.table.are_unique(key.columns)
        if self.arrangement.is_referable(key) and not is_unique:
            code = f"rows.reference({quoted(key.columns[0])}, {self.names[self.oid]})"
            if key.is_required:
                code += f".fill_null({{own:{key.target_columns[0]}}})"
            return Source({key.columns[0]: code}, is_fixed=True, may_be_null=True)
        if key.is_required:
            return Source({name: f"{{own:{referred}}}" for name, referred in key.pairs}, is_fixed=True)
        if self.place.is_root or is_unique:
            return Source()
        earlier = "pl.select(pl.when(rows.positions > 0).then({{own:{}}}.shift())).to_series()"
        codes = {name: earlier.format(referred) for name, referred in key.pairs}
        return Source(codes, is_fixed=True, may_be_null=True)
