"""What the checks and partitions of a table say: the conditions one by one, and the limits that can be read in them.

Limits are hints for choosing draws. Whether values meet a condition is for the server to decide (`trial.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import reduce
from itertools import chain

from sqlglot import exp

from snapseed.postgres.facts import ColumnFacts
from snapseed.scaffold.expressions import (
    DIALECT,
    NOW,
    alternatives,
    constant_in,
    constant_of,
    joined_by_and,
    parsed,
    simplified,
)
from snapseed.scaffold.schema import Check, Table
from snapseed.snapshot.types import Family

_FEW_VALUES = 9_999
_MOST_VALUES = 20
# A column with so many digits has room for anything.
_MANY_DIGITS = 20
_WHOLE = {"smallint": 15, "integer": 31, "bigint": 63}
_REPEATED = re.compile(r"\^(?:\[[^]]+\]|\\d)\{(?:\d+,)?(\d+)\}\$")
_DIGITS = re.compile(r"(?:character|character varying|numeric)\((\d+)(?:,-?\d+)?\)")
# How far two numbers or two moments are from each other.
_DISTANCE = re.compile(r"(\d+)(?: days?)?")
MOMENTS = {Family.DATE, Family.TIMESTAMP, Family.TIMESTAMPTZ}
_SIGNS: dict[type[exp.Expr], str] = {exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.EQ: "="}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}


@dataclass(frozen=True)
class Rule:
    """A condition that every row must meet: a part of a check, or "the row has a partition".

    `sql` is over `columns`, or over `VALUE` if it is a domain's. `tree` is the same without parentheses and casts of
    columns, None if it cannot be parsed.
    """

    check: Check
    sql: str
    columns: tuple[str, ...]
    tree: exp.Expr | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.check)


@dataclass(frozen=True)
class Bound:
    """A smallest or largest value, itself not allowed if it is `strict`."""

    value: Decimal | datetime
    strict: bool = False

    @property
    def place(self) -> float:
        """The value as a number, to compare it with others."""
        return float(self.value) if isinstance(self.value, Decimal) else self.value.timestamp()


@dataclass(frozen=True)
class Limits:
    """What the conditions on one column say. `patterns` are regular expressions, `elements` an array's size."""

    low: Bound | None = None
    high: Bound | None = None
    allowed: tuple[object, ...] | None = None
    min_length: int | None = None
    max_length: int | None = None
    patterns: tuple[str, ...] = ()
    elements: int | None = None

    @property
    def are_ends(self) -> bool:
        """Whether there is a smallest or a largest value."""
        return self.low is not None or self.high is not None

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value as numbers, infinite if there is none."""
        return self.low.place if self.low else -math.inf, self.high.place if self.high else math.inf


@dataclass(frozen=True)
class Order:
    """A rule by which the value of one column is at most (or below, if `strict`) that of another.

    With `either`, the two only have to differ, so it may also be above. Without a rule, their names say so. The other
    may have to be above by at `least` a number, or days, or may be by at `most` so many.
    """

    before: str
    after: str
    strict: bool
    rule: Rule | None
    either: bool = False
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class Conditions:
    """All conditions on the rows of a table, with the limits of each column, and the defaults that are constants.

    `listed` are all values of a column in ascending order, empty if these are not few; `room` is how many different
    values it can have: as they are drawn, its texts are numbers from 1.
    """

    rules: tuple[Rule, ...]
    limits: Mapping[str, Limits]
    orders: tuple[Order, ...]
    defaults: Mapping[str, object]
    listed: Mapping[str, tuple[object, ...]]
    room: Mapping[str, float]
    now: datetime = NOW

    def singled_out(self, name: str) -> tuple[object, ...]:
        """The values of a column that conditions over several name: those that it may be equal to, or not."""
        trees = [rule.tree for rule in self.rules if rule.tree is not None and len(rule.columns) > 1]
        found: list[object] = []
        for node in chain.from_iterable(tree.find_all(exp.EQ, exp.NEQ) for tree in trees):
            if isinstance(node.this, exp.Column) and node.this.name == name:
                value = constant_in(node.expression.this if isinstance(node.expression, exp.Any) else node.expression)
                found += value if isinstance(value, list) else [value]
        whole = (int(value) if isinstance(value, Decimal) and value == int(value) else value for value in found)
        return tuple(dict.fromkeys(value for value in whole if value is not None))

    def on(self, name: str) -> bool:
        """Whether there is any condition on a column."""
        return any(name in rule.columns for rule in self.rules)

    def is_last(self, columns: tuple[str, ...]) -> bool:
        """Whether another column must come before this one."""
        return any((order.after,) == columns for order in self.orders)

    @property
    def narrow(self) -> frozenset[str]:
        """The columns that take few values, or values that depend on others."""
        return self.ordered.union(name for name, room in self.room.items() if room < _FEW_VALUES)

    @property
    def ordered(self) -> frozenset[str]:
        """The columns that must come before or after another."""
        return frozenset(name for order in self.orders for name in (order.before, order.after))


def conditions_of(table: Table, now: datetime = NOW) -> Conditions:
    """Read the checks and partitions of a table. The server's clock stands for the project's `now`."""
    rules = [rule for check in table.checks for rule in _rules(check, now)]
    limits = {column.name: _limits(column.name, rules) for column in table.columns}
    if table.partitions:
        leaves = [_rules(Check(condition, ()), now) for condition in table.partitions]
        columns = tuple(dict.fromkeys(name for leaf in leaves for rule in leaf for name in rule.columns))
        for name in columns:
            limits[name] = _combined(limits[name], [_limits(name, leaf) for leaf in leaves])
        sql = " OR ".join(f"({condition})" for condition in table.partitions)
        rules.append(Rule(Check("(each row has a partition)", columns), sql, columns))
    # A reference is not in order with anything that is drawn.
    foreign = table.foreign_columns
    orders = tuple(
        order for order in map(order_of, rules) if order and (order.before in foreign) == (order.after in foreign)
    )
    defaults = {name: constant_of(default, now) for name, default in table.defaults.items()}
    listed = {column.name: _listed(column, limits[column.name]) for column in table.columns}
    room = {column.name: _room(column, limits[column.name]) for column in table.columns}
    return Conditions(tuple(rules), limits, orders, defaults, listed, room, now)


def _listed(column: ColumnFacts, limits: Limits) -> tuple[object, ...]:
    """All values of a column in ascending order, if these can be listed."""
    if column.generated or column.identity:
        return ()
    allowed = limits.allowed or tuple(column.labels)
    if not allowed and column.type == "boolean":
        allowed = (False, True)
    if not allowed and limits.low and limits.high and column.type in _WHOLE:
        low, high = limits.low, limits.high
        allowed = tuple(range(int(low.place) + low.strict, int(high.place) + (not high.strict))[: _MOST_VALUES + 1])
    return tuple(sorted(allowed, key=lambda value: (str(type(value)), value))) if len(allowed) <= _MOST_VALUES else ()


def _room(column: ColumnFacts, limits: Limits) -> float:
    """How many different values a column can have."""
    if listed := limits.allowed or _listed(column, limits):
        return len(listed)
    (low, high), digits = limits.ends, _DIGITS.fullmatch(column.type)
    if column.type in _WHOLE:
        most = float(2 ** _WHOLE[column.type] - 1)
        return min(high, most) - max(low, 1 if high > 0 and not limits.low else -most) + 1
    lengths = [int(digits[1])] if digits else []
    lengths += [limits.max_length] if limits.max_length is not None else []
    lengths += [int(found[1]) for found in map(_REPEATED.fullmatch, limits.patterns) if found]
    return float(10 ** min([*lengths, _MANY_DIGITS]) - 1)


def avoiding(condition: str) -> tuple[Rule, ...]:
    """The rules by which no row meets a condition."""
    return tuple(_rules(Check(f"({condition}) IS NOT TRUE", ())))


def _rules(check: Check, now: datetime = NOW) -> list[Rule]:
    """The conditions joined by AND, each a rule of its own."""
    if (tree := parsed(check.expression)) is None:
        return [Rule(check, check.expression, check.columns)]
    parts = list(joined_by_and(tree))
    rules = []
    for part in parts:
        columns = tuple(dict.fromkeys(column.name for column in part.find_all(exp.Column, bfs=False)))
        sql = check.expression if len(parts) == 1 else part.sql(dialect=DIALECT, normalize_functions=False)
        keeps = check.of_domain or (len(parts) == 1 and check.columns)
        rules.append(Rule(check, sql, check.columns if keeps else columns, simplified(part, now)))
    return rules


def order_of(rule: Rule) -> Order | None:
    """The order that a rule asks for, also in the forms `x IS NULL OR …`, `x < y + 30` and `x - y <= '30 days'`."""
    match alternatives(rule.tree) if rule.tree else ():
        case [exp.LT() | exp.LTE() | exp.GT() | exp.GTE() | exp.NEQ() as part]:
            first, second, sign = part.this, part.expression, _SIGNS.get(type(part), ">")
        case _:
            return None
    if isinstance(first, exp.Add) or isinstance(second, exp.Sub):
        first, second, sign = second, first, _MIRRORED[sign]
    if isinstance(first, exp.Sub):
        # What is taken from one side is added to the other.
        added = (first.expression, second) if isinstance(first.expression, exp.Column) else (second, first.expression)
        first, second = first.this, exp.Add(this=added[0], expression=added[1])
    distance = None
    if isinstance(second, exp.Add) and not isinstance(part, exp.NEQ):
        distance, second = _DISTANCE.fullmatch(str(constant_in(second.expression))), second.this
        if distance is None:
            return None
    if not isinstance(first, exp.Column) or not isinstance(second, exp.Column) or first == second:
        return None
    if distance is not None:
        far = int(distance[1]) + {">": 1, "<": -1}.get(sign, 0)
        if sign.startswith(">"):
            return Order(second.name, first.name, strict=False, rule=rule, least=far)
        return Order(second.name, first.name, strict=False, rule=rule, most=far) if far else None
    before, after = (second.name, first.name) if sign.startswith(">") else (first.name, second.name)
    return Order(before, after, not sign.endswith("="), rule, either=isinstance(part, exp.NEQ))


def _limits(column: str, rules: Iterable[Rule]) -> Limits:
    return reduce(_narrowed, (rule.tree for rule in rules if rule.tree and rule.columns == (column,)), Limits())


def _narrowed(limits: Limits, node: exp.Expr) -> Limits:
    match node:
        case exp.And():
            return reduce(_narrowed, node.flatten(), limits)
        case exp.Or():
            parts = alternatives(node)
            if len(parts) == 1:
                return _narrowed(limits, parts[0])
            equal = [part for part in parts if isinstance(part, exp.EQ) and isinstance(part.this, exp.Column)]
            values = [constant_in(part.expression) for part in equal]
            if len(values) == len(parts) and None not in values:
                limits = replace(limits, allowed=tuple(values))
        case exp.Column() | exp.Not(this=exp.Column()):
            limits = replace(limits, allowed=(isinstance(node, exp.Column),))
        case exp.EQ(this=exp.Column(), expression=exp.Any(this=values)):
            found = constant_in(values)
            limits = replace(limits, allowed=tuple(found)) if isinstance(found, list) else limits
        case exp.RegexpLike(this=exp.Column()) | exp.RegexpILike(this=exp.Column()):
            pattern = constant_in(node.expression)
            limits = replace(limits, patterns=(*limits.patterns, pattern)) if isinstance(pattern, str) else limits
        case exp.LT() | exp.LTE() | exp.GT() | exp.GTE() | exp.EQ():
            sign, subject, other = _SIGNS[type(node)], node.this, node.expression
            if not subject.find(exp.Column):
                sign, subject, other = _MIRRORED[sign], other, subject
            return _bounded(limits, subject, sign, constant_in(other))
    return limits


def _bounded(limits: Limits, subject: exp.Expr, sign: str, value: object) -> Limits:
    """With a bound on the column itself, on the length of its texts, or on the size of its arrays."""
    function = subject.name.lower() if isinstance(subject, exp.Anonymous) else type(subject)
    if isinstance(subject, exp.Column) and sign == "=" and value is not None:
        limits = replace(limits, allowed=(value,))
    elif isinstance(subject, exp.Column) and isinstance(value, Decimal | datetime):
        bound = Bound(value, not sign.endswith("="))
        if sign.startswith(">"):
            low = max(limits.low or bound, bound, key=lambda found: (found.place, found.strict))
            limits = replace(limits, low=low)
        else:
            high = min(limits.high or bound, bound, key=lambda found: (found.place, not found.strict))
            limits = replace(limits, high=high)
    elif function in {exp.ArraySize, "cardinality"} and isinstance(value, Decimal) and sign == "=":
        limits = replace(limits, elements=int(value))
    elif function in {exp.Length, "octet_length"} and isinstance(value, Decimal):
        end = int(value) - (sign == "<") + (sign == ">")
        if not sign.startswith("<"):
            limits = replace(limits, min_length=max(end, limits.min_length or 0))
        if not sign.startswith(">"):
            limits = replace(limits, max_length=min(end, limits.max_length or end))
    return limits


def _combined(limits: Limits, leaves: list[Limits]) -> Limits:
    """The limits by which a row has a partition: all values of lists, or the longest run of ranges without a gap."""
    if all(leaf.allowed is not None for leaf in leaves):
        return replace(limits, allowed=tuple(value for leaf in leaves for value in leaf.allowed or ()))
    if not all(leaf.are_ends for leaf in leaves):
        return limits
    runs: list[Limits] = []
    for leaf in sorted(leaves, key=lambda leaf: leaf.ends[0]):
        if not runs or leaf.ends[0] > runs[-1].ends[1]:
            runs.append(leaf)
        elif leaf.ends[1] > runs[-1].ends[1]:
            runs[-1] = replace(runs[-1], high=leaf.high)
    longest = max(runs, key=lambda run: run.ends[1] - run.ends[0])
    return replace(limits, low=longest.low, high=longest.high)
