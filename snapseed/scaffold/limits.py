"""What the checks and partitions of a table allow in its columns: bounds, lengths, choices, and what comes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from snapseed.scaffold.evaluate import evaluate
from snapseed.scaffold.expressions import (
    Call,
    Cast,
    Literal,
    Name,
    Node,
    UnreadError,
    columns_of,
    conjuncts,
    parse_expression,
    uncast,
)
from snapseed.scaffold.facts import Check, Partitions, Table

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
_LENGTHS = {"length", "char_length", "character_length", "octet_length"}
_SIZES = {"cardinality", "array_length"}
Value = Decimal | datetime


@dataclass(frozen=True)
class Bound:
    """A smallest or largest value; `strict` where it is itself not allowed."""

    value: Value
    strict: bool = False


@dataclass(frozen=True)
class Limits:
    """What is read of the conditions on one column.

    `patterns` are regular expressions that its texts match, `elements` how many an array has.
    """

    low: Bound | None = None
    high: Bound | None = None
    allowed: tuple[object, ...] | None = None
    max_length: int | None = None
    patterns: tuple[str, ...] = ()
    elements: int | None = None


@dataclass(frozen=True)
class Rule:
    """One condition that all rows have to meet: a part of a check, or where a table's partitions lie."""

    check: Check
    node: Node
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A condition by which one column's value comes before another's, or is equal to it."""

    before: str
    after: str
    strict: bool
    rule: Rule | None


def read_rules(table: Table) -> tuple[list[Rule], list[Check]]:
    """The conditions of a table one by one, and the checks that cannot be read."""
    rules: list[Rule] = []
    unread: list[Check] = []
    for check in table.checks:
        try:
            node = _renamed(parse_expression(check.expression), check.column)
        except UnreadError:
            unread.append(check)
            continue
        rules += [Rule(check, part, tuple(columns_of(part))) for part in conjuncts(node)]
    for partitions in table.partitions.values():
        check = Check(f"partitions of {table}", "rows lie in one of the partitions", None, partitions.columns)
        try:
            node_or_none = _inside(partitions)
        except UnreadError:
            unread.append(check)
            continue
        if node_or_none is not None:
            rules += [Rule(check, part, tuple(columns_of(part))) for part in conjuncts(node_or_none)]
    return rules, unread


def limits_of(column: str, rules: Iterable[Rule], now: datetime) -> Limits:
    """What the conditions on this column alone say, as far as they are simple comparisons."""
    limits = Limits()
    for rule in rules:
        if rule.columns == (column,):
            limits = _narrowed(limits, rule.node, now)
    return limits


def order_of(rule: Rule) -> Order | None:
    """The order of two columns that a condition asks for, if that is what it does."""
    match rule.node:
        case Call("<" | "<=" | ">" | ">=" as sign, (left, right)):
            first, second = uncast(left), uncast(right)
            if isinstance(first, Name) and isinstance(second, Name) and first != second:
                if sign.startswith(">"):
                    first, second = second, first
                return Order(first.name, second.name, not sign.endswith("="), rule)
        case Call("OR", (Call("IS NULL", (nullable,)), condition)) if isinstance(uncast(nullable), Name):
            found = order_of(replace(rule, node=condition))
            return found and replace(found, rule=rule)
    return None


def _renamed(node: Node, column: str | None) -> Node:
    """A domain's condition as one on the column."""
    if column is None:
        return node
    match node:
        case Name("VALUE" | "value"):
            return Name(column)
        case Cast(value, kind):
            return Cast(_renamed(value, column), kind)
        case Call(function, arguments):
            return Call(function, tuple(_renamed(argument, column) for argument in arguments))
    return node


def _narrowed(limits: Limits, node: Node, now: datetime) -> Limits:
    match node:
        case Call("<" | "<=" | ">" | ">=" | "=" as sign, (left, right)):
            mirrored = not columns_of(left)
            subject, other = (uncast(right), left) if mirrored else (uncast(left), right)
            return _bounded(limits, subject, _MIRRORED[sign] if mirrored else sign, _constant(other, now))
        case Call("ANY =", (subject, options)) if isinstance(uncast(subject), Name):
            values = _constant(options, now)
            if isinstance(values, list):
                return replace(limits, allowed=tuple(values))
        case Call("OR", arguments):
            return _either(limits, arguments, now)
        case Call("~", (subject, pattern)) if isinstance(uncast(subject), Name):
            text = _constant(pattern, now)
            if isinstance(text, str):
                return replace(limits, patterns=(*limits.patterns, text))
    return limits


def _bounded(limits: Limits, subject: Node, sign: str, value: object) -> Limits:
    """With a bound on the column itself, on the length of its texts, or on the size of its arrays."""
    if isinstance(subject, Name):
        return _compared(limits, sign, value)
    if isinstance(subject, Call) and isinstance(value, Decimal):
        if subject.function in _LENGTHS:
            return _measured(limits, sign, int(value))
        if subject.function in _SIZES and sign == "=":
            return replace(limits, elements=int(value))
    return limits


