"""A job for each text whose chunks are not there: what a load leaves to do, and what was lost since; orphans go."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from psycopg import sql

from snapseed.embeddings.chunking import CHUNK_WORDS
from snapseed.embeddings.jobs import encode_jobs
from snapseed.embeddings.queues import JobQueue
from snapseed.embeddings.source import Source
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name

# Jobs that go to the queue in one command, and keys that come from the server in one message.
_BATCH = 5_000

# A text has one chunk at least, and begins another after each 120 words between single blanks: see `chunking`. Only
# texts that have chunks are read and counted, so that those of a fresh load cost no more than a look into an index.
# Where chunks keep their content, that is the text; else a text that a load has changed is known by the transaction
# that wrote it.
_INCOMPLETE = """
SELECT text.{key}::text
  FROM {texts} text
 CROSS JOIN LATERAL (
       SELECT count(*) AS chunks, max(chunk.{number}) AS last, {content} AS content
         FROM {target} chunk WHERE chunk.{parent} = text.{key} AND chunk.{model} = %(name)s
       ) held
 WHERE CASE held.chunks WHEN 0 THEN true
       ELSE held.last <> held.chunks - 1
         OR held.chunks
            <> greatest(1, (cardinality(string_to_array(coalesce(text.{text}, ''), ' ')) + {words} - 1) / {words})
         OR held.content <> coalesce(text.{text}, '')
         OR {written} END
 ORDER BY text.{key}
"""


def incomplete(source: Source, load: int | None = None) -> sql.Composed:
    """The query for the keys of texts whose chunks of this model are not theirs; see `enqueue_incomplete`."""
    settings = source.settings
    content: sql.Composable = sql.SQL("NULL::text")
    written: sql.Composable = sql.SQL("false")
    if settings.content is not None:
        content = sql.SQL("string_agg(chunk.{}, ' ' ORDER BY chunk.{})").format(
            sql.Identifier(settings.content), sql.Identifier(settings.number)
        )
    elif load is not None:
        written = sql.SQL("text.xmin = (SELECT xmin FROM snapseed.loads WHERE id = {})").format(sql.Literal(load))
    return sql.SQL(_INCOMPLETE).format(
        key=sql.Identifier(source.text_key),
        text=sql.Identifier(settings.text),
        texts=table_name(source.texts).identifier(),
        target=table_name(source.target).identifier(),
        parent=sql.Identifier(settings.parent),
        model=sql.Identifier(settings.model),
        number=sql.Identifier(settings.number),
        content=content,
        written=written,
        words=sql.Literal(CHUNK_WORDS),
    )


def enqueue_incomplete(
    connection: Connection,
    queue: JobQueue,
    source: Source,
    progress: Callable[[int], None] = lambda _: None,
    load: int | None = None,
) -> int:
    """Put a job into the queue for each text that lacks chunks of this model, has too many, or has changed since.

    A change shows where chunks keep their content, and else if it came with the load of the number `load`. Streamed;
    returns how many jobs. `progress` gets the number so far.
    """
    jobs = 0
    with connection.transaction(), connection.cursor("snapseed_incomplete") as cursor:
        cursor.execute(incomplete(source, load), {"name": source.embedder.model})
        while found := cursor.fetchmany(_BATCH):
            keys = pl.Series([str(key) for (key,) in found])
            model, entity = source.embedder.model, source.texts.name
            queue.put(encode_jobs(source.form, keys, snapshot=source.identity, entity=entity, model=model))
            jobs += len(found)
            progress(jobs)
    return jobs


def delete_orphaned_chunks(connection: Connection, source: Source) -> int:
    """Delete chunks of this model that belong to no text, which no job would; returns how many."""
    query = sql.SQL(
        "DELETE FROM {target} chunk WHERE chunk.{model} = %(name)s"
        " AND NOT EXISTS (SELECT FROM {texts} text WHERE text.{key} = chunk.{parent})"
    ).format(
        target=table_name(source.target).identifier(),
        model=sql.Identifier(source.settings.model),
        texts=table_name(source.texts).identifier(),
        key=sql.Identifier(source.text_key),
        parent=sql.Identifier(source.settings.parent),
    )
    return connection.execute(query, {"name": source.embedder.model}).rowcount
