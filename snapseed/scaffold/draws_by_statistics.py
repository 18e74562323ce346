"""Draws by statistics: weighted choices and quantiles, which give a column the shape that it has in the source."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import chain, pairwise

from snapseed.generate.words import WORDS, words_of
from snapseed.scaffold.arrange.sizes import STEPS, divided
from snapseed.scaffold.conditions import MOMENTS
from snapseed.scaffold.draws import DRAWN, EPOCH, Draw, Wanted, literal, quoted, text_draws
from snapseed.scaffold.draws_by_type import NUMBERS, finish_of, finish_of_number
from snapseed.scaffold.names import PLACES, hints
from snapseed.scaffold.schema import Table
from snapseed.scaffold.statistics import ColumnStatistics
from snapseed.snapshot.types import INTEGERS, Family

# Columns of up to so many values, all of them known, choose among these; weights are in thousandths.
_MOST_OPTIONS, _WEIGHTS = 50, 1_000
_DIGITS = 4  # The ends of pieces of other distributions have so many digits: long ones are no row's own value
_MOST_DIGITS = 6  # Numbers with more, zeros at the end not counted, are no codes, but perhaps somebody's number
_MANY, _CITIES = 0.05, 3  # A country with at least so many of the rows has so many cities
_SHOWN = 3  # How many shares of a column a comment tells
_OF_PLACE = re.compile(r'rows\.choice\("(?P<draw>(?:[^"]* )?place)", (?P<list>CIT\w+)\)')
_FEW = 0.01  # A column that would lose more of its values is not drawn together with others
_LARGEST = 10**18  # More digits than this have no room in 64 bits
# The coarsest of these of which all moments of a column are multiples is that of its draws; a moment of a long range
# is rounded to one as well.
_UNITS = {"1d": 86_400_000_000, "1h": 3_600_000_000, "1m": 60_000_000, "1s": 1_000_000}


def learned(wanted: Wanted) -> Iterator[Draw]:
    """The draw that gives a column what its statistics say, if there are any. Unique columns have none."""
    found, family = wanted.statistics, wanted.kind.family
    is_number = family in NUMBERS or wanted.kind.base.rpartition(".")[2] == "numeric"
    if found is None or wanted.is_unique or wanted.kind.is_array:
        return
    if not (found.common or found.bounds):
        yield from _texts(wanted) if family is Family.TEXT else ()
    elif family is Family.BOOLEAN:
        known = found.texts.get("t", 0.0) / (sum(found.shares) or 1)
        code = f"{wanted.rows}.chance({wanted.draw}, {known:.3g})"
        yield Draw(code, (True, False), is_whole=True, shape=f"{known:.1%} true")
    elif is_number or family in MOMENTS:
        try:
            yield from _shaped(wanted, is_moment=not is_number)
        except (ValueError, OverflowError, InvalidOperation):
            # Infinite, not a number, or a moment without a place in Python's calendar: the usual draw.
            return
    # Unless it has to agree with another column of the row, as a country does with its city.
    elif wanted.is_listed or " by " not in next(hints("text", wanted.name, wanted.others), ""):
        yield _weighted(wanted, [*found.texts], list(map(literal, found.texts)))


def joint_draws(table: Table, draws: Mapping[str, Draw], names: Collection[str]) -> dict[str, Draw]:
    """Draws for columns whose values come together: in the source, from the same combination, or of the same place."""
    known, found = table.statistics, _of_places(table, draws, names)
    free = {name for name in names if draws[name].shape and draws[name].is_whole and not draws[name].finish}
    for columns, shares in chain.from_iterable(column.joint for column in known.values()):
        seen = {name: set(texts) for name, *texts in zip(columns, *(row for row, _ in shares), strict=True)}
        # What comes in rare combinations alone, which are not known, would be lost.
        lost = {name: sum(part for text, part in known[name].texts.items() if text not in seen[name]) for name in seen}
        chosen = [name for name in columns if name in free - found.keys() and lost[name] < _FEW]
        options = [{_as_text(value): value for value in draws[name].examples} | {None: None} for name in chosen]
        weights: dict[tuple[str | None, ...], int] = defaultdict(int)
        for row, share in shares:
            texts = tuple(text for name, text in zip(columns, row, strict=True) if name in chosen)
            if len(chosen) > 1 and all(text in values for text, values in zip(texts, options, strict=True)):
                weights[texts] += max(1, round(share * _WEIGHTS))
        for name, values, column in zip(chosen, options, zip(*weights, strict=True), strict=False):
            examples = tuple(values[text] for text in column)
            code = coupled(chosen, examples, [*weights.values()])
            found[name] = replace(draws[name], code=code, examples=examples)
    return found


def _of_places(table: Table, draws: Mapping[str, Draw], names: Collection[str]) -> dict[str, Draw]:
    """Draws for cities, states and countries of the same place, with countries and states as often as in the source."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for name in draws:
        is_checked = any(name in check.columns for check in table.checks)
        if name in names and not is_checked and (match := _OF_PLACE.fullmatch(draws[name].code)):
            groups[match["draw"]][name] = match["list"]
    found: dict[str, Draw] = {}
    for draw, lists in groups.items():
        rows = list(_places(table, lists))
        columns: dict[str, tuple[object, ...]] = {name: tuple(texts[name] for _, texts in rows) for name in lists}
        given = {**columns, "weight": tuple(max(1, round(share * _WEIGHTS)) for share, _ in rows)}
        code = ", ".join(f"{quoted(name)}: [{', '.join(map(literal, values))}]" for name, values in given.items())
        local = words_of(draw), f'rows.sample({quoted(draw)}, pl.DataFrame({{{code}}}), weights="weight")'
        total = sum(share for share, _ in rows)
        for name, words in lists.items() if rows else ():
            known = table.statistics[name] if words != "CITIES" and name in table.statistics else ColumnStatistics()
            filled = 1 if None in columns[name] else 1 - known.null_share
            drawn = {text: sum(share for share, own in rows if own[name] == text) / total for text in known.texts}
            # States that no country has make the others more frequent than they are in the source.
            same = [text for text, share in known.texts.items() if abs(drawn[text] * filled - share) < _FEW]
            shown = [f"{known.texts[text]:.0%} {text}" for text in same]
            shape = ", ".join(shown[:_SHOWN]) + ", …" * (len(shown) > _SHOWN)
            code = f"{{local}}[{quoted(name)}]"
            found[name] = replace(
                draws[name], code=code, local=local, examples=columns[name], shape=shape, copies=any(drawn.values())
            )
    return found


