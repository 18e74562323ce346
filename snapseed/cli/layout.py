"""How text fits a terminal: cut, wrapped, or in the columns of a table."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from snapseed.printable import printable
from snapseed.units import size

# Values, jobs and chunks are cut to fit on one line, also where there is no terminal.
_LINE_CHARACTERS = 120
# Narrower columns say nothing.
_COLUMN_CHARACTERS = 6
# What a line is not broken in: a word, and a command in backticks.
_WORD = re.compile(r"(\s*)((?:`[^`]*`|\S)+)")
_NUMBER = re.compile(r"-|[\d,.]+( \S+)?")


def columns(stream: TextIO | None = None) -> int:
    """The columns of `COLUMNS`, or of the terminal that is the stream (default: stdout), but at least 40.

    Where there is neither, as in a file, lines may be of any length.
    """
    with suppress(ValueError, OSError):
        given = int(os.environ.get("COLUMNS") or 0)
        return max(40, given or os.get_terminal_size((stream or sys.stdout).fileno()).columns)
    return 100_000


def cut(text: str, most: int = _LINE_CHARACTERS) -> str:
    """A text that fits into a line, and into `most` columns."""
    most = min(most, columns())
    if width_of(text) <= most:
        return text
    while width_of(text) >= most:
        text = text[: min(len(text) - 1, most - 1)]
    return text.rstrip() + "…"


def wrapped(text: str, indent: str = "  ", stream: TextIO | None = None) -> list[str]:
    """A sentence on as many lines as it needs, all but the first indented.

    What can be copied stays whole: SQL, a command in backticks, and any word.
    """
    text, room, lines = printable(text), columns(stream), list[str]()
    if text.endswith(";"):
        return [text]
    for space, word in _WORD.findall(text):
        if not lines or width_of(lines[-1] + space + word) > room:
            lines.append((indent if lines else space) + word)
        else:
            lines[-1] += space + word
    return lines


def paragraphs(text: str, stream: TextIO | None = None) -> list[str]:
    """The lines of a note, or of an error with its details, each wrapped under its beginning."""
    lines = text.split("\n")
    return [part for line in lines for part in wrapped(line, " " * (12 if line[:1] == " " else 4), stream) or [""]]


def width_of(text: str) -> int:
    """The columns of a text. Many a character of East Asia takes two, and so does an emoji."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: object, width: int) -> str:
    """A text with blanks up to this width."""
    return f"{text}{' ' * (width - width_of(str(text)))}"


class Bytes(int):
    """A number of bytes in a table, whose column has one unit: that of the smallest number, but at least kB."""


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns under a header, line by line; a column that holds a number in every row is aligned to the right.

    Where the terminal is too narrow, texts are cut, the longest first.
    """
    titled = [[title, *map(printable, _cells(values))] for title, *values in zip(header, *rows, strict=True)]
    widths = [max(map(width_of, column)) for column in titled]
    is_number = [all(map(_NUMBER.fullmatch, cells)) for _, *cells in titled]
    while sum(widths) + 2 * len(widths) > columns():
        width, widest = max((0 if is_number[at] else width, at) for at, width in enumerate(widths))
        if width <= _COLUMN_CHARACTERS:
            break
        widths[widest] -= 1
    lines = []
    for row in zip(*titled, strict=True):
        cells = []
        for cell, width, right in zip(map(cut, row, widths), widths, is_number, strict=True):
            cells.append(f"{' ' * (width - width_of(cell))}{cell}" if right else padded(cell, width))
        lines.append(cut(f"  {'  '.join(cells)}".rstrip(), columns()))
    return lines


def _cells(column: Sequence[object]) -> list[str]:
    counts = [value for value in column if isinstance(value, Bytes)]
    if not counts:
        return [shown(value) for value in column]
    smallest = min(filter(None, counts), default=0)
    unit, factor = next((each for each in (("GB", 1e9), ("MB", 1e6)) if smallest >= each[1]), ("kB", 1e3))
    return [f"{count / factor:,.{int(smallest < 100 * factor)}f} {unit}" for count in counts]


def shown(value: object) -> str:
    """A cell of a table: counts with separators, floats as seconds."""
    if isinstance(value, float):
        return f"{value:.2f} s"
    if isinstance(value, Bytes):
        return size(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
