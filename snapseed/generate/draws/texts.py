"""Texts made of other texts: filled templates, slugs, and JSON in exactly the text that PostgreSQL prints for `jsonb`.

jsonb orders an object's keys by length, then by bytes, and prints `, ` and `: ` as separators (PostgreSQL manual,
section 8.14, and `jsonb.c`). A snapshot stores that text.
"""

from __future__ import annotations

import json
import string
from decimal import Decimal

import numpy as np
import polars as pl

from snapseed.snapshot.arrow import data_of

# Letters that Unicode does not decompose into a Latin letter and a mark.
_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "\u0131": "i"}
# escape_json in PostgreSQL's src/backend/utils/adt/json.c: these by name, other control characters as \u00XX.
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ALL_ESCAPES = _ESCAPES | {chr(code): f"\\u{code:04x}" for code in range(1, 32) if chr(code) not in _ESCAPES}
_BLANK, _QUOTE, _BACKSLASH = b' "\\'


def filled(templates: pl.Series, **values: pl.Series | str) -> pl.Series:
    """Fill each template: `{name}` becomes the row's value for that name; `{{` and `}}` are literal braces.

    A value is a series of texts, whole numbers or decimals with one value per row, or one text for all rows. If the
    template is null, or a value that it uses, the result is null. Raises `ValueError` for a name without a value and
    for unbalanced braces, `TypeError` for floats, which do not have the same text everywhere.

    >>> templates = rows.choice("template", ["{who} likes {what}", "why {what}?"])
    >>> filled(templates, who=rows.choice("who", ["Ann", "Bo"]), what="tea").to_list()
    ['why tea?', 'Bo likes tea', 'why tea?', 'why tea?']
    """
    distinct = templates.unique().drop_nulls().sort()
    pieces = [_pieces(template, list(values)) for template in distinct]
    longest = max((len(piece) for piece in pieces), default=1)
    ids = templates.replace_strict(distinct, np.arange(len(distinct)), default=None, return_dtype=pl.Int64)
    # All values in one series, after an empty text for the places that a template does not have.
    count = len(templates)
    stacked = pl.concat([pl.Series([""]), *(_as_texts(name, value, count) for name, value in values.items())])
    columns: dict[str, pl.Series] = {}
    for place in range(longest):
        literals = pl.Series([piece[place][0] if place < len(piece) else "" for piece in pieces], dtype=pl.String)
        columns[f"literal {place}"] = literals.gather(ids)
        names = [piece[place][1] if place < len(piece) else None for piece in pieces]
        if any(name is not None for name in names):
            starts = pl.Series([-1 if name is None else name * count + 1 for name in names], dtype=pl.Int64).gather(ids)
            found = (starts + pl.int_range(count, eager=True)).zip_with(starts >= 0, starts.clip(0, 0))
            columns[f"value {place}"] = stacked.gather(found)
    return pl.DataFrame(columns).select(pl.concat_str(pl.all()).alias("text")).to_series()


def slug(texts: pl.Series, separator: str = "-") -> pl.Series:
    """The words of each text in lower-case ASCII: `Café Noël & Co.` becomes `cafe-noel-co`.

    Accents are dropped; everything that is not a Latin letter or a digit separates words. A text without either
    becomes empty.

    >>> slug(pl.Series(["Crème brûlée!", "Größe L / XL", "寿司"])).to_list()
    ['creme-brulee', 'grosse-l-xl', '']
    """
    plain = texts.str.to_lowercase().str.replace_many(_LETTERS).str.normalize("NFKD")
    plain = plain.str.replace_all("[\\u0300-\\u036f'’]", "")
    return plain.str.replace_all("[^a-z0-9]+", separator).str.strip_chars(separator)


def json_object(**values: pl.Series | json_raw) -> pl.Series:
    """One JSON object per row, as `jsonb` prints it, from series of texts, numbers or booleans; null becomes `null`.

    A Decimal keeps its trailing zeros, as numeric does. To nest, wrap the result of `json_object` or `json_array` in
    `json_raw`. Raises `TypeError` for floats, whose text PostgreSQL would print differently, and `ValueError` without
    values.

    >>> size = json_object(width=rows.integers("width", 1, 9))
    >>> json_object(topic=rows.choice("topic", ["food", "art"]), size=json_raw(size)).first()
    '{"size": {"width": 5}, "topic": "food"}'
    """
    names = sorted(values, key=_jsonb_order)
    if not names:
        raise ValueError("json_object() needs at least one key")
    columns: dict[str, pl.Series] = {}
    parts: list[pl.Expr] = []
    before, quote = "{", ""
    for name in names:
        after = quote
        quote, columns[name] = _json_value(name, values[name])
        parts += [pl.lit(f'{after}{before}"{_escaped(name)}": {quote}'), pl.col(name)]
        before = ", "
    return pl.DataFrame(columns).select(pl.concat_str([*parts, pl.lit(quote + "}")]).alias("json")).to_series()


