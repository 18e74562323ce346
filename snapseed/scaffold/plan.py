"""The plan of a project: for each table an entity with its columns and their code, or the reason why it has none."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from itertools import chain

from snapseed.generate.words import words_of
from snapseed.scaffold.arrange import Arrangement, Place
from snapseed.scaffold.arrange.parents import with_guesses
from snapseed.scaffold.arrange.placing import arrange
from snapseed.scaffold.arrange.sizes import MOST_PER_PARENT, children_per_parent, fan_out_of, largest_root, rows_of
from snapseed.scaffold.conditions import conditions_of
from snapseed.scaffold.decide import Answer, Columns, decide, rehearsed
from snapseed.scaffold.decide.columns import Proposal, propose, share_of_nulls
from snapseed.scaffold.decide.sources import ImpossibleError, MisplacedError, most_per_parent, sources_of
from snapseed.scaffold.decide.trial import CandidateRows
from snapseed.scaffold.draws import DRAWN, NUMBER, quoted
from snapseed.scaffold.draws_by_statistics import coupled, joint_draws, weights_of
from snapseed.scaffold.expressions import NOW
from snapseed.scaffold.kept import HeldRows
from snapseed.scaffold.names import identifier, short_type
from snapseed.scaffold.schema import Table
from snapseed.snapshot.manifest import IDENTIFIER, is_identifier

Refusal = Callable[[CandidateRows], str | None]
_TITLE_LENGTH = 80
_MOST_PLANNED = 3_000  # So many tables in all are planned again, to find other parents for some of them
_OWN = re.compile(r"\{own:([^}]*)\}")
_ROWS = re.compile(r"\{rows:([^}]*)\}")
_ENTITY = re.compile(r"\{entity:([^}]*)\}")


@dataclass(frozen=True)
class EntityPlan:
    """One module: the declaration of an entity and its function, as pieces of code.

    `parameters` are entities whose rows the function receives, `references` those that its code names, and `among` one
    of these that limits `per_parent`. `late` are entities that are imported inside the function. `learned` says what
    columns take from statistics; those that are `copied` choose among values that nothing but rows had. If the table
    keeps the rows that it holds, they are the text of a `pool`, and there are no `values`.
    """

    name: str
    table: str | None
    schema: str | None
    title: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    rows: str | None = None
    parent: str | None = None
    per_parent: str | None = None
    among: str | None = None
    parameters: tuple[str, ...] = ()
    references: frozenset[str] = frozenset()
    statements: tuple[tuple[str, str], ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    pool: str = ""
    learned: Mapping[str, str] = field(default_factory=dict)
    copied: tuple[str, ...] = ()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """The syntax of all expressions of the module."""
        declared = [code for code in (self.per_parent, self.rows) if code is not None]
        codes = [*declared, *(code for _, code in self.statements), *self.values.values()]
        return [node for code in codes for node in ast.walk(ast.parse(code, mode="eval"))]

    @property
    def used(self) -> set[tuple[str, str]]:
        """The columns of other entities that the code takes, by entity and column."""
        found = set()
        for node in self.nodes:
            match node:
                case ast.Subscript(value=ast.Name(id=entity), slice=ast.Constant(value=str(column))):
                    found.add((entity.removeprefix("one_of_"), column))
        return found

    @property
    def names(self) -> set[str]:
        """All names that the code uses."""
        return {node.id for node in self.nodes if isinstance(node, ast.Name)}


@dataclass(frozen=True)
class ProjectPlan:
    """All modules, parents before children, the tables left out with their reasons, and the project's `now`.

    `scale` is that of as many rows as the source has; 0 if they are not known.
    """

    entities: tuple[EntityPlan, ...]
    left_out: Mapping[str, str]
    now: datetime
    scale: int


def alias_of(entity: str, parameters: Iterable[str]) -> str:
    """What code calls an entity: another name than its own if that is a parameter of the function."""
    return f"{entity}_entity" if entity in parameters else entity


def plan_project(
    tables: Sequence[Table],
    answer: Answer,
    held: HeldRows = HeldRows(),
    refusal: Refusal = lambda _: None,
    now: datetime = NOW,
) -> ProjectPlan:
    """An entity for each table whose rows can be made so that its constraints hold.

    `answer` asks the server which values meet the checks of a table, `refusal` whether it takes whole rows. `held` says
    what to do with tables that hold rows. A table that turns out to be impossible is left out, and all are planned once
    more without it.
    """
    by_oid = {table.oid: table for table in with_guesses(tables)}
    conditions = {table.oid: conditions_of(table, now) for table in tables}
    # Safe, since nothing is written: neither can change.
    answer, refusal = cache(answer), cache(refusal)
    names = {table.oid: (table.schema, table.name, *(column.name for column in table.columns)) for table in tables}
    odd = {
        oid: f"a name in it is not {IDENTIFIER}" for oid, found in names.items() if not all(map(is_identifier, found))
    }
    excluded = {**odd, **held.by_tools, **held.by_others}
    tries = iter(range(_MOST_PLANNED // max(1, len(tables))))
    while True:
        arrangement, entities, impossible = _entities(arrange(by_oid, conditions, excluded, held.kept), answer, refusal)
        # A table is tried again without guesses, then with another parent, and then with none.
        guessed = {oid for oid in impossible if any(key.guess for key in by_oid[oid].foreign_keys)}
        by_oid |= {oid: by_oid[oid].declared for oid in guessed}
        lost = {*impossible, *arrangement.left_out}
        others = (
            replace(table, widest_parent=width)
            for oid, table in by_oid.items()
            if not guessed and table.foreign_keys and oid in lost - excluded.keys()
            if oid in impossible or lost.isdisjoint(key.target for key in table.foreign_keys)
            if oid not in impossible or isinstance(impossible[oid], MisplacedError)
            for width in range(min(2, table.widest_parent))[::-1]
        )
        for table, _ in zip(others, tries, strict=False):
            tried = {**by_oid, table.oid: table}
            other, _, still = _entities(arrange(tried, conditions, excluded, held.kept), answer, refusal)
            if lost > {*still, *other.left_out}:
                by_oid = tried
                break
        else:
            excluded |= {oid: str(why) for oid, why in impossible.items() if oid not in guessed}
            if not impossible:
                left_out = {str(by_oid[oid]): why for oid, why in arrangement.left_out.items()}
                return ProjectPlan(tuple(_without_circles(entities)), left_out, now, largest_root(arrangement))


def _entities(
    arrangement: Arrangement, answer: Answer, refusal: Refusal
) -> tuple[Arrangement, list[EntityPlan], Mapping[int, ImpossibleError]]:
    """For all tables, parents before children; and why some can have no rows. What needs them waits."""
    names = {place.name for place in arrangement.places.values()}
    largest = largest_root(arrangement)
    impossible: dict[int, ImpossibleError] = {}
    waiting: set[int] = set()
    since: dict[int | None, str | None] = {None: None}
    strides: dict[int | None, int] = {None: 1}
    entities: dict[int, EntityPlan] = {}
    for oid in sorted(arrangement.places, key=lambda oid: len(arrangement.ancestors(oid))):
        place = arrangement.places[oid]
        if kept := arrangement.kept.get(oid):
            entity = _declared(arrangement.tables[oid], place, kept.columns)
            entities[oid] = replace(entity, rows=str(len(kept.rows)), pool=kept.pool)
            continue
        parent = None if place.parent is None else place.parent.target
        related = {*arrangement.ancestors(oid), *(found.target for found in arrangement.tables[oid].foreign_keys)}
        if oid in waiting or related & (impossible.keys() | waiting):
            waiting.add(oid)
            continue
        try:
            proposal = propose(sources_of(arrangement, oid), since[parent])
            counts = children_per_parent(arrangement, oid)
            usual = counts[-1] if counts else MOST_PER_PARENT
            most = None if parent is None else most_per_parent(proposal.sources, strides[parent], usual)
            columns = rehearsed(proposal, decide(proposal, answer), refusal)
            free = columns.draws.keys() - chain.from_iterable(columns.together)
            joint = joint_draws(arrangement.tables[oid], columns.draws, free)
            less = columns.sometimes_null - {name for name, draw in joint.items() if None in draw.examples}
            columns = replace(columns, draws={**columns.draws, **joint}, sometimes_null=less)
            if unknown := columns.null.keys() & {*place.key}:
                raise ImpossibleError(f"snapseed found no values for its key ({', '.join(unknown)})")  # noqa: TRY301
        except ImpossibleError as exc:
            impossible[oid] = exc
            waiting |= related - {oid}
            continue
        since[oid], strides[oid] = proposal.since, strides[parent] * (most or 1)
        entity = _entity(proposal, columns, None if parent is None else entities[parent].name, names)
        among = entity.among and alias_of(entity.among, entity.parameters)
        per_parent = None if most is None else fan_out_of([min(count, most) for count in counts or [most]], among)
        entities[oid] = replace(entity, per_parent=per_parent, rows=rows_of(arrangement, oid, largest))
    columns_of = {entity.name: entity.columns for entity in entities.values()}
    for oid, entity in entities.items():
        for other, column in sorted(entity.used):
            if other in columns_of and column not in columns_of[other]:
                why = f"it needs the column {column} of {other}, which snapseed cannot generate"
                impossible[oid] = MisplacedError(why)
    return arrangement, list(entities.values()), impossible


def _declared(table: Table, place: Place, columns: Iterable[str]) -> EntityPlan:
    """The declaration of an entity with these columns."""
    return EntityPlan(
        name=place.name,
        table=None if table.name == place.name else table.name,
        schema=None if table.is_visible else table.schema,
        title=_title(table),
        key=place.key,
        columns={name: short_type(table.kind(name).name) for name in columns},
    )


def _entity(proposal: Proposal, columns: Columns, parent: str | None, names: Collection[str]) -> EntityPlan:
    """The plan of an entity without the number of its rows."""
    table, place, among = proposal.sources.table, proposal.sources.place, proposal.sources.among
    statements, values = _code(proposal, columns, names)
    codes = [*(code for _, code in statements), *values.values()]
    parameters = tuple(dict.fromkeys(name for code in codes for name in _ROWS.findall(code)))

    def named(code: str) -> str:
        return _ENTITY.sub(lambda match: alias_of(match[1], parameters), _ROWS.sub(r"\1", code))

    plan = replace(
        _declared(table, place, values),
        parent=parent,
        among=among,
        parameters=parameters,
        references=frozenset(name for code in codes for name in _ENTITY.findall(code)) | ({among} if among else set()),
        statements=tuple((name, named(code)) for name, code in statements),
        values={name: named(code) for name, code in values.items()},
        notes=columns.notes,
        learned={name: text for name in values if (text := _learned(table, columns, name))},
        copied=tuple(name for name in values if name in columns.draws and columns.draws[name].copies),
    )
    if NUMBER in plan.names:
        plan = replace(plan, statements=((NUMBER, "rows.number().cast(pl.String)"), *plan.statements))
    return plan


def _learned(table: Table, columns: Columns, name: str) -> str:
    """What a column takes from statistics: its values or their range, and how many are NULL."""
    shape = columns.draws[name].shape if name in columns.draws else ""
    is_known = name in table.statistics and name in columns.sometimes_null
    return ", ".join(filter(None, [shape, f"{share_of_nulls(table, name):.1%} NULL" if is_known else ""]))


def _code(proposal: Proposal, columns: Columns, names: Collection[str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The statements of a function, and the code of each column. Entities and their rows are still placeholders.

    A column from which others are drawn has a variable, except foreign columns and the key: drawing these again is
    short, and gives the same values.
    """
    sources = proposal.sources
    # Other columns may be drawn from a column that has no value itself.
    draws = {name: found[0] for name, found in proposal.draws.items()} | {**columns.draws}
    statements, taken = list(sources.statements), set(names)
    variables: dict[str, str] = {}
    nulls = {name: (f"{name} missing", f"{share_of_nulls(sources.table, name):.3g}") for name in columns.sometimes_null}

    @cache
    def assigned(name: str, code: str) -> str:
        variable = identifier(name, taken)
        taken.add(variable)
        statements.append((variable, code))
        return variable

    for group in columns.together:
        drawn_or_null = {name for name, states in group.items() if DRAWN in states}
        weights = weights_of(sources.table, group)
        codes = {
            name: coupled(group, [state is None for state in states] if name in drawn_or_null else states, weights)
            for name, states in group.items()
        }
        nulls |= {name: (f"no {name}", codes[name]) for name in drawn_or_null}
        draws |= {name: replace(draws[name], code=codes[name], local=None) for name in codes.keys() - drawn_or_null}

    @cache
    def drawn(name: str) -> str:
        code = draws[name].code
        code = _OWN.sub(lambda match: own(match[1]), code)
        if local := draws[name].local:
            code = code.replace("{local}", assigned(*local))
        return code

    def own(name: str) -> str:
        if name in sources.foreign or sources.place.key == (name,):
            return drawn(name)
        if name not in variables:
            variables[name] = assigned(name, drawn(name))
        return variables[name]

    filled = {name: drawn(name) for name in columns.draws}
    values = {}
    for name in (column.name for column in sources.table.columns if column.name in filled):
        values[name] = draws[name].finished(variables.get(name, filled[name]))
    spared = {name: (f"{name} spared", f"rows.key().is_in({list(keys)})") for name, keys in columns.spared.items()}
    for name, (draw, share) in (*nulls.items(), *spared.items()):
        values |= {name: f"rows.or_null({quoted(draw)}, {values[name]}, {share})"} if name in values else {}
    return statements, values


def _title(table: Table) -> str:
    """What the module holds: the comment on the table, or its name."""
    sentence = " ".join(table.comment.split()).partition(". ")[0].rstrip(".").replace('"', "'").replace("\\", "/")
    words = words_of(table.name).replace("_", " ").capitalize() or table.name
    return f"{sentence if 0 < len(sentence) <= _TITLE_LENGTH else words}."


def _without_circles(entities: list[EntityPlan]) -> list[EntityPlan]:
    """Move imports that would form a cycle into the function."""
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
