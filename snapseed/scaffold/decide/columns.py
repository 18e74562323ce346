"""The columns of one table: what is known about them, and for each the draws that may fill it, the best first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from uuid import UUID

import numpy as np

from snapseed.generate.draws.unique import text_keys
from snapseed.generate.words import WORDS
from snapseed.scaffold.conditions import MOMENTS, Bound, Limits, Order
from snapseed.scaffold.decide.sources import Sources, leave
from snapseed.scaffold.draws import Draw, Wanted, choice, literal, names_of_rows, quoted
from snapseed.scaffold.draws_by_statistics import learned
from snapseed.scaffold.draws_by_type import NUMBERS, draws_of, number_range
from snapseed.scaffold.expressions import NOW
from snapseed.scaffold.names import ordered_by_name, suggests
from snapseed.scaffold.schema import Table
from snapseed.snapshot.types import INTEGERS, Family

# What must come after something else in the row comes at most this many days later.
_LATEST = 30
# What ends some day, ends in so many days at the latest.
_FUTURE = 365
# No parent has more rows whose texts tell them apart in a key.
MOST_PLACES = 20
# How often a column that may be NULL is, if nothing says.
_OFTEN = 0.1
_NEARLY_ALWAYS = 0.95
# The correlation from which on the rows of a column are in its order.
_IN_ORDER = 0.9
_TEXTS = {Family.TEXT, Family.CHARACTER}
_PEOPLE = {"first_name": WORDS["FIRST_NAMES"], "last_name": WORDS["LAST_NAMES"]}


@dataclass(frozen=True)
class Proposal:
    """Draws that may fill the columns of a table, the best first. `null` says why other columns get no value.

    `wanted` are the columns that no other table fills. `optional` columns may be NULL, and often are: by their names,
    or because there is no row to refer to.
    """

    sources: Sources
    wanted: Mapping[str, Wanted]
    draws: Mapping[str, tuple[Draw, ...]]
    null: Mapping[str, str]
    optional: frozenset[str]

    @property
    def since(self) -> str | None:
        """Code for the moment at which a row begins, if there is one that is never after the project's `now`."""
        for name, wanted in self.wanted.items():
            begins = _is_moment(self.sources, name) and suggests("beginning", name) and not _is_later(name)
            is_late = wanted.limits.are_ends or f"timedelta(days={_LATEST})" in self.draws[name][0].code
            if begins and not is_late and name not in self.sources.nullable:
                return f"{{rows:{self.sources.place.name}}}[{quoted(name)}]"
        return None


def propose(sources: Sources, since: str | None) -> Proposal:
    """Find draws for all columns that no other table fills. `since` is code for the moment the parent's row begins.

    Raises `ImpossibleError` if a column must have values, and there are no draws for it.
    """
    table, place = sources.table, sources.place
    names = [
        column.name
        for column in table.columns
        if not column.generated and column.name not in {*sources.foreign, *sources.null}
    ]
    # The orders between two columns that are both drawn.
    orders = [order for order in sources.conditions.orders if {order.before, order.after} <= set(names)]
    orders += _by_name(sources, names, orders)
    limits = dict(sources.conditions.limits)
    for order in orders:
        limits |= _parted(table, limits, order)
    wanted: dict[str, Wanted] = {}
    draws: dict[str, tuple[Draw, ...]] = {
        name: (_reference(table, name, code),) for name, code in sources.foreign.items()
    }
    null = dict(sources.null)
    for name in _in_order(sources, names, orders):
        if share_of_nulls(table, name) == 1 and name in sources.nullable and not table.column(name).has_default:
            null[name] = "NULL, as in all rows of the source"
            continue
        after = _after(sources, name, limits, since, tuple(wanted), orders)
        before = re.match(r"\{own:([^}]*)\}", after[0]) if after else None
        is_within = any(order.after == name and order.within is not None for order in orders)
        is_split = is_within or (name in sources.conditions.ordered and not _is_moment(sources, name))
        given = Wanted(
            column=table.column(name),
            kind=table.kind(name),
            limits=limits[name],
            is_unique=name in sources.unique,
            is_key=place.key[0] == name and place.has_own_key,
            is_lookup=place.is_lookup,
            table=table.name,
            default=sources.conditions.defaults.get(name),
            people={
                part: other for part, words in _PEOPLE.items() for other in draws if draws[other][0].examples == words
            },
            after=after,
            rank=wanted[before[1]].rank if before else name,
            others=frozenset(names) - {name},
            ascending=wanted[before[1]].ascending if before else _ascends(sources, name),
            statistics=None if is_split else table.statistics.get(name),
            now=sources.conditions.now,
        )
        found = tuple(_candidates(sources, given))
        if found:
            wanted[name], draws[name] = given, found
        elif given.is_unique:
            null |= leave(table, name, "snapseed found no way to make its values unique")
        else:
            null |= leave(table, name, f"snapseed cannot generate type {given.column.type}")
    may_be_null = sources.sometimes_null.union(
        name
        for name in wanted.keys() - sources.by_position.keys()
        if name in sources.nullable
        and (
            name in table.statistics
            or any(suggests(role, name) for role in ("optional", "rare"))
            or (_is_moment(sources, name) and _is_later(name))
        )
    )
    optional = frozenset(name for name in may_be_null if share_of_nulls(table, name) > 0)
    return Proposal(sources, wanted, draws, null, optional)


