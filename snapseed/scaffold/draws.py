"""Draws: the code that fills a column, and examples of what it gives, to hold against the checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from snapseed.postgres.catalog import ColumnFacts
from snapseed.scaffold.limits import Limits
from snapseed.scaffold.naming import words_of
from snapseed.snapshot.types import ColumnType


@dataclass(frozen=True)
class Draw:
    """An expression that gives a column's values. `examples` are some of them, none where they are not known.

    `needs` are what the expression uses beside `rows` and polars: names to import, `words:LIST`, the variable
    `number`, and `{first_name}` and `{last_name}`, which stand in it for columns. `before` is the end of a variable's
    name and its code, and `{local}` stands for it. `is_whole` says that the examples are all values there are. `finish`
    makes the column's type of the expression, once others have used it.
    """

    code: str
    examples: tuple[object, ...] = ()
    needs: frozenset[str] = field(default_factory=frozenset)
    is_unique: bool = False
    is_whole: bool = False
    finish: str = ""
    before: tuple[str, str] | None = None


@dataclass(frozen=True)
class Wanted:
    """A column to fill: what is known of it, and whether each of its values may come once only."""

    column: ColumnFacts
    kind: ColumnType
    limits: Limits
    now: datetime
    is_unique: bool = False
    is_key: bool = False
    is_lookup: bool = False
    rows: str = "rows"
    table: str = ""
    default: object = None

    @property
    def words(self) -> str:
        """The column's name in small letters, with `_` between its words."""
        return words_of(self.column.name)

    @property
    def draw(self) -> str:
        """The name of the draw, as code."""
        return quoted(self.column.name)

    @property
    def length(self) -> int | None:
        """The most characters that a text of it may have."""
        lengths = [self.limits.max_length, *self.kind.modifiers[:1]]
        return min((length for length in lengths if length is not None), default=None)


Maker = Callable[[Wanted], "Draw | None"]


def quoted(text: str) -> str:
    """A Python string, in double quotes unless single ones need fewer backslashes, as formatters write it."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    inside = "".join(character if character in {'"', "'"} else repr(character)[1:-1] for character in text)
    return mark + inside.replace(mark, f"\\{mark}") + mark


def literal(value: object) -> str:
    """A value as code."""
    return quoted(value) if isinstance(value, str) else grouped(value) if isinstance(value, int) else str(value)


def grouped(number: int) -> str:
    """A whole number with `_` between thousands, as people write large ones."""
    return f"{number:_}" if abs(number) >= 10**4 else str(number)


def choice(wanted: Wanted, options: tuple[object, ...], listed: str | None = None) -> Draw:
    """One of some values; `listed` names the list of words that they are."""
    shown = listed or "[" + ", ".join(map(literal, options)) + "]"
    needs = frozenset([f"words:{listed}"]) if listed else frozenset[str]()
    return Draw(f"{wanted.rows}.choice({wanted.draw}, {shown})", options, needs, is_whole=True)


def constant(value: object) -> Draw:
    """The same value in every row."""
    return Draw(literal(value), (value,), is_whole=True)
