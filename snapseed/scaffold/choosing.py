"""Choose a draw for each column that no other row gives: the first that fits its type, its checks, its indexes."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from snapseed.scaffold.draws import Draw, Wanted, quoted
from snapseed.scaffold.following import LATEST, moment_before
from snapseed.scaffold.holding import Trial, holds
from snapseed.scaffold.kinds import draws_of
from snapseed.scaffold.limits import Bound, Order
from snapseed.scaffold.moments import is_later
from snapseed.scaffold.naming import singular, words_of
from snapseed.scaffold.numbers import whole_range
from snapseed.scaffold.sheet import Sheet
from snapseed.scaffold.vocabulary import CODES, LOOKUPS
from snapseed.snapshot.types import INTEGERS, Family

_COUNTED = {*INTEGERS, Family.NUMERIC, Family.REAL, Family.DOUBLE}
_TEXTS = {Family.TEXT, Family.CHARACTER}
# Of lookups with so many rows people read, and change, the names one by one.
_MOST_LISTED = 8
_CODE = re.compile(r"(?:^|_)(?:code|slug|key|iso|abbr)")
_NAME = re.compile(r"(?:^|_)(?:name|title|label|description|desc)$")
_PERSON = re.compile(r"first_?name|last_?name|surname")


def choose_draws(sheet: Sheet) -> None:
    """Raises `ImpossibleError` where a column must have values, and none are known."""
    for order in sheet.orders:
        _part(sheet, order)
    for name in _in_order(sheet):
        _choose(sheet, name)


def is_counted(sheet: Sheet, name: str) -> bool:
    """Whether a column holds single numbers."""
    kind = sheet.kinds.get(name)
    return kind is not None and kind.family in _COUNTED and not kind.is_array


def _in_order(sheet: Sheet) -> list[str]:
    """Columns that others are drawn from come first."""
    names = [
        column.name
        for column in sheet.table.columns
        if column.name in sheet.kinds and column.name not in sheet.foreign and column.name not in sheet.null
    ]
    before = {order.after: order.before for order in sheet.orders if {order.before, order.after} <= set(names)}

    def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
        return 0 if name not in before or name in seen else 1 + depth(before[name], seen | {name})

    def place(name: str) -> tuple[bool, int, bool]:
        later = sheet.is_moment(name) and is_later(words_of(name))
        return _PERSON.search(words_of(name)) is None, depth(name), later

    return sorted(names, key=place)


def _part(sheet: Sheet, order: Order) -> None:
    """Give two numbers, one of which may not be larger than the other, a range each; moments where they have limits."""
    if sheet.is_moment(order.before) and sheet.is_moment(order.after):
        _part_moments(sheet, order)
    if not all(is_counted(sheet, name) for name in (order.before, order.after)):
        return
    low, _ = whole_range(sheet.wanted(order.before))
    other, high = whole_range(sheet.wanted(order.after))
    start = max(low, other)
    middle = Decimal((start + max(high, start + 2)) // 2)
    sheet.limits[order.before] = replace(sheet.limits[order.before], high=Bound(middle))
    sheet.limits[order.after] = replace(sheet.limits[order.after], low=Bound(middle, order.strict))


def _part_moments(sheet: Sheet, order: Order) -> None:
    """See that the earlier one ends where the later one begins, or leaves it the days that it is drawn from."""
    before, after = sheet.limits[order.before], sheet.limits[order.after]
    if after.low is not None and isinstance(after.low.value, datetime):
        end, strict = after.low.value, order.strict
    elif after.high is not None and isinstance(after.high.value, datetime):
        end, strict = after.high.value - 2 * LATEST, False
    else:
        return
    if before.high is None or (isinstance(before.high.value, datetime) and before.high.value > end):
        sheet.limits[order.before] = replace(before, high=Bound(end, strict))


def _choose(sheet: Sheet, name: str) -> None:
    wanted, column = sheet.wanted(name), sheet.table.column(name)
    if wanted.kind.family is Family.BYTEA and sheet.takes_null(name) and not wanted.is_unique:
        sheet.leave(column, "nothing is known of its bytes")
        return
    if (draw := _own_way(sheet, wanted)) is not None:
        sheet.draws[name] = draw
        return
    has_draws = False
    for found in draws_of(wanted, moment_before(sheet, name)):
        draw = _with_names(sheet, found)
        if draw is None or (wanted.is_unique and not draw.is_unique) or not _fits(wanted, draw):
            continue
        if _meets_rules(sheet, name, draw):
            sheet.draws[name] = draw
            return
        has_draws = True
    if not has_draws:
        why = "each of its values may come once only" if wanted.is_unique else f"no values of {column.type} are known"
        sheet.leave(column, why)
    else:
        sheet.leave(column, "no values are known that meet its checks")


def _own_way(sheet: Sheet, wanted: Wanted) -> Draw | None:
    """Keys, what differs within a parent, and the names in lookups are made in ways of their own."""
    if wanted.is_key and wanted.kind.family is Family.UUID:
        return Draw("rows.key()", is_unique=True)
    if wanted.is_key and wanted.kind.family in INTEGERS:
        return Draw("rows.key()", (Decimal(1), Decimal(1000)), is_unique=True)
    if wanted.column.name in sheet.uniqueness.by_position:
        in_key = wanted.column.name in sheet.place.key
        return _by_position(wanted, sheet.uniqueness.by_position[wanted.column.name], in_key=in_key)
    return _listed(sheet, wanted)


def _by_position(wanted: Wanted, labels: tuple[str, ...], *, in_key: bool) -> Draw:
    """Another value for each row of the same parent: by its place among them. Keys ascend, and count from one."""
    if labels:
        code = f"rows.choice({wanted.draw}, [{', '.join(map(quoted, labels))}], distinct=True)"
        return Draw(f"rows.ascending({code})" if in_key else code, labels)
    low = wanted.limits.low
    first = int(in_key or bool(re.search(r"line|number|no$|rank", wanted.words)))
    if low is not None and isinstance(low.value, Decimal):
        first = int(low.value) + low.strict
    return Draw(f"rows.positions + {first}" if first else "rows.positions", (Decimal(first), Decimal(first + 19)))


def _listed(sheet: Sheet, wanted: Wanted) -> Draw | None:
    """The names, or the codes, of the rows of a lookup, one for each row."""
    count = sheet.place.rows
    is_text = wanted.kind.family in _TEXTS and not wanted.kind.is_array
    is_plain = is_text and not wanted.column.labels and wanted.limits.allowed is None
    if count is None or count > _MOST_LISTED or not is_plain:
        return None
    table = words_of(sheet.table.name)
    last = singular(table.rpartition("_")[2])
    names = LOOKUPS.get(last) or tuple(
        f"{singular(table).replace('_', ' ').capitalize()} {n}" for n in range(1, count + 1)
    )
    if wanted.is_key or _CODE.search(wanted.words):
        codes = tuple(sorted(name.replace(" ", "_").lower() for name in names))
        values = {"country": CODES[:count], "currency": names}.get(last, codes)
    elif _NAME.search(wanted.words) or wanted.words in {table, last}:
        values = names
    else:
        return None
    draw = Draw(f"[{', '.join(map(quoted, values))}]", values, is_unique=True, is_whole=True)
    possible = len(set(values)) == count and _fits(wanted, draw) and _meets_rules(sheet, wanted.column.name, draw)
    return draw if possible else None


def _meets_rules(sheet: Sheet, name: str, draw: Draw) -> bool:
    examples = {name: draw.examples}
    return all(holds(rule, examples, sheet.now) is not Trial.FAILS for rule in sheet.own_rules(name))


def _fits(wanted: Wanted, draw: Draw) -> bool:
    """Whether no text is longer than the column takes."""
    is_text = wanted.kind.family in _TEXTS or wanted.limits.max_length is not None
    if not is_text or wanted.length is None:
        return True
    return all(len(example) <= wanted.length for example in draw.examples if isinstance(example, str))


def _with_names(sheet: Sheet, draw: Draw) -> Draw | None:
    """The draw with the variables of a person's names filled in; None where the table has no such columns."""
    for part, listed in (("first_name", "FIRST_NAMES"), ("last_name", "LAST_NAMES")):
        if part in draw.needs:
            column = next((name for name, found in sheet.draws.items() if found.code == _choice_of(name, listed)), None)
            if column is None:
                return None
            draw = replace(
                draw, code=draw.code.replace(f"{{{part}}}", sheet.hoisted(column)), needs=draw.needs - {part}
            )
    return draw


def _choice_of(name: str, listed: str) -> str:
    return f"rows.choice({quoted(name)}, {listed})"
