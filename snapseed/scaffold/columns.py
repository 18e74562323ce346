"""The columns of one table: first a proposal of draws to try, then, with the server's verdict, one draw for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import chain
from uuid import UUID

from snapseed.scaffold.arrangement import Place
from snapseed.scaffold.checks import Bound, Conditions, Limits, Order, Rule, constant_of, tighter
from snapseed.scaffold.draws import Draw, Wanted, choice, constant, quoted
from snapseed.scaffold.draws_by_type import MOMENTS, NUMBERS, draws_of, number_range
from snapseed.scaffold.names import CODES, LOOKUPS, WORDS, singular, suggests, words_of
from snapseed.scaffold.schema import Table
from snapseed.scaffold.sources import ImpossibleError, Sources, leave, sources_of
from snapseed.scaffold.trial import NULL, Candidates, Question, Verdict, encoded
from snapseed.snapshot.types import INTEGERS, ColumnType, Family, parse_type

# What must come after something else in the row comes at most this many days later.
LATEST = 30
# Of lookups with this many rows people read, and change, the names one by one.
_MOST_LISTED = 8
_TEXTS = {Family.TEXT, Family.CHARACTER}
# What is left of a column that is narrowed to one of endlessly many values.
_HARDLY_ANY = 0.01
_PEOPLE = {"first_name": WORDS["FIRST_NAMES"], "last_name": WORDS["LAST_NAMES"]}


@dataclass(frozen=True)
class Subject:
    """A table whose columns are to be filled, and what is decided about them. `parent` is a table and its entity.

    `ahead` are moments of other entities, by entity and column, that may lie after the project's `now`.
    """

    table: Table
    place: Place
    name: str
    parent: tuple[Table, str] | None
    conditions: Conditions
    sources: Sources
    now: datetime
    ahead: frozenset[tuple[str, str]]

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
    """Draws that may fill the columns of a table, the best first, and the question which of them meet its checks.

    `null` says why a column gets no value. `ahead` are the table's own moments that may lie after `now`.
    """

    subject: Subject
    wanted: Mapping[str, Wanted]
    draws: Mapping[str, tuple[Draw, ...]]
    null: Mapping[str, str]
    ahead: frozenset[tuple[str, str]]

    @property
    def question(self) -> Question:
        """What the server has to decide."""
        rules = tuple(rule for rule in self.subject.conditions.rules if rule.columns)
        names = dict.fromkeys(name for rule in rules for name in rule.columns)
        return Question(rules, tuple(map(self._candidates, names)))

    def _candidates(self, name: str) -> Candidates:
        """A column with the values that it may have; none if they are not known."""
        column = self.subject.table.column(name)
        known: tuple[tuple[object, ...], ...] = tuple(draw.examples for draw in self.draws.get(name, ()))
        if name in self.null:
            default = self.subject.default(name)
            known = ((default,),) if default is not None or not column.has_default else ()
        examples = tuple(tuple(map(encoded, values)) for values in known)
        return Candidates(name, column.type, examples, name in self.draws and self.subject.takes_null(name))


@dataclass(frozen=True)
class Columns:
    """What is decided about the columns of a table: a draw for each, or why there is none.

    `sometimes_null` are columns that are NULL now and then. `notes` are for people.
    """

    draws: Mapping[str, Draw]
    null: Mapping[str, str]
    sometimes_null: frozenset[str]
    notes: tuple[str, ...]


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
            continue
        is_bytes = given.kind.family is Family.BYTEA
        why = (
            "no values are known that are all different"
            if given.is_unique
            else f"no values of type {given.column.type} are known"
        )
        null |= leave(table, name, "nothing is known of its bytes" if is_bytes else why)
    ahead = frozenset(
        (subject.name, name)
        for name in draws
        if subject.is_moment(name) and _may_be_ahead(draws[name][0], limits[name])
    )
    return Proposal(subject, wanted, draws, null, ahead)


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
    return {
        part: next(name for name, found in draws.items() if found[0].examples == words)
        for part, words in _PEOPLE.items()
        if any(found[0].examples == words for found in draws.values())
    }


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
        end = Bound(after.high.value - timedelta(days=2 * LATEST))
    else:
        return limits
    if before.high is None or tighter(before.high, end, highest=False) is end:
        return limits | {order.before: replace(before, high=end)}
    return limits


def _after(subject: Subject, name: str, limits: Mapping[str, Limits], drawn: tuple[str, ...]) -> tuple[str, str] | None:
    """The moment that a column is drawn from: one that a check puts before it, or one that usually comes before it."""
    if not subject.is_moment(name):
        return None
    moments = [other for other in drawn if subject.is_moment(other)]
    for order in subject.conditions.orders:
        if order.after == name and order.before in moments:
            if limits[name].low is not None:
                return None
            # The earlier one may be close to `now`, or after it.
            is_late = limits[name].are_ends or limits[order.before].are_ends or suggests("future", order.before)
            if order.strict or is_late or subject.is_unique(order.before):
                own = f"{{own:{order.before}}}"
                return f"{own} + timedelta(days=1)", f"{own} + timedelta(days={LATEST})"
            return f"{{own:{order.before}}}", ""
    if limits[name].are_ends or suggests("birth", name):
        return None
    begins = [
        other for other in moments if not (_is_later(other) or suggests("birth", other) or suggests("future", other))
    ]
    if not _is_later(name):
        return None if begins else _parents_moment(subject)
    if not begins or limits[begins[0]].are_ends:
        return None
    own = f"{{own:{begins[0]}}}"
    return own, f"{own} + timedelta(days={LATEST})" if subject.is_unique(begins[0]) else ""


def _parents_moment(subject: Subject) -> tuple[str, str] | None:
    """Since when the parent's row exists."""
    if subject.parent is None or subject.parent[0].partitions is not None:
        return None
    table, entity = subject.parent
    for column in table.columns:
        begins = column.not_null and suggests("beginning", column.name) and not _is_later(column.name)
        if begins and not column.generated and parse_type(column.type).family in MOMENTS:
            since = f"{{rows:{entity}}}[{quoted(column.name)}]"
            is_ahead = (entity, column.name) in subject.ahead
            return since, f"{since} + timedelta(days={LATEST})" if is_ahead else ""
    return None


