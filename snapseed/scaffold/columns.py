"""The columns of one table: what is known about them, and for each the draws that may fill it, the best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import chain
from uuid import UUID

from snapseed.scaffold.arrangement import Place
from snapseed.scaffold.checks import Bound, Conditions, Limits, Order, constant_of
from snapseed.scaffold.draws import Draw, Wanted, quoted
from snapseed.scaffold.draws_by_type import MOMENTS, NUMBERS, draws_of, number_range
from snapseed.scaffold.names import COUNTRY_CODES, LOOKUPS, WORDS, short_type, singular, suggests, words_of
from snapseed.scaffold.schema import Table
from snapseed.scaffold.sources import ImpossibleError, Sources, leave
from snapseed.snapshot.types import INTEGERS, ColumnType, Family, parse_type

# What must come after something else in the row comes at most this many days later.
_LATEST = 30
# Of lookups with this many rows people read, and change, the names one by one.
_MOST_LISTED = 8
# The most rows for each row of a parent; fewer for short keys, which count in steps of the product of these maxima.
MOST_PER_PARENT = 20
_MOST_SMALL = 6
# Keys of this many digits are not short, and short ones have room for this many root rows at least.
_ROOMY = 8
_ROOTS = 100
_TEXTS = {Family.TEXT, Family.CHARACTER}
_PEOPLE = {"first_name": WORDS["FIRST_NAMES"], "last_name": WORDS["LAST_NAMES"]}


@dataclass(frozen=True)
class Subject:
    """A table whose columns are to be filled. `since` is code for the moment at which the parent's row begins."""

    table: Table
    place: Place
    name: str
    conditions: Conditions
    sources: Sources
    now: datetime
    since: str | None = None

    def kind(self, name: str) -> ColumnType:
        """The type of a column that a snapshot can have."""
        return parse_type(self.table.column(name).type)

    def is_moment(self, name: str) -> bool:
        """Whether a column holds dates or moments."""
        return self.kind(name).family in MOMENTS and not self.kind(name).is_array

    def is_unique(self, name: str) -> bool:
        """Whether each value of a column may come once only."""
        return self.place.key == (name,) or name in self.sources.unique

    def takes_null(self, name: str) -> bool:
        """Whether a column may be NULL."""
        return not self.table.column(name).not_null and name not in self.place.key

    def is_optional(self, name: str) -> bool:
        """Whether a column may be NULL, and by its name often is."""
        often = suggests("optional", name) or (self.is_moment(name) and _is_later(name))
        return often and self.takes_null(name) and name not in self.sources.by_position

    def default(self, name: str) -> object:
        """The value that the database gives a column, if it is a plain constant."""
        return constant_of(self.table.defaults[name], self.now) if name in self.table.defaults else None


@dataclass(frozen=True)
class Proposal:
    """Draws that may fill the columns of a table, the best first. `null` says why other columns get no value."""

    subject: Subject
    wanted: Mapping[str, Wanted]
    draws: Mapping[str, tuple[Draw, ...]]
    null: Mapping[str, str]

    @property
    def since(self) -> str | None:
        """Code for the moment at which a row begins, if there is one that is never after the project's `now`."""
        for name, (draw, *_) in self.draws.items():
            begins = self.subject.is_moment(name) and suggests("beginning", name) and not _is_later(name)
            is_late = self.wanted[name].limits.are_ends or f"timedelta(days={_LATEST})" in draw.code
            if begins and not is_late and not self.subject.takes_null(name):
                return f"{{rows:{self.subject.name}}}[{quoted(name)}]"
        return None


