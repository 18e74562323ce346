"""What an expression gives for the values of a row, in SQL's three-valued logic, with None for NULL.

Enough of PostgreSQL to see whether drawn values meet a check. What is not known is refused, never guessed.
"""

from __future__ import annotations

import contextlib
import json
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from snapseed.scaffold.expressions import Call, Cast, Literal, Name, Node, UnreadError

_NUMBERS = {"integer", "bigint", "smallint", "numeric", "real", "double precision", "int4", "int8", "int2", "money"}
_MOMENTS = {"date", "timestamp without time zone", "timestamp with time zone", "timestamp", "timestamptz"}
_TEXTS = {"text", "character varying", "character", "varchar", "bpchar", "citext", "name"}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_LENGTHS = {"length", "char_length", "character_length"}
# What PostgreSQL's regular expressions have and Python's have not, or mean otherwise.
_OTHER_REGEX = re.compile(r"\[\[[:.=]|\\[mMyYAZ]|^\*\*\*|\(\?")


def evaluate(node: Node, row: Mapping[str, object], now: datetime) -> Any:  # noqa: ANN401 - a value of any type
    """The value of an expression. Raises `UnreadError` for what is not known here.

    A row holds texts, integers, decimals, floats, Booleans, dates, moments in UTC, and lists; a jsonb is its text.
    """
    match node:
        case Literal(value, is_number):
            return Decimal(str(value)) if is_number else value
        case Name(name):
            if name not in row:
                raise UnreadError(name)
            return _comparable(row[name])
        case Cast(value, kind):
            return _cast(evaluate(value, row, now), kind)
        case Call("now", ()):
            return _comparable(now)
        case Call(function, arguments):
            try:
                return _call(function, arguments, lambda argument: evaluate(argument, row, now))
            except (TypeError, ValueError, InvalidOperation, re.error) as exc:
                raise UnreadError(str(exc)) from exc


def _call(function: str, arguments: tuple[Node, ...], value_of: Callable[[Node], Any]) -> Any:  # noqa: ANN401
    if function in {"AND", "OR"}:
        return _logic(function, [value_of(argument) for argument in arguments])
    values = [value_of(argument) for argument in arguments]
    match function, values:
        case "NOT", [value]:
            return None if value is None else not value
        case "IS NULL", [value]:
            return value is None
        case (("IS TRUE" | "IS FALSE"), [value]):
            return value is (function == "IS TRUE")
        case "IS DISTINCT FROM", [left, right]:
            return left != right
        case "coalesce", _:
            return next((value for value in values if value is not None), None)
        case (("num_nulls" | "num_nonnulls"), _):
            nulls = sum(value is None for value in values)
            return nulls if function == "num_nulls" else len(values) - nulls
        case (("ARRAY" | "ROW"), _):
            return values
    if function.startswith(("ANY ", "ALL ")):
        return _over_array(function, values)
    if any(value is None for value in values):
        return None
    return _strict(function, values)