def _either(limits: Limits, arguments: Sequence[Node], now: datetime) -> Limits:
    """`x IS NULL OR …` as the other condition; `x = 1 OR x = 2` as the values that are allowed."""
    rest = [node for node in arguments if not (isinstance(node, Call) and node.function == "IS NULL")]
    if len(rest) == 1:
        return _narrowed(limits, rest[0], now)
    values = []
    for node in (inner for argument in rest for inner in _alternatives(argument)):
        match node:
            case Call("=", (left, right)) if isinstance(uncast(left), Name) and not columns_of(right):
                values.append(_constant(right, now))
            case _:
                return limits
    return replace(limits, allowed=tuple(values))


def _alternatives(node: Node) -> list[Node]:
    if isinstance(node, Call) and node.function == "OR":
        return [part for argument in node.arguments for part in _alternatives(argument)]
    return [node]


def _constant(node: Node, now: datetime) -> object:
    """The value of an expression without columns, None for one that is not known."""
    try:
        return evaluate(node, {}, now)
    except UnreadError:
        return None


def _compared(limits: Limits, sign: str, value: object) -> Limits:
    if sign == "=" and value is not None:
        return replace(limits, allowed=(value,))
    if not isinstance(value, Decimal | datetime):
        return limits
    bound = Bound(value, not sign.endswith("="))
    if sign.startswith(">"):
        return replace(limits, low=_tighter(limits.low, bound, highest=True))
    return replace(limits, high=_tighter(limits.high, bound, highest=False))


def _tighter(one: Bound | None, other: Bound, *, highest: bool) -> Bound:
    if one is None or type(one.value) is not type(other.value):
        return other
    if one.value == other.value:
        return one if one.strict else other
    return max(one, other, key=_value_of) if highest else min(one, other, key=_value_of)


def _value_of(bound: Bound) -> float:
    return float(bound.value) if isinstance(bound.value, Decimal) else bound.value.timestamp()


def _measured(limits: Limits, sign: str, length: int) -> Limits:
    match sign:
        case "<=" | "=":
            longest = length
        case "<":
            longest = length - 1
        case _:
            return limits
    return replace(limits, max_length=longest if limits.max_length is None else min(longest, limits.max_length))


def _inside(partitions: Partitions) -> Node | None:
    """The condition by which a row has a partition; None where each row has one.

    Of ranges the longest run without gaps is taken. Raises `UnreadError` where the bounds cannot be read.
    """
    bounds = [partition.bound for partition in partitions.partitions]
    if "DEFAULT" in bounds:
        return None
    if not bounds:
        raise UnreadError("no partitions")
    if partitions.strategy == "h":
        return None
    if len(partitions.columns) != 1:
        raise UnreadError("a partition key of several columns")
    column = Name(partitions.columns[0])
    if partitions.strategy == "l":
        values = tuple(value for bound in bounds for value in _listed(bound) if value != Literal(None))
        return Call("ANY =", (column, Call("ARRAY", values)))
    runs: list[list[Node]] = []
    for start, end in sorted(map(_range, bounds), key=lambda found: _sorting(found[0])):
        if runs and runs[-1][1] == start:
            runs[-1][1] = end
        else:
            runs.append([start, end])
    first, last = max(runs, key=lambda run: _sorting(run[1]) - _sorting(run[0]))
    conditions: list[Node] = [Call("NOT", (Call("IS NULL", (column,)),))]
    if first != Name("MINVALUE"):
        conditions.append(Call(">=", (column, first)))
    if last != Name("MAXVALUE"):
        conditions.append(Call("<", (column, last)))
    return Call("AND", tuple(conditions))


def _listed(bound: str) -> tuple[Node, ...]:
    node = parse_expression(bound.replace("FOR VALUES IN ", "ROW", 1))
    return node.arguments if isinstance(node, Call) else ()


def _range(bound: str) -> tuple[Node, Node]:
    """Where a range begins, and where it ends; `FOR VALUES FROM ('a') TO ('b')`."""
    start, _, end = bound.removeprefix("FOR VALUES FROM ").partition(" TO ")
    return _typed(parse_expression(start)), _typed(parse_expression(end))


def _typed(node: Node) -> Node:
    """A text in a bound as the moment that it stands for."""
    return Cast(node, "timestamptz") if isinstance(node, Literal) and not node.is_number else node


def _sorting(node: Node) -> float:
    """Where the end of a range lies, as a number."""
    match node:
        case Name("MINVALUE"):
            return float("-1e300")
        case Name("MAXVALUE"):
            return float("1e300")
        case Name() | Call():
            raise UnreadError("a bound that is no constant")
    value = uncast(node)
    assert isinstance(value, Literal)
    for kind in ("numeric", "timestamptz"):
        found = evaluate(Cast(value, kind), {}, datetime.min)  # noqa: DTZ901 - no constant asks for it
        if isinstance(found, Decimal):
            return float(found)
        if isinstance(found, datetime):
            return found.timestamp()
    raise UnreadError(str(value.value))
