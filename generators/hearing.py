"""What a speech recognizer hears: the words that were said, some of them missed, doubled or confused."""

import polars as pl

# What is said, and what is heard instead: small words of each language, endings and sounds. A word that is not missed
# never becomes empty.
_SMALL_WORDS = {
    " the ": " ",
    " de ": " ",
    " und ": " ",
    " a ": " ",
    " que ": " que que ",
    " der ": " ",
    " and ": " and and ",
    " la ": " ",
    " die ": " die die ",
    " le ": " ",
}
_ENDINGS = {
    "en ": "n ",
    "ns ": "n ",
    "te ": "t ",
    "nt ": "n ",
    "ing ": "in ",
    "er ": "a ",
    "os ": "o ",
    "ed ": "d ",
    "ar ": "a ",
    "es ": "is ",
    "as ": "a ",
    "ne ": "n ",
    "it ": "i ",
    "le ": "l ",
    "is ": "i ",
}
_SOUNDS = {
    "ei": "ai",
    "v": "f",
    "ou": "o",
    "b": "p",
    "ie": "e",
    "ch": "sh",
    "ea": "i",
    "nd": "n",
    "oo": "u",
    "qu": "k",
    "ão": "an",
    "p": "b",
    "th": "f",
    "ai": "e",
    "ss": "s",
    "ui": "i",
}
# Each kind of mishearing makes several mistakes, but few in one word, so that a language stays recognizable.
MISTAKES = [
    [
        list(ways.items())[(number * step + first) % len(ways)]
        for ways, first, step in (
            (_SMALL_WORDS, 0, 1),
            (_ENDINGS, 0, 3),
            (_ENDINGS, 5, 1),
            (_ENDINGS, 9, 7),
            (_SOUNDS, 0, 1),
            (_SOUNDS, 5, 3),
        )
    ]
    for number in range(16)
]


def heard(texts: pl.Series, mistake: pl.Series) -> pl.Series:
    """The texts as they are heard: `mistake` is the number of a kind of mishearing, from 1, or 0 for none.

    Each of its mistakes is made once, where the sound first occurs.
    """
    order = mistake.arg_sort()
    said, found = texts.gather(order).to_frame("text"), mistake.gather(order)
    starts = [0, *found.search_sorted(pl.Series(range(1, len(MISTAKES) + 1))), len(said)]
    parts = [said.slice(0, starts[1])]
    for number, mistakes in enumerate(MISTAKES, start=1):
        text = pl.col("text")
        for sound, instead in mistakes:
            text = text.str.replace(sound, instead, literal=True)
        parts.append(said.slice(starts[number], starts[number + 1] - starts[number]).select(text))
    return pl.concat(parts)["text"].gather(order.arg_sort())
