"""The columns that identify the rows of a table: one drawn for it, or the parent's key and what differs below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from snapseed.errors import ConfigurationError
from snapseed.scaffold.facts import ForeignKey, Table
from snapseed.snapshot.types import INTEGERS, KEYS, ColumnType, Family, parse_type

if TYPE_CHECKING:
    from snapseed.scaffold.arrange import Arrangement

# What differs among the rows of a parent, the best first: they are counted, or refer to other rows each of a root
# entity, of a lookup; or they have other labels each.
_COUNTED, _REFERRED, _LOOKED_UP, _LABELLED = range(4)


def kind_of(table: Table, column: str) -> ColumnType:
    """The type of a column. Raises `ConfigurationError` for one that no snapshot has: a vector without dimensions."""
    return parse_type(table.column(column).type)


def can_be_key(table: Table, name: str) -> bool:
    """Whether the column has a type of keys, and takes as many values as there are rows."""
    column = table.column(name)
    if column.generated or column.labels:
        return False
    try:
        kind = parse_type(column.type)
    except ConfigurationError:
        return False
    return not kind.is_array and kind.family in KEYS


def key_of(
    arrangement: Arrangement, table: Table, parent: ForeignKey | None, *, may_be_joint: bool
) -> tuple[tuple[str, ...], bool]:
    """The columns that identify the rows of a table, and whether they leave one row for each parent at most.

    There are none where there is no column that could be one.
    """
    narrow = arrangement.narrow[table.oid]
    alone = [key[0] for key in table.unique if len(key) == 1]
    if drawn := _drawn(table, alone, table.foreign_columns):
        return drawn, False
    if parent is not None and may_be_joint and (joint := _joint_key(arrangement, table, parent)):
        return joint, False
    if drawn := _drawn(table, [name for key in table.unique for name in key], table.foreign_columns | narrow):
        return drawn, False
    if parent is not None:
        above = arrangement.places[parent.target].key
        for name, referred in zip(parent.columns, parent.target_columns, strict=True):
            if (referred,) == above and can_be_key(table, name):
                return (name,), True
    if drawn := _drawn(table, alone, frozenset()):
        return drawn, False
    free = [column.name for column in table.columns if not column.identity]
    return _drawn(table, free, table.foreign_columns | narrow), False


def _drawn(table: Table, names: Iterable[str], others: frozenset[str]) -> tuple[str, ...]:
    """The first of the columns that can be a key, without those that get their values otherwise; none if none can."""
    return next(((name,) for name in names if name not in others and can_be_key(table, name)), ())


def _joint_key(arrangement: Arrangement, table: Table, parent: ForeignKey) -> tuple[str, ...]:
    """The primary key of a table, where it is its parent's key and more: that first, then the column that differs.

    A table without a primary key may have another unique index for it. Empty where no such column is known.
    """
    own = dict(zip(parent.target_columns, parent.columns, strict=True))
    above = arrangement.places[parent.target].key
    if set(own) != set(above) or table.are_unique(parent.columns):
        return ()
    first = tuple(own[name] for name in above)
    for index in [table.primary_key] if table.primary_key else table.unique:
        rest = [name for name in index if name not in first]
        fits = all(can_be_key(table, name) and table.column(name).not_null for name in index)
        ranks = {name: rank for name in rest if (rank := _rank(arrangement, table, parent, name)) is not None}
        if fits and ranks and set(first) <= set(index):
            differing = min(rest, key=lambda name: ranks.get(name, _LABELLED + 1))
            return *first, differing, *(name for name in rest if name != differing)
    return ()


def _rank(arrangement: Arrangement, table: Table, parent: ForeignKey, name: str) -> int | None:
    """How well a column can differ among the rows of a parent; None where it cannot."""
    column, narrow = table.column(name), arrangement.narrow[table.oid]
    keys = [key for key in table.foreign_keys if name in key.columns]
    if not keys:
        if name not in narrow and kind_of(table, name).family in INTEGERS:
            return None if column.identity or name in table.serials else _COUNTED
        return _LABELLED if name in narrow and kind_of(table, name).family is Family.TEXT else None
    if len(keys) > 1 or keys[0].columns != (name,) or keys[0].target == table.oid:
        return None
    if arrangement.is_lookup(keys[0].target):
        return _LOOKED_UP
    is_free = keys[0].target == parent.target or keys[0].target not in arrangement.ancestors(table.oid)
    return _REFERRED if is_free and keys[0].target in arrangement.places and arrangement.is_referable(keys[0]) else None