def _ascends(sources: Sources, name: str) -> bool:
    """Whether later rows of a parent have later moments."""
    found = sources.table.statistics.get(name)
    return found is not None and sources.place.parent is not None and found.correlation > _IN_ORDER


def share_of_nulls(table: Table, name: str) -> float:
    """How often a column that may be NULL is: as in the source, in nearly all rows by its name, or now and then."""
    if name in table.statistics:
        return table.statistics[name].null_share
    return _NEARLY_ALWAYS if suggests("rare", name) and table.column(name).type != "boolean" else _OFTEN


def _by_name(sources: Sources, names: list[str], orders: list[Order]) -> list[Order]:
    """The orders that the names of two columns of one type suggest, unless a check says something about them."""
    fixed = {
        *sources.unique,
        *sources.by_position,
        *chain.from_iterable((found.before, found.after) for found in orders),
    }
    kinds = {
        name: kind.family
        for name in names
        if name not in fixed
        and (kind := sources.table.kind(name)).family in MOMENTS | NUMBERS
        and not kind.is_array
        and not (kind.family in NUMBERS and name in sources.table.statistics)
    }
    return [
        Order(before, after, strict=False, rule=None)
        for before, after in ordered_by_name(kinds)
        if kinds[before] == kinds[after]
    ]


def _reference(table: Table, name: str, code: str) -> Draw:
    """The column of a foreign key. Its values are not known, but different ones of its type do for a check."""
    family = table.kind(name).family
    examples: dict[Family, tuple[object, ...]] = {
        # The keys of a lookup of eight rows: a check may be about one of them.
        **dict.fromkeys(INTEGERS, tuple(range(1, 9))),
        **dict.fromkeys(_TEXTS, ("1", "2")),
        **dict.fromkeys(MOMENTS, (NOW, NOW + timedelta(days=1))),
        Family.UUID: (UUID(int=1), UUID(int=2)),
    }
    return Draw(code, examples.get(family, ()))


def _in_order(sources: Sources, names: list[str], orders: list[Order]) -> list[str]:
    """Columns that others are drawn from come first."""
    before = {order.after: order.before for order in orders}

    def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
        return 0 if name not in before or name in seen else 1 + depth(before[name], seen | {name})

    def place(name: str) -> tuple[bool, int, int]:
        moment = _is_moment(sources, name)
        later = 2 if _is_later(name) else 0 if suggests("beginning", name) else 1
        return not suggests("person", name), depth(name), later if moment else 0

    return sorted(names, key=place)


def _is_moment(sources: Sources, name: str) -> bool:
    kind = sources.table.kind(name)
    return kind.family in MOMENTS and not kind.is_array


def _is_later(name: str) -> bool:
    return suggests("later", name) and not suggests("birth", name)


