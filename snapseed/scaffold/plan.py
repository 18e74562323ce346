"""The plan of a project: for each table an entity with its columns and their code, or the reason why it has none."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from snapseed.scaffold.arrangement import Arrangement, arrange
from snapseed.scaffold.checks import Conditions, conditions_of
from snapseed.scaffold.columns import MOST_PER_PARENT, Proposal, Subject, most_per_parent, propose
from snapseed.scaffold.draws import NUMBER, Draw, in_parentheses, quoted
from snapseed.scaffold.names import identifier, short_type, words_of
from snapseed.scaffold.schema import Table
from snapseed.scaffold.sources import ImpossibleError, sources_of
from snapseed.scaffold.trial import Columns, Question, Verdict, decide, question_of

# The project's `now`, before which nearly everything has happened: the default of `now` in snapseed.toml.
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_FEW_VALUES = 10_000
# Up to this many rows each parent always has; from this many on it has two on average.
_ALWAYS = 2
_SPREAD = 5
_FRACTIONS = {1: "scale(0.2)", 2: "scale(0.05)"}
# How often a column that may be NULL is.
_OFTEN = "0.1"
_TITLE_LENGTH = 80
_OWN = re.compile(r"\{own:([^}]*)\}")
_ROWS = re.compile(r"\{rows:([^}]*)\}")
_ENTITY = re.compile(r"\{entity:([^}]*)\}")


@dataclass(frozen=True)
class EntityPlan:
    """One module: the declaration of an entity and its function, as pieces of code.

    `parameters` are entities whose rows the function receives, `references` those that its code names, and `among` one
    of these that limits `per_parent`. `late` are entities that are imported inside the function.
    """

    name: str
    table: str | None
    schema: str | None
    title: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    parent: str | None
    per_parent: str | None
    among: str | None
    rows: str | None
    parameters: tuple[str, ...]
    references: frozenset[str]
    statements: tuple[tuple[str, str], ...]
    values: Mapping[str, str]
    notes: tuple[str, ...]
    late: tuple[str, ...] = ()

    @property
    def codes(self) -> list[str]:
        """All expressions of the module."""
        declared = [code for code in (self.per_parent, self.rows) if code is not None]
        return [*declared, *(code for _, code in self.statements), *self.values.values()]

    @property
    def used(self) -> set[tuple[str, str]]:
        """The columns of other entities that the code takes, by entity and column."""
        return {
            (node.value.id.removeprefix("one_of_"), node.slice.value)
            for node in _nodes(self.codes)
            if isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        }

    @property
    def names(self) -> set[str]:
        """All names that the code uses."""
        return {node.id for node in _nodes(self.codes) if isinstance(node, ast.Name)}


@dataclass(frozen=True)
class ProjectPlan:
    """All modules, parents before children, and the tables that are left out, each with the reason."""

    entities: tuple[EntityPlan, ...]
    left_out: Mapping[str, str]


def alias_of(entity: str, parameters: Iterable[str]) -> str:
    """What code calls an entity: another name than its own if that is a parameter of the function."""
    return f"{entity}_entity" if entity in parameters else entity


def plan_project(tables: Sequence[Table], answer: Callable[[Question], Verdict]) -> ProjectPlan:
    """An entity for each table whose rows can be made so that its constraints hold.

    `answer` asks the server which draws meet the checks of a table. A table that turns out to be impossible is left
    out, and all are planned once more without it.
    """
    by_oid = {table.oid: table for table in tables}
    conditions = {table.oid: conditions_of(table, NOW) for table in tables}
    narrow = {table.oid: _narrow(conditions[table.oid]) for table in tables}
    verdicts: dict[Question, Verdict] = {}
    excluded: dict[int, str] = {}
    single: frozenset[int] = frozenset()
    while True:
        arrangement = arrange(by_oid, narrow, excluded, single)
        names = _names(arrangement)
        try:
            proposals = _proposals(arrangement, conditions, names)
            for proposal in proposals.values():
                if (question := question_of(proposal)) not in verdicts:
                    verdicts[question] = answer(question)
            entities = _entities(arrangement, proposals, verdicts)
        except ImpossibleError as exc:
            # One with a key of several columns is tried once more with one of them.
            if len(arrangement.places[exc.oid].key) > 1:
                single |= {exc.oid}
            else:
                excluded[exc.oid] = exc.reason
            continue
        return ProjectPlan(
            tuple(_without_circles(entities)), {str(by_oid[oid]): why for oid, why in arrangement.left_out.items()}
        )


def _narrow(conditions: Conditions) -> frozenset[str]:
    """The columns whose checks leave few values, or values that depend on others."""
    few = {
        name
        for name, limits in conditions.limits.items()
        if limits.allowed is not None
        or (limits.high is not None and isinstance(limits.high.value, Decimal) and limits.high.value < _FEW_VALUES)
    }
    return frozenset(few) | conditions.ordered


def _names(arrangement: Arrangement) -> dict[int, str]:
    names: dict[int, str] = {}
    for oid in arrangement.places:
        table = arrangement.tables[oid]
        plain = identifier(table.name, set(names.values()))
        qualified = identifier(f"{table.schema}_{table.name}", set(names.values()))
        names[oid] = plain if table.is_visible or plain == identifier(table.name) else qualified
    return names


def _proposals(
    arrangement: Arrangement, conditions: Mapping[int, Conditions], names: Mapping[int, str]
) -> dict[int, Proposal]:
    """For all tables, parents before children."""
    proposals: dict[int, Proposal] = {}
    for oid in sorted(arrangement.places, key=lambda oid: len(arrangement.ancestors(oid))):
        parent = arrangement.places[oid].parent
        proposals[oid] = propose(
            Subject(
                table=arrangement.tables[oid],
                place=arrangement.places[oid],
                name=names[oid],
                conditions=conditions[oid],
                sources=sources_of(arrangement, oid, conditions[oid], names),
                now=NOW,
                since=None if parent is None else proposals[parent.target].since,
            )
        )
    return proposals


def _entities(
    arrangement: Arrangement, proposals: Mapping[int, Proposal], verdicts: Mapping[Question, Verdict]
) -> list[EntityPlan]:
    names = {oid: proposal.subject.name for oid, proposal in proposals.items()}
    entities: dict[str, EntityPlan] = {}
    strides: dict[int, int] = {}
    for oid, proposal in proposals.items():
        parent = arrangement.places[oid].parent
        above = 1 if parent is None else strides[parent.target]
        most = None if parent is None else most_per_parent(proposal, above)
        strides[oid] = above * (most or 1)
        columns = decide(proposal, verdicts[question_of(proposal)])
        entities[names[oid]] = _entity(proposal, columns, None if parent is None else names[parent.target], most, names)
    for oid, name in names.items():
        for other, column in sorted(entities[name].used):
            if other in entities and column not in entities[other].columns:
                raise ImpossibleError(oid, f"it needs the column {column} of {other}, whose values are not known")
    return list(entities.values())


def _entity(
    proposal: Proposal, columns: Columns, parent: str | None, most: int | None, names: Mapping[int, str]
) -> EntityPlan:
    subject = proposal.subject
    table, place, among = subject.table, subject.place, subject.sources.among
    code = _Code(proposal, columns, names.values())
    per_parent = None if most is None else _fan_out(most, among and alias_of(among, code.parameters))
    return EntityPlan(
        name=subject.name,
        table=None if table.name == subject.name else table.name,
        schema=None if table.is_visible else table.schema,
        title=_title(table),
        key=place.key,
        columns={name: short_type(subject.kind(name).name) for name in code.values},
        parent=parent,
        per_parent=per_parent,
        among=among,
        rows=str(place.rows) if place.rows is not None else _FRACTIONS.get(place.level),
        parameters=code.parameters,
        references=frozenset(code.references | ({among} if among else set())),
        statements=tuple(code.statements),
        values=code.values,
        notes=columns.notes,
    )


def _fan_out(most: int, among: str | None) -> str:
    """How many rows each row of the parent has, up to `most`, and up to the rows of the entity `among`."""
    if most <= _ALWAYS:
        return str(most) if among is None else f"exactly({most}, among={among})"
    mean = 1 if most < _SPREAD else 2 if most < MOST_PER_PARENT else 3
    return f"fan_out(mean={mean}, maximum={most}" + (")" if among is None else f", among={among})")


def _title(table: Table) -> str:
    """What the module holds: the comment on the table, or its name."""
    sentence = " ".join(table.comment.split()).partition(". ")[0].rstrip(".").replace('"', "'").replace("\\", "/")
    words = words_of(table.name).replace("_", " ").capitalize() or table.name
    return f"{sentence if 0 < len(sentence) <= _TITLE_LENGTH else words}."


def _without_circles(entities: list[EntityPlan]) -> list[EntityPlan]:
    """Imports by which modules would import each other move into the function."""
    # What a declaration names cannot wait; since root entities name none, these alone make no circle.
    tops = {plan.name: {name for name in (plan.parent, plan.among) if name} for plan in entities}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        if start == goal:
            return True
        seen.add(start)
        return any(reaches(step, goal, seen) for step in tops[start] - seen)

    found = []
    for plan in entities:
        late = []
        for name in sorted(plan.references - {plan.name, plan.among, *plan.parameters}):
            if reaches(name, plan.name, set()):
                late.append(name)
            else:
                tops[plan.name].add(name)
        found.append(replace(plan, late=tuple(late)))
    return found


def _nodes(codes: Iterable[str]) -> list[ast.AST]:
    return [node for code in codes for node in ast.walk(ast.parse(code, mode="eval"))]


class _Code:
    """The inside of an entity's function. Statements come before those that use their variables."""

    def __init__(self, proposal: Proposal, columns: Columns, entities: Iterable[str]) -> None:
        subject = self._subject = proposal.subject
        self._columns = columns
        # Columns that have no value of their own may still be what others are drawn from.
        self._draws: dict[str, Draw] = {name: found[0] for name, found in proposal.draws.items()} | {**columns.draws}
        self._taken = set(entities)
        self._variables: dict[str, str] = {}
        foreign = {name: code for name, code in subject.sources.foreign.items() if name not in columns.null}
        raw = [*foreign.values(), *(code for _, code in subject.sources.statements)]
        drawn = dict.fromkeys(columns.draws)
        drawn |= {
            name: None for name in self._draws for draw in columns.draws.values() if f"{{own:{name}}}" in draw.code
        }
        raw += [self._draws[name].code for name in drawn]
        self.parameters = tuple(dict.fromkeys(name for code in raw for name in _ROWS.findall(code)))
        self.references = {name for code in raw for name in _ENTITY.findall(code)}
        self._shared = {name for code in raw for name in _OWN.findall(code)}
        self.statements = [(name, self._resolved(code)) for name, code in subject.sources.statements]
        values = {name: self._foreign(name, code) for name, code in foreign.items()}
        values |= {name: self._drawn(name) for name in columns.draws}
        self.values = {column.name: values[column.name] for column in subject.table.columns if column.name in values}
        names = {
            node.id
            for node in _nodes([*values.values(), *(code for _, code in self.statements)])
            if isinstance(node, ast.Name)
        }
        if NUMBER in names:
            self.statements.insert(0, (NUMBER, "rows.number().cast(pl.String)"))

    def _foreign(self, name: str, code: str) -> str:
        code = self._resolved(code)
        return _now_and_then(name, code) if name in self._subject.sources.sometimes_null else code

    def _drawn(self, name: str) -> str:
        draw = self._draws[name]
        code = self._own(name) if name in self._shared and not self._is_key(name) else self._plain(name)
        code = in_parentheses(code) + draw.finish if draw.finish else code
        return _now_and_then(name, code) if name in self._columns.sometimes_null else code

    def _plain(self, name: str) -> str:
        """A column's values as they are drawn."""
        draw = self._draws[name]
        code = self._resolved(draw.code)
        if draw.local is not None:
            ending, made = draw.local
            local = self._variable(f"{name}_{ending}")
            self.statements.append((local, self._resolved(made)))
            code = code.replace("{local}", local)
        return code

    def _own(self, name: str) -> str:
        """The variable that holds a column's values as they are drawn, or the expression if it is short."""
        foreign = self._subject.sources.foreign
        if name in foreign:
            return self._resolved(foreign[name])
        if self._is_key(name):
            # Drawing again gives the same values.
            return self._draws[name].code
        if name not in self._variables:
            code = self._plain(name)
            self._variables[name] = self._variable(name)
            self.statements.append((self._variables[name], code))
        return self._variables[name]

    def _is_key(self, name: str) -> bool:
        return self._subject.place.key == (name,)

    def _variable(self, name: str) -> str:
        found = identifier(name, self._taken)
        self._taken.add(found)
        return found

    def _resolved(self, code: str) -> str:
        """Code with the names of entities, their rows and the values of other columns filled in."""
        code = _OWN.sub(lambda match: self._own(match[1]), code)
        code = _ROWS.sub(lambda match: match[1], code)
        return _ENTITY.sub(lambda match: alias_of(match[1], self.parameters), code)


def _now_and_then(name: str, code: str) -> str:
    return f"rows.or_null({quoted(name + ' missing')}, {code}, {_OFTEN})"
