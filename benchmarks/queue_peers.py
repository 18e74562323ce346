"""The work of an embedding worker without a queue, with RQ, and with a plain loop around `BRPOP`.

All of them read the texts, embed them and write the vectors with the code of snapseed's workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from psycopg import sql

from snapseed.embeddings.chunks import chunk_rows
from snapseed.embeddings.queue import decode_job
from snapseed.embeddings.source import EmbeddingSession
from snapseed.embeddings.write import Writer, prepare_writer, read_texts, write_chunks
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows

if TYPE_CHECKING:
    import redis

# As many texts as in a worker's largest batch.
_BATCH = 2048
_LIST = "benchmark:list"


@dataclass(frozen=True)
class Work:
    """What a job asks for: read a text, embed it, write the vectors and commit."""

    session: EmbeddingSession
    writer: Writer

    def __call__(self, keys: Sequence[str]) -> None:
        """Do it for the texts with these keys."""
        connection, source = self.session.connection, self.session.source
        with connection.transaction():
            texts = read_texts(connection, self.writer, keys)
            write_chunks(connection, self.writer, keys, chunk_rows(source, texts.keys, texts.texts))


# RQ calls a function that it finds by name, in this same process.
_current_work: list[Work] = []


def work_for_rq(keys: Sequence[str]) -> None:
    """The function that RQ's jobs call."""
    _current_work[-1](keys)


def embed_without_queue(session: EmbeddingSession) -> None:
    """Embed all texts in this process: read them with a cursor and COPY the vectors into the empty target."""
    connection, source = session.connection, session.source
    writer = prepare_writer(connection, source)
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in source.target.columns)
    copy_into = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT binary)").format(writer.plan.table.identifier(), names)
    columns = sql.SQL(", ").join(map(sql.Identifier, (source.text_key, source.settings.text)))
    with connection.transaction(), connection.cursor("snapseed_benchmark", binary=True) as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {} ORDER BY 1").format(columns, writer.names["texts"]))
        while found := cursor.fetchmany(_BATCH):
            keys = pl.Series([key.bytes for key, _ in found], dtype=pl.Binary)  # type: ignore[attr-defined]
            arrays = chunk_rows(source, keys, pl.Series([text for _, text in found], dtype=pl.String))
            with connection.cursor() as writing, writing.copy(copy_into) as copy:
                copy.write(BINARY_HEADER)
                copy.write(memoryview(encode_rows(arrays, writer.plan)))
                copy.write(BINARY_TRAILER)


def enqueue_rq(client: redis.Redis, jobs: Sequence[Sequence[str]]) -> None:
    """Put one RQ job for each list of keys into its queue, pipelined and without keeping results."""
    from rq import Queue  # noqa: PLC0415 - only benchmarks need it

    queue = Queue("benchmark", connection=client)
    queue.empty()
    for start in range(0, len(jobs), _BATCH):
        some = jobs[start : start + _BATCH]
        queue.enqueue_many([Queue.prepare_data(work_for_rq, (list(keys),), result_ttl=0) for keys in some])


def drain_rq(session: EmbeddingSession, client: redis.Redis) -> None:
    """Work with RQ's fastest worker, which does not fork, until its queue is empty."""
    from rq import Queue, SimpleWorker  # noqa: PLC0415 - only benchmarks need it

    _current_work.append(Work(session, prepare_writer(session.connection, session.source)))
    SimpleWorker([Queue("benchmark", connection=client)], connection=client).work(burst=True, logging_level="ERROR")
    _current_work.pop()


def push_list(client: redis.Redis, payloads: Sequence[bytes]) -> None:
    """Push snapseed's own payloads to a list."""
    client.delete(_LIST)
    for start in range(0, len(payloads), _BATCH):
        client.lpush(_LIST, *payloads[start : start + _BATCH])


def drain_list(session: EmbeddingSession, client: redis.Redis) -> None:
    """Pop a job, do it, and repeat until the list is empty. If the process dies, the popped job is lost."""
    work = Work(session, prepare_writer(session.connection, session.source))
    while client.llen(_LIST):
        popped = client.brpop([_LIST], timeout=1)
        if popped is not None:
            payload = popped[1]
            assert isinstance(payload, bytes)
            work(decode_job(session.source.form, payload))
