"""The columns of one entity: which code fills each, so that keys, unique constraints and the checks that are read hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from snapseed.database.catalog import ColumnFacts
from snapseed.errors import ConfigurationError
from snapseed.scaffold.arrange import INTEGERS, Place
from snapseed.scaffold.draws import Draw, Wanted, choice, constant, quoted
from snapseed.scaffold.evaluate import evaluate
from snapseed.scaffold.expressions import UnreadError, parse_expression
from snapseed.scaffold.facts import Check, Table
from snapseed.scaffold.holding import Trial, holds
from snapseed.scaffold.kinds import draws_of
from snapseed.scaffold.limits import Bound, Limits, Order, Rule, limits_of, order_of
from snapseed.scaffold.moments import MOMENTS, is_ahead, is_birth, is_later
from snapseed.scaffold.naming import identifier, singular, words_of
from snapseed.scaffold.numbers import whole_range
from snapseed.scaffold.relations import Relations, Source
from snapseed.scaffold.uniqueness import Uniqueness
from snapseed.scaffold.vocabulary import CODES, LOOKUPS
from snapseed.snapshot.types import ColumnType, Family, parse_type

# How often a column that takes NULL has none, and how often a reference is missing.
_MISSING = "0.1"
# Columns that are often empty where they may be; all others are always filled.
_OPTIONAL = re.compile(
    r"(?:^|_)(?:middle|nick|suffix|company|website|homepage|bio|fax|region|state|notes?|comments?|remarks?|description|"
    r"deleted|cancel\w*|archived|parent|alt\w*|secondary|second|optional|extra|metadata|caption)|(?:address|line|street)_?2"
)
_MOST_LISTED = 8
_OWN = re.compile(r"\{own:([^}]*)\}")
_ENTITY = re.compile(r"\{entity:([^}]*)\}")
_COUNTED = {*INTEGERS, Family.NUMERIC, Family.REAL, Family.DOUBLE}


class ImpossibleError(Exception):
    """No rows can be made for a table, so it is left out."""

    def __init__(self, oid: int, reason: str) -> None:
        super().__init__(reason)
        self.oid = oid
        self.reason = reason


class Columns:
    """Works out the columns of one table. After `fill`: `values` (code by column), `statements` that come before them."""

    def __init__(
        self,
        relations: Relations,
        conditions: tuple[list[Rule], list[Check]],
        now: datetime,
        taken: set[str],
    ) -> None:
        table, place = relations.table, relations.place
        rules, unread = conditions
        self.table, self.place, self.now = table, place, now
        self.kinds: dict[str, ColumnType] = {}
        self.values: dict[str, str] = {}
        self.statements: list[tuple[str, str]] = []
        self.parameters: dict[str, None] = {}
        self.imports: set[str] = set()
        self.notes: list[str] = []
        self.uses: set[tuple[str, str]] = set()
        self._relations = relations
        self._rules = rules
        self._unread = unread
        self._taken = set(taken)
        self._draws: dict[str, Draw] = {}
        self._foreign: dict[str, str] = {}
        self._missing: set[str] = set()
        self._filled: set[str] = set()
        self._locals: dict[str, str] = {}
        self._null: dict[str, str] = {}
        self._orders = [order for order in map(order_of, rules) if order is not None]
        self._limits = {column.name: limits_of(column.name, rules, now) for column in table.columns}
        self._uniqueness = Uniqueness(table, place, relations)
        self.unread_exclusions = [
            exclusion
            for exclusion in table.exclusions
            if not exclusion.equal and not any("range" in table.column(name).type for name in exclusion.columns)
        ]

    @property
    def most_per_parent(self) -> int | None:
        """The most rows that each row of the parent may have, where there is a limit."""
        return self._uniqueness.most_per_parent

    def fill(self) -> None:
        """Work everything out. Raises `ImpossibleError` where a column has to have values, and none are known."""
        self._leave_to_the_database()
        for source in self._relations.sources():
            self._take(source)
        self._uniqueness.settle(set(self._foreign), set(self._null), self._limits)
        for key, source in self._uniqueness.replaced.items():
            if source is None:
                self._null.update(dict.fromkeys(key.columns, "NULL, for each of its values may come once only"))
            else:
                self._foreign.update(source.codes)
        for order in self._orders:
            self._part(order)
        for name in self._drawing_order():
            self._draw(name)
        self._check_rules()
        order = [*self._foreign, *self._draws]
        values = {name: _ENTITY.sub(self._entity, self._finished(self.table.column(name))) for name in order}
        self.values = {column.name: values[column.name] for column in self.table.columns if column.name in values}
        for name, reason in self._null.items():
            self.notes.append(f"{name}: {reason}")
        self.notes += self._uniqueness.notes

    # ── Which columns are filled ─────────────────────────────────────────────────────────────────────────────────────

    def _leave_to_the_database(self) -> None:
        if any(not found.partitions for found in self.table.partitions.values()):
            raise ImpossibleError(self.table.oid, "it has no partitions")
        needed = {name for key in self.table.foreign_keys for name in key.columns} | {self.place.key}
        for column in self.table.columns:
            if column.generated:
                continue
            try:
                self.kinds[column.name] = parse_type(column.type)
            except ConfigurationError:
                self._leave(column, f"no values of {column.type} are known")
                continue
            if column.name not in needed and (column.identity or column.name in self.table.serials):
                self._null[column.name] = "numbered by the database"

    def _leave(self, column: ColumnFacts, why: str) -> None:
        if column.not_null and not column.has_default:
            raise ImpossibleError(self.table.oid, f"column {column.name}: {why}")
        self._null[column.name] = f"left to the database, for {why}" if column.has_default else f"NULL, for {why}"

    def _take(self, source: Source) -> None:
        """The columns of a foreign key, as far as no other has taken them."""
        key = source.key
        fresh = [name for name in key.columns if name not in self._foreign]
        nullable = [name for name in fresh if not self.table.column(name).not_null and name != self.place.key]
        conflict = len(fresh) < len(key.columns) and any(
            self._foreign.get(name) not in {None, code} for name, code in source.codes.items()
        )
        if not fresh:
            return
        if not source.codes or (conflict and source.how not in {"self", "parent"}):
            if not nullable:
                reason = f"its foreign key ({', '.join(key.columns)}) cannot be met"
                raise ImpossibleError(self.table.oid, reason)
            for name in nullable:
                self._null[name] = "NULL, for rows to refer to cannot be chosen from here"
            return
        for name in fresh:
            self._foreign[name] = source.codes[name]
        self.imports |= source.needs
        if source.parameter is not None:
            self.parameters[source.parameter] = None
        if source.statement is not None:
            self.statements.append(source.statement)
        for referred in key.target_columns:
            if source.parameter is not None and source.how in {"parent", "lookup", "one each"}:
                self.uses.add((source.parameter, referred))
        if source.how in {"one each", "same number"}:
            self._uniqueness.columns |= set(key.columns)
        if source.how in {"lookup", "reference", "self"} and len(key.columns) == 1:
            self._missing |= set(nullable)

    # ── Draws ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _drawing_order(self) -> list[str]:
        """Columns that others are drawn from come first."""
        names = [
            column.name
            for column in self.table.columns
            if column.name in self.kinds and column.name not in self._foreign and column.name not in self._null
        ]
        before = {order.after: order.before for order in self._orders if {order.before, order.after} <= set(names)}

        def depth(name: str, seen: frozenset[str] = frozenset()) -> int:
            return 0 if name not in before or name in seen else 1 + depth(before[name], seen | {name})

        return sorted(
            names,
            key=lambda name: (
                not re.search("first_?name|last_?name|surname", words_of(name)),
                depth(name),
                self._is_moment(name) and is_later(words_of(name)),
            ),
        )

    def _is_moment(self, name: str) -> bool:
        kind = self.kinds.get(name)
        return kind is not None and kind.family in MOMENTS

    def _part(self, order: Order) -> None:
        """Give two numbers, one of which may not be larger than the other, a range each."""
        if not all(name in self.kinds and self.kinds[name].family in _COUNTED for name in (order.before, order.after)):
            return
        first, second = (self._wanted(name) for name in (order.before, order.after))
        (low, _), (other, high) = whole_range(first), whole_range(second)
        top = max(high, max(low, other) + 2)
        middle = Decimal((max(low, other) + top) // 2)
        self._limits[order.before] = replace(self._limits[order.before], high=Bound(middle))
        self._limits[order.after] = replace(self._limits[order.after], low=Bound(middle, order.strict))

    def _wanted(self, name: str) -> Wanted:
        is_key = name == self.place.key
        return Wanted(
            column=self.table.column(name),
            kind=self.kinds[name],
            limits=self._limits.get(name, Limits()),
            now=self.now,
            is_unique=is_key or name in self._uniqueness.columns,
            is_key=is_key,
            table=self.table.name,
            default=self._default(name),
        )

    def _default(self, name: str) -> object:
        try:
            return evaluate(parse_expression(self.table.defaults[name]), {}, self.now)
        except (KeyError, UnreadError):
            return None

    def _draw(self, name: str) -> None:
        wanted = self._wanted(name)
        column = wanted.column
        if wanted.is_key and wanted.kind.family in {*INTEGERS, Family.UUID}:
            self._draws[name] = Draw(
                "rows.key()", (Decimal(1), Decimal(1000)) if wanted.kind.family in INTEGERS else ()
            )
            return
        if name in self._uniqueness.by_position:
            self._draws[name] = self._by_position(wanted)
            return
        if wanted.kind.family is Family.BYTEA and self._takes_null(name) and not wanted.is_unique:
            self._null[name] = "NULL, for nothing is known of its bytes"
            return
        if (listed := self._listed(wanted)) is not None:
            self._draws[name] = listed
            return
        own = [rule for rule in self._rules if rule.columns == (name,)]
        fallback = None
        for found in draws_of(wanted, self._after(name)):
            draw = self._with_locals(found)
            if draw is None or (wanted.is_unique and not draw.is_unique) or not self._fits(wanted, draw):
                continue
            fallback = fallback or draw
            if all(holds(rule, {name: draw.examples}, self.now) is not Trial.FAILS for rule in own):
                self._draws[name] = draw
                return
        if fallback is None and not (wanted.is_unique and not wanted.is_key):
            self._leave(column, f"no values of {column.type} are known")
        elif fallback is None:
            self._leave(column, "each of its values may come once only")
        elif column.not_null and not column.has_default:
            self._draws[name] = fallback
        else:
            self._leave(column, "no values are known that meet its checks")

    def _listed(self, wanted: Wanted) -> Draw | None:
        """The names, or the codes, of the rows of a lookup, one for each row."""
        count = self.place.rows
        if count is None or count > _MOST_LISTED or wanted.kind.is_array or wanted.limits.allowed is not None:
            return None
        if wanted.kind.family not in {Family.TEXT, Family.CHARACTER} or wanted.column.labels:
            return None
        table = words_of(self.table.name)
        last = singular(table.rpartition("_")[2])
        numbered = (f"{singular(table).replace('_', ' ').capitalize()} {number + 1}" for number in range(count))
        names = LOOKUPS.get(last) or tuple(numbered)
        if wanted.is_key or re.search("(?:^|_)(?:code|slug|key|iso|abbr)", wanted.words):
            codes = tuple(sorted(name.replace(" ", "_").lower() for name in names))
            values = CODES[:count] if last == "country" else names if last == "currency" else codes
        elif re.search(r"(?:^|_)(?:name|title|label|description|desc)$", wanted.words) or wanted.words in {table, last}:
            values = names
        else:
            return None
        own = [rule for rule in self._rules if rule.columns == (wanted.column.name,)]
        draw = Draw(f"[{', '.join(map(quoted, values))}]", values, is_unique=True, is_whole=True)
        tried = all(holds(rule, {wanted.column.name: values}, self.now) is not Trial.FAILS for rule in own)
        return draw if len(set(values)) == count and tried and self._fits(wanted, draw) else None

    def _fits(self, wanted: Wanted, draw: Draw) -> bool:
        is_text = wanted.kind.family in {Family.TEXT, Family.CHARACTER} or wanted.limits.max_length is not None
        if not is_text or wanted.length is None:
            return True
        return all(len(example) <= wanted.length for example in draw.examples if isinstance(example, str))

    def _by_position(self, wanted: Wanted) -> Draw:
        """Another value for each row of the same parent: the place in the row of them."""
        labels = self._uniqueness.by_position[wanted.column.name]
        if labels:
            code = f"pl.Series([{', '.join(map(quoted, labels))}]).gather(rows.positions)"
            return Draw(code, labels, frozenset(["pl"]))
        low = wanted.limits.low
        first = 0 if low is None or not isinstance(low.value, Decimal) else int(low.value) + low.strict
        first = first or int(bool(re.search(r"line|number|no$|rank", wanted.words)))
        return Draw(f"rows.positions + {first}" if first else "rows.positions", (Decimal(first), Decimal(first + 19)))

    def _after(self, name: str) -> str | None:
        """What a moment is drawn from: another one of the row that must come before it, or the parent's first."""
        if not self._is_moment(name) or is_birth(words_of(name)):
            return None
        order = next((order for order in self._orders if order.after == name and self._is_moment(order.before)), None)
        if order is not None and order.before in self._draws:
            local = self._hoisted(order.before)
            limits = (self._limits[order.before].high, self._limits[name].high)
            if not order.strict and limits == (None, None) and not is_ahead(words_of(order.before)):
                return local
            self.imports.add("timedelta")
            return f"{local} + timedelta(days=1), {local} + timedelta(days=30)"
        earlier = [
            column
            for column in self._draws
            if self._is_moment(column)
            and not is_birth(words_of(column))
            and not is_later(words_of(column))
            and not is_ahead(words_of(column))
        ]
        if any(
            limit is not None
            for found in (name, *earlier[:1])
            for limit in (self._limits[found].low, self._limits[found].high)
        ):
            return None
        if is_later(words_of(name)) and earlier:
            return self._hoisted(earlier[0])
        if not is_later(words_of(name)) and not earlier:
            return self._parents_moment()
        return None

    def _parents_moment(self) -> str | None:
        """The moment since which the parent's row has been there."""
        parent, name = self._relations.parent, self._relations.parent_name
        if parent is None or name is None:
            return None
        for column in parent.columns:
            if (
                not column.not_null
                or is_later(words_of(column.name))
                or not re.search("creat|regist|sign|open|join", words_of(column.name))
            ):
                continue
            if parse_type(column.type).family in MOMENTS and not parent.partitions:
                self.parameters[name] = None
                self.uses.add((name, column.name))
                return f"{name}[{quoted(column.name)}]"
        return None

    def _with_locals(self, draw: Draw) -> Draw | None:
        """The draw with the names of other columns' values filled in; None where there are no such columns."""
        for need in sorted(draw.needs):
            if need in {"local:first_name", "local:last_name"}:
                part = need.removeprefix("local:")
                wordlist = part.upper() + "S)"
                column = next((name for name, found in self._draws.items() if found.code.endswith(wordlist)), None)
                if column is None or " + " in self._draws[column].code:
                    return None
                draw = replace(draw, code=draw.code.replace(f"{{{part}}}", self._hoisted(column)))
        return draw

    def _hoisted(self, name: str) -> str:
        """The variable that holds a column's values before the frame is made."""
        if name not in self._locals:
            local = identifier(name, self._taken)
            self._taken.add(local)
            self._locals[name] = local
        return self._locals[name]

    # ── Checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_rules(self) -> None:
        structural = [order.rule for order in self._orders if self._is_kept(order)]
        for rule in self._rules:
            if rule in structural:
                continue
            trial = holds(rule, self._examples(rule.columns), self.now)
            if trial is Trial.FAILS and not self._mended(rule):
                self.notes.append(f"not met by all rows: {described(rule.check)}")
            elif trial is Trial.UNKNOWN and not self._left(rule.check):
                self.notes.append(f"not tried: {described(rule.check)}")
        self.notes += [f"not read: {described(check)}" for check in self._unread if not self._left(check)]
        self.notes = list(dict.fromkeys(self.notes))

    def _left(self, check: Check) -> bool:
        """Leave a column whose check is not known to hold to its default, or else to NULL, if it can be."""
        if len(check.columns) != 1:
            return False
        (name,) = check.columns
        column = self.table.column(name)
        if name in self._null:
            return True
        if name not in self._draws or self._draws[name].is_unique or not (column.has_default or self._takes_null(name)):
            return False
        del self._draws[name]
        self._leave(column, f"{described(check)} is not read")
        return True

    def _is_kept(self, order: Order) -> bool:
        both = {order.before, order.after}
        if not both <= set(self._draws):
            return both <= set(self._draws) | set(self._null)
        return order.before in self._locals or all(self.kinds[name].family in _COUNTED for name in both)

    def _examples(self, columns: Iterable[str]) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for name in columns:
            if name in self._null:
                found[name] = (self._default(name),) if name in self.table.defaults else (None,)
            elif name in self._draws:
                nulls = (None,) if self._is_optional(name) else ()
                found[name] = (*self._draws[name].examples, *nulls) if self._draws[name].examples else ()
            else:
                found[name] = ()
        return found

    def _takes_null(self, name: str) -> bool:
        return not self.table.column(name).not_null and name != self.place.key

    def _mended(self, rule: Rule) -> bool:
        """Narrow one of the columns of a rule until it holds, the one of which most is left; or leave one NULL."""
        examples = self._examples(rule.columns)
        narrowed: list[tuple[float, str, tuple[object, ...]]] = []
        for name in rule.columns:
            if name not in self._draws or self._draws[name].is_unique:
                continue
            kept = tuple(
                value for value in examples[name] if holds(rule, {**examples, name: (value,)}, self.now) is Trial.HOLDS
            )
            if kept:
                whole = self._draws[name].is_whole
                narrowed.append((len(kept) / len(examples[name]) if whole else 0.01, name, kept))
        for _, name, kept in sorted(narrowed, key=lambda found: -found[0]):
            values = tuple(value for value in kept if value is not None)
            if not values:
                self._null[name] = f"NULL, as {described(rule.check)} asks for"
                del self._draws[name]
                return True
            wanted = self._wanted(name)
            simple = all(isinstance(value, str | bool | int | Decimal) for value in values)
            if not simple or wanted.kind.is_array:
                continue
            plain = tuple(int(value) if isinstance(value, Decimal) else value for value in values)
            if any(isinstance(value, Decimal) and value != int(value) for value in values):
                continue
            if not self._draws[name].is_whole:
                plain = plain[:1]
            if None not in kept:
                self._missing.discard(name)
                self._filled.add(name)
            self._draws[name] = choice(wanted, plain) if len(plain) > 1 else constant(plain[0])
            self.notes.append(f"{name}: only {', '.join(map(str, plain))}, so that {described(rule.check)} holds")
            return True
        return False

    # ── Code ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finished(self, column: ColumnFacts) -> str:
        name = column.name
        if name in self._foreign:
            code = self._own(self._foreign[name])
            if name in self._missing:
                code = f"rows.or_null({quoted(name + ' missing')}, {code}, {_MISSING})"
            return code
        draw = self._draws[name]
        code = self._with_items(name, draw)
        self.imports |= {need for need in draw.needs if ":" not in need or need.startswith("words:")}
        if draw.finish.count("(") > 1:
            self._hoisted(name)
        if name in self._locals:
            self.statements.append((self._locals[name], code))
            code = self._locals[name]
        if "number" in draw.needs and ("number", "rows.number().cast(pl.String)") not in self.statements:
            self.statements.insert(0, ("number", "rows.number().cast(pl.String)"))
        code += draw.finish if not (draw.finish and " + " in code) else ""
        if draw.finish and not code.endswith(draw.finish):
            code = f"({code}){draw.finish}"
        if self._is_sometimes_null(name, draw):
            if " + " in code:
                local = self._hoisted(name)
                self.statements.append((local, code))
                code = local
            code = f"rows.or_null({quoted(name + ' missing')}, {code}, {_MISSING})"
        return code

    def _is_optional(self, name: str) -> bool:
        """Whether the column may have no value, and often has none by its name."""
        often = _OPTIONAL.search(words_of(name)) or (self._is_moment(name) and is_later(words_of(name)))
        return (
            often is not None
            and often is not False
            and self._takes_null(name)
            and name not in self._uniqueness.by_position
        )

    def _is_sometimes_null(self, name: str, draw: Draw) -> bool:
        if not self._is_optional(name) or not code_is_series(draw.code):
            return False
        if any(name in exclusion.columns for exclusion in self.table.exclusions):
            return False
        concerned = [rule for rule in self._rules if name in rule.columns]
        return name not in self._filled and all(
            holds(rule, {**self._examples(rule.columns), name: (None,)}, self.now) is not Trial.FAILS
            for rule in concerned
        )

    def _entity(self, match: re.Match[str]) -> str:
        """An entity by a name that no parameter hides."""
        name = match[1]
        if name not in self.parameters:
            return name
        self.imports = {*self.imports - {f"entity:{name}"}, f"entity:{name} as {name}_entity"}
        return f"{name}_entity"

    def _with_items(self, name: str, draw: Draw) -> str:
        code = draw.code
        for need in sorted(draw.needs):
            if need.startswith(("items:", "local:")) and "name" not in need.removeprefix("local:")[:10]:
                kind, _, made = need.partition(":")
                local = identifier(f"{name}_items" if kind == "items" else f"{name}_start", self._taken)
                self._taken.add(local)
                self.statements.append((local, made))
                code = code.replace("{items}", local).replace("{local}", local)
        return code

    def _own(self, code: str) -> str:
        """Code with the values of other columns of the same row filled in."""

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name == self.place.key and self._draws.get(name, Draw("")).code == "rows.key()":
                return "rows.key()"
            if name in self._foreign:
                return self._own(self._foreign[name])
            return self._hoisted(name)

        return _OWN.sub(fill, code)


def described(check: Check) -> str:
    """A check on one line, for people."""
    return f"CHECK {' '.join(check.expression.split())}"


def code_is_series(code: str) -> bool:
    """Whether an expression gives a value for each row, not one for all."""
    return "(" in code or code == "number" or "number +" in code or "rows." in code
