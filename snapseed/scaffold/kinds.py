"""Draws by type. A type that none is known for stays with the database: its default, or NULL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import cycle, islice

from snapseed.scaffold.draws import Draw, Wanted, choice, constant, quoted
from snapseed.scaffold.moments import MOMENTS, moment_draws, time_draws
from snapseed.scaffold.naming import singular
from snapseed.scaffold.numbers import decimal_draws, float_draws, integer_draws
from snapseed.scaffold.texts import shortened, text_draws
from snapseed.snapshot.types import Family

_TEXTS = {"citext", "name"}
_MOSTLY = re.compile(r"(?:^|_)(?:is_)?(?:active|enabled|verified|valid|visible|public|available|in_stock)")
_RARELY = re.compile(
    r"(?:^|_)(?:is_)?(?:deleted|banned|archived|blocked|locked|disabled|admin|superuser|spam|discontinued|hidden)"
)
_ROW = "{row}"
# Types that travel as text, in PostgreSQL's spelling: the code, and the first number and the last for `{row}`.
_SPELLED = {
    "interval": ('{row} + ":00:00"', 10, 99),
    "inet": ('"10.0.0." + {row} + "/32"', 1, 254),
    "cidr": ('"10.0." + {row} + ".0/24"', 0, 255),
    "macaddr": ('"08:00:2b:01:02:" + {row}', 10, 99),
    "money": ('"$" + {row} + ".00"', 1, 999),
    "xml": ('"<number>" + {row} + "</number>"', 1, 999),
    "point": ('"(" + {row} + ",1)"', 1, 999),
    "time with time zone": ('{row} + ":00:00+00"', 10, 23),
    "tsvector": ("\"'word\" + {row} + \"'\"", 1, 999),
    "tsquery": ("\"'word\" + {row} + \"'\"", 1, 999),
    "hstore": ("'\"number\"=>\"' + {row} + '\"'", 1, 999),
    "ltree": ('"top.n" + {row}', 1, 999),
    "numrange": ('"[" + {row} + ",1000)"', 1, 999),
    '"char"': ("{row}.str.head(1)", 1, 9),
    "oid": ("{row}", 1, 999),
}  # fmt: skip
# Ranges: each row's own, from its number to the next, so that no two have anything in common.
_RANGES = {
    "int4range": ('"[" + number + "," + (rows.number() + 1).cast(pl.String) + ")"', ("number",)),
    "int8range": ('"[" + number + "," + (rows.number() + 1).cast(pl.String) + ")"', ("number",)),
}
_MOMENT_RANGES = {
    "daterange": ("%Y-%m-%d", "", 24),
    "tsrange": ("%Y-%m-%d %H:%M:%S", '"', 2),
    "tstzrange": ("%Y-%m-%d %H:%M:%S+00", '"', 2),
}


def draws_of(wanted: Wanted, after: tuple[str, str] | None = None) -> Iterator[Draw]:
    """Draws for a column, the best first; none for a type that is not known here. `after` is what a moment follows."""
    column, kind = wanted.column, wanted.kind
    if kind.is_array:
        yield from _arrays(wanted)
    elif column.labels and column.kind == "e":
        yield choice(wanted, _among(wanted, column.labels))
        if isinstance(wanted.default, str):
            yield constant(wanted.default)
    elif kind.family in {Family.TEXT, Family.CHARACTER} or kind.base.rpartition(".")[2] in _TEXTS:
        if wanted.limits.allowed is not None and not wanted.is_unique:
            yield choice(wanted, tuple(value for value in wanted.limits.allowed if isinstance(value, str)))
        yield from text_draws(wanted)
        if not wanted.is_unique:
            for draw in text_draws(wanted):
                yield shortened(draw, wanted.length)
    elif kind.family in MOMENTS:
        yield from moment_draws(wanted, after)
    else:
        yield from _plain(wanted)


def _plain(wanted: Wanted) -> Iterator[Draw]:
    if wanted.kind.family in _MAKERS:
        yield from _MAKERS[wanted.kind.family](wanted)


def _among(wanted: Wanted, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of an enum that its checks allow."""
    allowed = wanted.limits.allowed
    return labels if allowed is None else tuple(label for label in labels if label in allowed) or labels


def _booleans(wanted: Wanted) -> Iterator[Draw]:
    name = wanted.words
    if wanted.default is True or _MOSTLY.search(name):
        chance = "0.9"
    elif _RARELY.search(name):
        chance = "0.05"
    else:
        chance = "0.2" if wanted.default is False else "0.5"
    yield Draw(f"{wanted.rows}.chance({wanted.draw}, {chance})", (True, False), is_whole=True)
    yield from map(constant, (True, False))


