"""The columns of one table: what is known about them, and for each the draws that may fill it, the best first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from uuid import UUID

import numpy as np

from snapseed.generate.draws.unique import text_keys
from snapseed.generate.words import WORDS
from snapseed.scaffold.arrange.placing import NO_ROOM
from snapseed.scaffold.conditions import MOMENTS
from snapseed.scaffold.decide.orders import LATEST, is_later, is_moment, orders_of
from snapseed.scaffold.decide.sources import Sources, leave
from snapseed.scaffold.draws import Draw, Wanted, choice, literal, names_of_rows, quoted
from snapseed.scaffold.draws_by_statistics import learned
from snapseed.scaffold.draws_by_type import draws_of
from snapseed.scaffold.expressions import NOW
from snapseed.scaffold.names import suggests
from snapseed.scaffold.schema import Table
from snapseed.snapshot.types import INTEGERS, Family

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
            begins = is_moment(self.sources, name) and suggests("beginning", name) and not is_later(name)
            is_late = wanted.limits.are_ends or f"timedelta(days={LATEST})" in self.draws[name][0].code
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
    orders = orders_of(sources, names)
    wanted: dict[str, Wanted] = {}
    draws: dict[str, tuple[Draw, ...]] = {
        name: (_reference(sources, name, code),) for name, code in sources.foreign.items()
    }
    null = dict(sources.null)
    for name in orders.sequence():
        if share_of_nulls(table, name) == 1 and name in sources.nullable and not table.column(name).has_default:
            null[name] = "NULL, as in all rows of the source"
            continue
        after, window = orders.after(name, wanted, since), orders.window(name)
        before = re.match(r"\{own:([^}]*)\}", after[0]) if after else None
        is_split = window or (name in sources.conditions.ordered and not is_moment(sources, name))
        known = table.statistics.get(name)
        is_in_order = place.parent is not None and known is not None and known.correlation > _IN_ORDER
        given = Wanted(
            column=table.column(name),
            kind=table.kind(name),
            limits=orders.limits[name],
            is_unique=name in sources.unique,
            is_key=(place.key[0] == name and place.has_own_key) or name in sources.ascending,
            is_lookup=place.is_lookup,
            table=table.name,
            default=sources.conditions.defaults.get(name),
            people={
                part: other for part, words in _PEOPLE.items() for other in draws if draws[other][0].examples == words
            },
            after=after,
            rank=wanted[before[1]].rank if before else name,
            others=frozenset([*names, *sources.foreign]) - {name},
            ascending=wanted[before[1]].ascending if before else is_in_order,
            statistics=None if is_split else known,
            now=sources.conditions.now,
        )
        found = tuple(_candidates(sources, given))
        if window and window[0] in wanted:
            found = tuple(_within(given, window, draws[window[0]][0], found))
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
            or (is_moment(sources, name) and is_later(name))
        )
    )
    optional = frozenset(name for name in may_be_null if share_of_nulls(table, name) > 0)
    return Proposal(sources, wanted, draws, null, optional)


def share_of_nulls(table: Table, name: str) -> float:
    """How often a column that may be NULL is: as in the source, in nearly all rows by its name, or now and then."""
    if name in table.statistics:
        # The first row of a table that refers to itself has no earlier one to refer to.
        is_own = any(key.target == table.oid and name in key.columns for key in table.foreign_keys)
        return max(0.0, round(table.statistics[name].null_share - is_own / (table.rows or 1), 9))
    return _NEARLY_ALWAYS if suggests("rare", name) and table.column(name).type != "boolean" else _OFTEN


def _reference(sources: Sources, name: str, code: str) -> Draw:
    """The column of a foreign key. Its values are not known, but those that checks name do for a check, and others."""
    family = sources.table.kind(name).family
    examples: dict[Family, tuple[object, ...]] = {
        **dict.fromkeys(INTEGERS, (1, 2)),
        **dict.fromkeys(_TEXTS, ("1", "2")),
        **dict.fromkeys(MOMENTS, (NOW, NOW + timedelta(days=1))),
        Family.UUID: (UUID(int=1), UUID(int=2)),
    }
    known = examples.get(family, ())
    return Draw(code, tuple(dict.fromkeys((*known, *sources.conditions.singled_out(name)))) if known else ())


def _within(wanted: Wanted, window: tuple[str, int, int], before: Draw, others: Iterable[Draw]) -> Iterator[Draw]:
    """Draws that add a distance to an earlier column of the row, with an example of a row for all of them."""
    name, least, most = window
    start = before.examples[0] if before.examples else None
    if isinstance(start, int | Decimal) and wanted.kind.family in INTEGERS:
        code = f"{{own:{name}}} + {wanted.rows}.integers({wanted.draw}, {literal(least)}, {literal(most)})"
        yield Draw(code, (int(start) + least,))
    elif isinstance(start, datetime):
        others = (replace(draw, examples=(start + timedelta(days=least),)) for draw in others)
    yield from others


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
        single = (value for value in sources.conditions.singled_out(name) if isinstance(value, int) and value > 0)
        yield Draw("rows.key()", (1, 1000, *single), is_unique=True)
        yield from draws_of(wanted)
    elif is_whole_key and family in _TEXTS and not sources.place.is_lookup and sources.conditions.room[name] > NO_ROOM:
        keys = text_keys(sources.place.name, np.array([1, NO_ROOM]), *wanted.kind.modifiers)
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
