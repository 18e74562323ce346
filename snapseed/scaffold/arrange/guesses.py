"""Foreign keys that nobody declared: columns that refer to another table by their name and their type."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from snapseed.generate.words import words_of
from snapseed.postgres.facts import ColumnFacts
from snapseed.scaffold.names import singular
from snapseed.scaffold.schema import ForeignKey, Table

# Some schemas begin the names of all columns of a table with the same letters: `c_name` and `c_custkey` of `customer`.
_LETTERS = re.compile("[a-z]{1,3}_")
# Names of keys that say nothing about their tables.
_PLAIN = {"id", "key", "code", "name", "uuid"}


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
    return {f"{singular(name)}_{words_of(key)}", f"{name}_{words_of(key)}"}


def _by_key(table: Table) -> set[str]:
    """What a column is called that refers to a table by the name of its key: `custkey`."""
    (key,) = map(words_of, table.primary_key)
    letters = _LETTERS.match(key)
    if letters and all(words_of(column.name).startswith(letters[0]) for column in table.columns):
        key = key.removeprefix(letters[0])
    return {key} - _PLAIN


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
