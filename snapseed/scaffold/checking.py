"""Hold what was drawn against every check, and narrow a column where a check does not hold for all of it."""

from __future__ import annotations

from decimal import Decimal

from snapseed.scaffold.choosing import is_counted
from snapseed.scaffold.draws import choice, constant
from snapseed.scaffold.facts import Check
from snapseed.scaffold.holding import Trial, holds
from snapseed.scaffold.limits import Order, Rule
from snapseed.scaffold.sheet import ImpossibleError, Sheet, described

# How much of a column is left where it is narrowed to one of endlessly many values.
_HARDLY_ANY = 0.01


def check_rules(sheet: Sheet) -> None:
    """Afterwards each check holds, or a note says that nobody knows.

    Raises `ImpossibleError` where one does not, and nothing that can be left out would help.
    """
    by_order = [order.rule for order in sheet.orders if _is_kept(sheet, order)]
    for rule in sheet.rules:
        if rule in by_order:
            continue
        trial = holds(rule, sheet.examples(rule.columns), sheet.now)
        if trial is Trial.FAILS and not _mend(sheet, rule):
            raise ImpossibleError(sheet.table.oid, f"no rows are known that meet {described(rule.check)}")
        if trial is Trial.UNKNOWN and not _leave(sheet, rule.check):
            sheet.notes.append(f"not tried: {described(rule.check)}")
    sheet.notes += [f"not read: {described(check)}" for check in sheet.unread if not _leave(sheet, check)]
    sheet.notes += [
        f"not read: {exclusion.definition}"
        for exclusion in sheet.table.exclusions
        if not exclusion.equal and not any("range" in sheet.table.column(name).type for name in exclusion.columns)
    ]
    sheet.notes = list(dict.fromkeys(sheet.notes))


def _is_kept(sheet: Sheet, order: Order) -> bool:
    """Whether two columns come in the order that a check asks for, by the way in which they are drawn."""
    both = {order.before, order.after}
    if not both <= sheet.draws.keys():
        return both <= sheet.draws.keys() | sheet.null.keys()
    if all(is_counted(sheet, name) for name in both):
        by_number = any(sheet.wanted(name).is_unique or name in sheet.uniqueness.by_position for name in both)
        return not by_number
    return order.before in sheet.locals and sheet.locals[order.before] in sheet.draws[order.after].code


def _leave(sheet: Sheet, check: Check) -> bool:
    """Leave a column whose check nobody can try to its default, or else NULL, if it can be."""
    if len(check.columns) != 1:
        return False
    (name,) = check.columns
    column = sheet.table.column(name)
    if name in sheet.null:
        return True
    if name not in sheet.draws or sheet.draws[name].is_unique or not (column.has_default or sheet.takes_null(name)):
        return False
    del sheet.draws[name]
    sheet.leave(column, f"{described(check)} is not read")
    return True


def _mend(sheet: Sheet, rule: Rule) -> bool:
    """Narrow one of the columns of a rule until it holds, the one of which most is left; or leave one NULL."""
    examples = sheet.examples(rule.columns)
    narrowed: list[tuple[float, str, tuple[object, ...]]] = []
    for name in rule.columns:
        if name not in sheet.draws or sheet.draws[name].is_unique:
            continue
        tried = ((value, holds(rule, {**examples, name: (value,)}, sheet.now)) for value in examples[name])
        if kept := tuple(value for value, trial in tried if trial is Trial.HOLDS):
            is_whole = sheet.draws[name].is_whole
            narrowed.append((len(kept) / len(examples[name]) if is_whole else _HARDLY_ANY, name, kept))
    if any(_narrow(sheet, name, kept, rule) for _, name, kept in sorted(narrowed, key=lambda found: -found[0])):
        return True
    return any(_narrow(sheet, name, (None,), rule) for name in rule.columns if _may_go(sheet, name, rule))


def _may_go(sheet: Sheet, name: str, rule: Rule) -> bool:
    """Whether a column may be NULL, and the rule holds where it is."""
    if name not in sheet.draws or not sheet.takes_null(name):
        return False
    return holds(rule, {**sheet.examples(rule.columns), name: (None,)}, sheet.now) is Trial.HOLDS


def _narrow(sheet: Sheet, name: str, kept: tuple[object, ...], rule: Rule) -> bool:
    """Let a column have only the values `kept`. False where they cannot be written down."""
    values = tuple(_plain(value) for value in kept if value is not None)
    if not values:
        sheet.null[name] = f"NULL, as {described(rule.check)} asks for"
        del sheet.draws[name]
        return True
    if sheet.kinds[name].is_array or not all(isinstance(value, str | int) for value in values):
        return False
    if not sheet.draws[name].is_whole:
        values = values[:1]
    if None not in kept:
        sheet.filled.add(name)
    sheet.draws[name] = choice(sheet.wanted(name), values) if len(values) > 1 else constant(values[0])
    sheet.notes.append(f"{name}: only {', '.join(map(str, values))}, so that {described(rule.check)} holds")
    return True


def _plain(value: object) -> object:
    """A whole number as such."""
    return int(value) if isinstance(value, Decimal) and value == int(value) else value
