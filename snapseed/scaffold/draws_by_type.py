"""Draws by type: numbers, moments, Booleans, arrays and all others. A type that is not known here has no draws."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, cycle, islice
from uuid import UUID

from snapseed.scaffold.arrange.sizes import elements_of
from snapseed.scaffold.conditions import MOMENTS, Bound, Limits
from snapseed.scaffold.draws import (
    EPOCH,
    NUMBER,
    Draw,
    Wanted,
    choice,
    constant,
    literal,
    quoted,
    templated,
    text_draws,
)
from snapseed.scaffold.names import TYPES, UNIQUE_TYPES, hints, singular, suggests
from snapseed.snapshot.types import INTEGERS, ColumnType, Family

_FLOATS = {Family.REAL, Family.DOUBLE}
NUMBERS = {*INTEGERS, Family.NUMERIC, *_FLOATS}
_BITS = {Family.SMALLINT: 15, Family.INTEGER: 31, Family.BIGINT: 63}
# What the names of columns of these types mean more than those of other numbers.
_HINTS = {
    **dict.fromkeys(INTEGERS, ("integer",)),
    Family.BIGINT: ("bigint", "integer"),
    **dict.fromkeys([Family.NUMERIC, Family.TEXT_FORM], ("money",)),
}
_USUAL_NUMBERS = (1, 1_000)
_MOST_DIGITS = 6
_FURTHER = 1_000  # The row number plus this may satisfy a check that the row number itself does not
_USUAL_DAYS = (-730, 0)
_LARGEST = Decimal(10**12)  # Decimals are drawn as 64-bit integers of their last digit
_SAME = "pl.repeat({}, len(rows), eager=True)"  # The same number for every row
# Ranges from the row number to the next, so that no two overlap: the format of their ends, quotation marks, hours.
_RANGES = {
    "daterange": ("%Y-%m-%d", "", 24),
    "tsrange": ("%Y-%m-%d %H:%M:%S", '"', 2),
    "tstzrange": ("%Y-%m-%d %H:%M:%S+00", '"', 2),
}


def draws_of(wanted: Wanted) -> Iterator[Draw]:
    """Draws for a column, the best first."""
    column, kind = wanted.column, wanted.kind
    if kind.is_array:
        yield from _arrays(wanted)
    elif column.labels and column.kind == "e":
        allowed = wanted.limits.allowed
        labels = tuple(label for label in column.labels if allowed is None or label in allowed)
        yield choice(wanted, labels or column.labels)
        # A check may refuse one of them, or all but one.
        if len(labels) > 2:  # noqa: PLR2004
            yield from (choice(wanted, tuple(one for one in labels if one != label)) for label in labels)
        yield from map(constant, sorted(labels, key=lambda label: label != wanted.default))
    elif kind.family in {Family.TEXT, Family.CHARACTER} or kind.base.rpartition(".")[2] in {"citext", "name"}:
        yield from text_draws(wanted)
    elif kind.family in _BY_FAMILY:
        yield from _BY_FAMILY[kind.family](wanted)


def number_range(wanted: Wanted, step: Decimal = Decimal(1)) -> tuple[Decimal, Decimal]:
    """The smallest and the largest number to draw: what is usual by the name, as far as the limits allow it."""
    family, modifiers = wanted.scalar.family, wanted.scalar.modifiers
    most = Decimal(2 ** _BITS.get(family, 31) - 1)
    if family not in _BITS and modifiers:
        most = Decimal(10) ** (modifiers[0] - modifiers[1]) - step
    floor = max(_end(wanted.limits.low, step), -most)
    ceiling = min(_end(wanted.limits.high, -step), most)
    families = (*_HINTS.get(family, ()), "number")
    usual = next(chain.from_iterable(hints(name, wanted.name, wanted.others) for name in families), None)
    low, high = map(Decimal, usual.split("..") if usual else _USUAL_NUMBERS)
    if isinstance(wanted.default, Decimal) and wanted.default > 0 and not low <= wanted.default <= high:
        # What a name suggests is not what this column holds.
        low, high = wanted.default // 2, wanted.default * 2 // 1
    elif isinstance(wanted.default, Decimal) and 0 < wanted.default < 1:
        low, high = Decimal(0), min(high, wanted.default * 2)
    low, high = max(low, floor), min(high, ceiling)
    if low <= high and (low < high or usual):
        return low, high
    if wanted.limits.low is not None or ceiling >= 0 >= floor:
        start = floor if wanted.limits.low is not None else max(floor, Decimal(0))
        return start, min(ceiling, start + 1_000)
    return max(floor, ceiling - 1_000), ceiling


def _end(bound: Bound | None, step: Decimal) -> Decimal:
    """The outermost value that is allowed, in multiples of the step; infinity without a bound."""
    if bound is None or not isinstance(bound.value, Decimal):
        return Decimal("-Infinity") if step > 0 else Decimal("Infinity")
    value = bound.value + step if bound.strict else bound.value
    return Decimal((math.ceil if step > 0 else math.floor)(value / abs(step))) * abs(step)


def _integers(wanted: Wanted) -> Iterator[Draw]:
    low, high = map(int, number_range(wanted))
    if wanted.is_unique:
        start = low - 1 if wanted.limits.low is not None else 0
        far = 10 ** (len(str(2 ** _BITS[wanted.kind.family])) - 1)  # Those below zero ascend from there
        for shift in (start, start + _FURTHER, -far):
            code = f"rows.number({literal(1 + shift)})" if shift else "rows.number()"
            yield Draw(code, (1 + shift, 2 + shift, min(999 + shift, max(high, 2 + shift))), is_unique=True)
        return
    if wanted.limits.allowed is not None:
        yield choice(wanted, tuple(int(value) for value in wanted.limits.allowed if isinstance(value, Decimal)))
    examples = tuple(dict.fromkeys((low, (low + high) // 2, high)))
    yield from map(constant, examples * (low == high))
    yield Draw(f"{wanted.rows}.integers({wanted.draw}, {literal(low)}, {literal(high)})", examples)
    yield from (constant(int(value)) for value in (wanted.default, 0, 1) if isinstance(value, int | Decimal))


def _decimals(wanted: Wanted) -> Iterator[Draw]:
    """Decimals with the digits of the column, at most six after the point; floats are decimals in the end as well."""
    kind = wanted.scalar
    digits = 3 if kind.family in _FLOATS else min((*kind.modifiers, 0)[1] if kind.modifiers else 2, _MOST_DIGITS)
    if digits < 0:
        return
    step, finish = Decimal(1).scaleb(-digits), finish_of_number(kind, digits)
    if wanted.is_unique:
        yield Draw(f"as_decimals(rows.number(), {digits})", (step, step * 1_000), is_unique=True, finish=finish)
        return
    if wanted.limits.allowed is not None:
        values = tuple(value for value in wanted.limits.allowed if isinstance(value, Decimal))
        options = ", ".join(f'Decimal("{value}")' for value in values)
        yield Draw(f"{wanted.rows}.choice({wanted.draw}, [{options}])", values, finish=finish)
    if not kind.modifiers and kind.family not in _FLOATS:
        wanted = replace(wanted, kind=replace(wanted.kind, modifiers=(12, 2), element=None))
    low, high = (max(min(end, _LARGEST), -_LARGEST) for end in number_range(wanted, step))
    scale = "" if digits == 2 else f", digits={digits}"  # noqa: PLR2004 - the default of `decimals`
    code = f'{wanted.rows}.decimals({wanted.draw}, "{low:.{digits}f}", "{high:.{digits}f}"{scale})'
    yield Draw(code, tuple(dict.fromkeys((low, high))), finish=finish)


def finish_of_number(kind: ColumnType, digits: int) -> str:
    """What turns decimals with these digits after the point into the type. A numeric as text has all its digits."""
    if kind.family is Family.TEXT_FORM:
        missing = (*kind.modifiers, 0)[1] - digits if kind.modifiers else 0
        return ".cast(pl.String)" + f' + "{"0" * missing}"' * (missing > 0)
    return {Family.REAL: ".cast(pl.Float32)", Family.DOUBLE: ".cast(pl.Float64)"}.get(kind.family, "")


def _moments(wanted: Wanted) -> Iterator[Draw]:
    """Moments in UTC: after others, or the usual ones by the name, as far as the limits allow them."""
    if wanted.is_unique and wanted.kind.family is Family.DATE:
        yield _own_day(wanted)
        return
    (start, first), (end, last) = _span(wanted)
    if wanted.after is not None:
        start, end = wanted.after
    end = "" if end == "rows.now" else end
    finish = '.dt.truncate("1d")' * suggests("birth", wanted.name) + finish_of(wanted.scalar)
    if not wanted.is_unique:
        code = f"{wanted.rows}.timestamps({wanted.draw}, {start}{', ' + end if end else ''})"
        yield Draw(code, (first, last), finish=finish)
        return
    finish = ".dt.replace_time_zone(None)" if wanted.scalar.family is Family.TIMESTAMP else ""
    # An hour that may come twice, and in it a microsecond that does not.
    end = end or (f"{start} + timedelta(days=30)" if wanted.after else "rows.now - timedelta(days=1)")
    hour = f'{wanted.rows}.timestamps({wanted.draw}, {start}, {end}).dt.truncate("1h")'
    if wanted.is_key:
        # Keys ascend: another second for each row.
        code = f'{start} + (rows.number() * 1_000_000).cast(pl.Duration("us"))'
        yield Draw(code, (first, last), is_unique=True, finish=finish)
        return
    digits = (*wanted.scalar.modifiers, 6)[0]
    steps = "rows.number()" if digits >= 6 else f"(rows.number() * {10 ** (6 - digits):_})"  # noqa: PLR2004
    yield Draw(f'{hour} + {steps}.cast(pl.Duration("us"))', (first, last), is_unique=True, finish=finish)


def _span(wanted: Wanted) -> tuple[tuple[str, datetime], tuple[str, datetime]]:
    """The first and the last moment to draw, as code and as such: the usual ones, as far as the limits allow them."""
    low, high = _outermost(wanted.limits)
    hint = next(hints("moment", wanted.name, wanted.others), None) if wanted.after is None else None
    days = tuple(map(int, hint.split("..") if hint else _USUAL_DAYS))
    first, last = (
        (
            "rows.now" + f" {'-' if day < 0 else '+'} timedelta(days={abs(day):_})" * (day != 0),
            wanted.now + timedelta(day),
        )
        for day in days
    )
    if low is not None and (low > first[1] or (high is not None and high < first[1])):
        first = _moment_code(low), low
    if high is not None and (high < last[1] or (low is not None and low > last[1])):
        last = _moment_code(high), high
    if first[1] > last[1] and high is not None:
        first = f"{last[0]} - timedelta(days=365)", high - timedelta(days=365)
    elif first[1] > last[1]:
        last = f"{first[0]} + timedelta(days=365)", first[1] + timedelta(days=365)
    return first, last


def _own_day(wanted: Wanted) -> Draw:
    """A day for each row, counted from the lower limit up or from the upper one down."""
    low, high = _outermost(wanted.limits)
    is_down = low is None and high is not None
    first = (((high if is_down else low) or datetime(2000, 1, 1, tzinfo=UTC)) - EPOCH).days
    sign = "-" if is_down else "+"
    day = EPOCH + timedelta(days=first - 1 if is_down else first + 1)
    return Draw(f"({first:_} {sign} rows.number()).cast(pl.Int32).cast(pl.Date)", (day,), is_unique=True)


def finish_of(kind: ColumnType) -> str:
    """What turns a moment in UTC into the type: a date, one without a time zone, or one with fewer digits."""
    if kind.family is Family.DATE:
        return ".dt.date()"
    digits = kind.modifiers[0] if kind.modifiers else 6
    truncated = "" if digits == 6 else '.dt.truncate("1ms")' if digits >= 3 else '.dt.truncate("1s")'  # noqa: PLR2004
    return truncated + (".dt.replace_time_zone(None)" if kind.family is Family.TIMESTAMP else "")


def _outermost(limits: Limits) -> tuple[datetime | None, datetime | None]:
    """The first and the last moment that are allowed. A strict lower limit moves by a day, so that dates keep to it."""
    low, high = limits.low, limits.high
    first = low.value + timedelta(days=low.strict) if low and isinstance(low.value, datetime) else None
    last = high.value - timedelta(seconds=high.strict) if high and isinstance(high.value, datetime) else None
    return first, last


def _moment_code(moment: datetime) -> str:
    parts = moment.timetuple()[:6]
    return f"datetime({', '.join(map(str, parts if any(parts[3:]) else parts[:3]))}, tzinfo=UTC)"


def _booleans(wanted: Wanted) -> Iterator[Draw]:
    hint = next(hints("boolean", wanted.name), "0.2" if wanted.default is False else "0.5")
    code = f"{wanted.rows}.chance({wanted.draw}, {'0.9' if wanted.default is True else hint})"
    yield Draw(code, (True, False), is_whole=True)
    yield from map(constant, (True, False))


def _documents(wanted: Wanted) -> Iterator[Draw]:
    """The default, or an empty document."""
    for value in [wanted.default] * isinstance(wanted.default, dict | list) + [{}, [], 0, ""]:
        yield Draw(quoted(json.dumps(value, ensure_ascii=False)), (value,), is_whole=True)


def _bytes(wanted: Wanted) -> Iterator[Draw]:
    """The digits of the row number, as many as a check asks for."""
    width = wanted.limits.min_length or wanted.length or 1
    code = NUMBER if width == 1 else f"{NUMBER}.str.zfill({width})"
    yield Draw(f"{code}.cast(pl.Binary)", (f"\\x{f'{1:0>{width}}'.encode().hex()}",), is_unique=True)


def _vectors(wanted: Wanted) -> Iterator[Draw]:
    items = f"rows.items({wanted.draw}, {_SAME.format(wanted.kind.modifiers[0])})"
    code = "{local}.lists({local}.decimals(" + wanted.draw + ', "-1", "1", digits=3).cast(pl.Float32))'
    yield Draw(code, local=(f"{wanted.name}_items", items))


def _arrays(wanted: Wanted) -> Iterator[Draw]:
    """Lists of one to three. The catalogs do not tell an array of several dimensions, so there are none."""
    assert wanted.kind.element is not None
    column = replace(
        wanted.column,
        name=singular(wanted.name) or wanted.name,
        kind="e" if wanted.column.element_kind == "e" else "b",
    )
    inner = Wanted(column, wanted.kind.element, Limits(allowed=wanted.limits.allowed), rows="{local}")
    for draw in draws_of(inner):
        # The row number is not one per element.
        if draw.local is not None or (draw.is_unique and inner.kind.family is not Family.UUID):
            continue
        count = wanted.limits.elements
        number = quoted(f"number of {wanted.name}")
        known = elements_of(wanted.statistics) if wanted.statistics is not None else ()
        usual = f"rows.quantiles({number}, {list(known)})" if known else f"rows.integers({number}, 1, 3)"
        sizes = usual if count is None else _SAME.format(count)
        lists = (1, 3) if count is None else (count,)
        examples = tuple(list(islice(cycle(draw.examples), size)) for size in lists) if draw.examples else ()
        items = f"rows.items({wanted.draw}, {sizes})"
        code = draw.code if "(" in draw.code else f"{{local}}.choice({inner.draw}, [{draw.code}])"
        yield Draw("{local}.lists(" + code + draw.finish + ")", examples, local=(f"{wanted.name}_items", items))
        return


def _spelled(wanted: Wanted) -> Iterator[Draw]:
    """Types that travel as text."""
    if (base := wanted.kind.base.rpartition(".")[2]) == "numeric":
        yield from _decimals(wanted)
    elif base in {"int4range", "int8range"}:
        yield Draw(f'"[" + {NUMBER} + "," + (rows.number() + 1).cast(pl.String) + ")"', ("[1,2)",), is_unique=True)
    elif base in _RANGES and wanted.rows == "rows":
        yield _moment_range(wanted.name, *_RANGES[base])
    elif base in {"bit", "bit varying"}:
        width = (*wanted.kind.modifiers, 1 if base == "bit" else 4)[0]
        yield choice(wanted, tuple(dict.fromkeys(f"{bits:0{width}b}"[-width:] for bits in (0, 1, 2**width - 1))))
    elif base in UNIQUE_TYPES and wanted.is_unique:
        yield templated(wanted, UNIQUE_TYPES[base])
    elif base in TYPES:
        yield templated(wanted, TYPES[base])


def _moment_range(name: str, spelling: str, mark: str, hours: int) -> Draw:
    """The hours (or the day) of the row's own number, counted back from the project's `now`."""
    begin = f'rows.now - (rows.number() * {hours * 3_600_000_000:_}).cast(pl.Duration("us"))'
    text = f'.dt.to_string("{spelling}")'
    opened, between, closed = (quoted(part) for part in (f"[{mark}", f"{mark},{mark}", f"{mark})"))
    code = f"{opened} + {{local}}{text} + {between} + ({{local}} + timedelta(hours={hours})){text} + {closed}"
    return Draw(code, is_unique=True, local=(f"{name}_start", begin))


_BY_FAMILY: dict[Family, Callable[[Wanted], Iterable[Draw]]] = {
    **dict.fromkeys(INTEGERS, _integers),
    **dict.fromkeys(MOMENTS, _moments),
    Family.NUMERIC: _decimals,
    **dict.fromkeys(_FLOATS, _decimals),
    Family.BOOLEAN: _booleans,
    Family.UUID: lambda wanted: [Draw(f"{wanted.rows}.uuids({wanted.draw})", (str(UUID(int=1)),), is_unique=True)],
    Family.TIME: lambda wanted: [
        Draw(
            f"{wanted.rows}.timestamps({wanted.draw}, rows.now - timedelta(days=1))",
            finish='.dt.truncate("1s").dt.time()',
        )
    ],
    **dict.fromkeys([Family.JSON, Family.JSONB], _documents),
    Family.BYTEA: _bytes,
    Family.VECTOR: _vectors,
    Family.TEXT_FORM: _spelled,
}
