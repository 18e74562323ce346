"""Whether the example's texts are of use to those who try search, classification and deduplication on them.

`make bench-content` generates them, measures, and writes `docs/content.md`. Only this needs scikit-learn.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from benchmarks.measure import aligned
from snapseed import HashingEmbedder, find_project, generate_snapshot
from snapseed.generate.part import available_cores
from snapseed.generate.request import Request

_REPOSITORY = Path(__file__).resolve().parents[1]
# Two transcripts that are closer than this are taken for the same video.
_SAME = 0.93
# Ranks that the Zipf curve is fitted to: below, the words of grammar are flatter; above, counts are small and jump.
_RANKS = (1, 3_000)

Floats = npt.NDArray[np.float32]

_OPENING = """\
# Content

What the example's rows are like, and how that was measured. Written by `make bench-content`; nothing here is edited by
hand. The bars are ours: texts should be neither noise nor a give-away.

Transcripts are put together from words: {topics} topics in {languages} languages, each with verbs, nouns, names and
phrases of its own ([generators/pools](../generators/pools)). A talk has a topic, a subject within it, one to four
speakers, and drifts off now and then. The less the recogniser's `confidence`, the more the speakers hesitate and the
more it mishears: words are missed, doubled, clipped or taken for others. Shares mostly go by what their users like
and speak. About one transcript in sixty is of a video that its user has shared before; the share's metadata says so:

```console
$ snapseed generate --scale 200
$ snapseed load dev
```

```sql
SELECT again.title, first.created_at, again.created_at
FROM shares again JOIN shares first ON first.id = (again.metadata ->> 'duplicate_of')::uuid
```
"""

_READING = """\
## How it is measured

- *Neighbours*: each transcript's body is embedded by the built-in `HashingEmbedder`; its nearest neighbour by cosine in
  the same language shares its topic, or not. Short talks find fewer, and so do languages with few transcripts.
- *Classifier*: TF-IDF of words, then logistic regression (scikit-learn's defaults); trained on seven tenths of the
  bodies, the accuracy on the rest is given. What it gets wrong has drifted far, or says little.
- *Near-duplicates*: pairs, among all transcripts of all languages, whose cosine is above {same}, against those that the
  metadata names. With more transcripts there are more pairs by chance, so a larger set wants a higher limit.
- *Zipf*: the slope of frequency over rank, both as logarithms, at evenly spaced ranks from {first} to {last:,} (or the
  last that there is). Natural texts have about −1.
- *Compression*: bytes of the bodies ÷ bytes that zstd makes of them, one behind the other. Natural texts have 2 – 4.
- *Words that differ*: their edit distance. Both transcripts mishear, so each mishears half as many.

## What is weak

- Grammar holds a sentence together, a subject a talk; no sentence follows from the one before. Texts are for
  machines that count and compare words, not for those that understand them.
- Verbs and nouns of one topic are combined freely: somebody may well knead a recipe.
- The same names, of people and places, stand in all languages; everything else is of its own language alone.
"""


@dataclass(frozen=True)
class Content:
    """Transcripts with the vectors of their bodies, and the pairs that are of the same video."""

    transcripts: pl.DataFrame
    vectors: Floats
    pairs: set[tuple[int, int]]


def main() -> None:
    """Generate, measure, print, and write the page where everything was measured at full size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_500, help="how many users' transcripts (default: 2500)")
    parser.add_argument("--output", type=Path, default=_REPOSITORY / "docs" / "content.md")
    options = parser.parse_args()
    content = made(options.users)
    page = "\n".join([_opening(content), *_tables(content, options.users), _reading()])
    print(page)
    if options.users == parser.get_default("users"):
        options.output.write_text(page, encoding="utf-8")


def made(users: int) -> Content:
    """The transcripts of so many users of the example."""
    project = find_project(_REPOSITORY)
    with tempfile.TemporaryDirectory(prefix="snapseed-content-") as folder:
        elsewhere = type(project)(**{**vars(project), "snapshots": Path(folder)})
        generate_snapshot(elsewhere, Request("content", project.seed, users), jobs=available_cores())
        files = {name: sorted(Path(folder).glob(f"content/**/{name}*")) for name in ("shares", "transcripts")}
        shares, transcripts = pl.read_parquet(files["shares"]), pl.read_parquet(files["transcripts"])
    return Content(transcripts, embedded(transcripts["body"]), same_videos(shares, transcripts))


def embedded(texts: pl.Series) -> Floats:
    """Unit vectors."""
    vectors = HashingEmbedder().embed(texts).to_numpy().astype(np.float32)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def same_videos(shares: pl.DataFrame, transcripts: pl.DataFrame) -> set[tuple[int, int]]:
    """The pairs of rows of `transcripts` that the metadata of shares names as of one video."""
    first = pl.col("metadata").str.json_path_match("$.duplicate_of").str.replace_all("-", "")
    original = shares.select(share_id="id", video=pl.coalesce(first, pl.col("id").bin.encode("hex")))
    rows = transcripts.select("share_id").with_row_index().join(original, on="share_id", maintain_order="left")
    groups = rows.group_by("video").agg(pl.col("index").sort()).filter(pl.col("index").list.len() > 1)
    return {(one, two) for group in groups["index"].to_list() for one in group for two in group if one < two}


def neighbours_share_the_topic(content: Content, language: str) -> float:
    """How many of a language's transcripts have the topic of their nearest neighbour."""
    chosen = (content.transcripts["language"] == language).to_numpy()
    topics, vectors = content.transcripts["topic"].to_numpy()[chosen], content.vectors[chosen]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    return float((topics[cosines.argmax(axis=1)] == topics).mean())


