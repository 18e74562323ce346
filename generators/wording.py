"""Wording that several entities need: slugs for names and links, and texts that begin as sentences do."""

import polars as pl

_PLAIN = dict(zip("áàâãéèêëíîïóôõúùûçñ", "aaaaeeeeiiiooouuucn", strict=True))
_ASCII = {**_PLAIN, "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe"}


def slug(texts: pl.Series, separator: str = "-") -> pl.Series:
    """The words of each text in lower-case ASCII: `Käse & Brot` becomes `kaese-brot`."""
    plain = texts.str.to_lowercase().str.replace_many(_ASCII).str.replace_all("['’]", "")
    return plain.str.replace_all("[^a-z0-9]+", separator).str.strip_chars(separator)


def capitalised(texts: pl.Expr) -> pl.Expr:
    """Each text with a capital first letter, also behind the mark that opens a question in Spanish."""
    first = texts.str.extract("^([¿¡]?.?)")
    return first.str.to_uppercase() + texts.str.slice(first.str.len_chars())


def filled(patterns: pl.Series, **values: pl.Series) -> pl.Series:
    """Patterns with the values of their names: `/{language}/{slug}` becomes `/de/kaese-brot`."""
    frame = pl.DataFrame({"": patterns, **values})
    text = pl.col("")
    for name in values:
        text = text.str.replace(f"{{{name}}}", pl.col(name), literal=True)
    return frame.select(text).to_series()


def uuid_text(keys: pl.Series) -> pl.Series:
    """Keys in the text form of a uuid."""
    return keys.bin.encode("hex").str.replace("^(.{8})(.{4})(.{4})(.{4})", "${1}-${2}-${3}-${4}-")
