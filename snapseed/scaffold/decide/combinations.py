"""Which values some columns may have together: rows of them that meet the checks over several columns.

Pure, from what is known about each rule. A row has, for each column, a value as JSON, NULL, or `DRAWN`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product

from snapseed.scaffold.draws import DRAWN

NULL = "null"
# How many columns without a list of values may get one, how many values of a list count, and how many rows are kept.
_MOST_SPELLED, _MOST_VALUES, _MOST_ROWS = 4, 12, 12
_MOST_TRIED = 20_000

# A value for each of some columns; and for each such row whether it meets a rule.
Row = tuple[str, ...]
Truths = Mapping[Row, bool]


@dataclass(frozen=True)
class Options:
    """What a column may be: its draw, of which `examples` are known, one of the `values` that can be written, or NULL.

    `is_whole`: the draw gives no other than these values. `is_optional`: it is often NULL.
    """

    examples: tuple[str, ...]
    values: tuple[str, ...] = ()
    is_whole: bool = False
    may_be_null: bool = False
    is_optional: bool = False


def rows_meeting(
    options: Mapping[str, Options],
    others: Mapping[str, tuple[str, ...]],
    rules: Sequence[tuple[tuple[str, ...], Truths]],
) -> tuple[Row, ...]:
    """The rows of states of these columns that meet all rules, whatever the values of `others`; empty if none does.

    They fill as many columns as possible, and of those as few as possible with values that are written down. A row
    that only leaves out what another one fills is not among them, unless the column is optional.
    """
    names = list(options)
    lists = [name for name in names if options[name].is_whole]
    unlisted = [name for name in names if options[name].values and not options[name].is_whole]
    examples = {**others, **{name: option.examples for name, option in options.items()}}
    refused = [(columns, [row for row, is_met in table.items() if not is_met]) for columns, table in rules]
    found: tuple[Row, ...] = ()
    left = _MOST_TRIED
    for count in range(min(len(unlisted), _MOST_SPELLED) + 1):
        for spelled in combinations(unlisted, count):
            known = {name: frozenset(examples[name]) for name in examples.keys() - {*lists, *spelled}}
            unfit = [_unfit(names, known, columns, rows) for columns, rows in refused]
            states = [
                (*((DRAWN,) if name in known else option.values[:_MOST_VALUES]), *[NULL] * option.may_be_null)
                for name, option in options.items()
            ]
            rows = list(islice(product(*states), max(left, 0)))
            left -= len(rows)
            fitting = tuple(
                row for row in rows if not any(tuple(row[place] for place in places) in bad for places, bad in unfit)
            )
            found = max(found, fitting, key=_filled)
            if left <= 0 or _filled(found) == len(names):
                return _few(options, found)
    return _few(options, found)


def _unfit(
    names: Sequence[str], known: Mapping[str, frozenset[str]], columns: tuple[str, ...], refused: Sequence[Row]
) -> tuple[list[int], set[Row]]:
    """The states that a rule refuses for some of its values, and the places of their columns in a row.

    `known` values stand for the draw of their column. Values that were not tried count as met.
    """
    rows = [
        [DRAWN if value in known.get(name, ()) else value for name, value in zip(columns, row, strict=True)]
        for row in refused
    ]
    inside = [place for place, name in enumerate(columns) if name in names]
    outside = [place for place, name in enumerate(columns) if name not in names]
    return [names.index(columns[place]) for place in inside], {
        tuple(row[place] for place in inside) for row in rows if all(row[place] == DRAWN for place in outside)
    }


def _filled(rows: Sequence[Row]) -> int:
    return max((len(row) - row.count(NULL) for row in rows), default=-1)


def _few(options: Mapping[str, Options], rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Drop rows that another row extends, and keep a spread of very many."""
    may_stay = [option.is_optional for option in options.values()]

    def fills(fuller: Row, row: Row) -> bool:
        pairs = list(zip(fuller, row, may_stay, strict=True))
        return fuller != row and all(one == other or (other == NULL and not stays) for one, other, stays in pairs)

    some = _spread(rows, _MOST_ROWS**2)
    return _spread(tuple(row for row in some if not any(fills(fuller, row) for fuller in some)), _MOST_ROWS)


def _spread(rows: tuple[Row, ...], most: int) -> tuple[Row, ...]:
    """Rows at even distances, with a stride that varies the column that changes fastest as well."""
    places = {place * (len(rows) + most) // most % max(1, len(rows)) for place in range(most)}
    return tuple(rows[place] for place in sorted(places)) if len(rows) > most else rows


def are_independent(rows: Sequence[Row]) -> bool:
    """Whether any state of a column comes with any state of all others, so that each can be drawn on its own."""
    return len(rows) == math.prod(len(set(states)) for states in zip(*rows, strict=True))
