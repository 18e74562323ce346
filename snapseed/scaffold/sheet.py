"""What is known of the columns of one table while they are worked out, and what has been decided about each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from snapseed.postgres.catalog import ColumnFacts
from snapseed.scaffold.draws import Draw, Wanted
from snapseed.scaffold.evaluate import evaluate
from snapseed.scaffold.expressions import UnreadError, parse_expression
from snapseed.scaffold.facts import Check
from snapseed.scaffold.limits import Limits, Rule, limits_of, order_of, read_rules
from snapseed.scaffold.moments import MOMENTS, is_later
from snapseed.scaffold.naming import identifier, words_of
from snapseed.scaffold.relations import Relations
from snapseed.scaffold.uniqueness import Uniqueness
from snapseed.snapshot.types import ColumnType

# Columns that are often empty where they may be. All others are always filled, so that modules stay short.
_OPTIONAL = re.compile(
    r"(?:^|_)(?:middle|nick|suffix|company|website|homepage|bio|fax|region|state|notes?|comments?|remarks?|description|"
    r"deleted|cancel\w*|archived|parent|alt\w*|secondary|second|optional|extra|metadata|caption)|(?:address|line|street)_?2"
)


class ImpossibleError(Exception):
    """No rows can be made for a table, so it is left out."""

    def __init__(self, oid: int, reason: str) -> None:
        super().__init__(reason)
        self.oid = oid
        self.reason = reason


class Sheet:
    """The columns of one table, each in one of these: `foreign` (from another row), `draws`, or `null`.

    `null` says why a column has no value from us: it is NULL, or the database gives it one. `missing` are foreign ones
    that are NULL now and then, `filled` those that never are, so that a check holds. `locals` are variables that hold a
    column's values before the frame is made, `statements` make them, `parameters` are entities whose rows are used,
    and `uses` their columns. `ahead` are the moments of other entities, by entity and column, that
    may lie after `now`.
    """

    def __init__(self, relations: Relations, now: datetime, taken: set[str], ahead: set[tuple[str, str]]) -> None:
        self.table, self.place, self.relations, self.now = relations.table, relations.place, relations, now
        self.kinds: dict[str, ColumnType] = {}
        self.foreign: dict[str, str] = {}
        self.draws: dict[str, Draw] = {}
        self.null: dict[str, str] = {}
        self.missing: set[str] = set()
        self.filled: set[str] = set()
        self.locals: dict[str, str] = {}
        self.statements: list[tuple[str, str]] = []
        self.parameters: dict[str, None] = {}
        self.imports: set[str] = set()
        self.uses: set[tuple[str, str]] = set()
        self.notes: list[str] = []
        self.rules, self.unread = read_rules(self.table)
        self.orders = [order for order in map(order_of, self.rules) if order is not None]
        self.limits = {column.name: limits_of(column.name, self.rules, now) for column in self.table.columns}
        self.uniqueness = Uniqueness(self.table, self.place, relations)
        self.ahead = ahead
        self._taken = set(taken)

    def leave(self, column: ColumnFacts, why: str) -> None:
        """Give a column no value. Raises `ImpossibleError` where it must have one, and the database has none for it."""
        if column.not_null and not column.has_default:
            raise ImpossibleError(self.table.oid, f"column {column.name}: {why}")
        self.null[column.name] = f"left to the database, for {why}" if column.has_default else f"NULL, for {why}"

    def wanted(self, name: str) -> Wanted:
        """What a draw for this column has to give."""
        is_key = self.place.key == (name,)
        return Wanted(
            column=self.table.column(name),
            kind=self.kinds[name],
            limits=self.limits.get(name, Limits()),
            now=self.now,
            is_unique=is_key or name in self.uniqueness.columns,
            is_key=is_key,
            is_lookup=self.place.is_lookup,
            table=self.table.name,
            default=self.default(name),
        )

    def default(self, name: str) -> object:
        """The value that the database gives a column, where it is a plain constant."""
        try:
            return evaluate(parse_expression(self.table.defaults[name]), {}, self.now)
        except (KeyError, UnreadError):
            return None

    def is_moment(self, name: str) -> bool:
        """Whether it holds dates or moments."""
        kind = self.kinds.get(name)
        return kind is not None and kind.family in MOMENTS and not kind.is_array

    def takes_null(self, name: str) -> bool:
        """Whether the column may be NULL."""
        return not self.table.column(name).not_null and name not in self.place.key

    def is_optional(self, name: str) -> bool:
        """Whether the column may be NULL, and by its name often is."""
        often = _OPTIONAL.search(words_of(name)) is not None or (self.is_moment(name) and is_later(words_of(name)))
        return often and self.takes_null(name) and name not in self.uniqueness.by_position

    def own_rules(self, name: str) -> list[Rule]:
        """The conditions on this column alone."""
        return [rule for rule in self.rules if rule.columns == (name,)]

    def examples(self, columns: Iterable[str]) -> dict[str, tuple[object, ...]]:
        """Some of the values of columns, none where they are not known."""
        found: dict[str, tuple[object, ...]] = {}
        for name in columns:
            if name in self.null:
                found[name] = (self.default(name),) if name in self.table.defaults else (None,)
            elif name in self.draws and self.draws[name].examples:
                found[name] = (*self.draws[name].examples, *((None,) if self.is_optional(name) else ()))
            else:
                found[name] = ()
        return found

    def hoisted(self, name: str) -> str:
        """The variable that holds a column's values before the frame is made."""
        if name not in self.locals:
            self.locals[name] = self.variable(name)
        return self.locals[name]

    def variable(self, name: str) -> str:
        """A name like this one that nothing else has."""
        found = identifier(name, self._taken)
        self._taken.add(found)
        return found


def described(check: Check) -> str:
    """A check on one line, for people."""
    return f"CHECK {' '.join(check.expression.split())}"
