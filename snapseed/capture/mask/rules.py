"""The kinds of rules, and which rule each column has: its own, or that of the column that it refers to.

Pure: decided from the configuration and the catalogs, before a row is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from snapseed.capture.mask.facts import Facts, MaskableColumn, Place, UniqueFacts, words_in
from snapseed.capture.mask.values import MOST_DIGITS, TOKEN
from snapseed.config.settings import MaskRule, suggestion
from snapseed.snapshot.types import INTEGERS, Family

TEXTS = frozenset({"text", "character varying", "character", "citext", "name"})
NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
MOMENTS = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
# Changes no NULL, and nothing but the case of letters.
_LOWER = re.compile(r"\((?:lower|upper)\(\(?(?P<name>\"(?:[^\"]|\"\")+\"|[\w$]+)\)?(?:::text)?\)\)")
_NULL_TEST = re.compile(r"(?P<name>\"(?:[^\"]|\"\")+\"|[\w$]+) IS (?:NOT )?NULL")
_KEEP = MaskRule("keep")


# ── Kinds ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class RuleKind:
    """A kind of rule. `types` are the types it fits, None for all, and `length` the most characters that it writes.

    `is_keyed`: it needs the secret. `is_unique`: different values get different ones. `is_lower`: also in lower case.
    `is_fixed`: what it writes does not depend on the form of the value, so that samples show all there is to see.
    """

    options: tuple[str, ...] = ()
    types: frozenset[str] | None = None
    length: int = 0
    is_keyed: bool = True
    is_unique: bool = False
    is_lower: bool = False
    is_fixed: bool = True


_KINDS = {
    "keep": RuleKind(is_keyed=False, is_unique=True, is_lower=True, is_fixed=False),
    "null": RuleKind(is_keyed=False),
    "constant": RuleKind(("value",), is_keyed=False),
    "choice": RuleKind(("options", "pool", "column")),
    "name": RuleKind(types=TEXTS),
    "first_name": RuleKind(types=TEXTS),
    "last_name": RuleKind(types=TEXTS),
    "email": RuleKind(("domain",), TEXTS, TOKEN + 1, is_unique=True, is_lower=True),
    "phone": RuleKind(types=TEXTS, length=len("+15550000000")),
    "address": RuleKind(types=TEXTS),
    "ip": RuleKind(types=TEXTS | {"inet", "cidr"}, length=len("fd00") + 7 * len(":ffff")),
    "uuid": RuleKind(types=TEXTS | {"uuid"}, length=36, is_unique=True, is_lower=True),
    "text": RuleKind(types=TEXTS, is_unique=True, is_fixed=False),
    "date": RuleKind(("days", "by"), MOMENTS, is_fixed=False),
    "number": RuleKind(("noise", "bucket"), NUMBERS, is_unique=True, is_fixed=False),
    "json": RuleKind(("paths", "other"), frozenset({"json", "jsonb"}), is_fixed=False),
    "function": RuleKind(("unique",), is_keyed=False, is_fixed=False),
}


_UNKNOWN = RuleKind(is_keyed=False)


def kind_of(rule: MaskRule) -> RuleKind:
    """The kind of a rule. `assign` finds names that no rule has."""
    return _KINDS.get("function" if ":" in rule.rule else rule.rule, _UNKNOWN)


def rules_of_paths(rule: MaskRule) -> dict[str, MaskRule]:
    """The rules of `json` for the values under some keys."""
    return {path: MaskRule(own) if isinstance(own, str) else own for path, own in (rule.paths or {}).items()}


def label_of(rule: MaskRule) -> str:
    """What the key of a rule is made from: its name and options, but not the column that says how far dates move."""
    return msgspec.json.encode(msgspec.structs.replace(rule, by=None), order="sorted").decode()


def _is_unique(rule: MaskRule, column: MaskableColumn) -> bool:
    """Whether the rule gives different values of this column different ones."""
    if ":" in rule.rule:
        return rule.unique
    if rule.rule == "number":
        is_exact = column.kind.family in INTEGERS or column.kind.family is Family.NUMERIC
        return is_exact and rule.noise is None and rule.bucket is None
    return kind_of(rule).is_unique and (kind_of(rule).is_lower or column.base != "citext")


def _misfits(rule: MaskRule, column: MaskableColumn) -> Iterator[str]:
    """Why the rule cannot be used for this column on its own, in words, with what to do."""
    kind, family = kind_of(rule), column.kind.family
    if kind is _UNKNOWN:
        yield f"there is no rule {rule.rule!r}; {suggestion(rule.rule, _KINDS) or 'use one of ' + ', '.join(_KINDS)}"
        return
    if column.is_generated and rule.rule != "keep":
        yield "a generated column is not captured; mask the columns that it is made from"
    if kind.types is not None and column.base not in kind.types:
        yield f"{rule.rule} does not fit {column.type}; it is for {', '.join(sorted(kind.types))}"
    length = kind.length + len(rule.domain) * (rule.rule == "email")
    if column.room is not None and length > column.room:
        yield f"{rule.rule} needs {length} characters, and the column has {column.room}; use text"
    if rule.rule in {"json", "date"} and column.type.endswith("[]"):
        yield f"{rule.rule} does not fit arrays; use null, constant or a function"
    if rule.rule == "null" and column.not_null:
        yield "null does not fit a column that is NOT NULL; use another rule"
    is_plain = rule.noise is None and rule.bucket is None
    if rule.rule == "number" and is_plain and family in {Family.REAL, Family.DOUBLE}:
        yield "number needs noise = 0.1 or bucket = 10 for floating-point numbers"
    if rule.rule == "number" and family is Family.NUMERIC and column.kind.modifiers[0] > MOST_DIGITS:
        yield f"number has room for {MOST_DIGITS} digits; use constant or a function"
    yield from _wrong_options(rule, kind)


def _wrong_options(rule: MaskRule, kind: RuleKind) -> Iterator[str]:
    """What is wrong with the options of a rule, whatever the column."""
    given = {field for field in msgspec.structs.asdict(rule) if getattr(rule, field) != getattr(MaskRule(""), field)}
    if unknown := sorted(given - {"rule", *kind.options}):
        yield f"{rule.rule} takes no option {unknown[0]!r}" + (f", only {', '.join(kind.options)}" * bool(kind.options))
    inner = {**rules_of_paths(rule), "other": MaskRule(rule.other)}
    for path, own in inner.items():
        types = kind_of(own).types
        if kind_of(own) is _UNKNOWN or (types is not None and not types & (TEXTS | {"numeric"})):
            yield f"{own.rule} is no rule for the values of a document ({path}); use one that fits texts or numbers"
    for own in (rule, *inner.values()):
        if own.rule == "constant" and own.value is None:
            yield 'constant needs a value, as in { rule = "constant", value = "x" }'
        if own.rule == "choice" and bool(own.options) == (own.pool is not None):
            yield 'choice needs either options = ["a", "b"] or pool = "NAME", a CSV file in generators/pools'


# ── Which rule each column has ───────────────────────────────────────────────────────────────────────────────────────


def assign(facts: Facts, configured: Mapping[str, MaskRule]) -> tuple[dict[Place, MaskRule], list[str]]:
    """The rule of each column that has one, and what is wrong with them, in words."""
    problems = [
        f"{name}: there is no such column; {suggestion(name, facts.spelled) or 'check the name'}"
        for name in configured
        if name not in facts.spelled
    ]
    own = {facts.spelled[name]: rule for name, rule in configured.items() if name in facts.spelled}
    rules = followed(own, facts)
    problems += _contradictions(facts, rules)
    for place, rule in rules.items():
        problems += [f"{facts.columns[place].shown}: {problem}" for problem in _misfits(rule, facts.columns[place])]
        if rule.rule == "date" and not shifted_by(facts, place, rule):
            problems.append(f'{facts.columns[place].shown}: say by which column dates are shifted: by = "user_id"')
    problems += [
        f"{facts.columns[place].shown}: it decides which partition a row belongs to; use keep"
        for place in sorted(facts.partitioning)
        if rules.get(place, _KEEP).rule != "keep"
    ]
    if not problems:
        problems += [problem for unique in facts.unique for problem in _broken(facts, rules, unique)]
    return rules, problems


def followed(rules: Mapping[Place, MaskRule], facts: Facts) -> dict[Place, MaskRule]:
    """The rules, and those of columns that refer to a column with a rule, through any number of tables."""
    found, before = dict(rules), -1
    while before != len(found):
        before = len(found)
        found |= {own: found[target] for own, target in facts.references if target in found and own not in found}
    return found


def shifted_by(facts: Facts, place: Place, rule: MaskRule) -> tuple[str, ...]:
    """The columns of the same table whose values say how far the dates of a row move: `by`, or the primary key."""
    if rule.by is not None:
        by = facts.columns.get((place[0], rule.by))
        return () if by is None or by.is_generated else (by.name,)
    return next((unique.parts for unique in facts.unique if unique.oid == place[0] and unique.is_primary), ())


def _contradictions(facts: Facts, rules: Mapping[Place, MaskRule]) -> Iterator[str]:
    """What would break references, in words: both sides of each need rules that keep equal values equal."""
    for own, target in facts.references:
        rule, other = rules.get(own, _KEEP), rules.get(target, _KEEP)
        name, to = facts.columns[own].shown, facts.columns[target].shown
        column, families = facts.columns[own], {facts.columns[place].kind.family for place in (own, target)}
        # 1 and 1.0 are equal, and have not the same digits.
        is_same = column.type == facts.columns[target].type and Family.TEXT_FORM not in families
        if rule.rule == "null" or own == target:
            continue
        if label_of(rule) != label_of(other):
            yield f"{name}: it refers to {to}, whose rule is {other.rule}; remove {rule.rule} here, and mask {to}"
        elif rule.rule == "date":
            yield f"{name}: it refers to {to}, and date shifts equal dates by different numbers of days; use keep"
        elif rule.rule == "number" and not (is_same or families <= INTEGERS):
            yield f"{name}: it refers to {to}, and number changes their types differently; use keep"
        elif rule.rule != "keep" and not column.is_deterministic:
            yield f"{name}: its collation calls different texts equal, so that references would break; use keep"


def _broken(facts: Facts, rules: Mapping[Place, MaskRule], unique: UniqueFacts) -> Iterator[str]:
    """What keeps an index from staying unique, in words."""
    own = {name: rule for (oid, name), rule in rules.items() if oid == unique.oid and rule.rule != "keep"}
    shown = ", ".join(part[1:-1] if part.startswith("(") else part for part in unique.parts)
    what = f"the unique index over ({shown})"

    def untested(test: re.Match[str]) -> str:
        """Nothing in place of a test for NULL, which no mask changes the answer of."""
        column = facts.columns.get((unique.oid, next(words_in(test["name"]), "")))
        return "" if column and not column.is_generated else test[0]

    compared = set(_columns_in(facts, unique.oid, _NULL_TEST.sub(untested, unique.predicate)))
    for name in sorted(own.keys() & set(_columns_in(facts, unique.oid, unique.predicate))):
        if name in compared or own[name].rule == "null":
            shown = facts.columns[unique.oid, name].shown
            yield f"{shown}: {what} is for rows {unique.predicate}, which may change; use keep"
    parts = {part: [name for name in _columns_in(facts, unique.oid, part) if name in own] for part in unique.parts}
    lost = [part for part in unique.parts if parts[part] and not _stays_unique(facts, own, unique, part)]
    is_null = any(part in own and own[part].rule == "null" for part in unique.parts)
    if not lost or (is_null and unique.is_equal and not unique.nulls_are_equal):
        return
    others = [other for other in facts.unique if other.oid == unique.oid and other is not unique]
    if any(_implies(facts, own, other, unique) for other in others):
        return
    for part in lost:
        place = unique.oid, parts[part][0]
        instead = _instead(rules[place], facts.columns[place], part)
        yield f"{facts.columns[place].shown}: {rules[place].rule} does not keep {what} unique; {instead}"


def _columns_in(facts: Facts, oid: int, expression: str) -> Iterator[str]:
    """The columns in an expression; of a generated column those that it is made from."""
    for name in [expression] if (oid, expression) in facts.columns else words_in(expression):
        if (column := facts.columns.get((oid, name))) is not None and column.is_generated:
            yield from words_in(column.expression or "")
        elif column is not None:
            yield name


def _stays_unique(facts: Facts, own: Mapping[str, MaskRule], unique: UniqueFacts, part: str) -> bool:
    """Whether different values of a part of an index stay different, among rows that agree in its other parts."""
    column = facts.columns.get((unique.oid, part))
    if not unique.is_equal:
        return False
    if column is not None and part in own:
        if own[part].rule == "date":
            by = shifted_by(facts, (unique.oid, part), own[part])
            return part not in by and set(by) <= set(unique.parts)
        return _is_unique(own[part], column)
    match = _LOWER.fullmatch(part if column is None else f"({column.expression})")
    rule = own.get(next(words_in(match["name"]), "")) if match else None
    return rule is not None and kind_of(rule).is_unique and kind_of(rule).is_lower


def _implies(facts: Facts, own: Mapping[str, MaskRule], other: UniqueFacts, unique: UniqueFacts) -> bool:
    """Whether rows that differ in the other index, and stay so, differ in this one too."""
    return (
        not other.predicate
        and set(other.parts) <= set(unique.parts)
        and all((column := facts.columns.get((other.oid, part))) and column.not_null for part in other.parts)
        and all(part not in own or _stays_unique(facts, own, other, part) for part in other.parts)
    )


def _instead(rule: MaskRule, column: MaskableColumn, part: str) -> str:
    """What to do about a rule that does not keep this part of a unique index unique."""
    if rule.rule == "date":
        return "shift it by the other column of the index (by = …), or use keep"
    if ":" in rule.rule:
        return "add unique = true if the function gives different values different ones"
    if part.startswith("("):
        return "use email or uuid"
    if _is_unique(MaskRule("number"), column):
        return "use number without noise or bucket"
    if column.base in TEXTS or column.base == "uuid":
        return "use text, email or uuid" if column.base in TEXTS else "use uuid"
    hint = ", or a type such as numeric(12,2), for which number does" if column.base == "numeric" else ""
    return f"use keep, or a function with unique = true{hint}"
