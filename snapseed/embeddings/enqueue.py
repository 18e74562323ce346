"""A job for each text whose chunks are not all there: what a load leaves to do, and what was lost since."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from psycopg import sql

from snapseed.database.connect import Connection
from snapseed.embeddings.chunking import CHUNK_WORDS
from snapseed.embeddings.jobs import encode_jobs
from snapseed.embeddings.queues import JobQueue
from snapseed.embeddings.source import Source
from snapseed.verify.schema import table_name

# Jobs that go to the queue in one command, and keys that come from the server in one message.
_BATCH = 5_000

# A text has one chunk at least, and begins another after each 120 words between single blanks: see `chunking`. Only
# texts that have chunks are read and counted, so that those of a fresh load cost no more than a look into an index.
_INCOMPLETE = """
SELECT text.{key}::text
  FROM {texts} text
 CROSS JOIN LATERAL (
       SELECT count(*) AS chunks FROM {target} chunk WHERE chunk.{parent} = text.{key} AND chunk.{model} = %(name)s
       ) held
 WHERE CASE held.chunks WHEN 0 THEN true
       ELSE held.chunks
            <> greatest(1, (cardinality(string_to_array(coalesce(text.{text}, ''), ' ')) + {words} - 1) / {words}) END
 ORDER BY text.{key}
"""


def incomplete(source: Source) -> sql.Composed:
    """The query for the keys of texts that lack a chunk of this model, or have too many."""
    settings = source.settings
    return sql.SQL(_INCOMPLETE).format(
        key=sql.Identifier(source.texts.key),
        text=sql.Identifier(settings.text),
        texts=table_name(source.texts).identifier(),
        target=table_name(source.target).identifier(),
        parent=sql.Identifier(settings.parent),
        model=sql.Identifier(settings.model),
        words=sql.Literal(CHUNK_WORDS),
    )


def enqueue_incomplete(
    connection: Connection, queue: JobQueue, source: Source, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Put a job into the queue for each of them, streamed; returns how many. `progress` gets the number so far."""
    jobs = 0
    with connection.transaction(), connection.cursor("snapseed_incomplete") as cursor:
        cursor.execute(incomplete(source), {"name": source.embedder.model})
        while found := cursor.fetchmany(_BATCH):
            keys = pl.Series([str(key) for (key,) in found])
            model, entity = source.embedder.model, source.texts.name
            queue.put(encode_jobs(source.form, keys, snapshot=source.identity, entity=entity, model=model))
            jobs += len(found)
            progress(jobs)
    return jobs
