"""Where the values of each column come from: other rows, draws, or the database. Unique constraints hold by design."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from snapseed.errors import ConfigurationError
from snapseed.postgres.facts import ColumnFacts
from snapseed.scaffold.arrange import Arrangement, Place, numbering_of
from snapseed.scaffold.conditions import Conditions, Rule, avoiding
from snapseed.scaffold.decide.references import KeySource, References
from snapseed.scaffold.names import UNIQUE_TYPES, short_type
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.types import Family

# Which columns are made unique first.
_UNIQUE_FIRST = (
    *(Family.TEXT, Family.UUID, Family.BIGINT, Family.INTEGER, Family.TIMESTAMPTZ, Family.TIMESTAMP, Family.CHARACTER),
    *(Family.DATE, Family.SMALLINT, Family.NUMERIC, Family.DOUBLE, Family.REAL, Family.BYTEA),
)
# Columns with fewer different values are made unique last; with too few not at all, unless a lookup has no more rows.
_SHORT, _TOO_FEW = 10**6 - 1, 99
# Keys with room for fewer are short: few rows for each parent leave room for some root rows, otherwise for many.
_ROOMY, _MOST_SMALL, _ROOTS, _MANY_ROOTS = 10**8 - 1, 6, 100, 10_000


class ImpossibleError(Exception):
    """No rows can be made for a table, so it is left out."""


class MisplacedError(ImpossibleError):
    """No rows can be made for a table, but perhaps with another parent, or with none."""


@dataclass(frozen=True)
class Sources:
    """A table with what is decided about its columns before anything is drawn.

    `foreign` has the code of columns of foreign keys, `sometimes_null` are those of them that are NULL now and then,
    and `null` says why a column gets no value from us. The values of `unique` columns must each come once; those of
    `by_position` columns differ within a parent, and take turns among labels if there are any. `nullable` columns may
    be NULL. The rules `met` hold whatever is drawn. Values of `ascending` columns are keys of other tables.
    """

    table: Table
    place: Place
    conditions: Conditions
    foreign: Mapping[str, str]
    sometimes_null: frozenset[str]
    null: Mapping[str, str]
    statements: tuple[tuple[str, str], ...]
    unique: frozenset[str]
    by_position: Mapping[str, tuple[str, ...]]
    most_per_parent: int | None
    among: str | None
    nullable: frozenset[str]
    met: frozenset[Rule] = frozenset()
    ascending: frozenset[str] = frozenset()


def sources_of(arrangement: Arrangement, oid: int) -> Sources:
    """Decide about the columns of a table. Raises `ImpossibleError` if a column must have values and has none."""
    references = References(arrangement, oid)
    table, place, conditions = references.table, references.place, references.conditions
    nullable = frozenset(column.name for column in table.columns if not column.not_null) - {*place.key}
    chosen, unfilled = _foreign(references, nullable)
    null = {**_left_to_the_database(references), **unfilled}
    unique = _unique(references, chosen, null.keys())
    chosen |= unique.replaced
    for index in unique.unmet:
        if condition := table.unique_where.get(index):
            conditions = replace(conditions, rules=(*conditions.rules, *avoiding(condition)))
            continue
        # NULLs do not count as duplicates of each other.
        why = f"snapseed found no way to make ({', '.join(index)}) unique"
        name = next((name for name in reversed(index) if name in nullable), None)
        if name is None:
            raise MisplacedError(why)
        null[name] = f"NULL, because {why}"
    return Sources(
        table=table,
        place=place,
        conditions=conditions,
        foreign={name: code for source in chosen.values() for name, code in source.codes.items() if name not in null},
        sometimes_null=frozenset(
            name
            for key, source in chosen.items()
            for name in source.codes
            if source.may_be_null and len(key.columns) == 1 and name in nullable
        ),
        null=null,
        statements=tuple(source.statement for source in chosen.values() if source.statement is not None),
        unique=unique.columns,
        by_position=unique.by_position,
        most_per_parent=unique.most_per_parent,
        among=next((source.among for source in chosen.values() if source.among), None),
        nullable=nullable,
        met=frozenset(filter(references.met, conditions.rules)),
        ascending=frozenset(
            key.target_columns[0]
            for other, key in arrangement.parents.items()
            if key.target == oid and arrangement.places[other].key == key.columns
        ),
    )


def most_per_parent(sources: Sources, stride: int, usual: int) -> int:
    """The most rows per parent row, `usual` if possible, if each root row has at most `stride` parent rows."""
    most, name = min(usual, sources.most_per_parent or usual), sources.place.key[0]
    room = sources.conditions.room[name]
    if not sources.place.has_own_key:
        return most
    if room >= _ROOMY:
        return int(min(most, max(1, room // _MANY_ROOTS // stride)))
    if stride * _ROOTS > room and not sources.table.rows:
        kind = short_type(sources.table.column(name).type)
        raise MisplacedError(f"its key, a {kind}, has no room for all its rows")
    return int(min(most if sources.table.rows else min(most, _MOST_SMALL), max(1, room // _ROOTS // stride)))


def leave(table: Table, name: str, why: str) -> dict[str, str]:
    """Leave a column to the database or NULL. Raises `ImpossibleError` if neither is possible."""
    column = table.column(name)
    if column.not_null and not column.has_default:
        raise ImpossibleError(f"column {name}: {why}")
    return {name: f"left to the database, because {why}" if column.has_default else f"NULL, because {why}"}


def _left_to_the_database(references: References) -> dict[str, str]:
    table, place = references.table, references.place
    if table.partitions == ():
        raise ImpossibleError("it has no partitions, so no row has a place in it")
    null: dict[str, str] = {}
    for column in table.columns:
        if column.generated:
            continue
        try:
            table.kind(column.name)
        except ConfigurationError:
            null |= leave(table, column.name, f"snapseed cannot generate type {column.type}")
            continue
        is_needed = column.name in {*table.foreign_columns, *place.key}
        if not is_needed and (why := _kept_by_the_application(table, column)):
            null[column.name] = f"NULL, because {why}"
            continue
        is_needed |= references.conditions.on(column.name) and not column.identity
        if not is_needed and (column.identity or column.name in table.serials):
            null[column.name] = "numbered by the database"
    return null


def _kept_by_the_application(table: Table, column: ColumnFacts) -> str | None:
    """Why the application alone can say what is in a column that may be NULL; None for any other column."""
    names = {other.name for other in table.columns}
    if column.not_null or column.has_default:
        return None
    if column.type == "tsvector":
        return "text search vectors are made from other columns, usually by a trigger"
    if column.name == "type" and table.kind("type").family is Family.TEXT and {"created_at", "updated_at"} <= names:
        return "in Rails, it holds the name of a class"
    return None


def _foreign(references: References, nullable: frozenset[str]) -> tuple[dict[ForeignKey, KeySource], dict[str, str]]:
    """A source for each foreign key, for those of its columns that no other key fills; and the columns without one."""
    table, place = references.table, references.place
    chosen: dict[ForeignKey, KeySource] = {}
    null: dict[str, str] = {}
    filled: dict[str, str] = {}
    origins: dict[str, tuple[int, str]] = {}
    for key in sorted(table.foreign_keys, key=lambda key: (key != place.parent, -len(key.columns))):
        source = references.source(key)
        fresh = [name for name in key.columns if name not in filled]
        contradicts = any(source.codes.get(name, code) != code for name, code in filled.items())
        if not fresh and references.is_implied(key, origins):
            continue
        if fresh and source.codes and (source.is_fixed or not contradicts):
            chosen[key] = replace(source, codes={name: source.codes[name] for name in fresh})
            filled |= chosen[key].codes
            origins |= {name: (key.target, referred) for name, referred in key.pairs if name in fresh}
            continue
        if key.guess:
            continue
        if not (empty := [name for name in fresh if name in nullable]):
            raise MisplacedError(f"no row is known that its foreign key ({', '.join(key.columns)}) can refer to")
        null |= dict.fromkeys(empty, "NULL, because no row is known that it can refer to")
    return chosen, null


def _unique(references: References, chosen: Mapping[ForeignKey, KeySource], null: Collection[str]) -> _Uniqueness:
    """A way to meet each unique index, unless columns that are NULL or already unique do."""
    table, place = references.table, references.place
    found = _Uniqueness(
        references,
        frozenset(name for source in chosen.values() for name in source.codes),
        columns=frozenset(name for key, source in chosen.items() if source.is_unique for name in key.columns)
        | (frozenset(place.combined) if len(place.combined) == 1 else frozenset())
        | (frozenset(place.key[:1]) - place.combined.keys() if place.has_own_key else frozenset()),
        most_per_parent=1 if place.one_each or any(source.at_most == 1 for source in chosen.values()) else None,
    )
    if not place.has_own_key:
        found = found.meeting_key() or replace(found, unmet=(place.key,))
    excluded = [exclusion.equal for exclusion in table.tried_exclusions if exclusion.equal]
    for index in sorted([*table.unique, *table.unique_where, *excluded], key=len):
        if not found.meets(index, null):
            found = found.meeting(index) or replace(found, unmet=(*found.unmet, index))
    return found


@dataclass(frozen=True)
class _Uniqueness:
    """How unique indexes are met so far. Meeting one more gives another such value, or None if there is no way.

    `foreign` columns are those of foreign keys, of which `replaced` have another source for this; `columns` have values
    that come once each.
    """

    references: References
    foreign: frozenset[str]
    columns: frozenset[str]
    most_per_parent: int | None
    by_position: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replaced: Mapping[ForeignKey, KeySource] = field(default_factory=dict)
    unmet: tuple[tuple[str, ...], ...] = ()

    def meets(self, index: tuple[str, ...], null: Collection[str]) -> bool:
        """Whether an index is met already."""
        names, place = set(index), self.references.place
        is_combined = place.combined and place.combined.keys() <= names
        if is_combined or set(place.key) <= names or not names.isdisjoint(null) or names & self.columns:
            return True
        return self.most_per_parent == 1 and place.parent is not None and set(place.parent.columns) <= names

    def meeting_key(self) -> _Uniqueness | None:
        """The column after the parent's key differs among the rows of each parent, and ascends."""
        table, place = self.references.table, self.references.place
        assert place.parent is not None
        name = next(name for name in place.key if name not in place.parent.columns)
        if name not in self.foreign:
            return self._positioned([name], in_key=True)
        key = next(key for key in table.foreign_keys if key.columns == (name,))
        return self._replacing(key, self.references.by_position(key, ascending=True))

    def meeting(self, index: tuple[str, ...]) -> _Uniqueness | None:
        """The first way to meet an index: by position, by unique values, by other sources of its foreign keys."""
        parent = self.references.place.parent
        is_within_parent = parent is not None and set(parent.columns) <= set(index)
        own = [name for name in index if name not in self.foreign | self.references.conditions.ordered]
        if is_within_parent and (found := self._positioned(own)):
            return found
        if ranks := {name: rank for name in own if (rank := self._rank(name)) is not None}:
            return replace(self, columns=self.columns | {min(ranks, key=lambda name: ranks[name])})
        keys = [key for key in self.references.table.foreign_keys if set(key.columns) <= set(index)]
        if is_within_parent:
            ways = (self._replacing(key, self.references.by_position(key)) for key in keys)
            return next(filter(None, ways), None) or replace(self, most_per_parent=1)
        for key in keys:
            if found := self._replacing(key, self.references.one_each(key)):
                return replace(found, columns=found.columns | set(key.columns))
        return None

    def _replacing(self, key: ForeignKey, source: KeySource) -> _Uniqueness | None:
        """Another source for a foreign key, if there is one and it has no other than its usual one yet."""
        if not source.codes or key in self.replaced:
            return None
        return replace(self, replaced={**self.replaced, key: source}, most_per_parent=self._at_most(source.at_most))

    def _rank(self, name: str) -> int | None:
        """How early a column is made unique; None if it has too few values."""
        column, kind = self.references.table.column(name), self.references.table.kind(name)
        conditions, base = self.references.conditions, kind.base.rpartition(".")[2]
        is_listed = column.labels or conditions.limits[name].allowed is not None
        has_no_room = conditions.room[name] < (self.references.place.rows or _TOO_FEW)
        if (
            is_listed
            or has_no_room
            or kind.is_array
            or not (kind.family in _UNIQUE_FIRST or base in {"numeric", *UNIQUE_TYPES})
        ):
            return None
        return (*_UNIQUE_FIRST, kind.family).index(kind.family) + (conditions.room[name] < _SHORT) * len(Family)

    def _positioned(self, own: Sequence[str], *, in_key: bool = False) -> _Uniqueness | None:
        """Numbers count the rows of a parent, labels take turns; no parent has more rows than there are of these."""
        for name in own:
            if numbering := numbering_of(self.references.table, self.references.conditions, name, in_key=in_key):
                by_position = {**self.by_position, name: numbering.labels}
                return replace(self, by_position=by_position, most_per_parent=self._at_most(numbering.most))
        return None

    def _at_most(self, most: int | None) -> int | None:
        return min(most, self.most_per_parent or most) if most is not None else self.most_per_parent
