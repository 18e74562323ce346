"""The parent of each table: of its foreign keys the one that says best whose rows they are, if any does."""

from __future__ import annotations

from collections.abc import Mapping

from snapseed.generate.words import words_of
from snapseed.scaffold.conditions import Conditions
from snapseed.scaffold.names import singular, suggests
from snapseed.scaffold.schema import ForeignKey, Table

# Points for a foreign key as the one to the parent.
_NOT_BY_KEY, _ONE_EACH, _JOIN, _IN_KEY, _BETWEEN = 80, 60, 40, 30, 25
_REQUIRED, _CASCADES, _NAMED_LIKE, _TO_PEOPLE = 20, 15, 12, 6


def parents_of(
    tables: Mapping[int, Table], conditions: Mapping[int, Conditions], lookups: frozenset[int]
) -> dict[int, ForeignKey]:
    """The foreign key to the parent of each child."""
    parents: dict[int, ForeignKey] = {}
    for oid, table in tables.items():
        scored = [
            (_score(table, key, tables[key.target]), conditions[oid].is_last(key.columns), -place, key)
            for place, key in enumerate(key for key in table.foreign_keys if key.target in tables)
            if key.target not in {oid, *lookups} and oid not in ancestors_of(parents, key.target)
        ]
        if oid not in lookups and scored and max(found[0] for found in scored) > 0:
            parents[oid] = max(scored, key=lambda found: found[:3])[3]
    # A table that anything but its descendants refers to becomes a root entity: only those can be chosen from. If its
    # rows have the keys of its parent's rows, these can be chosen from.
    moved: set[int] = set()
    while True:
        freed = set()
        for oid, table in tables.items():
            own = {oid, *ancestors_of(parents, oid)}
            for key in table.foreign_keys:
                target = key.target
                while target in parents and target not in own and shares_key(tables[target], parents[target]):
                    target = parents[target].target
                if (
                    target in parents
                    and target not in own
                    and (key.is_required or oid not in ancestors_of(parents, target))
                ):
                    # The rows of a table that joins others have keys as children only: its own children keep it one.
                    if _joins(tables[target]) and oid not in {*moved, *lookups, *ancestors_of(parents, target)}:
                        parents[oid] = key
                        moved.add(oid)
                        break
                    freed.add(target)
        if not freed:
            return parents
        parents = {oid: key for oid, key in parents.items() if oid not in freed}


def _joins(table: Table) -> bool:
    """Whether nothing but foreign keys identifies the rows of a table."""
    return len(table.primary_key) > 1 and set(table.primary_key) <= table.foreign_columns


def shares_key(table: Table, parent: ForeignKey) -> bool:
    """Whether the rows of a table have the keys of their parents."""
    return len(parent.columns) == 1 and table.primary_key == parent.columns


def _score(table: Table, key: ForeignKey, target: Table) -> int:
    """How much suggests that the table that `key` refers to is the parent."""
    ours, theirs = words_of(table.name), words_of(target.name)
    points = _ONE_EACH if table.are_unique(key.columns) else 0
    # Rows can be chosen by their key only; any other of their columns has to be that of the parent.
    points += _NOT_BY_KEY if len(key.columns) == 1 and key.target_columns != target.primary_key else 0
    # A table that joins others has to stay a child, so that its pairs can differ.
    points += _JOIN if any(len(index) > 1 and set(index) <= target.foreign_columns for index in target.unique) else 0
    points += _IN_KEY if any(set(key.columns) <= set(index) for index in table.unique) else 0
    # If a table refers to a rental and to its customer, the rental is the parent: it leads to the customer.
    others = {other.target for other in table.foreign_keys if other.target != key.target}
    points += _BETWEEN if any(other.target in others and other.is_required for other in target.foreign_keys) else 0
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
