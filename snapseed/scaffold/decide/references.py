"""The columns of foreign keys: each from the parent, an ancestor, a lookup, a root entity or an earlier row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from snapseed.scaffold.arrange import Arrangement, Place
from snapseed.scaffold.arrange.sizes import latest_of
from snapseed.scaffold.conditions import Conditions, Rule, order_of
from snapseed.scaffold.draws import quoted
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.scaffold.statistics import shares_of_keys


@dataclass(frozen=True)
class KeySource:
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

    @property
    def table(self) -> Table:
        """The table itself."""
        return self.arrangement.tables[self.oid]

    @property
    def conditions(self) -> Conditions:
        """The conditions on its rows."""
        return self.arrangement.conditions[self.oid]

    @property
    def place(self) -> Place:
        """The place of the table."""
        return self.arrangement.places[self.oid]

    def source(self, key: ForeignKey) -> KeySource:
        """Where the columns of a foreign key come from."""
        arrangement, parent = self.arrangement, self.place.parent
        if key.target not in arrangement.ancestors(self.oid):
            key = arrangement.origin(key)
        target = key.target
        columns = arrangement.tables[target].columns if target in arrangement.tables else ()
        unknown = not columns or {column.name for column in columns if column.generated} & {*key.target_columns}
        if unknown or self.oid in arrangement.ancestors(target):
            return KeySource()
        if target == self.oid:
            return self._to_itself(key)
        # Checks of these columns must let through all that the other table's columns have.
        pairs = [(self.conditions.limits[name], arrangement.conditions[target].listed[one]) for name, one in key.pairs]
        if any(limits.allowed and {*(listed or [None])} - {*limits.allowed} for limits, listed in pairs):
            return KeySource()
        if target in arrangement.ancestors(self.oid):
            if key != parent and parent is not None and target == parent.target and arrangement.is_referable(key):
                return self._another(key)
            return KeySource(self._of_row(key, self._rows(target)), is_fixed=key == parent)
        return self._of_others(key, is_unique=self.table.are_unique(key.columns))

    def is_implied(self, key: ForeignKey, origins: Mapping[str, tuple[int, str]]) -> bool:
        """Whether the rows that the columns come from refer to the key's table themselves, or are rows of it."""

        def leads_there(name: str, referred: str) -> bool:
            oid, column = origins[name]
            return (oid, column) == (key.target, referred) or any(
                other.target == key.target and (column, referred) in other.pairs
                for other in self.arrangement.foreign_keys(oid)
            )

        return all(leads_there(*pair) for pair in key.pairs)

    def by_position(self, key: ForeignKey, *, ascending: bool = False) -> KeySource:
        """Another row of a lookup or a root entity for each row of the same parent, if asked in the order of keys."""
        parent, ancestors = self.place.parent, self.arrangement.ancestors(self.oid)
        key = key if key.target in ancestors else self.arrangement.origin(key)
        target = self.arrangement.places.get(key.target)
        if target is None or parent is None or key == parent or len(key.columns) > 1:
            return KeySource()
        (name,) = key.columns
        if self._is_lookup(key):
            code = self._of_row(key, self._rows(key.target))[name]
            code = f"rows.choice({quoted(name)}, {code}, distinct=True)"
            return KeySource({name: f"rows.ascending({code})" if ascending else code}, at_most=target.rows)
        is_free = key.target == parent.target or key.target not in ancestors
        if not is_free or not self.arrangement.is_referable(key):
            return KeySource()
        latest = latest_of(self.arrangement, self.oid, key)
        code = f"rows.reference({quoted(name)}, {{entity:{target.name}}}{latest}, distinct=True)"
        return KeySource({name: code}, among=target.name)

    def met(self, rule: Rule) -> bool:
        """Whether a rule holds because a reference is to an earlier row, if any: earlier than the key, or another."""
        parent, order = self.place.parent, order_of(rule)
        if order is None:
            return False
        keys = self.table.foreign_keys
        later = [(key.columns, key.target_columns) for key in keys if key.target == self.oid and not key.is_required]
        if parent is not None and self.arrangement.ancestors(self.oid) == [parent.target]:
            later += [(key.columns, parent.columns) for key in keys if key.target == parent.target and key != parent]
        ends = (order.before,), (order.after,)
        return any(pair == ends or (order.either and pair == ends[::-1]) for pair in later)

    def one_each(self, key: ForeignKey) -> KeySource:
        """Another row for each row: the one of the same number."""
        is_one = key.target != self.oid and len(key.columns) == 1
        return self._of_others(key, is_unique=True) if is_one else KeySource()

    def _rows(self, target: int) -> str:
        return f"{{rows:{self.arrangement.places[target].name}}}"

    def _of_row(self, key: ForeignKey, row: str) -> dict[str, str]:
        return {name: f"{row}[{quoted(referred)}]" for name, referred in key.pairs}

    def _is_lookup(self, key: ForeignKey) -> bool:
        return key.target in self.arrangement.lookups and key.target != self.oid

    def _of_others(self, key: ForeignKey, *, is_unique: bool) -> KeySource:
        """A row of a lookup or a root entity; if each may come once only, the one of the same number."""
        return (self._from_lookup if self._is_lookup(key) else self._referred)(key, is_unique=is_unique)

    def _from_lookup(self, key: ForeignKey, *, is_unique: bool) -> KeySource:
        target = self.arrangement.places[key.target]
        if self.place.is_lookup and self._needs_us(key.target, {self.oid}):
            # Lookups that need each other cannot see each other's rows.
            return self._referred(key, is_unique=is_unique)
        codes = self._of_row(key, self._rows(key.target))
        place = self.place.combined.get(key.columns[0], "rows.number() - 1" if is_unique else "")
        if is_unique and (not self.place.is_lookup or (target.rows or 0) < (self.place.rows or 0)):
            return KeySource()
        if place:
            return KeySource({name: f"{code}.gather({place})" for name, code in codes.items()}, is_unique=is_unique)
        if len(codes) == 1:
            found = self.table.statistics.get(key.columns[0])
            weights = shares_of_keys(found, self._keys(key)) if found is not None else ()
            how = f", [{', '.join(map(str, weights))}]" if weights else ""
            return KeySource(
                {name: f"rows.choice({quoted(name)}, {code}{how})" for name, code in codes.items()}, may_be_null=True
            )
        local = f"one_of_{target.name}"
        sample = f"rows.sample({quoted(' '.join(key.columns))}, {self._rows(key.target)})"
        return KeySource(self._of_row(key, local), statement=(local, sample))

    def _keys(self, key: ForeignKey) -> list[str]:
        """What a foreign key of one column refers to in a lookup: in kept rows their values, else numbers from one."""
        if kept := self.arrangement.kept.get(key.target):
            place = kept.columns.index(key.target_columns[0])
            return [str(row[place]) for row in kept.rows]
        return [str(number + 1) for number in range(self.arrangement.places[key.target].rows or 0)]

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

    def _referred(self, key: ForeignKey, *, is_unique: bool) -> KeySource:
        """A random row of a root entity; if each may come once only, the one of the same number."""
        if not self.arrangement.is_referable(key):
            return KeySource()
        (name,), target = key.columns, self.arrangement.places[key.target]
        reference = f"rows.reference({quoted(name)}, {{entity:{target.name}}}"
        if not is_unique:
            return KeySource({name: f"{reference}{latest_of(self.arrangement, self.oid, key)})"}, may_be_null=True)
        # The number of a row is that of its root row, if each of these has one at most.
        *between, root = self.oid, *self.arrangement.ancestors(self.oid)
        place = self.arrangement.places[root]
        grows_alike = place.is_lookup == target.is_lookup and place.level >= target.level
        rows, most = self.arrangement.tables[root].rows or 0, self.arrangement.tables[key.target].rows
        if not grows_alike or (most is not None and rows > most) or len(between) > (root != key.target):
            return KeySource()
        return KeySource({name: f"{reference}, unique=True)"}, is_unique=True, at_most=1 if between else None)

    def _another(self, key: ForeignKey) -> KeySource:
        """Another row of the parent's table; the very first row has its parent, or no children if they must differ."""
        source = self._referred(key, is_unique=False)
        needs_value = key.is_required or self.conditions.on(key.columns[0])
        if not needs_value or self.arrangement.ancestors(self.oid)[-1] != key.target:
            return source
        if any(key.columns[0] in rule.columns and self.met(rule) for rule in self.conditions.rules):
            return replace(source, among=self.arrangement.places[key.target].name)
        own = f"{self._rows(key.target)}[{quoted(key.target_columns[0])}]"
        return replace(source, codes={name: f"{code}.fill_null({own})" for name, code in source.codes.items()})

    def _to_itself(self, key: ForeignKey) -> KeySource:
        """An earlier row of the same table; the first row refers to itself if it must refer to any."""
        is_unique = self.table.are_unique(key.columns)
        if self.arrangement.is_referable(key) and not is_unique:
            code = f"rows.reference({quoted(key.columns[0])}, {self.place.name})"
            rules = [rule for rule in self.conditions.rules if key.columns[0] in rule.columns]
            if key.is_required or not all(map(self.met, rules)):
                code += f".fill_null({{own:{key.target_columns[0]}}})"
            return KeySource({key.columns[0]: code}, is_fixed=True, may_be_null=True)
        if key.is_required:
            codes = {name: f"{{own:{referred}}}" for name, referred in key.pairs}
            return KeySource(codes, is_fixed=True, is_unique=is_unique and len(codes) == 1)
        if self.place.parent is None or is_unique:
            return KeySource()
        earlier = "pl.select(pl.when(rows.positions > 0).then({{own:{}}}.shift())).to_series()"
        codes = {name: earlier.format(referred) for name, referred in key.pairs}
        return KeySource(codes, is_fixed=True, may_be_null=True)
