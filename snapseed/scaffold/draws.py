"""A draw is code that fills a column, with examples. Those of texts are here: by names, patterns, or the row number."""

from __future__ import annotations

import ast
import random
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice, product
from string import ascii_lowercase, ascii_uppercase

from rstr import Rstr

from snapseed.generate.words import WORDS, words_of
from snapseed.postgres.facts import ColumnFacts
from snapseed.scaffold.conditions import Limits
from snapseed.scaffold.expressions import NOW
from snapseed.scaffold.names import CODED_LOOKUPS, LOOKUPS, hints, singular, suggests
from snapseed.scaffold.statistics import ColumnStatistics
from snapseed.snapshot.types import ColumnType, Family

NUMBER = "number"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DRAWN = "(drawn)"  # The state of a column in a row of several: whatever its own draw gives
_PLACEHOLDER = re.compile(r"\{(?=(own|rows|entity):|local\})")
_PLACE = re.compile(r"\{([^}]*)\}")
_NUMBER = re.compile(NUMBER + r"(?:/(?P<by>\d+))?(?:%(?P<rest>\d+))?(?::(?P<width>\d+))?")
_MOST_EXAMPLES = 200
_NUMBERS = ("1234567", "42", "1")  # Examples of row numbers
_SOME = 3  # How many words of a list serve as examples, the longest first
_ANY_UNIQUE = ("{WORDS}-{number}", "{WORDS}{number}", "{number}", "a{number}", "A{number}")
_ANY = ("a", "A", "1", "")  # One of these may satisfy a check that nothing else does
_MOST_LISTED = 8  # Lookups up to this size list their names one by one, so that people can edit them
_KEY_DIGITS = 9  # Digits of a key's number, with leading zeros
_ROOM = 3  # A run of this many digits in a pattern has room for the row number
_MANY_DIGITS, _MANY_LETTERS = 6, 4  # So many digits, or letters, have room for a million rows, or half of them
_MATCHES = 8


@dataclass(frozen=True)
class Draw:
    """An expression for a column's values. `examples` are some of them, empty if they are not known.

    In `code`, `{own:NAME}` stands for another column of the row, and `{local}` for a variable: `local` is its name,
    and its code. `is_whole`: there are no other values than the examples. `finish` turns the expression into
    the column's type; other columns use it without that. `shape` says what it takes from statistics; it `copies`
    if these are values that only rows have, and no check or enum lists.
    """

    code: str
    examples: tuple[object, ...] = ()
    is_unique: bool = False
    is_whole: bool = False
    finish: str = ""
    local: tuple[str, str] | None = None
    shape: str = ""
    copies: bool = False

    def finished(self, code: str) -> str:
        """The code of the values in the type of the column."""
        return in_parentheses(code) + self.finish if self.finish else code


@dataclass(frozen=True)
class Wanted:
    """A column to fill, in a table with these `others`. `people` are those that hold a person's first and last name.

    `after` are expressions for the earliest and the latest moment; the latter is empty for the project's `now`. Moments
    of one `rank` are drawn together, so that those that come later in the source do here; `ascending` among siblings.
    """

    column: ColumnFacts
    kind: ColumnType
    limits: Limits
    is_unique: bool = False
    is_key: bool = False
    is_lookup: bool = False
    rows: str = "rows"
    table: str = ""
    default: object = None
    people: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, str] | None = None
    rank: str = ""
    others: frozenset[str] = frozenset()
    ascending: bool = False
    statistics: ColumnStatistics | None = None
    now: datetime = NOW

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.column.name

    @property
    def draw(self) -> str:
        """The name of the draw, as code."""
        return quoted(self.column.name)

    @property
    def is_listed(self) -> bool:
        """Whether an enum or a check lists its values."""
        return bool(self.column.labels) or self.limits.allowed is not None

    @property
    def scalar(self) -> ColumnType:
        """The type of the column, or that of its elements."""
        return self.kind.element or self.kind

    @property
    def length(self) -> int | None:
        """The most characters that its texts may have."""
        lengths = [self.limits.max_length, *self.scalar.modifiers[:1]]
        return min((length for length in lengths if length is not None), default=None)


