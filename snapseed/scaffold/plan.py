"""The plan of a first project: for each table an entity, its columns and their code, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from snapseed.scaffold.arrange import Arrangement
from snapseed.scaffold.assembly import assemble
from snapseed.scaffold.columns import fill_columns
from snapseed.scaffold.facts import Table
from snapseed.scaffold.limits import limits_of, order_of, read_rules
from snapseed.scaffold.naming import identifier, short_type, words_of
from snapseed.scaffold.relations import Relations
from snapseed.scaffold.sheet import ImpossibleError, Sheet
from snapseed.snapshot.types import Family

# The project's `now`, before which nearly everything has happened. See the default of [snapseed] now.
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_FEW_VALUES = 10_000
# The most rows for each row of a parent; fewer for short keys, which count in steps of the product of these maxima.
_MOST = 20
_MOST_SMALL = 6
# Keys of so many digits are not short, and short ones have room for so many root rows at least.
_ROOMY = 8
_ROOTS = 100
# So few rows each parent always has; from so many on it may have two on average.
_ALWAYS = 2
_SPREAD = 5
_FRACTIONS = {1: "scale(0.2)", 2: "scale(0.05)"}


@dataclass(frozen=True)
class EntityPlan:
    """One module: the declaration of an entity, and its function, as pieces of code.

    `parameters` are entities whose rows the function receives; `imports` names it uses, with their modules; `late`
    entities that are imported inside the function, since modules that refer to each other cannot do so at their top.
    `among` is an entity that `per_parent` names.
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
    imports: frozenset[str]
    late: tuple[str, ...]
    statements: tuple[tuple[str, str], ...]
    values: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ProjectPlan:
    """All modules, parents before children, and the tables that are left out, each with the reason."""

    entities: tuple[EntityPlan, ...]
    left_out: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """The lists of words that the modules use."""
        return sorted(
            {name.removeprefix("words:") for plan in self.entities for name in plan.imports if "words:" in name}
        )


def plan_project(tables: Sequence[Table]) -> ProjectPlan:
    """An entity for each table whose rows can be made so that its constraints hold."""
    arrangement = Arrangement(tables, {table.oid: _narrow(table) for table in tables})
    while True:
        names = _names(arrangement)
        try:
            context = _Context(arrangement, names)
            planned = [_plan(context, oid) for oid in _in_order(arrangement)]
            entities = [plan for plan, _ in planned]
            _require_columns(arrangement, planned)
        except ImpossibleError as exc:
            arrangement.leave_out(exc.oid, exc.reason)
            continue
        left_out = {str(arrangement.tables[oid]): why for oid, why in arrangement.left_out.items()}
        return ProjectPlan(tuple(_without_cycles(entities)), left_out)


@dataclass(frozen=True)
class _Context:
    """What is known of all tables, and of those that were planned before: strides, and moments that lie ahead."""

    arrangement: Arrangement
    names: Mapping[int, str]
    strides: dict[int, int] = field(default_factory=dict)
    ahead: set[tuple[str, str]] = field(default_factory=set)


def _narrow(table: Table) -> frozenset[str]:
    """The columns whose checks leave few values, or values that depend on others."""
    rules, _ = read_rules(table)
    ordered = {name for order in map(order_of, rules) if order is not None for name in (order.before, order.after)}
    found = {column.name: limits_of(column.name, rules, NOW) for column in table.columns}
    return frozenset(
        name
        for name, limits in found.items()
        if name in ordered
        or limits.allowed is not None
        or (limits.high is not None and isinstance(limits.high.value, Decimal) and limits.high.value < _FEW_VALUES)
    )


def _names(arrangement: Arrangement) -> dict[int, str]:
    names: dict[int, str] = {}
    for oid in arrangement.places:
        table = arrangement.tables[oid]
        plain = identifier(table.name, set(names.values()))
        qualified = identifier(f"{table.schema}_{table.name}", set(names.values()))
        names[oid] = plain if table.is_visible or plain == identifier(table.name) else qualified
    return names


def _in_order(arrangement: Arrangement) -> list[int]:
    return sorted(arrangement.places, key=lambda oid: len(arrangement.ancestors(oid)))


def _require_columns(arrangement: Arrangement, planned: Sequence[tuple[EntityPlan, set[tuple[str, str]]]]) -> None:
    """Raise `ImpossibleError` for an entity that takes a column of another, which that one leaves to the database."""
    filled = {plan.name: set(plan.columns) for plan, _ in planned}
    for oid, (_, uses) in zip(_in_order(arrangement), planned, strict=True):
        for name, column in uses:
            if column not in filled[name]:
                raise ImpossibleError(oid, f"it needs the column {column} of {name}, whose values are not known")


