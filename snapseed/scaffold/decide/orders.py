"""Columns of a row that are in order, by a check or by their names: which is drawn first, and the other from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from snapseed.scaffold.conditions import MOMENTS, Bound, Limits, Order
from snapseed.scaffold.decide.sources import Sources
from snapseed.scaffold.draws import Wanted
from snapseed.scaffold.draws_by_type import NUMBERS, number_range
from snapseed.scaffold.names import ordered_by_name, suggests
from snapseed.snapshot.types import INTEGERS

# What must come after something else in the row comes at most this many days later.
LATEST = 30
# What ends some day, ends in so many days at the latest.
_FUTURE = 365


@dataclass(frozen=True)
class Orders:
    """The orders between columns that are drawn, and the limits of all columns, which leave room for them."""

    sources: Sources
    names: Sequence[str]
    orders: tuple[Order, ...]
    limits: Mapping[str, Limits]

    def sequence(self) -> list[str]:
        """The columns with those first that others are drawn from."""
        before = {order.after: order.before for order in self.orders}

        def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
            return 0 if name not in before or name in seen else 1 + depth(before[name], seen | {name})

        def place(name: str) -> tuple[bool, int, int]:
            later = 2 if is_later(name) else 0 if suggests("beginning", name) else 1
            return not suggests("person", name), depth(name), later if is_moment(self.sources, name) else 0

        return sorted(self.names, key=place)

    def window(self, name: str) -> tuple[str, int, int] | None:
        """The column that this one comes after, by how much at least, and how much at most; None if there is no end."""
        found = next((order for order in self.orders if order.after == name and order.most is not None), None)
        if found is None:
            return None
        same = [order for order in self.orders if (order.before, order.after) == (found.before, name)]
        least = max(max(order.least, int(order.strict)) for order in same)
        most = min(order.most for order in same if order.most is not None)
        return (found.before, least, most) if least < most else None

    def after(self, name: str, drawn: Collection[str], since: str | None) -> tuple[str, str] | None:
        """The moment that a column is drawn from: one that comes before it by a check, by its name, or as a rule."""
        limits = self.limits
        if not is_moment(self.sources, name) or limits[name].low is not None:
            return None
        moments = [other for other in drawn if is_moment(self.sources, other)]
        order = next((order for order in self.orders if order.after == name and order.before in moments), None)
        is_soon, is_future = suggests("soon", name), suggests("future", name)
        if order is None and not (limits[name].are_ends or suggests("birth", name) or (is_future and not is_soon)):
            begins = [
                other for other in moments if not any(suggests(role, other) for role in ("later", "birth", "future"))
            ]
            if not begins:
                return (since, "") if since else None
            begin = next((other for other in begins if suggests("beginning", other)), begins[0])
            is_recorded = suggests("recorded", name) and suggests("beginning", begin)
            if (is_later(name) or is_recorded) and not limits[begin].are_ends:
                order = Order(begin, name, strict=False, rule=None)
        if order is None:
            return None
        own = f"{{own:{order.before}}}"
        if window := self.window(name):
            _, least, most = window
            return own + f" + timedelta(days={least})" * bool(least), f"{own} + timedelta(days={min(most, LATEST)})"
        # The earlier one may be close to `now`, or after it.
        is_late = any(found.are_ends for found in (limits[name], limits[order.before]))
        is_late |= order.before in self.sources.unique or suggests("future", order.before)
        if order.strict or order.least or is_late:
            least = max(1, order.least)
            return f"{own} + timedelta(days={least})", f"{own} + timedelta(days={least - 1 + LATEST})"
        latest = f"{own} + timedelta(days={LATEST})" if is_soon else f"rows.now + timedelta(days={_FUTURE})" * is_future
        return own, latest


def orders_of(sources: Sources, names: Sequence[str]) -> Orders:
    """The orders between these columns: those of checks, and those that names suggest where no check says anything."""
    orders = [order for order in sources.conditions.orders if {order.before, order.after} <= set(names)]
    fixed = {*sources.unique, *sources.by_position, *(name for order in orders for name in (order.before, order.after))}
    kinds = {
        name: kind.family
        for name in names
        if name not in fixed
        and (kind := sources.table.kind(name)).family in MOMENTS | NUMBERS
        and not kind.is_array
        and not (kind.family in NUMBERS and name in sources.table.statistics)
    }
    orders += [
        Order(before, after, strict=False, rule=None)
        for before, after in ordered_by_name(kinds)
        if kinds[before] == kinds[after]
    ]
    found = Orders(sources, names, tuple(orders), sources.conditions.limits)
    for order in orders:
        found = replace(found, limits={**found.limits, **_parted(found, order)})
    return found


def is_moment(sources: Sources, name: str) -> bool:
    """Whether a column holds a moment, or a day."""
    kind = sources.table.kind(name)
    return kind.family in MOMENTS and not kind.is_array


def is_later(name: str) -> bool:
    """Whether the name of a moment says that it comes after others of its row."""
    return suggests("later", name) and not suggests("birth", name)


def _parted(found: Orders, order: Order) -> dict[str, Limits]:
    """Give two numbers that are in order a range each; leave room for what is drawn from the one that comes first."""
    table, before, after = found.sources.table, found.limits[order.before], found.limits[order.after]
    kinds = [table.kind(name) for name in (order.before, order.after)]
    window = found.window(order.after)
    are_numbers = all(kind.family in NUMBERS and not kind.is_array for kind in kinds)
    if are_numbers and not (window and kinds[1].family in INTEGERS):
        (low, _), (other, high) = (
            number_range(Wanted(table.column(name), table.kind(name), found.limits[name]))
            for name in (order.before, order.after)
        )
        start = max(low, other)
        middle = Decimal((start + max(high, start + 2)) // 2)
        return {
            order.before: replace(before, high=Bound(middle)),
            order.after: replace(after, low=Bound(middle + order.least, order.strict)),
        }
    if window and are_numbers and after.high is not None and isinstance(after.high.value, Decimal):
        end = Bound(after.high.value - window[2])
    elif after.low is not None and isinstance(after.low.value, datetime):
        end = Bound(after.low.value, order.strict)
    elif after.high is not None and isinstance(after.high.value, datetime):
        end = Bound(after.high.value - timedelta(days=2 * LATEST))
    else:
        return {}
    return {} if before.ends[1] < end.place else {order.before: replace(before, high=end)}
