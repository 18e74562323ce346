"""What a moment is drawn from: another moment of its row, or the one since which the parent's row has been there."""

from __future__ import annotations

import re
from datetime import timedelta

from snapseed.scaffold.draws import quoted
from snapseed.scaffold.limits import Order
from snapseed.scaffold.moments import MOMENTS, is_ahead, is_birth, is_later
from snapseed.scaffold.naming import words_of
from snapseed.scaffold.sheet import Sheet
from snapseed.snapshot.types import parse_type

# What has to come after something of the row comes at the latest so much after it.
LATEST = timedelta(days=30)
_BEGINNING = re.compile(r"creat|regist|sign|open|join")


def may_be_ahead(sheet: Sheet, name: str) -> bool:
    """Whether the values of a column of moments may lie after the project's `now`."""
    draw = sheet.draws[name]
    code = " ".join([draw.code, *(draw.before or ())])
    return f"timedelta(days={LATEST.days})" in code or "rows.now +" in code or sheet.limits[name].low is not None


def moment_before(sheet: Sheet, name: str) -> tuple[str, str] | None:
    """Expressions for the earliest that a column may be, and for the latest, which is empty for the project's `now`.

    None for a column that is no moment, or that nothing comes before.
    """
    if not sheet.is_moment(name):
        return None
    order = next((order for order in sheet.orders if order.after == name and order.before in sheet.draws), None)
    if order is not None and sheet.is_moment(order.before):
        return _asked_for(sheet, order)
    return None if _is_limited(sheet, name) or is_birth(words_of(name)) else _usual(sheet, name)


def _asked_for(sheet: Sheet, order: Order) -> tuple[str, str] | None:
    """The moment that a check puts before another; None where their limits part them already."""
    name = order.after
    if sheet.limits[name].low is not None:
        return None
    local = sheet.hoisted(order.before)
    # It may lie close to `now`, or ahead of it.
    limited = _is_limited(sheet, name) or _is_limited(sheet, order.before) or is_ahead(words_of(order.before))
    if not order.strict and not limited and not sheet.wanted(order.before).is_unique:
        return local, ""
    return f"{local} + timedelta(days=1)", f"{local} + timedelta(days={LATEST.days})"


def _usual(sheet: Sheet, name: str) -> tuple[str, str] | None:
    earlier = next((column for column in sheet.draws if sheet.is_moment(column) and _begins(words_of(column))), None)
    if is_later(words_of(name)):
        if earlier is None or _is_limited(sheet, earlier):
            return None
        local = sheet.hoisted(earlier)
        # One that is unique may lie a little ahead of `now`.
        return local, f"{local} + timedelta(days={LATEST.days})" if sheet.wanted(earlier).is_unique else ""
    return _parents_moment(sheet) if earlier is None else None


def _begins(name: str) -> bool:
    return not (is_birth(name) or is_later(name) or is_ahead(name))


def _is_limited(sheet: Sheet, name: str) -> bool:
    return sheet.limits[name].low is not None or sheet.limits[name].high is not None


def _parents_moment(sheet: Sheet) -> tuple[str, str] | None:
    parent, entity = sheet.relations.parent, sheet.relations.parent_name
    if parent is None or entity is None or parent.partitions:
        return None
    for column in parent.columns:
        name = words_of(column.name)
        begins = column.not_null and not is_later(name) and _BEGINNING.search(name) is not None
        if begins and not column.generated and parse_type(column.type).family in MOMENTS:
            sheet.parameters[entity] = None
            sheet.uses.add((entity, column.name))
            since = f"{entity}[{quoted(column.name)}]"
            return since, f"{since} + timedelta(days={LATEST.days})" if (entity, column.name) in sheet.ahead else ""
    return None
