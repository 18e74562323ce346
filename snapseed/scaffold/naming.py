"""Names of tables and columns: as words, in the singular, as Python's identifiers; types in their short spelling."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_MODIFIED = re.compile(r"(?P<head>timestamp|time)(?P<modifier>\(\d+\))? (?P<zone>with|without) time zone(?P<array>.*)")
# What every generated module imports or defines.
_TAKEN = {"rows", "pl", "entity", "fan_out", "exactly", "scale", "timedelta", "datetime", "words", "number"}
_SHORT = {"character varying": "varchar", "character": "char"}


def words_of(name: str) -> str:
    """A name in small letters with `_` between its words: `OrderDetails` and `Order Details` as `order_details`."""
    return _OTHER.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


def singular(word: str) -> str:
    """The singular of an English word, near enough to compare names by."""
    for plural, single in (("ies", "y"), ("sses", "ss"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if word.endswith(plural) and len(word) > len(plural) + 1 and not word.endswith("ss"):
            return word.removesuffix(plural) + single
    return word


def identifier(name: str, taken: Collection[str] = ()) -> str:
    """A Python identifier like `name` that is no keyword, no builtin, nothing that a module imports, and not taken."""
    base = words_of(name) or "table"
    base = f"t_{base}" if base[0].isdigit() else base
    base = f"{base}_" if keyword.iskeyword(base) or hasattr(builtins, base) or base in _TAKEN else base
    base, found, number = base[:50], base[:50], 2
    while found in taken:
        found, number = f"{base}_{number}", number + 1
    return found


def short_type(name: str) -> str:
    """A type of `format_type` as people write it: `timestamptz`, `varchar(40)`, `numeric(10,2)`."""
    match = _MODIFIED.fullmatch(name)
    if match:
        zone = "tz" if match["zone"] == "with" else ""
        return f"{match['head']}{zone}{match['modifier'] or ''}{match['array']}"
    for long, short in _SHORT.items():
        if re.match(rf"{long}(?=$|\(|\[)", name):
            return name.replace(long, short, 1)
    return name
