"""What columns get: the first draw that meets their checks, and some are drawn together.

Columns are drawn together if checks over several of them would not hold otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain, product

from snapseed.scaffold.conditions import Rule, order_of
from snapseed.scaffold.decide.columns import Proposal
from snapseed.scaffold.decide.combinations import NULL, Options, Row, Truths, are_independent, rows_meeting
from snapseed.scaffold.decide.sources import ImpossibleError, Sources, leave
from snapseed.scaffold.decide.trial import CandidateRows, encoded, rows_of
from snapseed.scaffold.draws import DRAWN, Draw, choice, constant

# Asks the server which rows of values, of these types, meet a rule.
Answer = Callable[[Rule, tuple[str, ...], tuple[Row, ...]], Truths]
# Columns whose values depend on each other: a row takes its state in each of them from the same place. A state is a
# value, None for NULL, or `DRAWN`.
Together = Mapping[str, tuple[object, ...]]
# A list of values up to this length is likely to be what a check is about, a longer one are words.
_MOST_LISTED = 8
# How many whole rows are tried.
_MOST_ROWS = 24


@dataclass(frozen=True)
class Columns:
    """What is decided about the columns of a table: a draw for each, or why there is none.

    `values` are those that the columns of checks may have, as JSON. `never_null` columns are NULL only where columns
    that are drawn `together` say so, `sometimes_null` columns are NULL now and then, and those that are `spared` in the
    rows with these keys. `notes` are for people.
    """

    draws: Mapping[str, Draw]
    null: Mapping[str, str]
    values: Mapping[str, Row]
    notes: tuple[str, ...]
    never_null: frozenset[str] = frozenset()
    sometimes_null: frozenset[str] = frozenset()
    together: tuple[Together, ...] = ()
    spared: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def decide(proposal: Proposal, answer: Answer) -> Columns:
    """Choose the first draw of each column that meets its checks, then combine columns until the other checks hold.

    Raises `ImpossibleError` if a check does not hold, and no combination of what is known would help.
    """
    sources = proposal.sources
    chosen = _chosen(proposal, answer)
    rules = [rule for rule in sources.conditions.rules if len(rule.columns) > 1 and not _is_met(sources, chosen, rule)]
    tables = {rule: _tried(proposal, answer, rule, chosen.values) for rule in rules}
    for rule in [rule for rule, met in tables.items() if not met or _looks_elsewhere(sources, rule)]:
        chosen = _without_reading(proposal, rule, chosen)
        del tables[rule]
    failing = [rule for rule, met in tables.items() if not _holds(rule, met, chosen.values)]
    if spared := {rule: found for rule in failing if (found := _spared(sources, chosen, rule, tables))}:
        failing = [rule for rule in failing if rule not in spared]
        tables = {rule: met for rule, met in tables.items() if rule not in spared}
        chosen = replace(chosen, spared={name: keys for found in spared.values() for name, keys in found.items()})
    for group in _connected(failing):
        chosen = _combined(proposal, chosen, group, tables)
    for name in chosen.null.keys() & chosen.never_null:
        if not sources.table.column(name).has_default:
            raise ImpossibleError(f"column {name}: snapseed found no values that pass its checks")
    never_null = chosen.never_null.union(*(exclusion.columns for exclusion in sources.table.exclusions))
    sometimes_null = [
        name
        for name in proposal.optional & chosen.draws.keys() - never_null
        if "(" in chosen.draws[name].code
        and all(
            _holds(rule, met, {**chosen.values, name: (NULL,)}) for rule, met in tables.items() if name in rule.columns
        )
    ]
    notes = [
        *chosen.notes,
        *(f"{found.definition} could not be evaluated" for found in sources.table.tried_exclusions if not found.equal),
        *(f"{name}: {why}" for name, why in chosen.null.items()),
        *(
            f"{name}: a guess by its name, that it refers to {key.guess}"
            for key in sources.table.foreign_keys
            for name in key.columns
            if key.guess and name in sources.foreign
        ),
    ]
    return replace(chosen, sometimes_null=frozenset(sometimes_null), notes=tuple(dict.fromkeys(notes)))


def rehearsed(proposal: Proposal, columns: Columns, refusal: Callable[[CandidateRows], str | None]) -> Columns:
    """Leave columns NULL as long as the server refuses rows, and that helps. If nothing helps, people have to know."""
    if not proposal.sources.conditions.rules:
        return columns
    while (said := refusal(_rows_of(proposal, columns))) is not None:
        free = proposal.sources.nullable.difference(*columns.together)
        less = {name: _without(columns, name, said) for name in columns.draws if name in free}
        name = next((name for name, fewer in less.items() if refusal(_rows_of(proposal, fewer)) != said), None)
        if name is None:
            return replace(columns, notes=(*columns.notes, f"the server may reject its rows: {said}"))
        columns = replace(less[name], notes=(*columns.notes, f"{name}: NULL, because {said}"))
    return columns


def _rows_of(proposal: Proposal, columns: Columns) -> CandidateRows:
    """Rows with all examples of each column, except that those of columns in order are in order."""
    sources, table = proposal.sources, proposal.sources.table
    own = {rule.columns[0] for rule in sources.conditions.rules if len(rule.columns) == 1}
    unclear = own.intersection(sources.foreign)
    values = {name: tuple(map(encoded, draw.examples)) for name, draw in columns.draws.items() if name not in unclear}
    for rule in sources.conditions.rules:
        if (order := order_of(rule)) and _is_met(sources, columns, rule):
            pairs = list(product(values.get(order.before, ()), values.get(order.after, ())[::-1]))
            pair = next((pair for pair in pairs if pair[0] != pair[1] or not order.either), (*pairs, ())[0])
            values |= {order.before: pair[:1], order.after: pair[1:]}
    for group in columns.together:
        for name, states in group.items():
            drawn = values.get(name, ())[:1] or (NULL,)
            values[name] = tuple(
                NULL if state is None else drawn[0] if state == DRAWN else encoded(state) for state in states
            )
    for key in columns.spared and sources.place.key:
        # In the rows that are spared, other columns are NULL.
        values[key] = tuple(value for value in values[key] if int(value) not in chain(*columns.spared.values()))
    known = {name: found for name, found in values.items() if found}
    count = min(max(map(len, known.values()), default=0), _MOST_ROWS)
    return CandidateRows(
        schema=table.schema,
        table=table.name,
        columns=tuple((name, table.column(name).full_type) for name in known),
        absent=tuple(column.name for column in table.columns if column.not_null and column.name not in known),
        rows=tuple(tuple(found[place % len(found)] for found in known.values()) for place in range(count)),
    )


def _chosen(proposal: Proposal, answer: Answer) -> Columns:
    """The first draw of each column that meets the checks on this column alone."""
    sources, table = proposal.sources, proposal.sources.table
    draws: dict[str, Draw] = {}
    values: dict[str, Row] = {}
    null, notes, never_null = dict(proposal.null), [], set()
    rules = sources.conditions.rules
    for name in dict.fromkeys((*proposal.draws, *(name for rule in rules for name in rule.columns))):
        found, known = proposal.draws.get(name, ()), _examples(proposal, name)
        may_be_null, is_foreign = bool(found) and name in sources.nullable, name in sources.foreign
        tried = {name: tuple(chain(*known)) or (NULL,) * may_be_null}
        alone = {rule: _tried(proposal, answer, rule, tried) for rule in rules if rule.columns == (name,)}
        refused = {value for met in alone.values() for (value,), is_met in met.items() if not is_met}
        never_null |= refused & {NULL} and {name}
        # Which rows a reference finds is for the table that it refers to.
        fits = (place for place, some in enumerate(known) if is_foreign or refused.isdisjoint(some))
        place = next(fits, None)
        values[name] = (NULL,) * may_be_null if place is None else known[place]
        if not found:
            continue
        if place is None:
            null |= leave(table, name, "snapseed found no values that pass its checks")
            continue
        draw = found[place]
        unclear = (rule for rule, met in alone.items() if is_foreign or not met or not draw.examples)
        untried = next((rule for rule in unclear if rule.check.calls >= is_foreign), None)
        may_be_left = not draw.is_unique and (table.column(name).has_default or name in sources.nullable)
        if untried and (is_foreign or may_be_left):
            null |= leave(table, name, f"{untried} could not be evaluated")
            continue
        notes += [f"{untried} could not be evaluated"] if untried else []
        draws[name] = draw
        if values[name] and name in proposal.optional - never_null:
            values[name] += (NULL,)
    return Columns(draws, null, values, tuple(notes), frozenset(never_null))


def _examples(proposal: Proposal, name: str) -> list[Row]:
    """Examples of each draw of a column, as JSON; without draws its default, or NULL. None if they are not known."""
    default = proposal.sources.conditions.defaults.get(name)
    if name not in proposal.null:
        return [tuple(map(encoded, draw.examples)) for draw in proposal.draws.get(name, ())]
    is_known = default is not None or not proposal.sources.table.column(name).has_default
    return [(encoded(default),)] if is_known else []


def _tried(proposal: Proposal, answer: Answer, rule: Rule, values: Mapping[str, Row]) -> Truths:
    """Which values of its columns meet a rule, NULL among them where it may be; empty if these are not known."""
    may_be_null = proposal.draws.keys() & proposal.sources.nullable
    lists = [(*dict.fromkeys(values[name]), *[NULL] * (name in may_be_null)) for name in rule.columns if values[name]]
    types = tuple(proposal.sources.table.column(name).full_type for name in rule.columns)
    return (
        answer(rule, types, rows_of([tuple(dict.fromkeys(some)) for some in lists])) if len(lists) == len(types) else {}
    )


def _is_met(sources: Sources, chosen: Columns, rule: Rule) -> bool:
    """Whether a rule holds by the way in which its columns are filled: references that differ, moments in order."""
    return rule in sources.met or any(
        order.rule == rule
        and {order.before, order.after} <= chosen.draws.keys()
        and f"{{own:{order.before}}}" in chosen.draws[order.after].code
        for order in sources.conditions.orders
    )


def _looks_elsewhere(sources: Sources, rule: Rule) -> bool:
    """Whether a rule may depend on rows of other tables: a function about a reference can read those."""
    return rule.check.calls and not sources.foreign.keys().isdisjoint(rule.columns)


def _holds(rule: Rule, met: Truths, values: Mapping[str, Row]) -> bool:
    """Whether a rule holds for all combinations of these values that were tried."""
    return all(
        is_met or any(value not in values[name] for name, value in zip(rule.columns, row, strict=True))
        for row, is_met in met.items()
    )


def _spared(sources: Sources, chosen: Columns, rule: Rule, tables: Mapping[Rule, Truths]) -> dict[str, tuple[int, ...]]:
    """The columns that a rule asks to be NULL in single rows whose keys it names, and these keys; empty without any."""
    (key, *more), names = sources.place.key, rule.columns
    if more or key not in names or chosen.draws[key].code != "rows.key()":
        return {}
    keys = {row[names.index(key)] for row, is_met in tables[rule].items() if not is_met}
    empty = {name: (NULL,) for name in (chosen.draws.keys() & sources.nullable) - chosen.never_null if name in names}
    is_named = keys <= {*map(encoded, sources.conditions.singled_out(key))}
    helps = _holds(rule, tables[rule], {**chosen.values, **empty, key: tuple(keys)})
    harms = any(not _holds(other, met, {**chosen.values, **empty}) for other, met in tables.items() if other != rule)
    return dict.fromkeys(empty, tuple(sorted(map(int, keys)))) if is_named and helps and not harms else {}


def _connected(rules: Sequence[Rule]) -> list[list[Rule]]:
    """The rules in groups that have no column in common."""
    groups: list[list[Rule]] = []
    for rule in rules:
        near = [group for group in groups if any(not set(rule.columns).isdisjoint(other.columns) for other in group)]
        groups = [*(group for group in groups if group not in near), [*chain(*near), rule]]
    return groups


def _without_reading(proposal: Proposal, rule: Rule, chosen: Columns) -> Columns:
    """Leave nullable columns of a rule that nobody can evaluate NULL: most rules allow it."""
    nullable = [name for name in rule.columns if name in chosen.draws and name in proposal.sources.nullable]
    for name in nullable:
        chosen = _without(chosen, name, f"NULL, because {rule} could not be evaluated")
    if not nullable and _looks_elsewhere(proposal.sources, rule):
        raise ImpossibleError(f"{rule} could not be evaluated")
    return chosen if nullable else replace(chosen, notes=(*chosen.notes, f"{rule} could not be evaluated"))


def _combined(proposal: Proposal, chosen: Columns, group: Sequence[Rule], tables: Mapping[Rule, Truths]) -> Columns:
    """Make rules hold that have columns in common: draw those columns together, or limit what they are."""
    of_group = {name for rule in group for name in rule.columns}
    names = [column.name for column in proposal.sources.table.columns if column.name in of_group]
    written = {name: _written(proposal, chosen, name) for name in names}
    concerned = [(rule.columns, met) for rule, met in tables.items() if not of_group.isdisjoint(rule.columns)]
    tried = {
        name: [{row[columns.index(name)] for row in met} for columns, met in concerned if name in columns]
        for name in names
    }
    options = {
        name: Options(
            examples=tuple(value for value in chosen.values[name] if value != NULL or name not in chosen.draws),
            values=tuple(value for value in written[name] if all(value in known for known in tried[name])),
            is_whole=name in chosen.draws and chosen.draws[name].is_whole and 1 < len(written[name]) <= _MOST_LISTED,
            may_be_null=name in chosen.draws and name in proposal.sources.nullable - chosen.never_null,
            is_optional=name in proposal.optional,
        )
        for name in names
    }
    if not (rows := rows_meeting(options, chosen.values, concerned)):
        raise ImpossibleError(f"snapseed found no values that satisfy {group[0]}")
    together: dict[str, tuple[object, ...]] = {}
    for name, states in zip(names, zip(*rows, strict=True), strict=True):
        kinds = tuple(dict.fromkeys(states))
        if name not in chosen.draws:
            continue
        if kinds == (NULL,):
            chosen = _without(chosen, name, f"NULL, so that {group[0]} holds")
        elif len(kinds) > 1 and not are_independent(rows):
            together[name] = tuple(written[name].get(state, None if state == NULL else state) for state in states)
        else:
            chosen = _limited(proposal, chosen, group[0], name, {state: written[name].get(state) for state in kinds})
    if not together:
        return chosen
    return replace(chosen, together=(*chosen.together, together), never_null=chosen.never_null.union(together))


def _written(proposal: Proposal, chosen: Columns, name: str) -> dict[str, str | int]:
    """The values of a column that can be written down one by one, by their JSON."""
    if name not in chosen.draws or name in proposal.sources.foreign or proposal.wanted[name].kind.is_array:
        return {}
    draw, found = chosen.draws[name], {}
    for example in draw.examples:
        value = int(example) if isinstance(example, Decimal) and example == int(example) else example
        if draw.is_unique or not isinstance(value, str | int) or encoded(example) not in chosen.values[name]:
            return {}
        found[encoded(example)] = value
    return found


def _limited(
    proposal: Proposal, chosen: Columns, rule: Rule, name: str, kinds: Mapping[str, str | int | None]
) -> Columns:
    """Restrict a column to some of its states, whatever the others are."""
    if NULL not in kinds:
        chosen = replace(chosen, never_null=chosen.never_null | {name})
    values = [value for value in kinds.values() if value is not None]
    if DRAWN in kinds or set(kinds) >= set(chosen.values[name]):
        return chosen
    how = "" if chosen.draws[name].is_whole else "the tried values "
    fresh = choice(proposal.wanted[name], tuple(values)) if len(values) > 1 else constant(values[0])
    return replace(
        chosen,
        draws={**chosen.draws, name: replace(fresh, copies=chosen.draws[name].copies)},
        values={**chosen.values, name: tuple(kinds)},
        notes=(*chosen.notes, f"{name}: only {how}{', '.join(map(str, values))}, so that {rule} holds"),
    )


def _without(chosen: Columns, name: str, why: str) -> Columns:
    """With a column left NULL."""
    return replace(
        chosen,
        draws={other: draw for other, draw in chosen.draws.items() if other != name},
        null={**chosen.null, name: why},
        values={**chosen.values, name: (NULL,)},
    )