def _may_be_ahead(draw: Draw, limits: Limits) -> bool:
    return f"timedelta(days={LATEST})" in draw.code or "rows.now +" in draw.code or limits.low is not None


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
    low, first = wanted.limits.low, int(in_key or suggests("counted from one", wanted.name))
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
        values = {"country": CODES[:count], "currency": names}.get(last, codes)
    elif suggests("label", wanted.name) or words_of(wanted.name) in {table, last}:
        values = names
    else:
        return
    if len(set(values)) == count:
        yield Draw(f"[{', '.join(map(quoted, values))}]", values, is_unique=True, is_whole=True)


@dataclass(frozen=True)
class _Choice:
    """The draws so far, and the values that each column may have, as JSON."""

    draws: Mapping[str, Draw]
    null: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]
    never_null: frozenset[str]
    notes: tuple[str, ...]


def decide(proposal: Proposal, verdict: Verdict) -> Columns:
    """Choose the first draw of each column that meets its checks, then narrow columns until the other checks hold.

    Raises `ImpossibleError` if a check does not hold, and nothing that can be narrowed or left out would help.
    """
    subject = proposal.subject
    chosen = _chosen(proposal, verdict)
    for rule in subject.conditions.rules:
        if len(rule.columns) < 2 or _holds_by_construction(subject, chosen, rule):  # noqa: PLR2004 - several
            continue
        if rule in verdict.untried:
            chosen = replace(chosen, notes=(*chosen.notes, f"not tried: {rule}"))
        elif not _holds(verdict, rule, chosen.values):
            chosen = _narrowed(proposal, verdict, rule, chosen)
    exclusions = [
        f"not tried: {exclusion.definition}"
        for exclusion in subject.table.exclusions
        if not exclusion.equal and not any("range" in subject.table.column(name).type for name in exclusion.columns)
    ]
    notes = [*chosen.notes, *exclusions, *(f"{name}: {why}" for name, why in chosen.null.items())]
    sometimes_null = frozenset(name for name in chosen.draws if _is_sometimes_null(subject, verdict, chosen, name))
    return Columns(chosen.draws, chosen.null, sometimes_null, tuple(dict.fromkeys(notes)))


