"""What names say: how they split into words, what kind of table they suggest, and what columns of a name hold.

To teach `init` a new name, add a line to `names.toml`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

from snapseed.generate.words import words_of

_DATA, _PLACES = (
    tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8")) for name in ("names.toml", "places.toml")
)
LOOKUPS: dict[str, tuple[str, ...]] = {name: tuple(rows) for name, rows in _DATA["lookups"].items()}
TYPES: dict[str, str] = _DATA["types"]
UNIQUE_TYPES: dict[str, str] = _DATA["unique_types"]
_KEPT_BY = {name.lower(): tool for tool, names in _DATA["bookkeeping"].items() for name in names}
CODED_LOOKUPS = {
    name: [row.split("|")[:3] for row in rows] for name, rows in {**_DATA["coded_lookups"], "country": _PLACES}.items()
}
_MODIFIED = re.compile(r"(?P<head>timestamp|time)(?P<modifier>\(\d+\))? (?P<zone>with|without) time zone(?P<array>.*)")
# The places of each country, by its names in lower case: what lists of words say of them.
PLACES = {
    name.lower(): [dict(zip(_DATA["of_places"], f"{place}|{names}".split("|"), strict=False)) for place in places]
    for names, places in _PLACES.items()
    for name in names.split("|")
}
_STATES = (place[name] for found in PLACES.values() for place in found for name in ("CITY_STATES", "CITY_STATE_CODES"))
PLACE_NAMES = [*PLACES, *{state.lower() for state in _STATES}]
# What every generated module imports or defines.
_TAKEN = {"rows", "pl", "entity", "fan_out", "exactly", "spread", "scale", "timedelta", "datetime", "words", "number"}


def singular(word: str) -> str:
    """The singular of an English word, close enough to compare names."""
    for plural, single in (("ies", "y"), ("sses", "ss"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if word.endswith(plural) and len(word) > len(plural) + 1 and not word.endswith("ss"):
            return word.removesuffix(plural) + single
    return word


def identifier(name: str, taken: Collection[str] = ()) -> str:
    """A Python identifier for a name: not a keyword, not a builtin, nothing that a module imports, and not taken."""
    base = words_of(name) or "table"
    base = f"t_{base}" if base[0].isdigit() else base
    base = f"{base}_" if keyword.iskeyword(base) or hasattr(builtins, base) or base in _TAKEN else base
    base, found, number = base[:50], base[:50], 2
    while found in taken:
        found, number = f"{base}_{number}", number + 1
    return found


def short_type(name: str) -> str:
    """A type of `format_type` as people write it: `timestamptz`, `varchar(40)`, `numeric(10,2)`."""
    if match := _MODIFIED.fullmatch(name):
        zone = "tz" if match["zone"] == "with" else ""
        return f"{match['head']}{zone}{match['modifier'] or ''}{match['array']}"
    return re.sub(r"^character( varying)?(?=$|[(\[])", lambda found: "varchar" if found[1] else "char", name)


def suggests(role: str, name: str) -> bool:
    """Whether the name of a table or a column suggests a role in `names.toml`."""
    return _is_in(_DATA["roles"][role], name)


def kept_by(schema: str, table: str) -> str | None:
    """The tool that keeps records of its own in a table of this name; None for a table of the application."""
    return _KEPT_BY.get(table.lower()) or _KEPT_BY.get(f"{schema}.{table}".lower())


def hints(family: str, name: str, others: Collection[str] = ()) -> Iterator[str]:
    """The templates in `names.toml` for a column of this name in a table with these `others`, the best first."""
    for pattern, template, *beside in _DATA["hints"].get(family, ()):
        is_there = all(any(_is_in(needed, other) for other in others) for needed in beside)
        if is_there and (found := re.search(pattern, words := f"_{words_of(name)}_")):
            before = words[: found.start()].strip("_").replace("_", " ")
            yield template.replace(" by ", f" by {before} ") if before else template


def ordered_by_name(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The pairs of columns whose names say that the value of the first is at most that of the second."""
    by_words = {words_of(name): name for name in names}
    for words, name in by_words.items():
        parts = words.split("_")
        for place, part in enumerate(parts):
            for later in _DATA["pairs"].get(part, ()):
                if other := by_words.get("_".join([*parts[:place], later, *parts[place + 1 :]])):
                    yield name, other


def _is_in(pattern: str, name: str) -> bool:
    return re.search(pattern, f"_{words_of(name)}_") is not None