def _parted(table: Table, limits: Mapping[str, Limits], order: Order) -> dict[str, Limits]:
    """Give two numbers that must be in order a range each; see that a moment leaves room for one that comes later."""
    before, after = limits[order.before], limits[order.after]
    kinds = [table.kind(name) for name in (order.before, order.after)]
    if all(kind.family in NUMBERS and not kind.is_array for kind in kinds):
        (low, _), (other, high) = (
            number_range(Wanted(table.column(name), table.kind(name), limits[name]))
            for name in (order.before, order.after)
        )
        start = max(low, other)
        middle = Decimal((start + max(high, start + 2)) // 2)
        return {
            order.before: replace(before, high=Bound(middle)),
            order.after: replace(after, low=Bound(middle, order.strict)),
        }
    if after.low is not None and isinstance(after.low.value, datetime):
        end = Bound(after.low.value, order.strict)
    elif after.high is not None and isinstance(after.high.value, datetime):
        end = Bound(after.high.value - timedelta(days=2 * _LATEST))
    else:
        return {}
    return {} if before.ends[1] < end.place else {order.before: replace(before, high=end)}


def _after(
    sources: Sources,
    name: str,
    limits: Mapping[str, Limits],
    since: str | None,
    drawn: tuple[str, ...],
    orders: list[Order],
) -> tuple[str, str] | None:
    """The moment that a column is drawn from: one that comes before it by a check, by its name, or as a rule."""
    if not _is_moment(sources, name) or limits[name].low is not None:
        return None
    moments = [other for other in drawn if _is_moment(sources, other)]
    order = next((order for order in orders if order.after == name and order.before in moments), None)
    is_soon, is_future = suggests("soon", name), suggests("future", name)
    if order is None and not (limits[name].are_ends or suggests("birth", name) or (is_future and not is_soon)):
        begins = [other for other in moments if not any(suggests(role, other) for role in ("later", "birth", "future"))]
        if not begins:
            return (since, "") if since else None
        begin = next((other for other in begins if suggests("beginning", other)), begins[0])
        is_recorded = suggests("recorded", name) and suggests("beginning", begin)
        if (_is_later(name) or is_recorded) and not limits[begin].are_ends:
            order = Order(begin, name, strict=False, rule=None)
    if order is None:
        return None
    own = f"{{own:{order.before}}}"
    # The earlier one may be close to `now`, or after it.
    is_late = any(found.are_ends for found in (limits[name], limits[order.before])) or order.before in sources.unique
    same = [found for found in orders if (found.before, found.after) == (order.before, name)]
    if windows := [found.within for found in same if found.within is not None]:
        least = " + timedelta(days=1)" * any(found.strict for found in same)
        return own + least, f"{own} + timedelta(days={min(*windows, _LATEST)})"
    if order.strict or is_late or suggests("future", order.before):
        return f"{own} + timedelta(days=1)", f"{own} + timedelta(days={_LATEST})"
    latest = f"{own} + timedelta(days={_LATEST})" if is_soon else f"rows.now + timedelta(days={_FUTURE})" * is_future
    return own, latest


def _candidates(sources: Sources, wanted: Wanted) -> Iterator[Draw]:
    """Draws for a column whose texts are short enough, and unique if they must be."""
    family, name = wanted.kind.family, wanted.name
    if family is Family.BYTEA and name in sources.nullable and not wanted.is_unique:
        return
    is_whole_key = sources.place.key == (name,)
    if place := sources.place.combined.get(name):
        listed = sources.conditions.listed[name]
        values = tuple(int(value) if isinstance(value, Decimal) else value for value in listed)
        code = f"[{', '.join(map(literal, values))}]"
        code = code if wanted.is_unique else f"pl.Series({code}).gather({place})"
        yield Draw(code, values, is_unique=True, is_whole=True)
    elif is_whole_key and family is Family.UUID:
        yield Draw("rows.key()", (str(UUID(int=1)),), is_unique=True)
    elif is_whole_key and family in INTEGERS:
        yield Draw("rows.key()", (1, 1000), is_unique=True)
    elif is_whole_key and family in _TEXTS and not sources.place.is_lookup:
        keys = text_keys(sources.place.name, np.array([1, 1_000]), *wanted.kind.modifiers)
        yield Draw("rows.key()", tuple(keys), is_unique=True)
        yield from draws_of(wanted)
    elif name in sources.by_position:
        yield _by_position(sources, wanted, sources.by_position[name])
    else:
        is_text = family in _TEXTS or (wanted.limits.max_length is not None and family is not Family.BYTEA)
        key = sources.table.kind(sources.place.key[0])
        named = names_of_rows(wanted, sources.place.rows or 0, (*key.modifiers, None)[0])
        for draw in chain(named, learned(wanted), draws_of(wanted)):
            texts = [example for example in draw.examples if isinstance(example, str)] if is_text else []
            is_short = wanted.length is None or all(len(text) <= wanted.length for text in texts)
            if is_short and (draw.is_unique or not wanted.is_unique):
                yield draw


def _by_position(sources: Sources, wanted: Wanted, labels: tuple[str, ...]) -> Draw:
    """Another value for each row of the same parent, by its place among them. Keys ascend, and count from one."""
    in_key = wanted.name in sources.place.key
    if labels:
        code = f"rows.choice({wanted.draw}, [{', '.join(map(quoted, labels))}], distinct=True)"
        return Draw(f"rows.ascending({code})" if in_key else code, labels, is_unique=True)
    if wanted.kind.family in MOMENTS:
        day = "(20_088 + rows.positions).cast(pl.Int32).cast(pl.Date)"
        code = day if wanted.kind.family is Family.DATE else f'{day}.cast(pl.Datetime("us"))'
        zone = '.dt.replace_time_zone("UTC")' if wanted.kind.family is Family.TIMESTAMPTZ else ""
        return Draw(code + zone, (wanted.now - timedelta(days=365), wanted.now), is_unique=True)
    if wanted.kind.family in _TEXTS:
        others = draws_of(replace(wanted, is_unique=False))
        words = next((draw.examples for draw in others if draw.is_whole and len(draw.examples) >= MOST_PLACES), ())
        if words and max(map(len, map(str, words))) <= (wanted.length or MOST_PLACES):
            code = choice(wanted, words).code.removesuffix(")")
            return Draw(f"rows.ascending({code}, distinct=True))", words, is_unique=True)
        return Draw("(rows.positions + 1).cast(pl.String).str.zfill(2)", ("01", str(MOST_PLACES)), is_unique=True)
    low, first = wanted.limits.low, int(in_key or suggests("counted_from_one", wanted.name))
    if low is not None and isinstance(low.value, Decimal):
        first = int(low.value) + low.strict
    last = first + min(MOST_PLACES, int(sources.conditions.room[wanted.name])) - 1
    return Draw(f"rows.positions + {first}" if first else "rows.positions", (first, last), is_unique=True)
