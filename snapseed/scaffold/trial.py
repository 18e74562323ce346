"""Which of the proposed draws meet the checks of a table: the connected server tries examples of their values.

It evaluates the checks on constant rows, so it reads no table and changes nothing. What follows from its verdict is
pure: columns take the first draw that fits, and are narrowed until the checks over several columns hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import chain, islice, product

import psycopg
from psycopg import sql

from snapseed.postgres.connect import Connection
from snapseed.scaffold.columns import Proposal
from snapseed.scaffold.conditions import Rule
from snapseed.scaffold.draws import Draw, choice, constant
from snapseed.scaffold.sources import ImpossibleError, Sources, leave

# How many combinations of values are tried on a rule over several columns.
_MOST = 4_096
_NULL = "null"
# The share that remains of an unbounded column that is narrowed to one value.
_HARDLY_ANY = 0.01
_DOMAIN_VALUE = "value"


@dataclass(frozen=True)
class Candidates:
    """A column to try: the type that its checks see, and the examples of each of its draws, as JSON.

    No draws: the column has a value that is not known. `may_be_null`: NULL is tried as well.
    """

    name: str
    type: str
    draws: tuple[tuple[str, ...], ...]
    may_be_null: bool


@dataclass(frozen=True)
class Verdict:
    """The server's answer: the first draw of each column that meets the column's own rules, None if none does.

    `combinations` has each rule with the values tried, and whether they meet it: none if the server could not tell.
    """

    first: Mapping[str, int | None]
    combinations: Mapping[Rule, Mapping[tuple[str, ...], bool]]

    @property
    def untried(self) -> frozenset[Rule]:
        """The rules that the server could not evaluate."""
        return frozenset(rule for rule, met in self.combinations.items() if not met)

    @property
    def refuse_null(self) -> frozenset[str]:
        """The columns whose own rules do not take NULL."""
        rules = self.combinations.items()
        return frozenset(rule.columns[0] for rule, met in rules if not met.get((_NULL,), True))


@dataclass(frozen=True)
class Columns:
    """What is decided about the columns of a table: a draw for each, or why there is none.

    `values` are those that the columns of checks may have, as JSON. `never_null` columns were narrowed to values other
    than NULL, `sometimes_null` columns are NULL now and then. `notes` are for people.
    """

    draws: Mapping[str, Draw]
    null: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    never_null: frozenset[str] = frozenset()
    sometimes_null: frozenset[str] = frozenset()


def question_of(proposal: Proposal) -> tuple[tuple[Rule, ...], tuple[Candidates, ...]]:
    """The rules of a table, and the columns that they are about, for the server to try."""
    table = proposal.sources.table
    rules = tuple(rule for rule in proposal.sources.conditions.rules if rule.columns)
    columns = []
    for name in dict.fromkeys(name for rule in rules for name in rule.columns):
        column = table.column(name)
        known = [draw.examples for draw in proposal.draws.get(name, ())]
        if name in proposal.null:
            default = proposal.sources.conditions.defaults.get(name)
            known = [(default,)] if default is not None or not column.has_default else []
        may_be_null = name in proposal.draws and name in proposal.sources.nullable
        examples = tuple(tuple(map(_encoded, values)) for values in known)
        columns.append(Candidates(name, column.full_type, examples, may_be_null))
    return rules, tuple(columns)


def _encoded(value: object) -> str:
    """A value as JSON, from which PostgreSQL makes a value of any type."""
    return json.dumps(value, default=str, ensure_ascii=False)


def answer(connection: Connection, rules: Iterable[Rule], columns: Iterable[Candidates]) -> Verdict:
    """Try each draw's examples on the rules of its column, then those of the first that fits on all other rules."""
    known = {column.name: column for column in columns}
    tried: dict[str, list[str]] = {}
    first: dict[str, int | None] = {}
    met: dict[Rule, dict[tuple[str, ...], bool]] = {}
    for name, column in known.items():
        rows = [(value,) for value in dict.fromkeys(chain.from_iterable(column.draws))]
        rows += [(_NULL,)] * column.may_be_null
        alone = [rule for rule in rules if rule.columns == (name,)]
        met |= {rule: _tried(connection, rule, [column], rows) for rule in alone}
        refused = {value for rule in alone for (value,), is_met in met[rule].items() if not is_met}
        fitting = (place for place, examples in enumerate(column.draws) if not refused & set(examples))
        place = first[name] = next(fitting, None)
        examples = () if place is None else column.draws[place]
        tried[name] = list(dict.fromkeys((*examples, _NULL) if column.may_be_null and examples else examples))
    for rule in rules:
        if len(rule.columns) > 1:
            combined = list(islice(product(*(tried[name] for name in rule.columns)), _MOST))
            met[rule] = _tried(connection, rule, [known[name] for name in rule.columns], combined)
    return Verdict(first, met)


def _tried(
    connection: Connection, rule: Rule, columns: Sequence[Candidates], rows: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], bool]:
    """Whether each row meets a rule: it does if the rule gives true or NULL, and does not if the rule raises an error.

    Empty if the server cannot evaluate the rule at all.
    """
    names = [_DOMAIN_VALUE if rule.check.of_domain else column.name for column in columns]
    fields = [json.dumps(name, ensure_ascii=False) for name in names]
    document = "[" + ",".join("{" + ",".join(map(":".join, zip(fields, row, strict=True))) + "}" for row in rows) + "]"
    query = sql.SQL("SELECT ({}) IS NOT FALSE FROM jsonb_to_recordset(%s) AS t ({})").format(
        _as_sql(rule.sql),
        sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), _as_sql(column.type))
            for name, column in zip(names, columns, strict=True)
        ),
    )
    try:
        with connection.transaction():
            return {row: bool(met) for row, (met,) in zip(rows, connection.execute(query, [document]), strict=True)}
    except (psycopg.DataError, psycopg.IntegrityError):
        if len(rows) <= 1:
            return dict.fromkeys(rows, False)
        middle = len(rows) // 2
        first, second = (_tried(connection, rule, columns, half) for half in (rows[:middle], rows[middle:]))
        return first | second if first and second else {}
    except psycopg.Error:
        return {}


