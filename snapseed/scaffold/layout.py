"""Lay out code as formatters of Python do: on one line where it fits, else at its brackets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

WIDTH = 88
_STEP = 4
_OPEN, _CLOSE = "([{", ")]}"
# Of one operator and its two sides, the brackets are parted; of more, parentheses go around all.
_PAIR = 2


def laid_out(before: str, code: str, after: str, indent: int) -> list[str]:
    """The lines of `before` + `code` + `after`, all of them indented."""
    line = " " * indent + before + code + after
    if len(line) <= WIDTH:
        return [line]
    operands = _parted(code, " + ")
    if len(operands) > _PAIR and before.endswith("= "):
        return _parenthesised(before, operands, indent)
    if len(operands) > 1 and not before:
        first, *others = operands
        return [
            " " * indent + first,
            *(f"{' ' * indent}+ {operand}" for operand in others[:-1]),
            f"{' ' * indent}+ {others[-1]}{after}",
        ]
    if len(operands) == 1 and len(calls := _chain(code)) > _PAIR:
        return _chained(before, calls, after, indent)
    start, end = _parting(code, WIDTH - indent - len(before))
    if start < 0:
        return [line]
    head, body, tail = code[: start + 1], code[start + 1 : end], code[end:]
    inner = indent + _STEP
    is_call = start > 0 and (code[start - 1].isalnum() or code[start - 1] in "_)]")
    if is_call and len(" " * inner + body) <= WIDTH:
        lines = [" " * inner + body]
    else:
        parts = _parted(body, ", ")
        comma = "," if is_call or len(parts) > 1 or code[start] != "(" else ""
        lines = [line for part in parts for line in laid_out("", part.strip(), comma, inner)]
    return [" " * indent + before + head, *lines, " " * indent + tail + after]


def is_too_long(before: str, code: str, indent: int) -> bool:
    """Whether `before` + `code` + a comma need several lines, and only parentheses around them would make those."""
    return len(" " * indent + before + code + ",") > WIDTH and (len(_parted(code, " + ")) > 1 or ")." in code)


def _parenthesised(before: str, operands: list[str], indent: int) -> list[str]:
    inner = " " * (indent + _STEP)
    joined = " + ".join(operands)
    lines = [inner + joined]
    if len(lines[0]) > WIDTH:
        lines = [inner + operands[0], *(f"{inner}+ {operand}" for operand in operands[1:])]
    return [" " * indent + before + "(", *lines, " " * indent + ")"]


def _chain(code: str) -> list[str]:
    """The calls of `a(…).b(…).c.d(…)`, each with the names before it."""
    places = [place + 1 for place, depth in _outside_strings(code) if depth == 0 and code.startswith(").", place)]
    return [code[start:end] for start, end in pairwise([0, *places, len(code)])]


def _chained(before: str, calls: list[str], after: str, indent: int) -> list[str]:
    """One call on each line; a statement has parentheses around them."""
    if not before.endswith("= "):
        *others, last = calls
        return [
            *(line for call in others for line in laid_out("", call, "", indent)),
            *laid_out("", last, after, indent),
        ]
    lines = [line for call in calls for line in laid_out("", call, "", indent + _STEP)]
    return [" " * indent + before + "(", *lines, " " * indent + ")"]


def _parted(code: str, separator: str) -> list[str]:
    """The parts of code between separators that stand in no brackets and in no string."""
    parts, start = [], 0
    for place, depth in _outside_strings(code):
        if depth == 0 and code.startswith(separator, place):
            parts.append(code[start:place])
            start = place + len(separator)
    return [*parts, code[start:]] if code[start:].strip() else parts


def _parting(code: str, width: int) -> tuple[int, int]:
    """Where the brackets to part at open and close: the last ones that a line of so many characters reaches."""
    found, opened = (-1, -1), list[int]()
    for place, _ in _outside_strings(code):
        if code[place] in _OPEN:
            opened.append(place)
        elif code[place] in _CLOSE and opened:
            start = opened.pop()
            is_subscript = code[start] == "[" and start > 0 and (code[start - 1].isalnum() or code[start - 1] in "_)]")
            if not opened and place > start + 1 and not is_subscript and (start < width or found == (-1, -1)):
                found = (start, place)
    return found


def _outside_strings(code: str) -> Iterator[tuple[int, int]]:
    """Each place that is in no string, with the number of brackets around it."""
    depth, mark, place = 0, "", 0
    while place < len(code):
        sign = code[place]
        if mark:
            if sign == "\\":
                place += 1
            elif sign == mark:
                mark = ""
        elif sign in "\"'":
            mark = sign
        else:
            depth -= sign in _CLOSE
            yield place, depth
            depth += sign in _OPEN
        place += 1
