"""Wording that several entities need: slugs for names and links, and sentences that begin as sentences do."""

import polars as pl

_PLAIN = dict(zip("áàâãéèêëíîïóôõúùûçñ", "aaaaeeeeiiiooouuucn", strict=True))
_ASCII = {**_PLAIN, "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe"}


def slug(texts: pl.Series, separator: str = "-") -> pl.Series:
    """The words of each text in lower-case ASCII: `Käse & Brot` becomes `kaese-brot`."""
    plain = texts.str.to_lowercase().str.replace_many(_ASCII).str.replace_all("['’]", "")
    return plain.str.replace_all("[^a-z0-9]+", separator).str.strip_chars(separator)


def capitalised(texts: pl.Series) -> pl.Series:
    """Each text with a capital first letter."""
    return texts.str.slice(0, 1).str.to_uppercase() + texts.str.slice(1)
