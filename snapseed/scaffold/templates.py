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
# The longest words of a list, and as examples enough.
_SOME = 3


def templated(wanted: Wanted, template: str) -> Draw:
    """The draw that a template describes: a sum of texts. It is unique where the row's own number is in it.

    `{number:6}` has zeros in front, `{TABLE}` is the beginning of the table's name, `{first_name}` a column beside it.
    """
    prefix = singular(words_of(wanted.table))[:_LETTERS].upper() or "A"
    pieces = _PLACE.split(template.replace("{TABLE}", prefix))
    names = pieces[1::2]
    if names[0] in WORDS and pieces == ["", names[0], ""]:
        return choice(wanted, WORDS[names[0]], names[0])
    alone = sum(name in WORDS or "-" in name for name in names) == 1
    parts = [
        _place(wanted, piece, alone=alone) if place % 2 else (quoted(piece), (piece,))
        for place, piece in enumerate(pieces)
        if piece
    ]
    is_unique = any(name.startswith("number") for name in names)
    needs = {f"words:{name}" for name in names if name in WORDS} | {name for name in names if name in _NAMES}
    examples = tuple("".join(values) for values in islice(product(*(some for _, some in parts)), _MOST_EXAMPLES))
    needs |= {"number"} if is_unique else set()
    return Draw(" + ".join(code for code, _ in parts), examples, frozenset(needs), is_unique)


def _place(wanted: Wanted, name: str, *, alone: bool) -> tuple[str, tuple[str, ...]]:
    """The code for a place of a template, and examples of what comes there, the longest first."""
    if name.startswith("number"):
        _, _, width = name.partition(":")
        code = f"number.str.zfill({width})" if width else "number"
        return code, tuple(f"{number:0>{width or 1}}" for number in reversed(_NUMBERS))
    if name in _NAMES:
        lowered = sorted({word.lower() for word in WORDS[_NAMES[name]]}, key=lambda word: (-len(word), word))
        return f"{{{name}}}.str.to_lowercase()", tuple(lowered[:_SOME])
    column = wanted.column.name
    if name in WORDS:
        draw = quoted(column if alone else f"{column} {singular(name.lower()).replace('_', ' ')}")
        words = sorted(WORDS[name], key=lambda word: (-len(word), word))
        return f"{wanted.rows}.choice({draw}, {name})", (*words[:_SOME], words[-1])
    low, _, high = name.partition("-")
    draw = quoted(column if alone else f"{column} number")
    code = f"{wanted.rows}.integers({draw}, {grouped(int(low))}, {grouped(int(high))}).cast(pl.String)"
    return code, (high, low)
