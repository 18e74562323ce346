"""Texts made of texts: templates that are filled in, and slugs."""

from __future__ import annotations

import string

import numpy as np
import polars as pl

# Letters that are no Latin letter with a mark on it.
_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "\u0131": "i"}


def filled(templates: pl.Series, **values: pl.Series | str) -> pl.Series:
    """Each template with the row's values in place of the names in braces; `{{` and `}}` are braces themselves.

    Values are series of text, whole numbers or decimals, one per row, or one text for all. A null template, or a null
    in place of a name in it, gives null. Raises `ValueError` for a name without values, and for braces that are not
    closed; `TypeError` for floats, whose text is not the same everywhere.

    >>> templates = rows.choice("template", ["{who} likes {what}", "why {what}?"])
    >>> filled(templates, who=rows.choice("who", ["Ann", "Bo"]), what="tea").to_list()
    ['why tea?', 'Bo likes tea', 'why tea?', 'why tea?']
    """
    distinct = templates.unique().drop_nulls().sort()
    pieces = [_pieces(template, list(values)) for template in distinct]
    longest = max((len(piece) for piece in pieces), default=1)
    ids = pl.DataFrame({"text": templates}).join(
        pl.DataFrame({"text": distinct, "id": np.arange(len(distinct))}), on="text", how="left", maintain_order="left"
    )["id"]
    # All values behind each other, and before them an empty text for places that a template does not have.
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

    Letters that are not Latin separate words; a text of nothing else becomes empty.

    >>> slug(pl.Series(["Crème brûlée!", "Größe L / XL", "寿司"])).to_list()
    ['creme-brulee', 'grosse-l-xl', '']
    """
    plain = texts.str.to_lowercase().str.replace_many(_LETTERS).str.normalize("NFKD")
    plain = plain.str.replace_all("[\\u0300-\\u036f'’]", "")
    return plain.str.replace_all("[^a-z0-9]+", separator).str.strip_chars(separator)


def _pieces(template: str, names: list[str]) -> list[tuple[str, int | None]]:
    """The template as literal texts, each with the number of the value behind it, or none."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as exc:
        raise ValueError(f"filled(): {exc} in {template!r}") from exc
    pieces: list[tuple[str, int | None]] = []
    for literal, name, form, conversion in parsed:
        if name is not None and (name not in names or form or conversion):
            raise ValueError(f"filled(): there are no values for {{{name}}} in {template!r}")
        pieces.append((literal, None if name is None else names.index(name)))
    return pieces or [("", None)]


def _as_texts(name: str, value: pl.Series | str, count: int) -> pl.Series:
    if isinstance(value, str):
        return pl.Series([value]).new_from_index(0, count)
    if value.dtype.is_float():
        raise TypeError(f"filled(): {name} is a float; give a Decimal or whole numbers")
    if len(value) != count:
        raise ValueError(f"filled(): {count} templates and {len(value)} values for {name}")
    return value.cast(pl.String)