def _plan(context: _Context, oid: int) -> tuple[EntityPlan, set[tuple[str, str]]]:
    arrangement, names, strides = context.arrangement, context.names, context.strides
    table, place = arrangement.tables[oid], arrangement.places[oid]
    relations = Relations(arrangement, oid, names)
    sheet = fill_columns(relations, NOW, set(names.values()), context.ahead)
    body = assemble(sheet)
    name = names[oid]
    rows = str(place.rows) if place.rows is not None else _FRACTIONS.get(place.level)
    most = None if place.parent is None else _most_per_parent(sheet, strides[place.parent.target])
    strides[oid] = 1 if place.parent is None or most is None else strides[place.parent.target] * most
    among = next((source.among for source in sheet.uniqueness.replaced.values() if source.among), None)
    per_parent = None if most is None else _fan_out(most, _imported(among, body.imports))
    used = "\n".join([per_parent or "", rows or ""])
    imports = body.imports | {call for call in ("exactly", "fan_out", "scale") if f"{call}(" in used}
    plan = EntityPlan(
        name=name,
        table=None if table.name == name else table.name,
        schema=None if table.is_visible else table.schema,
        title=_title(table),
        key=place.key,
        columns={column: short_type(sheet.kinds[column].name) for column in body.values},
        parent=None if place.parent is None else names[place.parent.target],
        per_parent=per_parent,
        among=among,
        rows=rows,
        parameters=tuple(sheet.parameters),
        imports=frozenset(imports),
        late=(),
        statements=body.statements,
        values=body.values,
        notes=tuple(sheet.notes),
    )
    return plan, sheet.uses


def _most_per_parent(sheet: Sheet, stride: int) -> int:
    """The most rows for each row of a parent of which each root row has `stride` at most."""
    most, (name, *others) = sheet.uniqueness.most_per_parent or _MOST, sheet.place.key
    if others:
        return most
    kind = sheet.kinds[name]
    length = sheet.wanted(name).length if kind.family is Family.TEXT else None
    room = 2**15 if kind.family is Family.SMALLINT else 10 ** (length or _ROOMY)
    if room >= 10**_ROOMY:
        return most
    if stride * _ROOTS > room:
        raise ImpossibleError(sheet.table.oid, f"its key, a {short_type(kind.name)}, has no room for all its rows")
    return min(most, _MOST_SMALL, room // _ROOTS // stride)


def _imported(name: str | None, imports: frozenset[str]) -> str | None:
    """The name of an entity in its module, where a parameter may have its own."""
    aliased = f"{name}_entity"
    return aliased if f"entity:{name} as {aliased}" in imports else name


def _fan_out(most: int, among: str | None) -> str:
    """How many rows each row of the parent has, up to `most`, and up to the rows of the entity `among`."""
    if most <= _ALWAYS:
        return str(most) if among is None else f"exactly({most}, among={among})"
    mean = 1 if most < _SPREAD else 2 if most < _MOST else 3
    return f"fan_out(mean={mean}, maximum={most}" + (")" if among is None else f", among={among})")


def _title(table: Table) -> str:
    """What the module holds: the comment on the table, or its name."""
    sentence = " ".join(table.comment.split()).partition(". ")[0].rstrip(".").replace('"', "'").replace("\\", "/")
    words = words_of(table.name).replace("_", " ").capitalize() or table.name
    return f"{sentence if 0 < len(sentence) <= 80 else words}."  # noqa: PLR2004 - a line


def _without_cycles(entities: list[EntityPlan]) -> list[EntityPlan]:
    """References that would make modules import each other move into the function."""
    by_name = {plan.name: plan for plan in entities}
    # What a declaration names cannot wait; since root entities name none, these alone make no cycle.
    tops = {plan.name: {name for name in (plan.parent, plan.among) if name} for plan in entities}

    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        if start == goal:
            return True
        seen.add(start)
        return any(reaches(step, goal, seen) for step in tops[start] - seen)

    for plan in entities:
        late = []
        for name in sorted(
            need.removeprefix("entity:") for need in plan.imports if need.startswith("entity:") and " as " not in need
        ):
            if name not in {plan.name, plan.among} and reaches(name, plan.name, set()):
                late.append(name)
            else:
                tops[plan.name].add(name)
        by_name[plan.name] = replace(
            plan, late=tuple(late), imports=plan.imports - {f"entity:{name}" for name in [*late, plan.name]}
        )
    return list(by_name.values())