def _as_sql(text: str) -> sql.SQL:
    """SQL that the server itself has printed."""
    return sql.SQL(text.replace("%", "%%"))


def decide(proposal: Proposal, verdict: Verdict) -> Columns:
    """Choose the first draw of each column that meets its checks, then narrow columns until the other checks hold.

    Raises `ImpossibleError` if a check does not hold, and nothing that can be narrowed or left out would help.
    """
    sources = proposal.sources
    chosen = _chosen(proposal, verdict)
    for rule in sources.conditions.rules:
        if len(rule.columns) <= 1 or _is_drawn_in_order(sources, chosen, rule):
            continue
        if rule in verdict.untried:
            chosen = replace(chosen, notes=(*chosen.notes, f"not tried: {rule}"))
        elif not _holds(verdict, rule, chosen.values):
            chosen = _narrowed(proposal, verdict, rule, chosen)
    for name in chosen.null.keys() & verdict.refuse_null:
        if not sources.table.column(name).has_default:
            raise ImpossibleError(sources.table.oid, f"column {name}: no values are known that meet its checks")
    never_null = chosen.never_null.union(*(exclusion.columns for exclusion in sources.table.exclusions))
    sometimes_null = [
        name
        for name in proposal.optional & chosen.draws.keys() - never_null
        if "(" in chosen.draws[name].code
        and all(
            _holds(verdict, rule, {**chosen.values, name: (_NULL,)})
            for rule in verdict.combinations
            if name in rule.columns
        )
    ]
    notes = [
        *chosen.notes,
        *(f"not tried: {found.definition}" for found in sources.table.tried_exclusions if not found.equal),
        *(f"{name}: {why}" for name, why in chosen.null.items()),
    ]
    return replace(
        chosen, sometimes_null=sources.sometimes_null.union(sometimes_null), notes=tuple(dict.fromkeys(notes))
    )


def _chosen(proposal: Proposal, verdict: Verdict) -> Columns:
    """The first draw of each column that meets the checks on this column alone."""
    sources, table, notes = proposal.sources, proposal.sources.table, []
    draws: dict[str, Draw] = {}
    null = dict(proposal.null)
    for name, found in proposal.draws.items():
        place = verdict.first.get(name, 0)
        if place is None:
            null |= leave(table, name, "no values are known that meet its checks")
            continue
        draw = found[place]
        alone = [rule for rule in sources.conditions.rules if rule.columns == (name,)]
        untried = next((rule for rule in alone if rule in verdict.untried or not draw.examples), None)
        if untried and not draw.is_unique and (table.column(name).has_default or name in sources.nullable):
            null |= leave(table, name, f"{untried} was not tried")
            continue
        notes += [f"not tried: {untried}"] if untried else []
        draws[name] = draw
    values = {
        column.name: column.draws[verdict.first[column.name] or 0] if column.draws else ()
        for column in question_of(proposal)[1]
    }
    for name in proposal.optional & draws.keys() & values.keys() - verdict.refuse_null:
        values[name] = (*values[name], _NULL)
    return Columns(draws, null, values, tuple(notes))


def _is_drawn_in_order(sources: Sources, chosen: Columns, rule: Rule) -> bool:
    """Whether the rule asks for an order of moments, and the later one is drawn from the earlier one."""
    return any(
        order.rule == rule
        and {order.before, order.after} <= chosen.draws.keys()
        and f"{{own:{order.before}}}" in chosen.draws[order.after].code
        for order in sources.conditions.orders
    )


def _holds(verdict: Verdict, rule: Rule, values: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a rule holds for all combinations of these values that were tried."""
    return all(
        is_met or any(value not in values[name] for name, value in zip(rule.columns, row, strict=True))
        for row, is_met in verdict.combinations[rule].items()
    )


def _narrowed(proposal: Proposal, verdict: Verdict, rule: Rule, chosen: Columns) -> Columns:
    """Make a rule hold: narrow the column that keeps the most values, or leave one NULL."""
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
        may_be_null = name in proposal.sources.nullable and name not in verdict.refuse_null
        if may_be_null and _holds(verdict, rule, {**chosen.values, name: (_NULL,)}):
            return _without(chosen, name, rule)
    raise ImpossibleError(proposal.sources.table.oid, f"no rows are known that meet {rule}")


def _kept(proposal: Proposal, chosen: Columns, rule: Rule, name: str, kept: tuple[str, ...]) -> Columns | None:
    """With only some values of a column. None if they cannot be written down."""
    draw = chosen.draws[name]
    values = [
        int(example) if isinstance(example, Decimal) and example == int(example) else example
        for example in draw.examples
        if _encoded(example) in kept
    ]
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
        never_null=chosen.never_null if _NULL in kept else chosen.never_null | {name},
        notes=(*chosen.notes, f"{name}: only {', '.join(map(str, values))}, so that {rule} holds"),
    )


def _without(chosen: Columns, name: str, rule: Rule) -> Columns:
    """With a column left NULL."""
    return replace(
        chosen,
        draws={other: draw for other, draw in chosen.draws.items() if other != name},
        null={**chosen.null, name: f"NULL, so that {rule} holds"},
        values={**chosen.values, name: (_NULL,)},
    )