def _places(table: Table, lists: Mapping[str, str]) -> Iterator[tuple[float, dict[str, str | None]]]:
    """Texts of places for columns that choose from these lists, and how often each is; none without statistics.

    Where states are known, they are NULL in countries without any of these. A country, or a state without one, that no
    list knows keeps its share, with a usual city.
    """
    known = defaultdict(ColumnStatistics, table.statistics)
    country, state = (next((name for name in lists if part in lists[name]), "") for part in ("COUNTR", "STATE"))
    countries, states, elsewhere = known[country].texts, known[state].texts, dict[str, float]()
    if states and not country:
        # Codes mean the states of one country.
        home = max(PLACES, key=lambda name: len(_inside(name, states)))
        elsewhere = {text: share for text, share in states.items() if text not in _inside(home, states)}
        countries = {home: sum(states.values()) - sum(elsewhere.values())} if elsewhere.keys() < states.keys() else {}
    states = {text: share for text, share in states.items() if any(_inside(name, [text]) for name in countries)}
    is_optional = known[state].null_share > 0 and not table.column(state).not_null
    unknown: dict[str, str | None] = {state: None} if states and is_optional else {}
    usual = [{words: WORDS[words][number] for words in lists.values()} for number in range(_CITIES)]
    rows: list[tuple[float, Mapping[str, str], dict[str, str | None]]] = []
    rows += [(share, usual[0], {state: text}) for text, share in elsewhere.items()]
    for text, share in countries.items():
        places = PLACES.get(text.lower(), usual)[: _CITIES if share >= _MANY else 1]
        own: dict[str, str | None] = {country: text}
        inside = [(states.pop(name), place, own | {state: name}) for name, place in _inside(text, states).items()]
        chosen = inside or [(1.0, place, own | unknown) for place in places]
        rows += [(share * part / sum(part for part, *_ in chosen), place, given) for part, place, given in chosen]
    for share, place, given in rows:
        room = {name: (*table.kind(name).modifiers, None)[0] for name in lists}
        yield share, {name: given.get(name, place[words][: room[name]]) for name, words in lists.items()}


