"""What is said in a share, as a speech recognizer hears it: sentences of one or more people on its topic."""

import polars as pl

from snapseed import Items, Rows, as_decimals, counted, entity, json_array, json_object

from .hearing import MISTAKES, heard
from .shares import shares
from .speech import sentences
from .vocabulary import SUBJECTS
from .wording import uuid_text

# The fewest and the most sentences per talk, and the most people who speak.
TALKS = pl.DataFrame(
    [
        ("tiktok", 4, 30, 1),
        ("vimeo", 6, 120, 2),
        ("article", 8, 160, 1),
        ("youtube", 6, 270, 3),
        ("podcast", 12, 270, 4),
    ],
    schema=["platform", "fewest", "most", "people"],
    orient="row",
)


@entity(
    parent=shares,
    per_parent=counted(pl.col("status") == "done", maximum=1),
    key="id",
    columns={
        "id": "uuid",
        "share_id": "uuid",
        "language": "text",
        "body": "text",
        "segments": "jsonb",
        "word_count": "integer",
        "duration_seconds": "integer",
        "topic": "text",
        "confidence": "numeric(4,3)",
        "created_at": "timestamptz",
    },
)
def transcripts(rows: Rows, shares: pl.DataFrame) -> pl.DataFrame:
    """What a speech recognizer hears, with simulated mistakes: the less confident it is, the more of them.

    Words that are missing, doubled or misspelled are meant to be: search and its users must cope with such texts.
    """
    medium = shares.select("platform").join(TALKS, on="platform", maintain_order="left")
    talk = pl.DataFrame(
        {
            "topic": shares["metadata"].str.json_path_match("$.topic"),
            "language": shares["metadata"].str.json_path_match("$.language"),
            "digression": rows.choice("digression", rows.pool("topics")["topic"]),
            "drift": rows.integers("drift", 0, rows.integers("drift at most", 0, 40)),
            "subject": rows.choice("subject", SUBJECTS),
            "people": rows.integers("people", 1, medium["people"]),
            "confidence": rows.integers("confidence", rows.integers("confidence at least", 600, 990), 995),
        }
    )
    # Most are short: half as many talks are at least twice as long.
    count = medium["fewest"] * medium["most"] // rows.integers("brevity", medium["fewest"], medium["most"])
    # A repeated share has the same talk; the recognizer hears it again, and makes other mistakes.
    original = originals(shares)
    count = count.gather(original)
    segments = rows.items("segments", count)
    said = speech(segments, talk[segments.owners], segments.of_owner(count) - 1)
    said = said[segments.of_owner((count.cum_sum() - count).gather(original)) + segments.positions]
    is_misheard = segments.integers("is misheard", 571, 1000) > segments.of_owner(talk["confidence"])
    text = heard(said["text"], segments.integers("mistake", 1, len(MISTAKES)) * is_misheard.cast(pl.Int64))

    # A segment's time is in proportion to its words, minus a pause before it. In hundredths of a second.
    words = text.str.count_matches(" ").cast(pl.Int64) + 1
    before, total = segments.running_total(words), segments.total(words)
    seconds = total * rows.integers("hundredths per word", 32, 46) // 100 + 1
    hundredths, of_total = segments.of_owner(seconds * 100), segments.of_owner(total)
    pause = segments.integers("pause", 5, 25) * (segments.positions > 0).cast(pl.Int64)
    segment = json_object(
        start=as_decimals(before * hundredths // of_total + pause, 2),
        end=as_decimals((before + words) * hundredths // of_total, 2),
        speaker=said["speaker"],
        text=text,
    )

    ready_by = shares.select(pl.min_horizontal("updated_at", pl.col("created_at") + pl.duration(hours=1))).to_series()
    return pl.DataFrame(
        {
            "id": rows.key(),
            "share_id": shares["id"],
            "language": talk["language"],
            "body": segments.joined(text),
            "segments": json_array(segments.lists(segment)),
            "word_count": total,
            "duration_seconds": seconds,
            "topic": talk["topic"],
            "confidence": as_decimals(talk["confidence"], 3),
            "created_at": rows.timestamps("created_at", shares["created_at"], ready_by),
        }
    )


def originals(shares: pl.DataFrame) -> pl.Series:
    """For each row, the row that it duplicates, or itself."""
    row = pl.int_range(len(shares), eager=True)
    known = pl.DataFrame({"id": uuid_text(shares["id"]), "row": row})
    shown = pl.DataFrame({"id": shares["metadata"].str.json_path_match("$.duplicate_of"), "itself": row})
    found = shown.join(known, on="id", how="left", maintain_order="left")
    return found.select(pl.coalesce("row", "itself")).to_series()


def speech(segments: Items, talk: pl.DataFrame, last: pl.Series) -> pl.DataFrame:
    """The `text` and `speaker` of each segment: a greeting, statements and replies, a closing."""
    next_speaker = segments.chance("next speaker", 0.3)
    turns = segments.running_total(next_speaker.cast(pl.Int64)) + next_speaker.cast(pl.Int64)
    other = segments.choice("other subject", SUBJECTS)
    about = talk.select(
        "language",
        "subject",
        topic=pl.when(segments.integers("drifts", 0, 99) < pl.col("drift")).then("digression").otherwise("topic"),
        role=pl.when(segments.positions == 0)
        .then(pl.lit("greeting"))
        .when(segments.positions == last)
        .then(pl.lit("closing"))
        .when((pl.col("people") > 1) & next_speaker & segments.chance("replies", 0.3))
        .then(pl.lit("reply"))
        .otherwise(pl.lit("statement")),
    ).with_columns(
        subject=pl.when(segments.chance("on anything", 0.08))
        .then(pl.lit("any"))
        .otherwise(pl.col("topic") + pl.when(segments.chance("on its subject", 0.55)).then("subject").otherwise(other)),
        is_linked=pl.lit(True),  # noqa: FBT003 - a column
        hesitates=(pl.col("role") == "statement") & (segments.integers("hesitates", 501, 1000) > talk["confidence"]),
    )
    return pl.DataFrame({"text": sentences(segments, "speech", about), "speaker": turns % talk["people"] + 1})