def _chosen(proposal: Proposal, verdict: Verdict) -> _Choice:
    """The first draw of each column that meets the checks on this column alone."""
    subject, notes = proposal.subject, []
    draws: dict[str, Draw] = {}
    null = dict(proposal.null)
    for name, found in proposal.draws.items():
        place = verdict.first.get(name, 0)
        if place is None:
            null |= leave(subject.table, name, "no values are known that meet its checks")
            continue
        draw, column = found[place], subject.table.column(name)
        alone = subject.conditions.alone(name)
        untried = next((rule for rule in alone if rule in verdict.untried or not draw.examples), None)
        if untried is not None and not draw.is_unique and (column.has_default or subject.takes_null(name)):
            null |= leave(subject.table, name, f"{untried} was not tried")
            continue
        notes += [] if untried is None else [f"not tried: {untried}"]
        draws[name] = draw
    values = {
        candidates.name: candidates.draws[verdict.first[candidates.name] or 0] if candidates.draws else ()
        for candidates in proposal.question.columns
    }
    never_null = verdict.refuse_null
    for name in draws:
        if name in values and subject.is_optional(name) and name not in never_null:
            values[name] = (*values[name], NULL)
    return _Choice(draws, null, values, never_null, tuple(notes))


def _holds_by_construction(subject: Subject, chosen: _Choice, rule: Rule) -> bool:
    """Whether the rule asks for an order of moments, and the later one is drawn from the earlier one."""
    return any(
        order.rule == rule
        and order.before in chosen.draws
        and order.after in chosen.draws
        and f"{{own:{order.before}}}" in chosen.draws[order.after].code
        for order in subject.conditions.orders
    )


def _holds(verdict: Verdict, rule: Rule, values: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a rule holds for all combinations of these values that were tried."""
    return all(
        is_met or any(value not in values[name] for name, value in zip(rule.columns, row, strict=True))
        for row, is_met in verdict.combinations[rule].items()
    )


def _narrowed(proposal: Proposal, verdict: Verdict, rule: Rule, chosen: _Choice) -> _Choice:
    """Narrow one of the columns of a rule until it holds, the one of which most is left; or leave one NULL."""
    subject = proposal.subject
    free = [name for name in rule.columns if name in chosen.draws and not chosen.draws[name].is_unique]
    narrowed = []
    for name in free:
        kept = tuple(value for value in chosen.values[name] if _holds(verdict, rule, {**chosen.values, name: (value,)}))
        share = len(kept) / len(chosen.values[name]) if chosen.draws[name].is_whole else _HARDLY_ANY
        narrowed += [(share, name, kept)] if kept else []
    for _, name, kept in sorted(narrowed, key=lambda found: -found[0]):
        if (found := _kept(proposal, chosen, rule, name, kept)) is not None:
            return found
    for name in free:
        if subject.takes_null(name) and _holds(verdict, rule, {**chosen.values, name: (NULL,)}):
            return _without(chosen, name, rule)
    raise ImpossibleError(subject.table.oid, f"no rows are known that meet {rule}")


def _kept(proposal: Proposal, chosen: _Choice, rule: Rule, name: str, kept: tuple[str, ...]) -> _Choice | None:
    """With only some values of a column. None if they cannot be written down."""
    draw = chosen.draws[name]
    values = [_plain(example) for example in draw.examples if encoded(example) in kept]
    if not values:
        return _without(chosen, name, rule)
    if proposal.wanted[name].kind.is_array or not all(isinstance(value, str | int) for value in values):
        return None
    values = values if draw.is_whole else values[:1]
    fresh = choice(proposal.wanted[name], tuple(values)) if len(values) > 1 else constant(values[0])
    return replace(
        chosen,
        draws={**chosen.draws, name: fresh},
        values={**chosen.values, name: kept},
        never_null=chosen.never_null if NULL in kept else chosen.never_null | {name},
        notes=(*chosen.notes, f"{name}: only {', '.join(map(str, values))}, so that {rule} holds"),
    )


def _without(chosen: _Choice, name: str, rule: Rule) -> _Choice:
    """With a column left NULL."""
    return replace(
        chosen,
        draws={other: draw for other, draw in chosen.draws.items() if other != name},
        null={**chosen.null, name: f"NULL, so that {rule} holds"},
        values={**chosen.values, name: (NULL,)},
    )


def _plain(value: object) -> object:
    """A whole number as an integer."""
    return int(value) if isinstance(value, Decimal) and value == int(value) else value


def _is_sometimes_null(subject: Subject, verdict: Verdict, chosen: _Choice, name: str) -> bool:
    """Whether NULLs are drawn for a column: it may have them, often has, and no check is against it."""
    if not subject.is_optional(name) or name in chosen.never_null or "(" not in chosen.draws[name].code:
        return False
    rules = [rule for rule in verdict.combinations if name in rule.columns]
    is_excluded = any(name in exclusion.columns for exclusion in subject.table.exclusions)
    return not is_excluded and all(_holds(verdict, rule, {**chosen.values, name: (NULL,)}) for rule in rules)