def _inside(country: str, states: Collection[str]) -> dict[str, Mapping[str, str]]:
    """The first place of a country in each of these states, by name or code."""
    places = reversed(PLACES.get(country.lower(), []))
    texts = [(place[words], place) for place in places for words in ("CITY_STATES", "CITY_STATE_CODES")]
    return {text: place for text, place in texts if text in states}


def coupled(names: Iterable[str], values: Sequence[object], weights: Sequence[int]) -> str:
    """Code that takes one of the values, from the same place for all columns with these names."""
    shown = ", ".join(map(literal, values))
    return f"rows.choice({quoted(', '.join(names))}, [{shown}]{f', {[*weights]}' * bool(weights)})"


def weights_of(table: Table, states: Mapping[str, Sequence[object]]) -> list[int]:
    """How often each row of states is, in thousandths, by the known column with the most states; empty if none is."""
    names = sorted(states.keys() & table.statistics.keys(), key=lambda name: len({*states[name]}))
    if not names:
        return []
    name, known = names[-1], table.statistics[names[-1]]
    texts = [_as_text(value) for value in states[name]]
    shares = {None: known.null_share, DRAWN: 1 - known.null_share} | known.texts
    return [max(1, round(shares.get(text, 0) / texts.count(text) * _WEIGHTS)) for text in texts]


def _as_text(value: object) -> str | None:
    """A value as PostgreSQL prints it."""
    return None if value is None else "ft"[value] if isinstance(value, bool) else str(value)


def _weighted(wanted: Wanted, values: Sequence[object], codes: Sequence[str]) -> Draw:
    """One of all values that the column has, as often as in the source."""
    assert wanted.statistics is not None
    weights = [max(1, round(share * _WEIGHTS)) for share in wanted.statistics.all_shares]
    pairs = sorted(zip(codes, weights, strict=False), key=lambda pair: -pair[1])
    weighted = "{" + ", ".join(f"{code}: {weight}" for code, weight in pairs) + "}"
    code = f"{wanted.rows}.choice({wanted.draw}, {weighted if len(pairs) > 1 else f'[{codes[0]}]'})"
    shape = f"{len(values)} values" if len(values) > 1 else "one value"
    return Draw(code, tuple(values), is_whole=True, shape=shape, copies=not wanted.is_listed)