def json_array(texts: pl.Series) -> pl.Series:
    """One JSON array per row from a series of lists of JSON texts, which `Items.lists` makes of `json_object`s.

    >>> items = rows.items("parts", pl.Series([2, 0, 1, 1]))
    >>> json_array(items.lists(json_object(number=items.positions))).to_list()
    ['[{"number": 0}, {"number": 1}]', '[]', '[{"number": 0}]', '[{"number": 0}]']
    """
    joined = pl.concat_str(pl.lit("["), pl.col("texts").list.join(", "), pl.lit("]"))
    return texts.to_frame("texts").select(joined).to_series()


class json_raw:  # noqa: N801 - reads as a function, like its neighbors
    """Marks a series whose texts are already JSON, to be a value of `json_object`."""

    def __init__(self, texts: pl.Series) -> None:
        self.texts = texts


def canonical_json(text: str) -> str:
    """The text that `text::jsonb::text` gives in PostgreSQL. Slow, value by value: for checking samples.

    Raises `ValueError` for text that is not JSON.
    """
    return _printed(json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refused))


def _pieces(template: str, names: list[str]) -> list[tuple[str, int | None]]:
    """The template as literal texts, each with the number of the value that follows it, if any."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as exc:
        raise ValueError(f"filled(): {exc} in {template!r}") from exc
    pieces: list[tuple[str, int | None]] = []
    for literal, name, form, conversion in parsed:
        if name is not None and (name not in names or form or conversion):
            raise ValueError(f"filled(): there is no value for {{{name}}} in {template!r}")
        pieces.append((literal, None if name is None else names.index(name)))
    return pieces or [("", None)]


def _as_texts(name: str, value: pl.Series | str, count: int) -> pl.Series:
    """The values as texts, one for each of `count` templates."""
    if isinstance(value, str):
        return pl.Series([value]).new_from_index(0, count)
    if value.dtype.is_float():
        raise TypeError(f"filled(): {name} is a float; use a Decimal or whole numbers")
    if len(value) != count:
        raise ValueError(f"filled(): there are {count} templates, but {len(value)} values for {name}")
    return value.cast(pl.String)


def _json_value(name: str, value: pl.Series | json_raw) -> tuple[str, pl.Series]:
    """The values as JSON, and what belongs before and after each of them: a quote, or nothing."""
    if isinstance(value, json_raw):
        return "", value.texts.fill_null("null")
    if value.dtype.is_float():
        raise TypeError(f"json_object(): {name} is a float; use a Decimal or whole numbers")
    texts = value.cast(pl.String)
    if value.dtype == pl.Boolean or value.dtype.is_numeric():
        return "", texts.fill_null("null")
    letters = data_of(texts.rechunk().to_arrow())
    if np.any(letters < _BLANK) or np.any(letters == _QUOTE) or np.any(letters == _BACKSLASH):
        texts = texts.str.replace_many(ALL_ESCAPES)
    if texts.null_count():
        return "", ('"' + texts + '"').fill_null("null")
    return '"', texts


def _printed(value: object) -> str:
    """A value as `jsonb` prints it."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: _jsonb_order(item[0]))
        return "{" + ", ".join(f'"{_escaped(name)}": {_printed(inner)}' for name, inner in ordered) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_printed, value)) + "]"
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.removeprefix("-") if not value else plain
    return {True: "true", False: "false", None: "null"}[value]  # type: ignore[index]


def _escaped(text: str) -> str:
    """A text as it is inside the quotes of JSON."""
    return "".join(ALL_ESCAPES.get(character, character) for character in text)


def _jsonb_order(name: str) -> tuple[int, bytes]:
    """What the keys of an object are sorted by."""
    return len(name.encode()), name.encode()


def _refused(constant: str) -> None:
    """Refuse NaN and Infinity, which `json.loads` would take."""
    raise ValueError(f"{constant} is not JSON, only Python reads it")
