"""Transcripts are what people say and a speech recognizer hears: segments, hesitations, mishearings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import SequenceMatcher

import polars as pl
import pytest

from tests.generators.conftest import Frames, pool

LANGUAGES = ["de", "en", "es", "fr", "pt"]


@dataclass(frozen=True)
class Segment:
    """One segment of a transcript."""

    start: float
    end: float
    speaker: int
    text: str


@pytest.fixture(scope="session")
def talks(example: Frames) -> pl.DataFrame:
    """Transcripts with the platform of their share, and the share that it duplicates, if any."""
    duplicate = pl.col("metadata").str.json_path_match("$.duplicate_of").str.replace_all("-", "")
    shares = example["shares"].select("platform", share_id="id", first=duplicate)
    return example["transcripts"].join(shares, on="share_id", maintain_order="left")


@pytest.fixture(scope="session")
def segments(talks: pl.DataFrame) -> list[list[Segment]]:
    """The segments of each."""
    return [[Segment(**segment) for segment in json.loads(text)] for text in talks["segments"]]


def test_texts_of_segments_add_up_to_the_body(talks: pl.DataFrame, segments: list[list[Segment]]) -> None:
    """Joined by blanks; words are separated by single blanks."""
    assert [" ".join(segment.text for segment in talk) for talk in segments] == talks["body"].to_list()
    assert talks["body"].str.split(" ").list.len().cast(pl.Int32).equals(talks["word_count"])
    assert not talks["body"].str.contains(r"[{}]|  |^ | $|\bnull\b").any()


def test_times_rise_without_overlap_and_end_with_the_talk(talks: pl.DataFrame, segments: list[list[Segment]]) -> None:
    """The first begins at 0, the last ends at `duration_seconds`."""
    for talk, seconds in zip(segments, talks["duration_seconds"], strict=True):
        times = [time for segment in talk for time in (segment.start, segment.end)]
        assert times == sorted(times)
        assert all(segment.start < segment.end for segment in talk)
        assert (times[0], times[-1]) == (0, seconds)


def test_people_speak_at_a_believable_rate(talks: pl.DataFrame, segments: list[list[Segment]]) -> None:
    """Two to three words a second over a talk, and no segment is far too fast."""
    rates = talks["word_count"] / talks["duration_seconds"]
    assert 1.7 < rates.min() < rates.max() < 3.3  # type: ignore[operator]
    fastest = max(len(part.text.split()) / (part.end - part.start) for talk in segments for part in talk)
    assert fastest < 8


def test_most_talks_are_short_and_few_are_long(example: Frames, talks: pl.DataFrame) -> None:
    """From 20 to 3,000 words, and two to three chunks on average."""
    words = talks["word_count"]
    assert 20 <= words.min() < words.max() <= 3_000  # type: ignore[operator]
    assert words.max() > 1_500  # type: ignore[operator]
    assert words.quantile(0.95) > 4 * words.median()  # type: ignore[operator]
    assert 2 < len(example["embeddings"]) / len(talks) < 3


def test_sentences_start_with_a_capital_and_end_with_a_mark(segments: list[list[Segment]]) -> None:
    """A capital at the start, a punctuation mark at the end."""
    texts = pl.Series([segment.text for talk in segments for segment in talk])
    assert texts.str.contains(r"^[¿¡]?\p{Lu}").all()
    assert texts.str.contains(r"[.?!]$").all()


def test_talks_have_one_to_four_speakers(talks: pl.DataFrame, segments: list[list[Segment]]) -> None:
    """One in a short clip or an article read aloud, up to four in a podcast."""
    counts = pl.Series([max(segment.speaker for segment in talk) for talk in segments])
    most = dict(
        pl.DataFrame({"platform": talks["platform"], "most": counts})
        .group_by("platform")
        .agg(pl.col("most").max())
        .rows()
    )
    assert most == {"tiktok": 1, "article": 1, "vimeo": 2, "youtube": 3, "podcast": 4}
    assert 0.3 < (counts > 1).mean() < 0.6  # type: ignore[operator]
    assert all(segment.speaker >= 1 for talk in segments for segment in talk)


def test_lower_confidence_means_more_hesitations(talks: pl.DataFrame) -> None:
    """Below 0.75 people hesitate at least three times as often as above 0.95."""
    pauses = pool("phrases").filter(role="hesitation")
    rates = []
    for certain in (pl.col("confidence") < 0.75, pl.col("confidence") > 0.95):
        mine = talks.filter(certain)
        found = sum(
            mine.filter(language=language)["body"].str.count_matches(f" {text} ", literal=True).sum()
            for language, text in pauses.select("language", "text").rows()
        )
        rates.append(found / int(mine["word_count"].sum()))
    assert rates[0] > 3 * rates[1] > 0


def test_lower_confidence_means_more_mishearings(talks: pl.DataFrame) -> None:
    """Below 0.75 the share of words that occur only once is at least twice that above 0.95."""
    words = talks.select("language", "confidence", word=pl.col("body").str.to_lowercase().str.extract_all(r"\p{L}+"))
    words = words.explode("word", empty_as_null=False)
    rare = words.with_columns(rare=pl.len().over("language", "word") == 1)
    low, high = (
        rare.filter(certain)["rare"].mean() for certain in (pl.col("confidence") < 0.75, pl.col("confidence") > 0.95)
    )
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low > 2 * high


def test_one_transcript_in_sixty_is_of_a_video_that_was_shared_before(talks: pl.DataFrame) -> None:
    """The same people say the same; a few words are heard differently."""
    again = talks.filter(pl.col("first").is_not_null())
    pairs = again.join(talks.with_columns(first=pl.col("share_id").bin.encode("hex")), on="first", suffix=" first")
    assert len(pairs) == len(again)
    assert 0.01 < len(again) / len(talks) < 0.025
    likeness = []
    for pair in pairs.iter_rows(named=True):
        one, two = (json.loads(pair[name]) for name in ("segments", "segments first"))
        assert [part["speaker"] for part in one] == [part["speaker"] for part in two]
        words = SequenceMatcher(None, pair["body"].split(), pair["body first"].split(), autojunk=False)
        likeness.append(words.ratio())
    assert min(likeness) > 0.75
    assert 0.9 < sum(likeness) / len(likeness) < 0.99


@pytest.mark.parametrize("language", LANGUAGES)
def test_talks_use_the_words_of_their_topic(talks: pl.DataFrame, language: str) -> None:
    """Most nouns that belong to one topic occur in talks on it."""
    nouns = pool("nouns").filter(language=language).with_columns(pl.len().over("text").alias("topics"))
    nouns = nouns.filter((pl.col("topic") != "any") & (pl.col("topics") == 1) & (pl.col("text").str.len_chars() > 5))
    right = total = 0
    for noun_topic, noun in nouns.select("topic", "text").rows():
        found = talks.filter(language=language).select("topic", n=pl.col("body").str.count_matches(noun, literal=True))
        total += int(found["n"].sum())
        right += int(found.filter(topic=noun_topic)["n"].sum())
    assert total > 500
    assert 0.6 < right / total < 0.95


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_topic_has_words_of_its_own_in_every_language(language: str) -> None:
    """Nouns, verbs and phrases, and articles for each gender."""
    topics = set(pool("topics")["topic"])
    assert len(topics) >= 12
    for name, least in {"nouns": 30, "verbs": 12}.items():
        counts = dict(pool(name).filter(language=language).group_by("topic").len().rows())
        assert set(counts) == topics | {"any"}, name
        assert min(counts.values()) >= least, name
    clauses = pool("clauses").filter(language=language).group_by("topic", "role").len()
    assert len(clauses) == len(topics) * 5
    genders = set(pool("nouns").filter(language=language)["gender"])
    assert genders == set(pool("determiners").filter(language=language)["gender"])
    people = set(pool("subjects").filter(language=language)["person"])
    assert people == set(pool("predicates").filter(language=language)["person"]) - {""}
