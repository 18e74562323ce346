"""How people talk: sentences composed of words, on any topic and in any of the languages.

A sentence is a beginning and the words that fill its slots: `So, we` + `have to` + `clean` + `the lens` + `with` +
`a tripod`.
"""

from __future__ import annotations

import polars as pl

from snapseed import Items, Rows

from . import vocabulary as words
from .vocabulary import Table

# The verb comes last in these languages: "wir wollen das Brot backen".
VERB_LAST = ["de"]


def sentences(rows: Rows | Items, name: str, about: pl.DataFrame) -> pl.Series:
    """A sentence for each row of `about`, which has its language, topic, subject and role.

    The speaker stumbles if the row `hesitates`. If it `is_linked`, the sentence may go on: how, when, with what. The
    names of the draws start with `name`, so that an entity can have several kinds of sentences.
    """
    about = words.coded(about)
    language, topic = about["language"], about["topic"]
    nothing, any_topic, thing = (
        pl.repeat(code, len(rows), dtype=pl.Categorical, eager=True) for code in ("", "any", "thing")
    )

    def drawn(part: str, table: Table, **match: pl.Series) -> pl.DataFrame:
        return rows.sample(f"{name}: {part}", rows.derived(table), "weight", language=language, **match)

    def filled(part: str, slot: pl.Series) -> pl.Series:
        matter = about["subject"].zip_with(slot == "thing", topic)
        matter = matter.zip_with(slot != "host", any_topic).zip_with(slot != "", nothing)
        return drawn(part, words.fillings, slot=slot, about=matter)["text"]

    begin = drawn("beginning", words.beginnings, role=about["role"])
    predicate = drawn("predicate", words.predicates, person=begin["person"], hesitates=about["hesitates"])
    link = drawn("link", words.links)
    slot = begin["slot"].zip_with(begin["person"] == "", predicate["slot"])
    does, is_linked = slot == "do", slot.is_in(["do", "thing"]) & about["is_linked"]
    parts = pl.DataFrame(
        {
            "beginning": begin["text"],
            "predicate": predicate["text"],
            "verb": drawn("verb", words.verbs, topic=topic)["text"],
            "thing": filled("thing", thing.zip_with(does, slot)),
            "link": link["text"],
            "other thing": filled("other thing", link["slot"].zip_with(is_linked, nothing)),
            "end": begin["end"],
            "is linked": is_linked,
            "verb first": does & ~language.is_in(VERB_LAST),
            "verb last": does & language.is_in(VERB_LAST),
        }
    )
    return parts.select(
        pl.concat_str(
            "beginning",
            "predicate",
            pl.when("verb first").then("verb"),
            "thing",
            pl.when("is linked").then("link"),
            "other thing",
            pl.when("verb last").then("verb"),
            "end",
            ignore_nulls=True,
        )
    ).to_series()
