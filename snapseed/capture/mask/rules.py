"""The kinds of rules: which types they fit, which options they take, and what they promise about unique columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from snapseed.capture.mask.facts import MaskableColumn
from snapseed.capture.mask.values import MOST_DIGITS, TOKEN
from snapseed.config import MaskRule
from snapseed.config.settings import suggestion
from snapseed.snapshot.types import INTEGERS, Family

TEXTS = frozenset({"text", "character varying", "character", "citext", "name"})
NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
MOMENTS = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_FLOATS = frozenset({Family.REAL, Family.DOUBLE})


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


def kind_of(rule: MaskRule) -> RuleKind | None:
    """The kind of a rule; None for a name that no rule has."""
    return _KINDS.get("function" if ":" in rule.rule else rule.rule)


def rules_of_paths(rule: MaskRule) -> dict[str, MaskRule]:
    """The rules of `json` for the values under some keys."""
    return {path: MaskRule(own) if isinstance(own, str) else own for path, own in (rule.paths or {}).items()}


def label_of(rule: MaskRule) -> str:
    """What the key of a rule is made from: its name and options, but not the column that says how far dates move."""
    return msgspec.json.encode(msgspec.structs.replace(rule, by=None), order="sorted").decode()


def is_unique(rule: MaskRule, column: MaskableColumn) -> bool:
    """Whether the rule gives different values of this column different ones."""
    if ":" in rule.rule:
        return rule.unique
    if rule.rule == "number":
        is_exact = column.kind.family in INTEGERS or column.kind.family is Family.NUMERIC
        return is_exact and rule.noise is None and rule.bucket is None
    kind = kind_of(rule)
    return kind is not None and kind.is_unique and (kind.is_lower or base_of(column) != "citext")


def base_of(column: MaskableColumn) -> str:
    """The name of the type without its schema and modifiers."""
    return column.kind.base.rpartition(".")[2]


def misfits(rule: MaskRule, column: MaskableColumn) -> Iterator[str]:
    """Why the rule cannot be used for this column on its own, in words, with what to do."""
    kind = kind_of(rule)
    if kind is None:
        yield f"there is no rule {rule.rule!r}; {suggestion(rule.rule, _KINDS) or 'use one of ' + ', '.join(_KINDS)}"
        return
    given = {field for field in msgspec.structs.asdict(rule) if getattr(rule, field) != getattr(MaskRule(""), field)}
    if unknown := sorted(given - {"rule", *kind.options}):
        yield f"{rule.rule} takes no option {unknown[0]!r}" + (f", only {', '.join(kind.options)}" * bool(kind.options))
    if column.is_generated and rule.rule != "keep":
        yield "a generated column is not captured; mask the columns that it is made from"
    if kind.types is not None and base_of(column) not in kind.types:
        yield f"{rule.rule} does not fit {column.type}; it is for {', '.join(sorted(kind.types))}"
    length = kind.length + len(rule.domain) * (rule.rule == "email")
    if column.room is not None and length > column.room:
        yield f"{rule.rule} needs {length} characters, and the column has {column.room}; use text"
    if rule.rule in {"json", "date"} and column.type.endswith("[]"):
        yield f"{rule.rule} does not fit arrays; use null, constant or a function"
    for path, own in {**rules_of_paths(rule), "other": MaskRule(rule.other)}.items():
        of_path = kind_of(own)
        if of_path is None or (of_path.types is not None and not of_path.types & (TEXTS | {"numeric"})):
            yield f"{own.rule} is no rule for the values of a document ({path}); use one that fits texts or numbers"
    yield from _misused(rule, column)


def _misused(rule: MaskRule, column: MaskableColumn) -> Iterator[str]:
    """What is wrong with the options of a rule, for this column."""
    is_plain = rule.noise is None and rule.bucket is None
    if rule.rule == "null" and column.not_null:
        yield "null does not fit a column that is NOT NULL; use another rule"
    if rule.rule == "constant" and rule.value is None:
        yield 'constant needs a value, as in { rule = "constant", value = "x" }'
    if rule.rule == "choice" and bool(rule.options) == (rule.pool is not None):
        yield 'choice needs either options = ["a", "b"] or pool = "NAME", a CSV file in generators/pools'
    if rule.rule == "number" and is_plain and column.kind.family in _FLOATS:
        yield "number needs noise = 0.1 or bucket = 10 for floating-point numbers"
    if rule.rule == "number" and column.kind.family is Family.NUMERIC and column.kind.modifiers[0] > MOST_DIGITS:
        yield f"number has room for {MOST_DIGITS} digits; use constant or a function"