def propose(subject: Subject) -> Proposal:
    """Find draws for all columns that no other table fills.

    Raises `ImpossibleError` if a column must have values, and there are no draws for it.
    """
    table, sources = subject.table, subject.sources
    names = [
        column.name
        for column in table.columns
        if not column.generated and column.name not in {*sources.foreign, *sources.null}
    ]
    limits = reduce(
        lambda found, order: _parted(subject, found, order), _between(subject, names), {**subject.conditions.limits}
    )
    wanted: dict[str, Wanted] = {}
    draws: dict[str, tuple[Draw, ...]] = {}
    null = dict(sources.null)
    for name in _in_order(subject, names):
        given = Wanted(
            column=table.column(name),
            kind=subject.kind(name),
            limits=limits[name],
            now=subject.now,
            is_unique=subject.is_unique(name),
            is_key=subject.place.key == (name,),
            is_lookup=subject.place.is_lookup,
            table=table.name,
            default=subject.default(name),
            people=_people(draws),
            after=_after(subject, name, limits, tuple(draws)),
        )
        found = tuple(_candidates(subject, given))
        if found:
            wanted[name], draws[name] = given, found
        elif given.is_unique:
            null |= leave(table, name, "no values are known that are all different")
        else:
            null |= leave(table, name, f"no values of type {given.column.type} are known")
    return Proposal(subject, wanted, draws, null)


def _between(subject: Subject, names: list[str]) -> list[Order]:
    """The orders between two columns that are both drawn."""
    return [order for order in subject.conditions.orders if {order.before, order.after} <= set(names)]


def _in_order(subject: Subject, names: list[str]) -> list[str]:
    """Columns that others are drawn from come first."""
    before = {order.after: order.before for order in _between(subject, names)}

    def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
        return 0 if name not in before or name in seen else 1 + depth(before[name], seen | {name})

    def place(name: str) -> tuple[bool, int, bool]:
        return not suggests("person", name), depth(name), subject.is_moment(name) and _is_later(name)

    return sorted(names, key=place)


def _is_later(name: str) -> bool:
    return suggests("later", name) and not suggests("birth", name)


def _people(draws: Mapping[str, tuple[Draw, ...]]) -> dict[str, str]:
    """The columns that hold a person's names."""
    return {part: name for part, words in _PEOPLE.items() for name in draws if draws[name][0].examples == words}


