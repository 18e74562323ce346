"""What sentences are made of: the pools combined into tables to draw from, each row with a weight.

A text for the middle of a sentence starts with a blank; one for the beginning starts with a capital.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from .wording import capitalised

Pool = Callable[[str], pl.DataFrame]
Table = Callable[[Pool], pl.DataFrame]

# A phrase has at most one slot, and the text after it ends the sentence. `{do}` takes a verb and a thing.
SLOT = r"^(.*?) ?\{(do|thing|saying|host|person|place)\}(.*)$"
# Columns by which words are found.
MATCHED = {"language", "topic", "subject", "about", "role", "person", "slot"}
NUMBERS = pl.DataFrame({"value": [str(number) for number in (*range(2, 31), *range(35, 100, 5))]})
# How many of a hundred statements are of each kind.
WITH_SUBJECT, WITHOUT_SUBJECT, SAYINGS, QUESTIONS = 64, 20, 1, 15
# Each topic has subjects, which share its nouns. A talk keeps coming back to its subject.
SUBJECTS = [" 1", " 2", " 3", " 4", " 5"]


def phrases(pool: Pool) -> pl.DataFrame:
    """Fixed phrases by language and role, cut at their slot."""
    known = each_of(pool("phrases").with_columns(zipf("language", "role")), "{n}", NUMBERS)
    begin, slot, end = (pl.col("text").str.extract(SLOT, group) for group in (1, 2, 3))
    return known.with_columns(text=pl.coalesce(begin, "text"), slot=slot.fill_null(""), end=end.fill_null(""))


def beginnings(pool: Pool) -> pl.DataFrame:
    """How sentences begin, by language and role: up to what a `person` does, or up to the `slot`."""
    said = phrases(pool)
    openers = said.filter(role="opener").select("language", "weight", opener="text")
    people = hosts(pool).select("language", value="text").gather_every(3)
    subjects = each_of(pool("subjects").with_columns(zipf("language")), "{host}", people, "language")
    impersonal = pool("predicates").filter(person="").with_columns(zipf("language"))
    statements = pl.concat(
        [
            share(WITH_SUBJECT, every_pair(subjects, openers, "language"), "language"),
            share(WITHOUT_SUBJECT, every_pair(impersonal, openers, "language"), "language"),
            share(SAYINGS, said.filter(role="saying"), "language"),
            share(QUESTIONS, said.filter(role="question"), "language"),
        ],
        how="diagonal",
    )
    every = pl.concat([said, statements.with_columns(role=pl.lit("statement"))], how="diagonal")
    text = pl.concat_str("opener", "text", separator=" ", ignore_nulls=True).str.strip_chars()
    return coded(
        every.select(
            pl.col("language", "role", "weight"),
            pl.col("person", "slot").fill_null(""),
            pl.col("end").fill_null("."),
            text=capitalised(text),
        )
    )


def predicates(pool: Pool) -> pl.DataFrame:
    """What a person does, by language and person, up to the `slot`; empty for nobody. Some start with a hesitation."""
    known = pool("predicates").with_columns(zipf("language", "person"), inside("text"))
    nobody = known.filter(person="").unique("language", keep="first", maintain_order=True)
    fluent = pl.concat([known.filter(pl.col("person") != ""), nobody.with_columns(slot=pl.lit(""), text=pl.lit(""))])
    pauses = phrases(pool).filter(role="hesitation").select("language", "weight", inside("text").alias("pause"))
    hesitant = every_pair(fluent, pauses, "language").with_columns(text=pl.col("pause") + pl.col("text")).drop("pause")
    return coded(pl.concat([fluent.with_columns(hesitates=False), hesitant.with_columns(hesitates=True)]))


def links(pool: Pool) -> pl.DataFrame:
    """How, when and with what else something is done, by language, up to the `slot`."""
    said = phrases(pool)
    adverbs = said.filter(role="adverb").select("language", "weight", adverb="text")
    with_adverb = every_pair(said.filter(role="link"), adverbs, "language").with_columns(
        text=pl.concat_str("adverb", inside("text"))
    )
    every = [share(60, said.filter(role="link"), "language"), share(40, with_adverb.drop("adverb"), "language")]
    return coded(pl.concat(every).with_columns(inside("text")))


def verbs(pool: Pool) -> pl.DataFrame:
    """One or two verbs that take a thing, by language and topic: mostly the topic's own, sometimes general ones."""
    words, topic = pool("verbs").with_columns(zipf("language", "topic")), ["language", "topic"]
    own, general = words.filter(pl.col("topic") != "any"), words.filter(topic="any").drop("topic")
    conjunctions = phrases(pool).filter(role="and").select("language", conjunction="text")
    others = own.join(conjunctions, on="language", maintain_order="left").rename({"text": "other"})
    two = every_pair(own, others, *topic).filter(pl.col("text") != pl.col("other"))
    joined = pl.concat_str("text", "conjunction", "other", separator=" ").str.replace(" y (h?i)", " e ${1}")
    every = [
        share(60, own, *topic),
        share(10, every_pair(general, pool("topics").select("topic")), *topic),
        share(30, two.with_columns(text=joined), *topic),
    ]
    return coded(pl.concat([table.select(words.columns) for table in every]).with_columns(inside("text")))


