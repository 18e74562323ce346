"""Wording that several entities need: texts that start like sentences, and keys as text."""

import polars as pl


def capitalised(texts: pl.Expr) -> pl.Expr:
    """Each text with a capital first letter, also after the mark that opens a question in Spanish."""
    first = texts.str.extract("^([¿¡]?.?)")
    return first.str.to_uppercase() + texts.str.slice(first.str.len_chars())


def uuid_text(keys: pl.Series) -> pl.Series:
    """Keys in the text form of a uuid."""
    return keys.bin.encode("hex").str.replace("^(.{8})(.{4})(.{4})(.{4})", "${1}-${2}-${3}-${4}-")
