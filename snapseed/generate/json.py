"""JSON in the very text that PostgreSQL prints for `jsonb`, which is what a snapshot stores.

jsonb keeps an object's keys by length, then by bytes, and prints `, ` and `: ` between things (PostgreSQL manual,
8.14, and `jsonb.c`).
"""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl

# escape_json in PostgreSQL's src/backend/utils/adt/json.c: these by name, other control characters as \u00XX.
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROLS = {chr(code): f"\\u{code:04x}" for code in range(1, 32) if chr(code) not in _ESCAPES}
_ALL_ESCAPES = _ESCAPES | _CONTROLS


def json_object(**values: pl.Series | json_raw) -> pl.Series:
    """One jsonb object per row from series of text, numbers or booleans; null becomes `null`.

    A Decimal keeps its scale, as numeric does. Raises `TypeError` for floats, which PostgreSQL would print as numerics
    of another text. To nest, give the result of `json_object` or `json_array` through `json_raw`.
    """
    names = sorted(values, key=_jsonb_order)
    if not names:
        raise ValueError("json_object() needs at least one key")
    frame = pl.DataFrame(
        {name: value.texts if isinstance(value, json_raw) else value for name, value in values.items()}
    )
    parts: list[pl.Expr] = []
    for position, name in enumerate(names):
        parts.append(pl.lit(f'{", " if position else "{"}"{escaped(name)}": '))
        parts.append(_value(name, frame.schema[name], raw=isinstance(values[name], json_raw)))
    return frame.select(pl.concat_str([*parts, pl.lit("}")]).alias("json")).to_series()


def json_array(texts: pl.Series) -> pl.Series:
    """One jsonb array per row from a series of lists of JSON texts, as `Items.lists` makes from `json_object`s."""
    return (
        texts.to_frame("texts")
        .select(pl.concat_str(pl.lit("["), pl.col("texts").list.join(", "), pl.lit("]")))
        .to_series()
    )


class json_raw:  # noqa: N801 - reads as a function, like its neighbours
    """Marks a series whose texts are JSON already, for use as a value in `json_object`."""

    def __init__(self, texts: pl.Series) -> None:
        self.texts = texts


def escaped(text: str) -> str:
    """The inside of a JSON string, as `escape_json` writes it."""
    return "".join(_ALL_ESCAPES.get(character, character) for character in text)


def canonical(text: str) -> str:
    """The text that `text::jsonb::text` gives in PostgreSQL. For checking samples: it works value by value.

    Raises `ValueError` for text that is not JSON.
    """
    return _printed(json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refused))


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is Python's")


def _printed(value: object) -> str:
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: _jsonb_order(item[0]))
        return "{" + ", ".join(f'"{escaped(name)}": {_printed(inner)}' for name, inner in ordered) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_printed, value)) + "]"
    if isinstance(value, str):
        return f'"{escaped(value)}"'
    if isinstance(value, Decimal):
        plain = f"{value:f}"
        return plain.removeprefix("-") if not value else plain
    return {True: "true", False: "false", None: "null"}[value]  # type: ignore[index]


def _value(name: str, dtype: pl.DataType, *, raw: bool) -> pl.Expr:
    if dtype.is_float():
        raise TypeError(f"json_object(): {name} is a float; give a Decimal or whole numbers")
    if raw or dtype == pl.Boolean or dtype.is_numeric():
        return pl.col(name).cast(pl.String).fill_null("null")
    text = pl.col(name).cast(pl.String).str.replace_many(_ALL_ESCAPES)
    return pl.concat_str(pl.lit('"'), text, pl.lit('"')).fill_null("null")


def _jsonb_order(name: str) -> tuple[int, bytes]:
    return len(name.encode()), name.encode()