def fillings(pool: Pool) -> pl.DataFrame:
    """What fills a slot, by language, slot and what it is about; empty if there is no slot."""
    nothing = pool("phrases").select("language").unique(maintain_order=True)
    nothing = nothing.with_columns(slot=pl.lit(""), about=pl.lit(""), text=pl.lit(""), weight=pl.lit(1, pl.Int64))
    tables = [things(pool), sayings(pool), names(pool), hosts(pool), nothing]
    return coded(pl.concat([table.select(nothing.columns) for table in tables]).with_columns(inside("text")))


def coded(table: pl.DataFrame) -> pl.DataFrame:
    """The table with what it is matched by as numbers that stand for texts, which are faster to join and to compare."""
    return table.with_columns(pl.col(name).cast(pl.Categorical) for name in table.columns if name in MATCHED)


def things(pool: Pool) -> pl.DataFrame:
    """Nouns with an article of their gender: those of a subject (a fifth of its topic's nouns), or general ones."""
    number = pl.int_range(pl.len()).over("language", "topic") % len(SUBJECTS)
    subject = pl.col("topic") + number.replace_strict(dict(enumerate(SUBJECTS)))
    nouns = pool("nouns").select(
        pl.col("language", "gender", "text"),
        pl.when(pl.col("topic") == "any").then(pl.lit("any")).otherwise(subject).alias("about"),
    )
    articles = pool("determiners").select("language", "gender", zipf("language", "gender"), article="text")
    text = pl.concat_str("article", "text", separator=" ").str.replace("' ", "'", literal=True)
    pairs = every_pair(nouns.with_columns(zipf("language", "about")), articles, "language", "gender")
    return pairs.with_columns(text=text, slot=pl.lit("thing"))


def sayings(pool: Pool) -> pl.DataFrame:
    """What people do on a topic, and how."""
    clauses = pool("clauses").with_columns(zipf("language", "topic", "role"))
    details = clauses.filter(role="detail").select("language", "topic", "weight", detail="text")
    pairs = every_pair(clauses.filter(role="action"), details, "language", "topic").rename({"topic": "about"})
    return pairs.with_columns(text=pl.concat_str("text", "detail", separator=", "), slot=pl.lit("saying"))


def names(pool: Pool) -> pl.DataFrame:
    """The persons and places of a topic, the same in every language."""
    known = pool("names").with_columns(zipf("topic", "slot")).rename({"topic": "about"})
    return every_pair(known, pool("phrases").select("language").unique(maintain_order=True))


def hosts(pool: Pool) -> pl.DataFrame:
    """First names by language, all equally likely."""
    languages = pool("locales").select("locale", "language").unique(maintain_order=True)
    people = pool("first_names").join(languages, on="locale", maintain_order="left")
    return people.select("language", about=pl.lit("any"), slot=pl.lit("host"), text="name", weight=pl.lit(1, pl.Int64))


def zipf(*group: str) -> pl.Expr:
    """A weight that falls with the rank in the group, like the frequency of words (Zipf; the 3 is Mandelbrot's)."""
    return (1_000_000 // (pl.int_range(pl.len()).over(group) + 3)).cast(pl.Int64).alias("weight")


def share(percent: int, table: pl.DataFrame, *group: str) -> pl.DataFrame:
    """The table with its weights scaled, so that together they are `percent` of what is drawn for a group."""
    return table.with_columns(weight=percent * 10**5 * pl.col("weight") // pl.col("weight").sum().over(group))


def every_pair(table: pl.DataFrame, other: pl.DataFrame, *agreeing: str) -> pl.DataFrame:
    """Each row with each row of the other table that agrees in some columns. The weights are multiplied."""
    pairs = table.join(
        other, on=agreeing or None, how="inner" if agreeing else "cross", suffix=" 2", maintain_order="left_right"
    )
    both = pl.col("weight") * pl.col("weight 2") // 10**3
    return pairs.with_columns(both).drop("weight 2") if "weight 2" in pairs.columns else pairs


def each_of(table: pl.DataFrame, mark: str, values: pl.DataFrame, *agreeing: str) -> pl.DataFrame:
    """The table, with each text that has a mark repeated for each `value`; they share its weight."""
    is_marked = pl.col("text").str.contains(mark, literal=True)
    marked = every_pair(table.filter(is_marked), values, *agreeing).with_columns(
        pl.col("text").str.replace(mark, pl.col("value"), literal=True),
        pl.col("weight") // pl.len().over("text", *agreeing),
    )
    return pl.concat([table.filter(~is_marked), marked.drop("value")])


def inside(text: str) -> pl.Expr:
    """A text with a blank before it, for the middle of a sentence; an empty one stays empty."""
    return pl.when(pl.col(text) == "").then(pl.lit("")).otherwise(" " + pl.col(text)).alias(text)
