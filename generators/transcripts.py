"""What is said in a share: speech in its language and on its topic, in segments that fill its duration."""

import polars as pl

from snapseed import Items, Rows, as_decimals, counted, entity, json_array, json_object

from .shares import shares
from .wording import capitalised

# Sentences of this length, greeting and closing aside, make two to three words a second.
SECONDS_PER_SENTENCE = 7
# Segments draw from the two halves of a pool in turn, so that nobody says the same thing twice running.
TURNS = 2


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
    """A greeting, sentences, now and then a reply, a closing; the less confident, the more the speaker hesitates."""
    about = shares.select(
        topic=pl.col("metadata").str.json_path_match("$.topic"),
        language=pl.col("metadata").str.json_path_match("$.language"),
        seconds=pl.col("metadata").str.json_path_match("$.duration").cast(pl.Int64),
        ready_by=pl.min_horizontal("updated_at", pl.col("created_at") + pl.duration(hours=1)),
    )
    count = 2 + about["seconds"] // SECONDS_PER_SENTENCE
    confidence = rows.integers("confidence", rows.integers("confidence at least", 600, 990), 995)

    segments = rows.items("segments", count)
    in_dialogue = segments.of_owner(rows.chance("in dialogue", 0.5)) & segments.chance("reply", 0.5)
    role = pl.select(
        pl.when(segments.positions == 0)
        .then(pl.lit("greeting"))
        .when(segments.positions == segments.of_owner(count) - 1)
        .then(pl.lit("closing"))
        .when(in_dialogue & ((segments.positions + 1) % 3 == 0))
        .then(pl.lit("reply"))
        .otherwise(pl.lit("opener"))
    ).to_series()
    about = about.with_columns(confidence=confidence, first_turn=rows.integers("first turn", 1, TURNS))
    text = spoken(segments, role, about[segments.owners])

    # Each segment lasts as long as its share of the words, less a pause behind it; in hundredths of a second.
    words = text.str.count_matches(" ", literal=True).cast(pl.Int64) + 1
    before, total = segments.running_total(words), segments.of_owner(segments.total(words))
    hundredths = segments.of_owner(about["seconds"] * 100)
    segment = json_object(
        start=as_decimals(before * hundredths // total, 2),
        end=as_decimals((before + words) * hundredths // total - segments.integers("pause", 10, 40), 2),
        speaker=(role == "reply").cast(pl.Int64) + 1,
        text=text,
    )

    return pl.DataFrame(
        {
            "id": rows.key(),
            "share_id": shares["id"],
            "language": about["language"],
            "body": segments.joined(text),
            "segments": json_array(segments.lists(segment)),
            "word_count": segments.total(words),
            "duration_seconds": about["seconds"],
            "topic": about["topic"],
            "confidence": as_decimals(confidence, 3),
            "created_at": rows.timestamps("created_at", shares["created_at"], about["ready_by"]),
        }
    )


def spoken(segments: Items, role: pl.Series, about: pl.DataFrame) -> pl.Series:
    """The text of each segment, given its role and what its transcript is about."""
    in_turns = (pl.int_range(pl.len()) % TURNS).alias("turn")
    connectors, clauses = (segments.pool(name).with_columns(in_turns) for name in ("connectors", "clauses"))
    topic, language, turn = about["topic"], about["language"], (about["first_turn"] + segments.positions) % TURNS

    connector = segments.sample("connector", connectors, language=language, turn=turn, role=role)["text"]
    action = segments.sample("action", clauses, topic=topic, language=language, turn=turn, role="action")["text"]
    detail = segments.sample("detail", clauses, topic=topic, language=language, turn=turn, role="detail")["text"]
    hesitation = segments.sample("hesitation", connectors, language=language, turn=turn, role="hesitation")["text"]

    hesitates = segments.integers("hesitates", 1, 1000) > about["confidence"]
    sentence = action + ", " + (hesitation + " " + detail).zip_with(hesitates, detail) + "."
    sentence = (connector + " " + sentence).zip_with(segments.chance("opened", 0.6), sentence)
    return capitalised(sentence.zip_with(role == "opener", connector))
