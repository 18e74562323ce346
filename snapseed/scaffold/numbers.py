"""Draws of numbers: what a column of that name usually holds, inside what its type and its checks allow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal

from snapseed.scaffold.draws import Draw, Wanted, choice, constant, grouped
from snapseed.scaffold.limits import Bound, Limits
from snapseed.snapshot.types import Family

_BITS = {Family.SMALLINT: 15, Family.INTEGER: 31, Family.BIGINT: 63}
# By the name of a column, the smallest and the largest value that look right.
_USUAL = (
    (r"(?:^|_)year", 1990, 2025),
    (r"(?:^|_)(?:active|enabled|deleted|discontinued|flag|is)(?:_|$)", 0, 1),
    (r"(?:^|_)month", 1, 12),
    (r"(?:^|_)(?:day|weekday)(?:_|$)", 1, 28),
    (r"(?:^|_)hour", 0, 23),
    (r"(?:^|_)age(?:_|$)", 18, 90),
    (r"(?:^|_)(?:rating|stars)", 1, 5),
    (r"(?:^|_)(?:latitude|lat)(?:_|$)", -60, 70),
    (r"(?:^|_)(?:longitude|lng|lon|long)(?:_|$)", -180, 180),
    (r"(?:^|_)(?:percent|percentage|pct|progress|score)", 0, 100),
    (r"(?:^|_)(?:tax|discount|ratio|probability|confidence|fraction|commission|interest)(?:_|$)", 0, 1),
    (r"(?:^|_)(?:quantity|qty|copies|seats|guests|days?|nights)(?:_|$)", 1, 20),
    (r"(?:^|_)(?:milliseconds|ms)$", 90_000, 600_000),
    (r"(?:^|_)bytes$|size$", 1_000, 5_000_000),
    (r"(?:^|_)(?:seconds|secs)", 10, 3_600),
    (r"(?:^|_)(?:minutes|mins|duration|length|runtime)", 30, 180),
    (r"(?:^|_)(?:cents|salary|budget|revenue|population)", 1_000, 200_000),
    (r"(?:^|_)(?:price|amount|total|cost|fee|subtotal|payment|charge|freight|balance|rate|value)", 1, 200),
    (r"(?:^|_)(?:count|views?|likes|hits|visits|downloads|votes|points|num|stock|units?|inventory)(?:_|$)", 0, 500),
    (r"(?:^|_)(?:position|rank|order|sort|sequence|level|priority|version|number|index|idx|line)(?:_|$)", 1, 50),
)  # fmt: skip
# Where the row's own number meets no check, it may from here on.
_FURTHER = 1_000
_FALLBACK = (1, 1_000)


def integer_draws(wanted: Wanted) -> Iterator[Draw]:
    """Whole numbers; unique ones are the row's number."""
    low, high = whole_range(wanted)
    if wanted.is_unique:
        start = max(low - 1, 0) if wanted.limits.low is not None else 0
        for shift in (start, start + _FURTHER):
            code = f"rows.number() + {grouped(shift)}" if shift else "rows.number()"
            yield Draw(code, tuple(Decimal(number + shift) for number in range(1, _FURTHER)), is_unique=True)
        return
    if wanted.limits.allowed is not None:
        yield choice(wanted, tuple(int(value) for value in wanted.limits.allowed if isinstance(value, Decimal)))
    examples = tuple(Decimal(number) for number in dict.fromkeys((low, (low + high) // 2, high)))
    yield Draw(f"{wanted.rows}.integers({wanted.draw}, {grouped(low)}, {grouped(high)})", examples)
    if isinstance(wanted.default, Decimal):
        yield constant(int(wanted.default))
    yield from (constant(number) for number in (0, 1))


def whole_range(wanted: Wanted) -> tuple[int, int]:
    """The smallest and the largest whole number to draw."""
    family = (wanted.kind.element or wanted.kind).family
    most = 2 ** _BITS.get(family, 31) - 1
    low, high = _range(wanted.words, wanted.limits, Decimal(1), Decimal(most))
    return int(low), int(high)


def decimal_draws(wanted: Wanted) -> Iterator[Draw]:
    """Exact decimals of the column's precision and scale; without one of two digits, as texts."""
    modifiers = (wanted.kind.element or wanted.kind).modifiers
    precision, digits = (*modifiers, 0)[:2] if modifiers else (12, 2)
    step = Decimal(1).scaleb(-digits)
    most = Decimal(10) ** (precision - digits) - step
    low, high = _range(wanted.words, wanted.limits, step, most)
    finish = "" if modifiers else ".cast(pl.String)"
    needs = frozenset[str]()
    if wanted.is_unique:
        code = "rows.number()" if digits == 0 else f"as_decimals(rows.number(), {digits})"
        needs |= {"as_decimals"} if digits else frozenset()
        yield Draw(code + finish, (step, step * 1_000), needs, is_unique=True)
        return
    if wanted.limits.allowed is not None:
        options = [f'Decimal("{value}")' for value in wanted.limits.allowed if isinstance(value, Decimal)]
        yield Draw(
            f"{wanted.rows}.choice({wanted.draw}, [{', '.join(options)}]){finish}",
            wanted.limits.allowed,
            needs | {"Decimal"},
        )
    bounds = f'"{low:.{digits}f}", "{high:.{digits}f}"'
    digits_given = "" if digits == 2 else f", digits={digits}"  # noqa: PLR2004 - the default of `decimals`
    code = f"{wanted.rows}.decimals({wanted.draw}, {bounds}{digits_given})"
    yield Draw(code + finish, tuple(dict.fromkeys((low, high))), needs)


def float_draws(wanted: Wanted) -> Iterator[Draw]:
    """Floats in steps of a thousandth."""
    low, high = _range(wanted.words, wanted.limits, Decimal("0.001"), Decimal(10**6))
    family = (wanted.kind.element or wanted.kind).family
    finish = ".cast(pl.Float32)" if family is Family.REAL else ""
    if wanted.is_unique:
        code = f"(rows.number() / 1_000){finish}" if finish else "rows.number() / 1_000"
        yield Draw(code, (Decimal("0.001"), Decimal(1)), is_unique=True)
        return
    thousandths = f"{grouped(math.ceil(low * 1_000))}, {grouped(math.floor(high * 1_000))}"
    code = f"{wanted.rows}.integers({wanted.draw}, {thousandths}) / 1_000"
    yield Draw(f"({code}){finish}" if finish else code, (low, high))


def _range(name: str, limits: Limits, step: Decimal, most: Decimal) -> tuple[Decimal, Decimal]:
    """What is usual, as far as it lies inside what is allowed; else what is allowed, from its nearer end on."""
    floor = max(_bound(limits.low, step), -most)
    ceiling = min(_bound(limits.high, -step), most)
    usual = next(((Decimal(low), Decimal(high)) for pattern, low, high in _USUAL if re.search(pattern, name)), None)
    low, high = usual or (Decimal(_FALLBACK[0]), Decimal(_FALLBACK[1]))
    low, high = max(low, floor), min(high, ceiling)
    if low <= high and (low < high or usual):
        return low, high
    if limits.low is not None or ceiling >= 0 >= floor:
        start = floor if limits.low is not None else max(floor, Decimal(0))
        return start, min(ceiling, start + 1_000)
    return max(floor, ceiling - 1_000), ceiling


def _bound(bound: Bound | None, step: Decimal) -> Decimal:
    """The outermost value that is allowed: one step further in where the bound itself is not."""
    if bound is None or not isinstance(bound.value, Decimal):
        return Decimal("-Infinity") if step > 0 else Decimal("Infinity")
    value = bound.value + step if bound.strict else bound.value
    rounding = math.ceil if step > 0 else math.floor
    return Decimal(rounding(value / abs(step))) * abs(step)
