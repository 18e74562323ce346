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
    values = [value_of(argument) for argument in arguments]
    if function in {"AND", "OR"}:
        return _logic(function, values)
    if function in {"ARRAY", "ROW"}:
        return values
    if function in _WITH_NULLS:
        return _WITH_NULLS[function](*values)
    if function.startswith(("ANY ", "ALL ")):
        return _over_array(function, values)
    return None if any(value is None for value in values) else _strict(function, values)


def _strict(function: str, values: list[Any]) -> Any:  # noqa: ANN401 - a value of any type
    """The value of a function that gives NULL for any NULL."""
    if function in _COMPARISONS or function in _ARITHMETIC:
        return (_COMPARISONS | _ARITHMETIC)[function](*_same_kind(*values))
    if function in _MATCHES:
        value, pattern = _texts(*values)
        return _MATCHES[function](value, pattern, "*" in function) != ("!" in function)
    if function in _OF_TEXTS:
        return _OF_TEXTS[function](*_texts(*values))
    if function in _OF_LISTS and all(isinstance(value, list | Decimal) for value in values):
        return _OF_LISTS[function](*values)
    raise UnreadError(function)


def _texts(*values: object) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise UnreadError(f"{values!r} are not all texts")
    return [str(value) for value in values]


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


def _matches(value: str, pattern: str, ignore_case: bool) -> bool:  # noqa: FBT001 - as the operator says
    if _OTHER_REGEX.search(pattern):
        raise UnreadError(pattern)
    pattern = re.sub(r"(?<!\\)\$$", r"\\Z", pattern)
    return re.search(pattern, value, re.IGNORECASE if ignore_case else 0) is not None


def _is_like(value: str, pattern: str, ignore_case: bool) -> bool:  # noqa: FBT001 - as the operator says
    if "\\" in pattern:
        raise UnreadError(pattern)
    signs = {"%": ".*", "_": "."}
    whole = "".join(signs.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(whole, value, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _modulo(left: Decimal, right: Decimal) -> Decimal:
    if left < 0 or right <= 0:
        raise UnreadError("%")
    return left % right


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
    """A date or a moment as PostgreSQL prints it. Raises `UnreadError` for infinity, and years beyond Python's."""
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


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "%": _modulo,
}
# What gives a value for NULLs, too.
_WITH_NULLS: dict[str, Callable[..., Any]] = {
    "NOT": lambda value: None if value is None else not value,
    "IS NULL": lambda value: value is None,
    "IS TRUE": lambda value: value is True,
    "IS FALSE": lambda value: value is False,
    "IS DISTINCT FROM": lambda left, right: left != right,
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "num_nulls": lambda *values: Decimal(sum(value is None for value in values)),
    "num_nonnulls": lambda *values: Decimal(sum(value is not None for value in values)),
    "unary -": lambda value: None if value is None else -value,
}
_MATCHES: dict[str, Callable[[str, str, bool], bool]] = {
    **dict.fromkeys(["~", "!~", "~*", "!~*"], _matches),
    **dict.fromkeys(["~~", "!~~", "~~*", "!~~*"], _is_like),
}
_OF_TEXTS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(["length", "char_length", "character_length"], lambda value: Decimal(len(value))),
    "octet_length": lambda value: Decimal(len(value.encode())),
    "lower": str.lower,
    "upper": str.upper,
    "btrim": lambda value: value.strip(" "),
    "ltrim": lambda value: value.lstrip(" "),
    "rtrim": lambda value: value.rstrip(" "),
    **dict.fromkeys(["position", "strpos"], lambda value, wanted: Decimal(value.find(wanted) + 1)),
    "starts_with": str.startswith,
    **dict.fromkeys(["jsonb_typeof", "json_typeof"], _json_type),
}
_OF_LISTS: dict[str, Callable[..., Any]] = {
    "cardinality": lambda values: Decimal(len(values)),
    "array_length": lambda values, dimension: Decimal(len(values)) if values and dimension == 1 else None,
    "<@": lambda part, whole: all(value in whole for value in part),
    "@>": lambda whole, part: all(value in whole for value in part),
}
