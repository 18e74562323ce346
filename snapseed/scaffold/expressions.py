"""The expressions of checks and defaults: parsed, without what does not matter, and the constants in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import sqlglot
from sqlglot import exp

# The project's `now`, before which nearly everything has happened, where statistics know no moment.
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIALECT = "postgres"


def constant_of(expression: str, now: datetime = NOW) -> object:
    """The value of an expression that is a plain constant, such as a default; None for any other."""
    tree = parsed(expression)
    return None if tree is None else constant_in(simplified(tree, now))


def parsed(expression: str) -> exp.Expr | None:
    """The tree of an expression, None if sqlglot cannot read it."""
    try:
        tree: exp.Expr = sqlglot.parse_one(f"SELECT {expression}", dialect=DIALECT).expressions[0]
    except (sqlglot.errors.SqlglotError, IndexError):
        return None
    return tree


def joined_by_and(node: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions that AND joins."""
    node = node.unnest()
    if isinstance(node, exp.And):
        yield from joined_by_and(node.this)
        yield from joined_by_and(node.expression)
    else:
        yield node


def simplified(tree: exp.Expr, now: datetime) -> exp.Expr:
    """Without parentheses, clocks, and columns' casts and changes of case. Casts of constants stay: a type."""
    whole = exp.Paren(this=tree.copy())
    for node in reversed(list(whole.this.find_all(exp.Paren, exp.Cast, exp.Upper, exp.Lower, exp.Trim))):
        if isinstance(node, exp.Paren) or isinstance(node.this, exp.Column):
            node.replace(node.this)
    for clock in list(whole.this.find_all(exp.CurrentDate, exp.CurrentTimestamp, exp.Localtimestamp)):
        clock.replace(exp.cast(exp.Literal.string(now.isoformat()), exp.DataType.Type.TIMESTAMPTZ))
    found: exp.Expr = whole.this
    return found


def alternatives(node: exp.Expr) -> list[exp.Expr]:
    """The conditions joined by OR, without `x IS NULL`."""
    parts = node.flatten() if isinstance(node, exp.Or) else [node]
    return [
        part
        for part in parts
        if not isinstance(part, exp.Is) or not isinstance(part.expression, exp.Null) or part.args.get("negate")
    ]


def constant_in(node: exp.Expr) -> object:
    """The value of an expression without columns: a number, a text, a moment, a Boolean or a list; None if unknown."""
    match node:
        case exp.Literal():
            return node.name if node.is_string else Decimal(node.name)
        case exp.Boolean():
            return bool(node.this)
        case exp.Array():
            values = list(map(constant_in, node.expressions))
            return None if None in values else values
        case exp.Cast():
            return _cast(constant_in(node.this), node.to)
    return None


def _cast(value: object, kind: exp.DataType) -> object:
    if not isinstance(value, str):
        return value
    try:
        if kind.is_type(*exp.DataType.NUMERIC_TYPES):
            return Decimal(value)
        if kind.is_type(*exp.DataType.TEMPORAL_TYPES):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if kind.is_type(exp.DataType.Type.JSON, exp.DataType.Type.JSONB):
            return json.loads(value)
    except (InvalidOperation, ValueError):
        return None
    is_text = kind.is_type(*exp.DataType.TEXT_TYPES, exp.DataType.Type.BPCHAR, exp.DataType.Type.INTERVAL)
    return value if is_text or kind.this is exp.DataType.Type.USERDEFINED else None