def _parted(subject: Subject, limits: dict[str, Limits], order: Order) -> dict[str, Limits]:
    """Give two numbers that must be in order a range each; see that a moment leaves room for one that comes later."""
    before, after = limits[order.before], limits[order.after]
    kinds = subject.kind(order.before), subject.kind(order.after)
    if all(kind.family in NUMBERS and not kind.is_array for kind in kinds):
        columns = [subject.table.column(name) for name in (order.before, order.after)]
        (low, _), (other, high) = (
            number_range(Wanted(column, kind, limits[column.name], subject.now))
            for column, kind in zip(columns, kinds, strict=True)
        )
        start = max(low, other)
        middle = Decimal((start + max(high, start + 2)) // 2)
        return limits | {
            order.before: replace(before, high=Bound(middle)),
            order.after: replace(after, low=Bound(middle, order.strict)),
        }
    if after.low is not None and isinstance(after.low.value, datetime):
        end = Bound(after.low.value, order.strict)
    elif after.high is not None and isinstance(after.high.value, datetime):
        end = Bound(after.high.value - timedelta(days=2 * _LATEST))
    else:
        return limits
    return limits if before.ends[1] < end.place else limits | {order.before: replace(before, high=end)}


def _after(subject: Subject, name: str, limits: Mapping[str, Limits], drawn: tuple[str, ...]) -> tuple[str, str] | None:
    """The moment that a column is drawn from: one that a check puts before it, or one that usually comes before it."""
    if not subject.is_moment(name) or limits[name].low is not None:
        return None
    moments = [other for other in drawn if subject.is_moment(other)]
    orders = [order for order in subject.conditions.orders if order.after == name and order.before in moments]
    begins = [other for other in moments if not any(suggests(role, other) for role in ("later", "birth", "future"))]
    if orders:
        before, is_strict = orders[0].before, orders[0].strict
    elif limits[name].are_ends or suggests("birth", name):
        return None
    elif not _is_later(name):
        return (subject.since, "") if subject.since and not begins else None
    elif begins and not limits[begins[0]].are_ends:
        before, is_strict = begins[0], False
    else:
        return None
    own = f"{{own:{before}}}"
    # The earlier one may be close to `now`, or after it.
    is_late = (
        limits[name].are_ends or limits[before].are_ends or suggests("future", before) or subject.is_unique(before)
    )
    return (f"{own} + timedelta(days=1)", f"{own} + timedelta(days={_LATEST})") if is_strict or is_late else (own, "")


def _candidates(subject: Subject, wanted: Wanted) -> Iterator[Draw]:
    """Draws for a column whose texts are short enough, and unique if they must be."""
    family, name = wanted.kind.family, wanted.name
    if family is Family.BYTEA and subject.takes_null(name) and not wanted.is_unique:
        return
    if wanted.is_key and family is Family.UUID:
        yield Draw("rows.key()", (str(UUID(int=1)),), is_unique=True)
    elif wanted.is_key and family in INTEGERS:
        yield Draw("rows.key()", (1, 1000), is_unique=True)
    elif name in subject.sources.by_position:
        yield _by_position(wanted, subject.sources.by_position[name], in_key=name in subject.place.key)
    else:
        is_text = family in _TEXTS or wanted.limits.max_length is not None
        for draw in chain(_listed(subject, wanted), draws_of(wanted)):
            texts = [example for example in draw.examples if isinstance(example, str)] if is_text else []
            is_short = wanted.length is None or all(len(text) <= wanted.length for text in texts)
            if is_short and (draw.is_unique or not wanted.is_unique):
                yield draw


def _by_position(wanted: Wanted, labels: tuple[str, ...], *, in_key: bool) -> Draw:
    """Another value for each row of the same parent, by its place among them. Keys ascend, and count from one."""
    if labels:
        code = f"rows.choice({wanted.draw}, [{', '.join(map(quoted, labels))}], distinct=True)"
        return Draw(f"rows.ascending({code})" if in_key else code, labels, is_unique=True)
    low, first = wanted.limits.low, int(in_key or suggests("counted_from_one", wanted.name))
    if low is not None and isinstance(low.value, Decimal):
        first = int(low.value) + low.strict
    return Draw(f"rows.positions + {first}" if first else "rows.positions", (first, first + 19), is_unique=True)


def _listed(subject: Subject, wanted: Wanted) -> Iterator[Draw]:
    """The names, or the codes, of the rows of a lookup, one for each row."""
    count = subject.place.rows
    is_text = wanted.kind.family in _TEXTS and not wanted.kind.is_array
    if (
        count is None
        or count > _MOST_LISTED
        or not is_text
        or wanted.column.labels
        or wanted.limits.allowed is not None
    ):
        return
    table = words_of(subject.table.name)
    last, title = singular(table.rpartition("_")[2]), singular(table).replace("_", " ").capitalize()
    names = LOOKUPS.get(last) or tuple(f"{title} {number}" for number in range(1, count + 1))
    if wanted.is_key or suggests("code", wanted.name):
        codes = tuple(sorted(name.replace(" ", "_").lower() for name in names))
        values = {"country": COUNTRY_CODES[:count], "currency": names}.get(last, codes)
    elif suggests("label", wanted.name) or words_of(wanted.name) in {table, last}:
        values = names
    else:
        return
    if len(set(values)) == count:
        yield Draw(f"[{', '.join(map(quoted, values))}]", values, is_unique=True, is_whole=True)


def most_per_parent(proposal: Proposal, stride: int) -> int:
    """The most rows for each row of a parent of which each root row has `stride` at most."""
    subject = proposal.subject
    most, (name, *others) = subject.sources.most_per_parent or MOST_PER_PARENT, subject.place.key
    if others:
        return most
    kind = subject.kind(name)
    length = proposal.wanted[name].length if kind.family is Family.TEXT and name in proposal.wanted else None
    room = 2**15 if kind.family is Family.SMALLINT else 10 ** (length or _ROOMY)
    if room >= 10**_ROOMY:
        return most
    if stride * _ROOTS > room:
        raise ImpossibleError(subject.table.oid, f"its key, a {short_type(kind.name)}, has no room for all its rows")
    return min(most, _MOST_SMALL, room // _ROOTS // stride)
