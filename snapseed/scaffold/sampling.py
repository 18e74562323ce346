"""Texts that match a regular expression, for patterns of the plain kind: pieces in a row, each of known length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle, islice

_PIECE = re.compile(
    r"""(?:\((?:\?:)?(?P<group>[^()\[\]{}*+?\\]+)\)
      | \[(?P<set>\^?(?:\\.|[^\]\\])+)\]
      | \\(?P<class>[dws])
      | \\(?P<escaped>[^a-zA-Z0-9])
      | (?P<any>\.)
      | (?P<plain>[^\\\[\](){}*+?|^$.]))
    (?P<times>\{\d+(?:,\d*)?\}|[*+?])?""",
    re.VERBOSE,
)
_CLASSES = {"d": "0123456789", "w": "abcdefghijklmnopqrstuvwxyz", "s": " "}
# How much is taken of what may be repeated as often as one likes.
_OPEN = 6
_EXAMPLES = 8


@dataclass(frozen=True)
class Piece:
    """One of several texts, so many times; `is_open` where it may come more often."""

    options: tuple[str, ...]
    times: int
    is_open: bool

    @property
    def is_digits(self) -> bool:
        """Whether a number, with leading zeros, can stand in its place."""
        return set(self.options) >= set("0123456789")


def pieces_of(pattern: str) -> list[Piece] | None:
    """The pieces of a pattern; None for one with other things in it. What is not anchored need not go on."""
    text = pattern.removeprefix("^")
    text = text.removesuffix("$") if not text.endswith(r"\$") else text
    pieces, place = [], 0
    while place < len(text):
        match = _PIECE.match(text, place)
        if match is None:
            return None
        options = _options(match)
        if not options:
            return None
        least, is_open = _times(match["times"])
        pieces.append(Piece(options, least, is_open))
        place = match.end()
    return pieces


def examples_of(pieces: list[Piece]) -> tuple[str, ...]:
    """A few texts, no two alike where there are as many."""
    found = []
    for number in range(_EXAMPLES):
        parts = [
            "".join(islice(cycle(piece.options), number * 5 + place, number * 5 + place + piece.times))
            for place, piece in enumerate(pieces)
        ]
        found.append("".join(parts))
    return tuple(dict.fromkeys(found))


def _options(match: re.Match[str]) -> tuple[str, ...]:
    if match["group"] is not None:
        return tuple(match["group"].split("|"))
    if match["set"] is not None:
        return tuple(_members(match["set"]))
    if match["class"] is not None:
        return tuple(_CLASSES[match["class"]])
    if match["any"] is not None:
        return tuple(_CLASSES["w"])
    return (match["escaped"] or match["plain"],)


def _members(text: str) -> str:
    """The letters, digits and signs of a set such as `[a-z0-9_]`; the plain ones of its complement."""
    if text.startswith("^"):
        left_out = _members(text[1:])
        return "".join(letter for letter in _CLASSES["w"] + _CLASSES["d"] if letter not in left_out)
    found, place = "", 0
    while place < len(text):
        if text[place] == "\\":
            name = text[place + 1]
            found += _CLASSES.get(name, name)
            place += 2
        elif place + 2 < len(text) and text[place + 1] == "-":
            found += "".join(map(chr, range(ord(text[place]), ord(text[place + 2]) + 1)))
            place += 3
        else:
            found += text[place]
            place += 1
    return found


def _times(text: str | None) -> tuple[int, bool]:
    """How often a piece comes, and whether it may come more often."""
    match text:
        case None:
            return 1, False
        case "?":
            return 0, False
        case "*":
            return 0, True
        case "+":
            return _OPEN, True
    least, comma, most = text.strip("{}").partition(",")
    if comma and not most:
        return max(int(least), _OPEN), True
    return int(most or least) if int(most or least) <= _OPEN else max(int(least), 1), False
