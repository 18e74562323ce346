"""The four entities of the example by libraries that draw value by value: Faker and Mimesis, each as its users call it.

Only drawn, neither hashed nor written. Neither library has embeddings: the caller says what makes one of a text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import faker
import mimesis
import polars as pl

from snapseed import HashingEmbedder

_DIMENSIONS = 384
_WORDS_PER_CHUNK = 120
_WORDS_PER_SENTENCE = 12
Row = dict[str, object]
Embed = Callable[[str], object]


def by_faker(counts: Sequence[int], words: int, embed: Embed) -> int:
    """So many users, shares, transcripts (of so many words) and chunks; the number of rows."""
    fake = faker.Faker()
    fake.seed_instance(1)
    moment = fake.date_time_this_decade
    users = _rows(
        counts[0],
        lambda: {
            "id": fake.uuid4(),
            "email": fake.email(),
            "username": fake.user_name(),
            "display_name": fake.name(),
            "locale": fake.locale(),
            "timezone": fake.timezone(),
            "plan": fake.random_element(("free", "pro", "team")),
            "is_active": fake.boolean(),
            "preferences": fake.json(data_columns=[("theme", "word"), ("digest", "word")], num_rows=1),
            "created_at": moment(),
            "updated_at": moment(),
        },
    )
    shares = _rows(
        counts[1],
        lambda: {
            "id": fake.uuid4(),
            "user_id": fake.random_element(users)["id"],
            "url": fake.url(),
            "platform": fake.random_element(("youtube", "tiktok", "podcast")),
            "title": fake.sentence(),
            "description": fake.text(100),
            "status": fake.random_element(("done", "pending", "error")),
            "view_count": fake.random_int(0, 100_000),
            "tags": fake.words(3),
            "metadata": fake.json(data_columns=[("topic", "word"), ("language", "word")], num_rows=1),
            "created_at": moment(),
            "updated_at": moment(),
        },
    )
    transcripts = _rows(
        counts[2],
        lambda: {
            "id": fake.uuid4(),
            "share_id": fake.random_element(shares)["id"],
            "language": fake.language_code(),
            **_speech([fake.sentence(_WORDS_PER_SENTENCE) for _ in range(words // _WORDS_PER_SENTENCE)]),
            "duration_seconds": fake.random_int(20, 400),
            "topic": fake.word(),
            "confidence": fake.pydecimal(left_digits=0, right_digits=3, positive=True),
            "created_at": moment(),
        },
    )
    chunks = _chunks(counts[3], fake.uuid4, lambda: fake.random_element(transcripts), embed)
    return sum(map(len, (users, shares, transcripts, chunks)))


def by_mimesis(counts: Sequence[int], words: int, embed: Embed) -> int:
    """The same by Mimesis."""
    make = mimesis.Generic(locale=mimesis.Locale.EN, seed=1)
    users = _rows(
        counts[0],
        lambda: {
            "id": make.cryptographic.uuid(),
            "email": make.person.email(),
            "username": make.person.username(),
            "display_name": make.person.full_name(),
            "locale": make.code.locale_code(),
            "timezone": make.datetime.timezone(),
            "plan": make.choice(["free", "pro", "team"]),
            "is_active": make.development.boolean(),
            "preferences": f'{{"theme": "{make.text.word()}", "digest": "{make.text.word()}"}}',
            "created_at": make.datetime.datetime(),
            "updated_at": make.datetime.datetime(),
        },
    )
    shares = _rows(
        counts[1],
        lambda: {
            "id": make.cryptographic.uuid(),
            "user_id": make.choice(users)["id"],
            "url": make.internet.url(),
            "platform": make.choice(["youtube", "tiktok", "podcast"]),
            "title": make.text.title(),
            "description": make.text.sentence(),
            "status": make.choice(["done", "pending", "error"]),
            "view_count": make.numeric.integer_number(0, 100_000),
            "tags": make.text.words(3),
            "metadata": f'{{"topic": "{make.text.word()}", "language": "{make.text.word()}"}}',
            "created_at": make.datetime.datetime(),
            "updated_at": make.datetime.datetime(),
        },
    )
    transcripts = _rows(
        counts[2],
        lambda: {
            "id": make.cryptographic.uuid(),
            "share_id": make.choice(shares)["id"],
            "language": make.code.locale_code(),
            **_speech([make.text.sentence() for _ in range(words // _WORDS_PER_SENTENCE)]),
            "duration_seconds": make.numeric.integer_number(20, 400),
            "topic": make.text.word(),
            "confidence": make.numeric.decimal_number(0, 1),
            "created_at": make.datetime.datetime(),
        },
    )
    chunks = _chunks(counts[3], make.cryptographic.uuid, lambda: make.choice(transcripts), embed)
    return sum(map(len, (users, shares, transcripts, chunks)))


def _rows(count: int, row: Callable[[], Row]) -> list[Row]:
    return [row() for _ in range(count)]


def _speech(sentences: Sequence[str]) -> Row:
    body = " ".join(sentences)
    segments = [{"start": 7 * number, "end": 7 * number + 6, "text": text} for number, text in enumerate(sentences)]
    return {"body": body, "segments": segments, "word_count": body.count(" ") + 1}


def random_numbers(_text: str) -> object:
    """Numbers that have nothing to do with the text."""
    return [random.uniform(-1, 1) for _ in range(_DIMENSIONS)]


def embedding(text: str) -> object:
    """The vector that the example has for this text, by the same embedder."""
    return HashingEmbedder().embed(pl.Series([text]))[0]


def _chunks(count: int, key: Callable[[], object], one: Callable[[], Any], embed: Embed) -> list[Row]:
    def row() -> Row:
        transcript = one()
        content = " ".join(transcript["body"].split(" ")[:_WORDS_PER_CHUNK])
        return {
            "id": key(),
            "transcript_id": transcript["id"],
            "chunk_index": 0,
            "content": content,
            "model": HashingEmbedder.model,
            "embedding": embed(content),
        }

    return _rows(count, row)
