"""Lists of words and names, for generators that `init` writes and for masks; and the words of a name in a schema."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from unicodedata import combining, normalize

WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(words)
    for name, words in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")


def folded(name: str) -> str:
    """A name in lower case without accents: `förnamn` gives `fornamn`."""
    return "".join(letter for letter in normalize("NFKD", name.casefold()) if not combining(letter))


def words_of(name: str) -> str:
    """A name in lower case with `_` between its words: `OrderDetails` and `Order Details` give `order_details`."""
    return _OTHER.sub("_", folded(_CAMEL.sub("_", name))).strip("_")