def _uuids(wanted: Wanted) -> Iterator[Draw]:
    yield Draw(f"{wanted.rows}.uuids({wanted.draw})", is_unique=True)


def _documents(_wanted: Wanted) -> Iterator[Draw]:
    yield from map(constant, ("{}", "[]", "null", "0", '""'))


def _bytes(_wanted: Wanted) -> Iterator[Draw]:
    yield Draw("number.cast(pl.Binary)", (), frozenset(["number"]), is_unique=True)


def _vectors(wanted: Wanted) -> Iterator[Draw]:
    dimensions = wanted.kind.modifiers[0]
    items = f"rows.items({wanted.draw}, {_same(dimensions)})"
    code = "{local}.lists(({local}.integers(" + wanted.draw + ", -1_000, 1_000) / 1_000).cast(pl.Float32))"
    yield Draw(code, before=("items", items))


def _same(count: int) -> str:
    """The same number for every row, as code."""
    return f"pl.repeat({count}, len(rows), eager=True)"


def _arrays(wanted: Wanted) -> Iterator[Draw]:
    """Lists of up to three; of several dimensions none are drawn, since the catalogs do not say how many there are."""
    element = wanted.kind.element
    assert element is not None
    column = replace(wanted.column, kind="e" if wanted.column.element_kind == "e" else "b")
    inner = replace(wanted, kind=element, rows="{local}", column=column, is_unique=False, default=None, table="")
    for draw in draws_of(
        replace(inner, column=replace(column, name=singular(wanted.column.name) or wanted.column.name))
    ):
        if "number" in draw.needs or draw.before is not None:
            continue
        count = wanted.limits.elements
        sizes = f"rows.integers({quoted('number of ' + wanted.column.name)}, 1, 3)" if count is None else _same(count)
        items = f"rows.items({wanted.draw}, {sizes})"
        lists = (1, 3) if count is None else (count,)
        examples = tuple(list(islice(cycle(draw.examples), size)) for size in lists) if draw.examples else ()
        yield Draw("{local}.lists(" + draw.code + draw.finish + ")", examples, draw.needs, before=("items", items))
        return


def _spelled(wanted: Wanted) -> Iterator[Draw]:
    base = wanted.kind.base.rpartition(".")[2]
    if base == "numeric":
        yield from decimal_draws(wanted)
    elif base in _RANGES:
        code, needs = _RANGES[base]
        yield Draw(code, (), frozenset(needs), is_unique=True)
    elif base in _MOMENT_RANGES and wanted.rows == "rows":
        yield _moment_range(wanted, *_MOMENT_RANGES[base])
    elif base in {"bit", "bit varying"}:
        width = (*wanted.kind.modifiers, 1)[0] if base == "bit" else (*wanted.kind.modifiers, 4)[0]
        options = tuple(dict.fromkeys(f"{bits:0{width}b}"[-width:] for bits in (0, 1, 2**width - 1)))
        yield choice(wanted, options)
    elif base in _SPELLED:
        code, first, last = _SPELLED[base]
        drawn = f"{wanted.rows}.integers({wanted.draw}, {first}, {last}).cast(pl.String)"
        yield Draw(code.replace(_ROW, drawn))


def _moment_range(wanted: Wanted, spelling: str, mark: str, hours: int) -> Draw:
    """From an hour (or a day) that is the row's own to the next."""
    before = wanted.now - timedelta(days=36_525)
    start = f"pl.Series([datetime({before.year}, 1, 1, tzinfo=UTC)]).new_from_index(0, len(rows))"
    step = f'(rows.number() * {hours * 3_600_000_000:_}).cast(pl.Duration("us"))'
    text = f'.dt.to_string("{spelling}")'
    begin = f"{start} + {step}"
    end = f"({{local}} + timedelta(hours={hours}))"
    opened, between, closed = (quoted(part) for part in (f"[{mark}", f"{mark},{mark}", f"{mark})"))
    code = f"{opened} + {{local}}{text} + {between} + {end}{text} + {closed}"
    return Draw(code, (), frozenset(["datetime", "timedelta"]), is_unique=True, before=("start", begin))


_MAKERS = {
    Family.SMALLINT: integer_draws,
    Family.INTEGER: integer_draws,
    Family.BIGINT: integer_draws,
    Family.NUMERIC: decimal_draws,
    Family.REAL: float_draws,
    Family.DOUBLE: float_draws,
    Family.BOOLEAN: _booleans,
    Family.UUID: _uuids,
    Family.TIME: time_draws,
    Family.JSON: _documents,
    Family.JSONB: _documents,
    Family.BYTEA: _bytes,
    Family.VECTOR: _vectors,
    Family.TEXT_FORM: _spelled,
}
