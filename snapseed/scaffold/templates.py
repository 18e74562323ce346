"""Texts by template: `{WORDS}` stands for a word of that list, `{1-250}` for a number, `{number}` for the row's own."""

from __future__ import annotations

import re
from itertools import islice, product

from snapseed.scaffold.draws import Draw, Wanted, choice, grouped, quoted
from snapseed.scaffold.naming import singular, words_of
from snapseed.scaffold.vocabulary import WORDS

_PLACE = re.compile(r"\{([^}]*)\}")
_MOST_EXAMPLES = 200
# What a row's number may look like.
_NUMBERS = ("1", "42", "1234567")
# The variables of a person's names, and examples of what they hold.
_NAMES = {"first_name": "FIRST_NAMES", "last_name": "LAST_NAMES"}
# So many letters of a table's name begin its codes.
_LETTERS = 3


def templated(wanted: Wanted, template: str) -> Draw:
    """The draw that a template describes: a sum of texts. It is unique where the row's own number is in it.

    `{number:6}` has zeros in front, `{TABLE}` is the beginning of the table's name, `{first_name}` a column beside it.
    """
    pieces = _PLACE.split(template)
    drawn = [name for name in pieces[1::2] if name.isupper() or "-" in name]
    if template == f"{{{pieces[1]}}}" and pieces[1] in WORDS:
        return choice(wanted, WORDS[pieces[1]], pieces[1])
    pieces = [piece.replace("{TABLE}", "") for piece in pieces]
    parts: list[tuple[str, tuple[str, ...]]] = []
    for place, piece in enumerate(pieces):
        if place % 2:
            parts.append(_place(wanted, piece, alone=len([name for name in drawn if name != "TABLE"]) < _PAIR))
        elif piece:
            parts.append((quoted(piece), (piece,)))
    parts = _joined(parts)
    needs = {f"words:{name}" for name in pieces[1::2] if name in WORDS} | {name for name in pieces[1::2] if name in _NAMES}
    is_unique = any(name.startswith("number") for name in pieces[1::2])
    needs |= {"number"} if is_unique else set()
    examples = tuple("".join(values) for values in islice(product(*(some for _, some in parts)), _MOST_EXAMPLES))
    return Draw(" + ".join(code for code, _ in parts), examples, frozenset(needs), is_unique)


_PAIR = 2


def _place(wanted: Wanted, name: str, *, alone: bool) -> tuple[str, tuple[str, ...]]:
    """The code for a place of a template, and examples of what comes there, the longest first."""
    if name == "TABLE":
        letters = singular(words_of(wanted.table))[:_LETTERS].upper() or "A"
        return quoted(letters), (letters,)
    if name.startswith("number"):
        _, _, width = name.partition(":")
        code = f"number.str.zfill({width})" if width else "number"
        return code, tuple(f"{number:0>{width or 1}}" for number in reversed(_NUMBERS))
    if name in _NAMES:
        lowered = sorted({word.lower() for word in WORDS[_NAMES[name]]}, key=lambda word: (-len(word), word))
        return f"{{{name}}}.str.to_lowercase()", tuple(lowered[:3])
    column = wanted.column.name
    if name in WORDS:
        draw = quoted(column if alone else f"{column} {singular(name.lower()).replace('_', ' ')}")
        words = sorted(WORDS[name], key=lambda word: (-len(word), word))
        return f"{wanted.rows}.choice({draw}, {name})", (*words[:3], words[-1])
    low, _, high = name.partition("-")
    draw = quoted(column if alone else f"{column} number")
    code = f"{wanted.rows}.integers({draw}, {grouped(int(low))}, {grouped(int(high))}).cast(pl.String)"
    return code, (high, low)


def _joined(parts: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """The parts with constants beside each other made one."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for code, examples in parts:
        if found and code.startswith('"') and found[-1][0].startswith('"'):
            text = found[-1][1][0] + examples[0]
            found[-1] = quoted(text), (text,)
        else:
            found.append((code, examples))
    return found
