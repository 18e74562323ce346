"""Which rule each column has: its own, or that of the column that it refers to. And whether unique columns stay unique.

Pure: decided from the configuration and the catalogs, before a row is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from snapseed.capture.mask.facts import Facts, MaskableColumn, Place, UniqueFacts, words_in
from snapseed.capture.mask.rules import TEXTS, base_of, is_unique, kind_of, label_of, misfits
from snapseed.config import MaskRule
from snapseed.config.settings import suggestion
from snapseed.snapshot.types import INTEGERS, Family

# Changes no NULL, and nothing but the case of letters.
_LOWER = re.compile(r"\((?:lower|upper)\(\(?(?P<name>\"(?:[^\"]|\"\")+\"|[\w$]+)\)?(?:::text)?\)\)")
_NULL_TEST = re.compile(r"(?P<name>\"(?:[^\"]|\"\")+\"|[\w$]+) IS (?:NOT )?NULL")
_KEEP = MaskRule("keep")


@dataclass(frozen=True)
class Assigned:
    """The rule of each column that has one, and in words what is wrong with them."""

    rules: Mapping[Place, MaskRule]
    problems: tuple[str, ...]


def assign(facts: Facts, configured: Mapping[str, MaskRule], declared: Iterable[tuple[str, str]] = ()) -> Assigned:
    """The rules of all columns. `declared` are references that are no foreign keys: a column, and what it refers to."""
    rules, problems = {}, []
    for name, rule in configured.items():
        if name in facts.spelled:
            rules[facts.spelled[name]] = rule
        else:
            problems.append(f"{name}: there is no such column; {suggestion(name, facts.spelled) or 'check the name'}")
    references = [((found.oid, found.name), (found.target, found.target_name)) for found in facts.references]
    references += [
        (facts.spelled[own], facts.spelled[target])
        for own, target in declared
        if own in facts.spelled and target in facts.spelled
    ]
    rules = _followed(rules, references)
    problems += _contradictions(facts, rules, references)
    for place, rule in rules.items():
        problems += [f"{facts.names[place]}: {problem}" for problem in misfits(rule, facts.columns[place])]
        if rule.rule == "date" and not shifted_by(facts, place, rule):
            problems.append(f'{facts.names[place]}: say by which column dates are shifted: by = "user_id"')
    problems += [
        f"{facts.names[place]}: it decides which partition a row belongs to; use keep"
        for place in sorted(facts.partitioning)
        if rules.get(place, _KEEP).rule != "keep"
    ]
    if not problems:
        problems += [problem for unique in facts.unique for problem in _broken(facts, rules, unique)]
    return Assigned(rules, tuple(problems))


def _followed(rules: dict[Place, MaskRule], references: list[tuple[Place, Place]]) -> dict[Place, MaskRule]:
    """The rules, and those of columns that refer to a column with a rule, through any number of tables."""
    found, before = dict(rules), -1
    while before != len(found):
        before = len(found)
        found |= {own: found[target] for own, target in references if target in found and own not in found}
    return found


def _contradictions(
    facts: Facts, rules: Mapping[Place, MaskRule], references: Iterable[tuple[Place, Place]]
) -> Iterator[str]:
    for own, target in references:
        rule, other = rules.get(own, _KEEP), rules.get(target, _KEEP)
        name, to = facts.names[own], facts.names[target]
        if rule.rule == "null" or own == target:
            continue
        if label_of(rule) != label_of(other):
            yield f"{name}: it refers to {to}, whose rule is {other.rule}; remove {rule.rule} here, and mask {to}"
        elif rule.rule == "date":
            yield f"{name}: it refers to {to}, and date shifts equal dates by different numbers of days; use keep"
        elif rule.rule == "number" and not _are_alike(facts.columns[own], facts.columns[target]):
            yield f"{name}: it refers to {to}, and number changes their types differently; use keep"
        elif rule.rule != "keep" and not facts.columns[own].is_deterministic:
            yield f"{name}: its collation calls different texts equal, so that references would break; use keep"


def _are_alike(one: MaskableColumn, other: MaskableColumn) -> bool:
    """Whether equal numbers have the same digits in both columns: 1 and 1.0 are equal, and have not."""
    families = {one.kind.family, other.kind.family}
    return families <= INTEGERS or (one.type == other.type and Family.TEXT_FORM not in families)


def _broken(facts: Facts, rules: Mapping[Place, MaskRule], unique: UniqueFacts) -> Iterator[str]:
    """What keeps an index from staying unique, in words."""
    own = {name: rule for (oid, name), rule in rules.items() if oid == unique.oid and rule.rule != "keep"}
    shown = ", ".join(part[1:-1] if part.startswith("(") else part for part in unique.parts)
    what = f"the unique index over ({shown})"

    def untested(test: re.Match[str]) -> str:
        column = facts.columns.get((unique.oid, next(words_in(test["name"]), "")))
        return "" if column and not column.is_generated else test[0]

    compared = set(_columns_in(facts, unique.oid, _NULL_TEST.sub(untested, unique.predicate)))
    for name in sorted(own.keys() & set(_columns_in(facts, unique.oid, unique.predicate))):
        if name in compared or own[name].rule == "null":
            yield f"{facts.names[unique.oid, name]}: {what} is for rows {unique.predicate}, which may change; use keep"
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
        yield f"{facts.names[place]}: {rules[place].rule} does not keep {what} unique; {instead}"


def _columns_in(facts: Facts, oid: int, expression: str) -> Iterator[str]:
    """The columns in an expression; of a generated column those that it is made from."""
    column = facts.columns.get((oid, expression))
    for name in [expression] if column else words_in(expression):
        column = facts.columns.get((oid, name))
        if column is not None and column.is_generated:
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
        return is_unique(own[part], column)
    text = part if column is None else f"({column.expression})"
    match = _LOWER.fullmatch(text)
    names = list(words_in(match["name"])) if match else []
    kind = kind_of(own[names[0]]) if names and names[0] in own else None
    return kind is not None and kind.is_unique and kind.is_lower


def _implies(facts: Facts, own: Mapping[str, MaskRule], other: UniqueFacts, unique: UniqueFacts) -> bool:
    """Whether rows that differ in the other index, and stay so, differ in this one too."""
    return (
        not other.predicate
        and set(other.parts) <= set(unique.parts)
        and all((column := facts.columns.get((other.oid, part))) and column.not_null for part in other.parts)
        and all(part not in own or _stays_unique(facts, own, other, part) for part in other.parts)
    )


def _instead(rule: MaskRule, column: MaskableColumn, part: str) -> str:
    if rule.rule == "date":
        return "shift it by the other column of the index (by = …), or use keep"
    if ":" in rule.rule:
        return "add unique = true if the function gives different values different ones"
    base = base_of(column)
    if part.startswith("("):
        return "use email or uuid"
    if is_unique(MaskRule("number"), column):
        return "use number without noise or bucket"
    if base in TEXTS or base == "uuid":
        return "use text, email or uuid" if base in TEXTS else "use uuid"
    hint = ", or a type such as numeric(12,2), for which number does" if base == "numeric" else ""
    return f"use keep, or a function with unique = true{hint}"


def shifted_by(facts: Facts, place: Place, rule: MaskRule) -> tuple[str, ...]:
    """The columns of the same table whose values say how far the dates of a row move: `by`, or the primary key."""
    if rule.by is not None:
        by = facts.columns.get((place[0], rule.by))
        return () if by is None or by.is_generated else (by.name,)
    return next((unique.parts for unique in facts.unique if unique.oid == place[0] and unique.is_primary), ())
