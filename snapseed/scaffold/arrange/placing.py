"""The place of each table: root entity, lookup or child, and the key of its rows. Foreign keys decide, then names."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from snapseed.errors import ConfigurationError
from snapseed.generate.words import words_of
from snapseed.scaffold.arrange import LOOKED_UP, PLACED, REFERRED, Arrangement, Place, numbering_of
from snapseed.scaffold.arrange.parents import ancestors_of, parents_of, shares_key
from snapseed.scaffold.conditions import MOMENTS, Conditions
from snapseed.scaffold.kept import KeptRows
from snapseed.scaffold.names import identifier, suggests
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.keys import is_key_type
from snapseed.snapshot.types import INTEGERS, ColumnType, Family

_SMALL_COLUMNS = 5
# A unique column with no more different values makes a lookup.
NO_ROOM = 1_000
# No root entity is further than this from the one that the scale counts.
_LEVELS = 2
_LOOKUP_ROWS, _NEEDED_LOOKUP_ROWS, _MOST_LOOKUP_ROWS = 8, 20, 5_000
# Types whose unique values ascend as they are drawn, so that a column of them can be a key, or begin one.
_ASCENDING = INTEGERS | MOMENTS | {Family.TEXT, Family.CHARACTER, Family.NUMERIC}
_NO_KEY = "it has no primary key, and no unique column that could serve as one"


def arrange(
    tables: Mapping[int, Table],
    conditions: Mapping[int, Conditions],
    excluded: Mapping[int, str],
    kept: Mapping[int, KeptRows],
) -> Arrangement:
    """Place all tables but those `excluded` for a reason, and those that need their rows; the `kept` are lookups."""
    needed: frozenset[int] = frozenset()
    keys: Mapping[int, tuple[str, ...]] = {}
    while True:
        left_out = _with_dependents(tables, excluded)
        present = {oid: table for oid, table in tables.items() if oid not in left_out}
        lookups = _lookups(present, conditions, needed | kept.keys())
        parents = parents_of(present, conditions, lookups)
        draft = Arrangement(present, conditions, parents, lookups, left_out, {}, kept)
        for oid in sorted(present, key=lambda oid: len(ancestors_of(parents, oid))):
            given = kept[oid].key if oid in kept else keys.get(oid, ())
            key, one_each = (given, False) if given else _key_of(draft, oid)
            if not key:
                own = ", ".join(present[oid].primary_key)
                why = f"snapseed found no way to make its key ({own}) unique" if own else _NO_KEY
                excluded = {**excluded, oid: why}
                break
            table, taken = present[oid], {place.name for place in draft.places.values()}
            name = identifier(table.name, taken)
            if not table.is_visible and name != identifier(table.name):
                name = identifier(f"{table.schema}_{table.name}", taken)
            draft = replace(draft, places={**draft.places, oid: Place(name, key, parents.get(oid), one_each)})
        else:
            # Root entities that others choose from, and whose keys `rows.reference()` cannot give, have the key that
            # all of these ask for, or become lookups.
            asked = [
                key
                for oid in present
                for key in draft.foreign_keys(oid)
                if key.target not in {oid, *draft.ancestors(oid), *lookups, *parents}
            ]
            if not (more := {key.target for key in asked if not draft.is_referable(key)}):
                return replace(draft, places=_with_sizes(draft, needed))
            keyed = {key.target: replace(draft.places[key.target], key=key.target_columns) for key in asked}
            other = replace(draft, places={**draft.places, **keyed})
            unfit = {key.target for key in asked if not other.is_referable(key)}
            keys = {**keys, **{oid: keyed[oid].key for oid in more - unfit}}
            needed |= more & unfit


def _with_dependents(tables: Mapping[int, Table], excluded: Mapping[int, str]) -> dict[int, str]:
    """The tables left out, followed by those that cannot do without them."""
    found = dict(excluded)
    missing = list(excluded)
    for oid in missing:
        for other, table in tables.items():
            if other not in found and any(
                key.target == oid and key.is_required and not key.guess for key in table.foreign_keys
            ):
                helps = f": add --keep-rows {tables[oid]}" if tables[oid].has_rows else ""
                found[other] = f"it needs rows of {tables[oid]}{helps}"
                missing.append(other)
    return found


def _lookups(
    tables: Mapping[int, Table], conditions: Mapping[int, Conditions], known: frozenset[int]
) -> frozenset[int]:
    """Small tables with the name of a lookup that others refer to, and those with room for few rows."""
    referred = {key.target for table in tables.values() for key in table.foreign_keys if key.target != table.oid}
    found = set(known)
    for oid, table in tables.items():
        has_no_room = _room(table, conditions[oid]) <= NO_ROOM
        is_small = len([column for column in table.columns if not column.generated]) <= _SMALL_COLUMNS
        refers = any(key.target != oid for key in table.foreign_keys)
        if has_no_room or (oid in referred and not refers and is_small and suggests("lookup", table.name)):
            found.add(oid)
    while more := {oid for oid in tables.keys() - found if _combined(tables[oid], conditions[oid], found)}:
        found |= more
    return frozenset(found)


def _room(table: Table, conditions: Conditions) -> float:
    """How many rows the columns that are unique, each by itself, leave room for."""
    alone = [table.column(index[0]) for index in table.unique if len(index) == 1]
    names = [column.name for column in alone if column.not_null or conditions.on(column.name)]
    return min((conditions.room[name] for name in names), default=math.inf)


def _combined(table: Table, conditions: Conditions, lookups: Collection[int]) -> tuple[str, ...]:
    """The columns of a unique index that all have few values: there are no more rows than combinations of these."""
    targets = {key.columns[0]: key.target for key in table.foreign_keys if len(key.columns) == 1}
    required = {column.name for column in table.columns if column.not_null}
    is_keyless = not any(required.issuperset(index) for index in table.unique)
    few = {
        column.name
        for column in table.columns
        if (is_keyless or column.name in required)
        and (targets[column.name] in lookups if column.name in targets else conditions.listed[column.name])
    }
    return next((index for index in sorted(table.unique, key=len) if few.issuperset(index)), ())


def _with_sizes(draft: Arrangement, needed: frozenset[int]) -> dict[int, Place]:
    """The places with the number of rows of lookups, and the level of root entities."""
    referrers: dict[int, list[int]] = {}
    for oid, place in draft.places.items():
        if place.parent is None and oid not in draft.lookups:
            for key in draft.foreign_keys(oid):
                referrers.setdefault(key.target, []).append(oid)

    def level(oid: int, path: tuple[int, ...] = ()) -> int:
        """How many root entities refer to this one in a row: the more, the fewer rows it has."""
        if len(path) == _LEVELS:
            return 0
        path = (*path, oid)
        above = [level(other, path) for other in referrers.get(oid, ()) if other not in path]
        name = draft.tables[oid].name
        if suggests("people", name) and not suggests("few", name):
            return 0
        if "address" in words_of(name):
            return max(above, default=0)
        return min(_LEVELS, max([int(suggests("few", name)), *(found + 1 for found in above)]))

    places = {
        oid: _lookup(draft, oid, needed)
        if oid in draft.lookups
        else replace(place, level=0 if place.parent else level(oid))
        for oid, place in draft.places.items()
    }
    # A root entity that refers to each row of another at most once has no more rows than that. The same goes for one
    # that joins others, since each pair differs if one of the two does.
    paired = [
        (oid, key.target)
        for oid, place in places.items()
        for key in draft.foreign_keys(oid)
        if place.parent is None and places[key.target].parent is None
        for index in draft.tables[oid].unique
        if set(key.columns) <= set(index) <= draft.tables[oid].foreign_columns
    ]
    for _ in range(_LEVELS * len(paired)):
        for oid, target in paired:
            places[oid] = replace(places[oid], level=max(places[oid].level, places[target].level))
    return places


def _lookup(draft: Arrangement, oid: int, needed: frozenset[int], above: frozenset[int] = frozenset()) -> Place:
    """The place of a lookup with its rows: those it keeps, or as many as its key has values, or as in the source.

    If there are too many of these to list, or it is not known, a usual number.
    """
    table, place, above = draft.tables[oid], draft.places[oid], above | {oid}
    if oid in draft.kept:
        return replace(place, rows=len(draft.kept[oid].rows))
    known = table.rows if table.rows and table.rows <= _MOST_LOOKUP_ROWS else None
    columns = _combined(table, draft.conditions[oid], draft.lookups - above)
    if not columns:
        rows = known or (_NEEDED_LOOKUP_ROWS if oid in needed else _LOOKUP_ROWS)
        return replace(place, rows=int(min(rows, _room(table, draft.conditions[oid]))))
    targets = {name: key.target for key in table.foreign_keys for name in key.columns}
    counts = [
        _lookup(draft, targets[name], needed, above).rows or 1
        if name in targets
        else len(draft.conditions[oid].listed[name])
        for name in columns
    ]
    codes, step = {}, 1
    for name, count in reversed(list(zip(columns, counts, strict=True))):
        codes[name] = f"(rows.number() - 1){f' // {step}' * (step > 1)} % {count}"
        step *= count
    return replace(place, rows=min(step, known or _MOST_LOOKUP_ROWS), combined=codes)


def _key_of(draft: Arrangement, oid: int) -> tuple[tuple[str, ...], bool]:
    """The columns that identify the rows of a table, if any, and whether each parent has one row at most."""
    table, parent = draft.tables[oid], draft.parents.get(oid)
    kinds = {column.name: _kind_in_key(table, column.name) for column in table.columns if not column.labels}
    possible = [name for name, kind in kinds.items() if kind and kind.family in {Family.UUID, *_ASCENDING}]
    # What may be NULL tells rows apart only as far as it has room; a table without room in other columns is a lookup.
    room, is_lookup = draft.conditions[oid].room, oid in draft.lookups
    alone = [name for name, *others in table.unique if not others and (is_lookup or room[name] > NO_ROOM)]
    dependent = table.foreign_columns | draft.conditions[oid].narrow

    def first(names: Iterable[str], others: frozenset[str] = frozenset()) -> tuple[str, ...]:
        return next(((name,) for name in names if name in possible and name not in others), ())

    if parent is not None and shares_key(table, parent) and parent.target_columns == draft.places[parent.target].key:
        return parent.columns, True
    ways = (
        first(alone, table.foreign_columns),
        _joint_key(draft, table, parent) if parent is not None else (),
        _own_key(table, possible, dependent),
        _combined(table, draft.conditions[oid], draft.lookups),
        first((name for index in table.unique for name in index), dependent),
    )
    if key := next(filter(None, ways), ()):
        return key, False
    if parent is not None:
        for name, referred in parent.pairs:
            if (referred,) == draft.places[parent.target].key and name in possible:
                return (name,), True
    free = [column.name for column in table.columns if not column.identity]
    # With unique texts or numbers of their parents, rows are in the order of these.
    one_each = parent is not None and table.are_unique(parent.columns)
    alone = [name for name in alone if not one_each or table.kind(name).family is not Family.UUID]
    return first(alone) or first(free, dependent), one_each


def _own_key(table: Table, possible: Collection[str], dependent: frozenset[str]) -> tuple[str, ...]:
    """The primary key of a table, beginning with a column that can tell all rows apart: one with room, if possible."""
    kinds = {name: table.kind(name) for name in table.primary_key if name in possible and name not in dependent}
    ascending = [name for name, kind in kinds.items() if kind.family in _ASCENDING]
    if not ascending or not all(_kind_in_key(table, name) for name in table.primary_key):
        return ()
    short = [name for name in ascending if table.column(name).type.startswith("character") and kinds[name].modifiers]
    unlike = min(ascending, key=lambda name: (name in short, kinds[name].family in MOMENTS - {Family.DATE}))
    return unlike, *(name for name in table.primary_key if name != unlike)


def _kind_in_key(table: Table, name: str) -> ColumnType | None:
    """The type of a column that can be in a key; None for any other."""
    try:
        kind = table.kind(name)
    except ConfigurationError:
        return None
    return kind if is_key_type(kind) and not table.column(name).generated else None


def _joint_key(draft: Arrangement, table: Table, parent: ForeignKey) -> tuple[str, ...]:
    """The primary key, or else a unique index, if it is the parent's key and more: that first, then what differs."""
    own = {referred: name for name, referred in parent.pairs}
    above = draft.places[parent.target].key
    if not set(own) >= set(above) or table.are_unique(parent.columns):
        return ()
    leading = [own[name] for name in above]
    for index in [table.primary_key] if table.primary_key else table.unique:
        first = (*leading, *(name for name in index if name in parent.columns and name not in leading))
        rest = [name for name in index if name not in first]
        fits = all(table.column(name).not_null and _kind_in_key(table, name) for name in index)
        ranks = {name: rank for name in rest if (rank := _rank(draft, table, parent, name)) is not None}
        if fits and ranks and set(first) <= set(index):
            differing = min(rest, key=lambda name: ranks.get(name, PLACED + 1))
            return *first, differing, *(name for name in rest if name != differing)
    return ()


def _rank(draft: Arrangement, table: Table, parent: ForeignKey, name: str) -> int | None:
    """How well a column can differ among the rows of a parent; None if it cannot."""
    if not (keys := [key for key in table.foreign_keys if name in key.columns]):
        numbering = numbering_of(table, draft.conditions[table.oid], name, in_key=True)
        return numbering.rank if numbering else None
    (key, *others) = keys
    if others or key.columns != (name,) or key.target == table.oid:
        return None
    if key.target in draft.lookups:
        return LOOKED_UP
    is_free = key.target == parent.target or key.target not in draft.ancestors(table.oid)
    key = draft.origin(key)
    return REFERRED if is_free and key.target in draft.tables and draft.is_referable(key) else None