def topics_found(content: Content, language: str) -> float:
    """How many topics a linear classifier finds from bodies that it has not seen."""
    mine = content.transcripts.filter(language=language)
    train, test = train_test_split(
        np.arange(len(mine)), test_size=0.3, random_state=0, stratify=mine["topic"].to_list()
    )
    bodies, topics = mine["body"].to_numpy(), mine["topic"].to_numpy()
    words = TfidfVectorizer()
    classifier = LogisticRegression(max_iter=1_000).fit(words.fit_transform(bodies[train]), topics[train])
    return float(classifier.score(words.transform(bodies[test]), topics[test]))


def duplicates_found(content: Content, same: float) -> tuple[float, float]:
    """Precision and recall of taking all pairs above a cosine for the same video."""
    found: set[tuple[int, int]] = set()
    for start in range(0, len(content.vectors), 1_000):
        rows, columns = np.nonzero(content.vectors[start : start + 1_000] @ content.vectors.T > same)
        found |= {
            (row, column) for row, column in zip((rows + start).tolist(), columns.tolist(), strict=True) if row < column
        }
    right = len(found & content.pairs)
    return right / max(len(found), 1), right / max(len(content.pairs), 1)


def frequencies(bodies: pl.Series) -> npt.NDArray[np.int64]:
    """How often each word stands in the texts, the most frequent first."""
    words = bodies.str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").explode(empty_as_null=False)
    counts: npt.NDArray[np.int64] = words.value_counts(sort=True)["count"].to_numpy().astype(np.int64)
    return counts


def zipf_slope(counts: npt.NDArray[np.int64]) -> float:
    """The slope of frequency over rank, both as logarithms."""
    ranks = np.unique(np.geomspace(_RANKS[0], min(len(counts), _RANKS[1]), 40).astype(np.int64))
    slope, _ = np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)
    return float(slope)


def compression(bodies: pl.Series, level: int) -> float:
    """How many times smaller zstd makes the texts."""
    data = "\n".join(bodies.to_list()).encode()
    return len(data) / len(pa.Codec("zstd", compression_level=level).compress(data))


def misheard(content: Content) -> float:
    """Of the words of a video, those that two transcripts of it differ in."""
    bodies = content.transcripts["body"]
    edits = words = 0
    for one, two in sorted(content.pairs):
        first, second = bodies[one].split(), bodies[two].split()
        edits, words = edits + _distance(first, second), words + len(first)
    return edits / max(words, 1)


def _distance(one: Sequence[str], two: Sequence[str]) -> int:
    """Levenshtein's, in words."""
    row = list(range(len(two) + 1))
    for number, word in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, other in enumerate(two, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (word != other))
    return row[-1]


def _opening(content: Content) -> str:
    known = content.transcripts
    return _OPENING.format(topics=known["topic"].n_unique(), languages=known["language"].n_unique())


def _reading() -> str:
    return _READING.format(same=_SAME, first=_RANKS[0], last=_RANKS[1])


def _tables(content: Content, users: int) -> list[str]:
    known = content.transcripts
    languages = known["language"].value_counts(sort=True)["language"].to_list()
    by_language = []
    for language in languages:
        bodies = known.filter(language=language)["body"]
        counts = frequencies(bodies)
        by_language.append(
            (
                language,
                f"{len(bodies):,}",
                f"{neighbours_share_the_topic(content, language):.1%}",
                f"{topics_found(content, language):.1%}",
                f"{zipf_slope(counts):.2f}".replace("-", "−"),
                f"{len(counts):,}",
                f"{compression(bodies, 1):.2f}",
                f"{compression(bodies, 3):.2f}",
            )
        )
    header = ("language", "transcripts", "neighbours", "classifier", "Zipf", "words", "zstd −1", "zstd −3")
    bars = ("*bar*", "", "*≥ 90 %*", "*85 – 99 %*", "*about −1*", "", "*2 – 4*", "*2 – 4*")
    precision, recall = duplicates_found(content, _SAME)
    words = known["word_count"].to_numpy()
    rate = words / known["duration_seconds"].to_numpy()
    speakers = np.array([max(part["speaker"] for part in json.loads(text)) for text in known["segments"]])
    lines = [
        ("near-duplicates found: precision", f"{precision:.3f}", "≥ 0.9"),
        ("near-duplicates found: recall", f"{recall:.3f}", "≥ 0.9"),
        ("near-duplicates among transcripts", f"{len(content.pairs) / len(known):.1%}", "1 – 2 %"),
        ("words that two transcripts of one video differ in", f"{misheard(content):.1%}", ""),
        ("compression of all bodies, zstd level 1, as in the files", f"{compression(known['body'], 1):.2f}", "2 – 4"),
        ("compression of all bodies, zstd level 3", f"{compression(known['body'], 3):.2f}", "2 – 4"),
        ("words: fewest, median, mean", f"{words.min()}, {np.median(words):.0f}, {words.mean():.0f}", "20 at least"),
        ("words: 95 of 100 below, most", f"{np.quantile(words, 0.95):,.0f}, {words.max():,}", "3,000 at most"),
        (
            "words a second: slowest, median, fastest",
            f"{rate.min():.1f}, {np.median(rate):.1f}, {rate.max():.1f}",
            "2 – 3.2",
        ),
        ("with more than one speaker", f"{(speakers > 1).mean():.0%}", ""),
    ]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("snapseed", "scikit-learn"))
    return [
        f"## Figures\n\n{len(known):,} transcripts of {users:,} users, with {versions}.\n",
        aligned(header, [*by_language, bars]) + "\n",
        aligned(("all languages", "found", "bar"), lines) + "\n",
    ]


if __name__ == "__main__":
    main()