def _strict(function: str, values: list[Any]) -> Any:  # noqa: ANN401, C901, PLR0911 - one line for each function
    """The value of a function that gives NULL for any NULL."""
    match function, values:
        case _, [left, right] if function in _COMPARISONS:
            return _COMPARISONS[function](*_same_kind(left, right))
        case _, [left, right] if function in _ARITHMETIC:
            return _ARITHMETIC[function](*_same_kind(left, right))
        case "%", [left, right] if right and left >= 0 and right > 0:
            return left % right
        case "unary -", [value]:
            return -value
        case _, [str() as value] if function in _LENGTHS:
            return len(value)
        case "octet_length", [str() as value]:
            return len(value.encode())
        case "lower", [str() as value]:
            return value.lower()
        case "upper", [str() as value]:
            return value.upper()
        case (("btrim" | "ltrim" | "rtrim"), [str() as value]):
            return {"btrim": value.strip, "ltrim": value.lstrip, "rtrim": value.rstrip}[function](" ")
        case (("position" | "strpos"), [str() as value, str() as wanted]):
            return value.find(wanted) + 1
        case "starts_with", [str() as value, str() as start]:
            return value.startswith(start)
        case (("~~" | "!~~" | "~~*" | "!~~*"), [str() as value, str() as pattern]):
            return _matches(_like(pattern), value, "*" in function) != ("!" in function)
        case (("~" | "!~" | "~*" | "!~*"), [str() as value, str() as pattern]):
            if _OTHER_REGEX.search(pattern):
                raise UnreadError(pattern)
            return _matches(re.sub(r"\$$", r"\\Z", pattern), value, "*" in function) != ("!" in function)
        case (("jsonb_typeof" | "json_typeof"), [str() as value]):
            return _json_type(value)
        case "cardinality", [list() as value]:
            return len(value)
        case "array_length", [list() as value, number] if number == 1:
            return len(value) or None
        case "<@", [list() as part, list() as whole]:
            return all(value in whole for value in part)
        case "@>", [list() as whole, list() as part]:
            return all(value in whole for value in part)
    raise UnreadError(function)


def _logic(function: str, values: list[Any]) -> bool | None:
    decisive = function == "OR"
    if any(value is decisive for value in values):
        return decisive
    return None if any(value is None for value in values) else not decisive


def _over_array(function: str, values: list[Any]) -> bool | None:
    word, sign = function.split(" ", 1)
    left, right = values
    if not isinstance(right, list):
        raise UnreadError(function)
    results = [None if left is None or item is None else _strict(sign, [left, item]) for item in right]
    return _logic("OR" if word == "ANY" else "AND", results)


def _matches(pattern: str, value: str, ignore_case: bool) -> bool:  # noqa: FBT001 - as the operator says
    return re.search(pattern, value, re.IGNORECASE if ignore_case else 0) is not None


def _like(pattern: str) -> str:
    if "\\" in pattern:
        raise UnreadError(pattern)
    signs = {"%": ".*", "_": "."}
    return "(?s)^" + "".join(signs.get(character, re.escape(character)) for character in pattern) + r"\Z"


def _json_type(text: str) -> str:
    value = json.loads(text)
    names: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _cast(value: Any, kind: str) -> Any:  # noqa: ANN401
    if value is None or kind.endswith("[]"):
        return value
    if kind in _NUMBERS and isinstance(value, str):
        with contextlib.suppress(InvalidOperation):
            return Decimal(value)
    elif kind in _MOMENTS and isinstance(value, str):
        return moment(value)
    elif kind in _MOMENTS and isinstance(value, datetime):
        return value.replace(hour=0, minute=0, second=0, microsecond=0) if kind == "date" else value
    elif kind in _TEXTS and not isinstance(value, str):
        raise UnreadError(f"{value!r} as {kind}")
    elif kind in {"interval", "time", "bytea"}:
        raise UnreadError(kind)
    return value


def moment(text: str) -> datetime:
    """A date or a moment as PostgreSQL prints it. Raises `UnreadError` for infinity, and what Python has no place for."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UnreadError(text) from exc
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _comparable(value: object) -> object:
    match value:
        case datetime():
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case float():
            return Decimal(str(value))
        case bool():
            return value
        case int():
            return Decimal(value)
    return value


def _same_kind(left: Any, right: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Both sides, where they can be compared. A text beside a number or a moment is an untyped constant."""
    if isinstance(left, str) and isinstance(right, datetime | Decimal):
        left = moment(left) if isinstance(right, datetime) else Decimal(left)
    elif isinstance(right, str) and isinstance(left, datetime | Decimal):
        right = moment(right) if isinstance(left, datetime) else Decimal(right)
    left, right = (
        Decimal(side) if isinstance(side, int) and not isinstance(side, bool) else side for side in (left, right)
    )
    if type(left) is not type(right):
        raise UnreadError(f"{left!r} beside {right!r}")
    return left, right
