"""Letters whose parts workers make, with a real Valkey and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
import redis

from snapseed import HashingEmbedder, load_snapshot
from snapseed.config import Environment
from snapseed.embeddings.embedder import Embedder
from snapseed.embeddings.enqueue import enqueue_load
from snapseed.embeddings.service import ServiceOptions, run_workers
from snapseed.embeddings.source import EmbeddingSession, embedding_session
from snapseed.embeddings.worker import BatchDone
from snapseed.events import Event, Listener
from tests.conftest import Sandbox
from tests.projects.own_valkey import OwnValkey, own_valkey

CHUNK = 120


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[OwnValkey]:
    """A server for many tests."""
    with own_valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: OwnValkey) -> Iterator[redis.Redis]:
    """A client of that server, which is empty."""
    with valkey_server.client() as client:
        client.flushall()
        yield client


@dataclass(frozen=True)
class Post:
    """A project with letters, its database and its queue."""

    sandbox: Sandbox
    redis_url: str
    batches: list[BatchDone] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.sandbox.folder

    def environment(self, **overrides: object) -> Environment:
        """The environment dev."""
        return self.sandbox.environment("dev", **{"redis": self.redis_url, **overrides})

    def configure(self, **settings: object) -> None:
        """Put settings into [embeddings], in TOML as they are written by `repr`."""
        file = self.folder / "snapseed.toml"
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        file.write_text(file.read_text().replace("[embeddings]\n", f"[embeddings]\n{lines}"))

    def keep_content(self) -> None:
        """Let chunks keep their text."""
        self.configure(content="'content'")

    def load(self) -> int | None:
        """Load the letters, and put their jobs into the queue."""
        load_snapshot(self.sandbox.project, self.environment())
        return enqueue_load(self.sandbox.project, self.environment())

    def session(self) -> AbstractContextManager[EmbeddingSession]:
        """The queue and the database, open."""
        return embedding_session(self.sandbox.project, self.environment())

    def drain(self, concurrency: int = 1) -> None:
        """Process jobs until the queue is empty."""
        options = ServiceOptions(drain=True, concurrency=concurrency, patience_seconds=20)
        run_workers(self.sandbox.project, self.environment(), options, self.told)

    def told(self, event: Event) -> None:
        """Keep what each batch came to in `batches`."""
        if isinstance(event, BatchDone):
            self.batches.append(event)

    def put(self, *payloads: bytes) -> None:
        """Put something into the queue."""
        with self.session() as session:
            session.queue.put(payloads)

    def put_keys(self, *keys: object) -> None:
        """Put jobs for these letters into the queue, as an application would write them."""
        self.put(*(b'{"keys": ["%s"]}' % str(key).encode() for key in keys))

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """What the database answers."""
        with self.sandbox.connect() as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def then(self, statement: str) -> Listener:
        """A listener that executes this after a batch."""

        def act(event: Event) -> None:
            if isinstance(event, BatchDone):
                self.execute(statement)

        return act

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command says on both streams, once it has ended with this code."""
        result = self.sandbox.run(*arguments, SNAPSEED_REDIS=self.redis_url)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def parts(self, model: str = HashingEmbedder.model) -> list[tuple[object, ...]]:
        """What the workers have written: letter, number and vector."""
        query = f"SELECT letter, part, numbers::float8[] FROM parts WHERE made_by = '{model}' ORDER BY 1, 2"  # noqa: S608
        return self.execute(query)

    def expected(self, embedder: Embedder | None = None) -> list[tuple[object, ...]]:
        """What should be there: each letter's words in as few even pieces of 120 at most as there can be."""
        pieces = []
        for letter, body in self.execute("SELECT id, coalesce(body, '') FROM letters ORDER BY 1"):
            words = str(body).split(" ")
            count = -(-len(words) // CHUNK)
            for part in range(count):
                start, end = (len(words) * number // count for number in (part, part + 1))
                pieces.append((letter, part, " ".join(words[start:end])))
        vectors = (embedder or HashingEmbedder()).embed(pl.Series([text for *_, text in pieces], dtype=pl.String))
        found = vectors.cast(pl.List(pl.Float64)).to_list()
        return [(letter, part, vector) for (letter, part, _), vector in zip(pieces, found, strict=True)]


@pytest.fixture
def post(make_generated: Callable[[str], Sandbox], valkey: redis.Redis, valkey_server: OwnValkey) -> Post:
    """Forty letters, generated and not yet loaded."""
    assert valkey.dbsize() == 0
    return Post(make_generated("letters"), valkey_server.url)