def _texts(wanted: Wanted) -> Iterator[Draw]:
    """Texts of several words or sentences: as long as those of the source, and about as many different ones."""
    assert wanted.statistics is not None
    first = next(text_draws(wanted), None)
    name = next((name for name in ("WORDS", "SENTENCES") if first is not None and first.examples == WORDS[name]), None)
    if name is None:
        return
    words = WORDS[name]
    usual = statistics.mean(map(len, words)) + 1
    count = max(wanted.statistics.width / usual, math.log(max(1, 2 * wanted.statistics.distinct), len(words)))
    low, high = max(1, math.floor(count * 2 / 3)), min(math.ceil(count * 4 / 3), len(words))
    if wanted.length is not None:
        high = min(high, (wanted.length + 1) // (max(map(len, words)) + 1))
    low = min(low, high)
    if high > 1:
        sizes = f"rows.integers({quoted(f'{name.lower()} of {wanted.name}')}, {low}, {high})"
        local = (f"{wanted.name}_{name.lower()}", f"rows.items({wanted.draw}, {sizes})")
        examples = (" ".join(words[:low]), " ".join([max(words, key=len)] * high))
        count = wanted.statistics.distinct
        shape = f"about {wanted.statistics.width} bytes, {count:,} different value{'s' * (count != 1)}"
        code = "{local}.joined({local}.choice(" + wanted.draw + f", {name}, distinct=True))"
        yield Draw(code, examples, local=local, shape=shape)


def _shaped(wanted: Wanted, *, is_moment: bool) -> Iterator[Draw]:
    """Numbers and moments, counted in the smallest unit of the column."""
    assert wanted.statistics is not None
    found, digits = wanted.statistics, _digits(wanted)
    common, bounds = (
        [_moment(text) if is_moment else int(Decimal(text).scaleb(digits)) for text in texts]
        for texts in (found.common, found.bounds)
    )
    if max(map(abs, (*common, *bounds))) >= _LARGEST:
        return
    is_long = any(len(str(abs(value)).rstrip("0")) > _MOST_DIGITS for value in (*common, *bounds))
    if found.distinct == len(common) + len(bounds) <= _MOST_OPTIONS and not is_moment and not is_long:
        values = tuple(_number(value, digits) for value in (*common, *bounds))
        yield _in_units(wanted, _weighted(wanted, values, tuple(map(literal, (*common, *bounds)))), digits)
        return
    ends = _quantiles(list(zip(common, found.shares, strict=False)), bounds, 1 - found.null_share)
    unit = next((size for size in _UNITS.values() if not any(end % size for end in (*common, *bounds))), 1)
    if is_moment:
        step = next((size for size in _UNITS.values() if size <= max((ends[-1] - ends[0]) // 1_000, unit)), 1)
        ends = [end if wanted.limits.are_ends else (end + step // 2) // step * step for end in ends]
        yield _moments(wanted, ends, next((name for name, size in _UNITS.items() if size == unit), None))
    else:
        if is_long or not wanted.limits.are_ends:
            ends = [round(end, min(0, _DIGITS - len(str(abs(end))))) for end in ends]
        code = f"{wanted.rows}.quantiles({wanted.draw}, [{', '.join(map(literal, ends))}])"
        low, middle, high = (_number(end, digits) for end in (ends[0], ends[len(ends) // 2], ends[-1]))
        yield _in_units(wanted, Draw(code, (low, middle, high), shape=f"{low} to {high}"), digits)


def _moments(wanted: Wanted, ends: Sequence[int], unit: str | None) -> Draw:
    """Moments at the rank of those that come before them in the row, so that the order is that of the source."""
    moments = [EPOCH + timedelta(microseconds=end) for end in ends]
    texts = [moment.isoformat()[: -len("+00:00")].removesuffix("T00:00:00") for moment in moments]
    least = ""
    if wanted.after is not None:
        earliest, _, later = wanted.after[0].partition(" + ")
        pause = "timedelta(days=1)" if unit == "1d" else "timedelta(seconds=1)"
        least = f", {earliest} + {pause}" if later else f", {earliest}"
    how = least + ", ascending=True" * wanted.ascending
    code = f"{wanted.rows}.quantiles({quoted(wanted.rank)}, [{', '.join(map(quoted, texts))}]{how})"
    # Cut off, a moment might come before the one that it must come after.
    if unit is not None and not least and wanted.kind.family is not Family.DATE:
        code += f'.dt.truncate("{unit}")'
    shape = f"{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}"
    return Draw(code, (moments[0], moments[-1]), finish=finish_of(wanted.scalar), shape=shape)


def _quantiles(common: Sequence[tuple[int, float]], bounds: Sequence[int], whole: float) -> list[int]:
    """The values that divide the distribution into equal pieces: frequent ones as they are, others evenly between."""
    rest = max(0.0, whole - sum(share for _, share in common)) / max(1, (len(bounds) - 1) * STEPS)
    between = [
        (low + (high - low) * (2 * step + 1) // (2 * STEPS), rest)
        for low, high in pairwise(bounds)
        for step in range(STEPS)
    ]
    return divided(sorted([*common, *between, *((end, 0.0) for end in bounds)]))


def _digits(wanted: Wanted) -> int:
    """How many digits after the point the column's numbers have."""
    if wanted.kind.family in {*INTEGERS, *MOMENTS}:
        return 0
    if wanted.kind.modifiers and wanted.kind.family not in {Family.REAL, Family.DOUBLE}:
        return (*wanted.kind.modifiers, 0)[1]
    assert wanted.statistics is not None
    values = [Decimal(text) for text in (*wanted.statistics.common, *wanted.statistics.bounds)]
    needed = max(-int(value.as_tuple().exponent) for value in values)
    # A number of thousands needs none of its decimals.
    whole = statistics.median(map(abs, values))
    return max(0, min(needed, _DIGITS - len(str(int(whole)))))


def _number(units: int, digits: int) -> object:
    return Decimal(units).scaleb(-digits) if digits else units


def _in_units(wanted: Wanted, draw: Draw, digits: int) -> Draw:
    """The draw of numbers that are counted in the smallest unit of the column."""
    if wanted.kind.family in INTEGERS:
        return draw
    return replace(draw, code=f"as_decimals({draw.code}, {digits})", finish=finish_of_number(wanted.kind, digits))


def _moment(text: str) -> int:
    """Microseconds since 1970, in UTC."""
    moment = datetime.fromisoformat(text)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