def quoted(text: str) -> str:
    """A Python string, in double quotes unless single ones need fewer backslashes. It has no placeholder of ours."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    inside = "".join(character if character in {'"', "'"} else repr(character)[1:-1] for character in text)
    return mark + _PLACEHOLDER.sub(r"\\x7b", inside.replace(mark, f"\\{mark}")) + mark


def literal(value: object) -> str:
    """A value as code. Large whole numbers have `_` between thousands."""
    if isinstance(value, str):
        return quoted(value)
    return f"{value:_}" if isinstance(value, int) and abs(value) >= 10**4 else str(value)


def choice(wanted: Wanted, options: tuple[object, ...], draw: str = "") -> Draw:
    """One of some values. A list of `WORDS` is written by its name. Columns of one `draw` take the same place."""
    listed = next((name for name, words in WORDS.items() if words == options), None)
    shown = listed or "[" + ", ".join(map(literal, options)) + "]"
    code = f"{wanted.rows}.choice({quoted(draw or wanted.name)}, {shown})"
    return Draw(code, tuple(dict.fromkeys(options)), is_whole=True)


def constant(value: object) -> Draw:
    """The same value in every row."""
    return Draw(literal(value), (value,), is_whole=True)


def in_parentheses(code: str) -> str:
    """Code that a method can be called on."""
    plain = re.sub(r"\{(local|(own|rows|entity):[^}]*)\}", "_", code)
    return f"({code})" if isinstance(ast.parse(plain, mode="eval").body, ast.BinOp) else code


def cut_to(draw: Draw, length: int | None) -> Draw:
    """The same draw, cut if it is longer than a column takes."""
    if length is None or all(len(str(example)) <= length for example in draw.examples):
        return draw
    cut = tuple(dict.fromkeys(str(example)[:length] for example in draw.examples))
    return replace(draw, code=f"{in_parentheses(draw.code)}.str.head({length})", examples=cut, is_unique=False)


def text_draws(wanted: Wanted) -> Iterator[Draw]:
    """Draws for a column of texts, the best first. The last ones fit nearly any column."""
    if wanted.is_key:
        yield from _keys(wanted)
    elif wanted.is_unique:
        yield from (draw for draw in _by_name(wanted) if draw.is_unique)
        yield from _matching(wanted)
        titles = ("{WORDS} {number}",) if suggests("label", wanted.name) else ()
        yield from (templated(wanted, template) for template in (*titles, *_ANY_UNIQUE))
        if wanted.limits.min_length:
            yield _numbered(wanted.limits.min_length)
        if wanted.length is not None and (wanted.length > _ROOM or wanted.is_lookup):
            yield _numbered(wanted.length)
    else:
        if wanted.limits.allowed is not None:
            yield choice(wanted, tuple(value for value in wanted.limits.allowed if isinstance(value, str)))
        plain = [*_by_name(wanted), templated(wanted, "{WORDS}"), *_matching(wanted)]
        if isinstance(wanted.default, str):
            plain.append(constant(wanted.default))
        if wanted.limits.min_length:
            plain.append(_numbered(wanted.limits.min_length))
        plain += map(constant, _ANY)
        yield from (*plain, *(cut_to(draw, wanted.length) for draw in plain))


def _by_name(wanted: Wanted) -> Iterator[Draw]:
    if words_of(wanted.name) == "name":
        yield from (templated(wanted, template) for template in hints("named", wanted.table))
    found = [
        templated(wanted, template)
        for template in hints("text", wanted.name, wanted.others)
        if set(_PLACE.findall(template)) & {"first_name", "last_name"} <= wanted.people.keys()
    ]
    if wanted.kind.family is Family.CHARACTER and (length := wanted.length):
        # Codes that fill a column of fixed length come before those that are padded.
        found.sort(key=lambda draw: not all(len(str(example)) == length for example in draw.examples))
    yield from found


def _keys(wanted: Wanted) -> Iterator[Draw]:
    """Keys must ascend by their bytes, as numbers with leading zeros do."""
    name = wanted.table if suggests("key", wanted.name) else wanted.name
    prefix = singular(words_of(name)).replace("_", "-") + "-"
    if wanted.length is None or wanted.length >= len(prefix) + _KEY_DIGITS:
        yield templated(wanted, f"{prefix}{{number:{_KEY_DIGITS}}}")
    yield from _matching(wanted)
    yield _numbered(min(_KEY_DIGITS, wanted.length or _KEY_DIGITS))


def _numbered(width: int, before: str = "", after: str = "") -> Draw:
    """The row number in this many digits between two texts. The digits limit the number of rows."""
    return _between(before, f"{NUMBER}.str.zfill({width})", after, (f"{1:0>{width}}", "9" * width))


def _between(before: str, code: str, after: str, examples: tuple[str, ...]) -> Draw:
    """Unique texts between two that are always the same."""
    parts = [quoted(before)] * bool(before) + [code] + [quoted(after)] * bool(after)
    return Draw(" + ".join(parts), tuple(before + example + after for example in examples), is_unique=True)


def templated(wanted: Wanted, template: str) -> Draw:
    """The draw that a template in `names.toml` describes."""
    if "{" not in template:
        return choice(wanted, tuple(template.split("|")))
    prefix = singular(words_of(wanted.table)).replace("_", "")[:3].upper() or "A"
    pieces = _PLACE.split(template.replace("{TABLE}", prefix))
    names = pieces[1::2]
    words, _, draw = names[0].partition(" by ")
    if words in WORDS and pieces == ["", names[0], ""]:
        return choice(wanted, WORDS[words], draw)
    is_only = sum(name in WORDS or "-" in name for name in names) == 1
    parts = [
        _place(wanted, piece, is_only=is_only) if place % 2 else (quoted(piece), (piece,))
        for place, piece in enumerate(pieces)
        if piece
    ]
    examples = tuple("".join(values) for values in islice(product(*(some for _, some in parts)), _MOST_EXAMPLES))
    is_unique = any(name.startswith(NUMBER) for name in names)
    return Draw(" + ".join(code for code, _ in parts), examples, is_unique)


def names_of_rows(wanted: Wanted, count: int, key_length: int | None) -> Iterator[Draw]:
    """The names, or the codes, of the rows of a lookup, in the order of its key; none if it has other values."""
    is_text = wanted.kind.family in {Family.TEXT, Family.CHARACTER} and not wanted.kind.is_array
    is_known = wanted.statistics is not None and bool(wanted.statistics.common)
    if not count or not is_text or is_known or wanted.is_listed:
        return

    def code(row: Sequence[str], length: int | None) -> str:
        return next((one for one in row[:-1] if len(one) == length), row[0])

    table = words_of(wanted.table)
    last, title = singular(table.rpartition("_")[2]), singular(table).replace("_", " ").capitalize()
    coded = CODED_LOOKUPS.get(singular(table)) or CODED_LOOKUPS.get(last, [])
    names = LOOKUPS.get(last) or tuple(f"{title} {number}" for number in range(1, _MOST_LISTED + 1))
    codes = names if last == "currency" else tuple(sorted(name.replace(" ", "_").lower() for name in names))
    if count <= len(coded):
        rows = sorted(coded[:count], key=lambda row: code(row, key_length))
        names, codes = tuple(row[-1] for row in rows), tuple(code(row, wanted.length) for row in rows)
    is_code = wanted.is_key or suggests("code", wanted.name)
    # A description beside a name is another text.
    is_other = "desc" in wanted.name and any(suggests("label", other) for other in wanted.others)
    is_label = not is_other and (suggests("label", wanted.name) or words_of(wanted.name) in {table, last})
    values = (codes if is_code else names)[:count]
    if (is_code or is_label) and len(set(values)) == count:
        yield Draw(f"[{', '.join(map(quoted, values))}]", values, is_unique=True, is_whole=True)


def _place(wanted: Wanted, name: str, *, is_only: bool) -> tuple[str, tuple[str, ...]]:
    """The code for a place of a template, and examples of what it gives, the longest first."""
    if place := _NUMBER.fullmatch(name):
        steps = [f" {sign} {literal(int(by))}" for sign, by in (("//", place["by"]), ("%", place["rest"])) if by]
        code = f"(rows.number(){''.join(steps)}).cast(pl.String)" if steps else NUMBER
        numbers = (int(number) // int(place["by"] or 1) % int(place["rest"] or 10**18) for number in _NUMBERS)
        width = place["width"]
        return code + f".str.zfill({width})" * bool(width), tuple(f"{number:0>{width or 1}}" for number in numbers)
    if name in wanted.people:
        words = sorted({word.lower() for word in WORDS[f"{name.upper()}S"]}, key=lambda word: (-len(word), word))
        return f"{{own:{wanted.people[name]}}}.str.to_lowercase()", tuple(words[:_SOME])
    if name in WORDS:
        draw = quoted(wanted.name if is_only else f"{wanted.name} {singular(name.lower()).replace('_', ' ')}")
        words = sorted(WORDS[name], key=lambda word: (-len(word), word))
        return f"{wanted.rows}.choice({draw}, {name})", (*words[:_SOME], words[-1])
    low, _, high = name.partition("-")
    draw = quoted(wanted.name if is_only else f"{wanted.name} number")
    return f"{wanted.rows}.integers({draw}, {literal(int(low))}, {literal(int(high))}).cast(pl.String)", (high, low)


def _matching(wanted: Wanted) -> Iterator[Draw]:
    """Texts that match the pattern of a check; if unique, with the row number in place of digits, or of letters."""
    is_padded = wanted.kind.family is Family.CHARACTER
    for pattern in wanted.limits.patterns:
        texts = texts_matching(pattern, wanted.length if is_padded else None)
        if texts and not wanted.is_unique:
            yield choice(wanted, texts)
        if not wanted.is_unique:
            continue
        long = texts_matching(re.sub(r"\{\d+,(\d+)\}", r"{\1}", pattern.replace("+", "{6}")))
        found: list[tuple[bool, Draw]] = []
        for text in (*texts[:1], *long[:1]):
            alone = reversed(list(re.finditer(rf"\d{{{_ROOM},}}", text)))
            for runs in (*(list(re.finditer(places, text)) for places in (r"\w+", r"\d+")), *([run] for run in alone)):
                digits = sum(len(run[0]) for run in runs)
                found += [(digits < _MANY_DIGITS, _grouped(text, runs))] if digits >= _ROOM else []
            letters = re.finditer("[A-Z]{2,}|[a-z]{2,}", text)
            found += [(len(run[0]) < _MANY_LETTERS, _lettered(wanted, text, run)) for run in letters]
        # What has room for few rows comes last.
        yield from (draw for _, draw in sorted(found, key=lambda pair: pair[0]))


def _lettered(wanted: Wanted, text: str, run: re.Match[str]) -> Draw:
    """The row number, counted in letters, in place of some letters of a text."""
    letters, order = ascii_uppercase if run[0].isupper() else ascii_lowercase, ", ascending=True" * wanted.is_key
    code = f"rows.code({wanted.draw}, {len(run[0])}, {quoted(letters)}{order})"
    examples = (letters[0] * len(run[0]), letters[-1] * len(run[0]))
    return _between(text[: run.start()], code, text[run.end() :], examples)


def _grouped(text: str, runs: list[re.Match[str]]) -> Draw:
    """The row number in place of some parts of a text, with as many digits as these have together."""
    ends = [0, *(place for run in runs for place in run.span()), len(text)]
    between = [text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True)]
    if len(runs) == 1:
        return _numbered(len(runs[0][0]), *between)
    width = sum(len(run[0]) for run in runs)
    groups = "".join(f"(.{{{len(run[0])}}})" for run in runs)
    pieces = [piece.replace("$", "$$") + f"${{{place}}}" for place, piece in enumerate(between[:-1], 1)]
    target = "".join(pieces) + between[-1].replace("$", "$$")
    code = f"{NUMBER}.str.zfill({width}).str.replace({quoted(groups)}, {quoted(target)})"
    plain = "".join(piece.replace("\\", r"\\") + rf"\g<{place}>" for place, piece in enumerate(between[:-1], 1))
    examples = tuple(re.sub(groups, plain, f"{number:0>{width}}") + between[-1] for number in ("1", "9" * width))
    return Draw(code, examples, is_unique=True)


def texts_matching(pattern: str, length: int | None = None) -> tuple[str, ...]:
    """A few short texts for a regular expression, always the same, those of the `length` first; none if it is too hard.

    It is simplified first, so what does not match it is left out. The server, which may not agree, is asked anyway.
    """
    simple = re.sub(r"\[\^(?:\\.|[^\]\\])*\]", "[a-z]", pattern)
    simple = re.sub(r"(?<![\\\[])\+", "{1,6}", re.sub(r"(?<![\\\[])\*", "{0,6}", simple))
    simple = re.sub(r"(\\.|\[[^\]]*\])|\.", lambda found: found[1] or "[a-z]", simple)
    maker = Rstr(random.Random(pattern))  # noqa: S311 - examples, not secrets
    try:
        with warnings.catch_warnings(action="error"):
            drawn = {maker.xeger(simple) for _ in range(_MATCHES * (4 if length is None else 32))}
            found = [text for text in drawn if re.search(pattern, text)]
    except (re.error, KeyError, OverflowError, FutureWarning):
        return ()
    exact = [text for text in found if len(text) == length]
    return tuple(sorted(sorted(exact or found, key=lambda text: (len(text), text))[:_MATCHES]))
