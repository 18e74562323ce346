"""Whose rows are whose: foreign keys that nobody declared, and which key leads to a table's parent."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from snapseed.generate.words import words_of
from snapseed.postgres.facts import ColumnFacts
from snapseed.scaffold.conditions import Conditions
from snapseed.scaffold.names import singular, suggests
from snapseed.scaffold.schema import ForeignKey, Table
from snapseed.snapshot.types import Family

# Some schemas begin the names of all columns of a table with the same letters: `c_name` and `c_custkey` of `customer`.
_LETTERS = re.compile("[a-z]{1,3}_")
# Names of keys that say nothing about their tables.
_PLAIN = {"id", "key", "code", "name", "uuid"}
# Points for a foreign key as the one to the parent.
_NOT_BY_KEY, _BY_SEVERAL, _ONE_EACH, _IN_KEY, _BETWEEN = 80, 80, 60, 30, 25
_REQUIRED, _CASCADES, _NAMED_LIKE, _TO_PEOPLE = 20, 15, 12, 6


def with_guesses(tables: Iterable[Table]) -> tuple[Table, ...]:
    """The tables with the foreign keys that columns such as `user_id` suggest, beside a table `users` with a key."""
    tables = tuple(tables)
    keyed = [table for table in tables if len(table.primary_key) == 1]
    targets = _only(keyed, _by_key) | _only(keyed, _by_name)
    return tuple(replace(table, foreign_keys=(*table.foreign_keys, *_guesses(table, targets))) for table in tables)


def _only(tables: Iterable[Table], names_of: Callable[[Table], set[str]]) -> dict[tuple[str, str], Table]:
    """The tables by their schema and what columns that refer to them are called, where that is one table only."""
    found: dict[tuple[str, str], list[Table]] = defaultdict(list)
    for table in tables:
        for name in {name.replace("_", "") for name in names_of(table)}:
            found[table.schema, name].append(table)
    return {place: named[0] for place, named in found.items() if len(named) == 1}


def _by_name(table: Table) -> set[str]:
    """What a column is called that refers to a table by its name: `user_id`."""
    (key,), name = table.primary_key, words_of(table.name)
    return {f"{singular(name)}_{words_of(key)}", f"{name}_{words_of(key)}"} if name else set()


def _by_key(table: Table) -> set[str]:
    """What a column is called that refers to a table by the name of its key: `custkey`."""
    (key,) = map(words_of, table.primary_key)
    letters = _LETTERS.match(key)
    if letters and all(words_of(column.name).startswith(letters[0]) for column in table.columns):
        key = key.removeprefix(letters[0])
    is_text = table.kind(table.primary_key[0]).family is Family.TEXT
    return {key} - _PLAIN if not is_text or key.startswith(singular(words_of(table.name))) else set()


def _guesses(table: Table, targets: Mapping[tuple[str, str], Table]) -> Iterator[ForeignKey]:
    for column in table.columns:
        target = _target(table, column, targets)
        if target is None or column.name in table.foreign_columns:
            continue
        (key,) = target.primary_key
        is_itself = target.oid == table.oid and (column.name == key or column.not_null)
        if not is_itself and target.column(key).type == column.type:
            yield ForeignKey((column.name,), target.oid, (key,), is_required=column.not_null, guess=str(target))


def _target(table: Table, column: ColumnFacts, targets: Mapping[tuple[str, str], Table]) -> Table | None:
    """The table that a column refers to by its name, which may begin with what it is to it: `author_user_id`."""
    words = words_of(column.name)
    # With a type beside it, it refers to rows of several tables.
    is_several = f"{words.removesuffix('_id')}_type" in {words_of(other.name) for other in table.columns}
    if is_several or column.identity or column.generated or column.has_default:
        return None
    if words == "parent_id" and len(table.primary_key) == 1:
        return table
    parts = words.split("_")
    endings = ("".join(parts[place:]) for place in range(len(parts)))
    return next(filter(None, (targets.get((table.schema, ending)) for ending in endings)), None)


def parents_of(
    tables: Mapping[int, Table], conditions: Mapping[int, Conditions], lookups: frozenset[int]
) -> dict[int, ForeignKey]:
    """The foreign key to the parent of each child."""
    parents: dict[int, ForeignKey] = {}
    for oid, table in tables.items():
        scored = [
            (_score(table, key, tables[key.target]), conditions[oid].is_last(key.columns), -place, key)
            for place, key in enumerate(key for key in table.foreign_keys if key.target in tables)
            if len(key.columns) <= table.widest_parent
            and key.target not in {oid, *lookups}
            and oid not in ancestors_of(parents, key.target)
        ]
        if oid not in lookups and scored and max(found[0] for found in scored) > 0:
            parents[oid] = max(scored, key=lambda found: found[:3])[3]
    # A table that anything but its descendants refers to becomes a root entity: only those can be chosen from. If its
    # rows have the keys of its parent's rows, these can be chosen from. The rows of a table that joins others have keys
    # as children only, and a reference that may be NULL takes no row from a parent that it needs.
    while True:
        freed = set()
        for oid, table in tables.items():
            own = {oid, *ancestors_of(parents, oid)}
            for key in table.foreign_keys:
                target = key.target
                while target in parents and target not in own and shares_key(tables[target], parents[target]):
                    target = parents[target].target
                whole = tables[target].primary_key if target in parents else ()
                joins = len(whole) > 1 and tables[target].foreign_columns.issuperset(whole)
                if target in parents and target not in own and not joins:
                    needs_it = parents[target].is_required and len(parents[target].columns) > 1
                    if key.is_required or not (needs_it or oid in ancestors_of(parents, target)):
                        freed.add(target)
        if not freed:
            return parents
        parents = {oid: key for oid, key in parents.items() if oid not in freed}


def shares_key(table: Table, parent: ForeignKey) -> bool:
    """Whether the rows of a table have the keys of their parents."""
    return len(parent.columns) == 1 and table.primary_key == parent.columns


def _score(table: Table, key: ForeignKey, target: Table) -> int:
    """How much suggests that the table that `key` refers to is the parent."""
    ours, theirs = words_of(table.name), words_of(target.name)
    points = _ONE_EACH if table.are_unique(key.columns) else 0
    # Rows can be chosen by their key only; any other of their columns has to be that of the parent.
    points += 0 if key.target_columns == target.primary_key and len(key.columns) == 1 else _NOT_BY_KEY
    points += _BY_SEVERAL if len(key.columns) > 1 else 0
    points += _IN_KEY if any(set(key.columns) <= set(index) for index in table.unique) else 0
    # If a table refers to a rental and to its customer, the rental is the parent: it leads to the customer.
    others = {other.target for other in table.foreign_keys if other.target != key.target}
    between = [other for other in target.foreign_keys if other.target in others and other.is_required]
    points += 0 if all(other.guess for other in between) else _BETWEEN
    points += _REQUIRED if key.is_required else 0
    points += _CASCADES if key.cascades else 0
    points += _NAMED_LIKE if ours.startswith(singular(theirs)) else _NAMED_LIKE // 2 if ours.endswith(theirs) else 0
    points += _TO_PEOPLE if suggests("people", theirs) else 0
    points -= _REQUIRED if suggests("few", theirs) and not key.cascades else 0
    # People come first: nobody counts them by what they refer to, such as a home or a shop.
    is_owned = key.cascades or points >= _ONE_EACH
    return points if is_owned or not suggests("people", ours) else 0


def ancestors_of(parents: Mapping[int, ForeignKey], oid: int) -> list[int]:
    """Parent, grandparent, … up to the root entity."""
    found = []
    while (key := parents.get(oid)) is not None:
        oid = key.target
        found.append(oid)
    return found
