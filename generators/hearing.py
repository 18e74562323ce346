"""What a recogniser makes of speech: the same words, but for those that it misses or takes for others."""

import polars as pl

# Ways to get a text wrong behind N words: what is there, and what is heard instead.
_WAYS = [
    ("^((?:[^ ]+ ){N})[^ ]+ ", "${1}"),  # a word is missed
    ("^((?:[^ ]+ ){N}[^ ]+) ", "${1}"),  # two words are run together
    ("^((?:[^ ]+ ){N}[^ ]{3,})[a-z] ", "${1} "),  # an ending is swallowed
    ("^((?:[^ ]+ ){N}[^ ]*?)(?:ou|ei|ai|ie|ea|oo|ui|ão)", "${1}e"),  # a vowel is taken for another
    ("^((?:[^ ]+ ){N}[^ ]*?)[bpv]", "${1}f"),  # a consonant is
]
# Speech that is hard to hear is misheard twice: in one way behind so many words, in another behind so many.
MISTAKES = [
    [(way.replace("N", str(one)), instead), (other.replace("N", str(two)), other_instead)]
    for one, two in [(1, 5), (3, 8), (5, 9), (8, 6)]
    for (way, instead), (other, other_instead) in zip(_WAYS, _WAYS[3:] + _WAYS[:3], strict=True)
]


def heard(texts: pl.Series, mistake: pl.Series) -> pl.Series:
    """The texts as they are heard, each with the mistakes of that number, counted from 1, or with none for 0.

    A text that is too short for a mistake, or has no such sound, keeps that word as it is.
    """
    said = pl.DataFrame({"text": texts, "mistake": mistake, "place": pl.int_range(len(texts), eager=True)})
    clear, unclear = said.filter(pl.col("mistake") == 0), said.filter(pl.col("mistake") > 0)
    parts = [clear]
    for number, mistakes in enumerate(MISTAKES, start=1):
        text = pl.col("text")
        for pattern, instead in mistakes:
            text = text.str.replace(pattern, instead)
        parts.append(unclear.filter(pl.col("mistake") == number).with_columns(text))
    every = pl.concat(parts)
    return every["text"].gather(every["place"].arg_sort())
