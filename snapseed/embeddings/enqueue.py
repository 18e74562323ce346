"""A job for each text whose chunks are missing or outdated: after a load, after a crash, and to repair a queue.

Jobs follow from what the tables hold, so a crash loses none, and a job too many changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from psycopg import sql
from psycopg.rows import class_row

from snapseed.config import Environment, Project
from snapseed.embeddings.chunks import CHUNK_WORDS
from snapseed.embeddings.index import drop_indexes
from snapseed.embeddings.queue import encode_jobs
from snapseed.embeddings.source import EmbeddingSession, EmbeddingSource, embedding_session
from snapseed.embeddings.write import prepare_writer
from snapseed.events import Listener, Note, ignore
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.locks import waiting
from snapseed.postgres.provenance import load_without_jobs, record_jobs
from snapseed.servers.targets import redis_translated

# Jobs that go to the queue in one command, and keys that come from the server in one message.
BATCH_JOBS = 5_000


@dataclass(frozen=True)
class JobsAdded:
    """How many jobs this call has added so far."""

    jobs: int


def enqueue_load(
    project: Project,
    environment: Environment,
    *,
    consent: bool = False,
    listener: Listener = ignore,
    batch_jobs: int = BATCH_JOBS,
) -> int | None:
    """Put the jobs of the latest load into the queue; returns how many, None if they were put there before.

    Indexes for nearest neighbors are dropped first. After a crash, the next call starts over, since only complete jobs
    are recorded; jobs that exist twice do no harm. The listener gets `JobsAdded`, and a `Note` for each index.
    """
    with embedding_session(project, environment, consent=consent) as session:
        source, connection, where = session.source, session.connection, session.target.described
        with translated("looking for the load", where):
            name = table_name(source.texts)
            facts = read_tables(connection, [name]).get(name)
            table = str(facts.name) if facts else ""
            load = load_without_jobs(connection, table, source.queue_name, source.embedder.model)
        if load is None:
            return None
        with waiting(session.target, connection, "dropping indexes", listener):
            for line in drop_indexes(connection, source, environment):
                listener(Note(line))
        with translated("preparing to write", where):
            # To find out here, and not in a worker, that the tables do not fit.
            prepare_writer(connection, source)
        jobs = enqueue_incomplete(session, listener, load=load, batch_jobs=batch_jobs)
        with translated("recording the jobs", where):
            record_jobs(connection, load, source.queue_name, source.embedder.model, jobs)
        return jobs


def enqueue_incomplete(
    session: EmbeddingSession, listener: Listener = ignore, *, load: int | None = None, batch_jobs: int = BATCH_JOBS
) -> int:
    """Put a job into the queue for each text whose chunks of this model are missing, too many or outdated.

    A change of a text shows if chunks keep their content, and otherwise only if it came with the load number `load`.
    Streams the keys; the listener gets `JobsAdded` after each batch. Returns how many jobs.
    """
    source, jobs = session.source, 0
    model, entity = source.embedder.model, source.texts.name
    with (
        translated("looking for what is missing", session.target.described),
        redis_translated("adding jobs", session.redis),
        session.connection.transaction(),
        session.connection.cursor("snapseed_incomplete") as cursor,
    ):
        cursor.execute(_incomplete(source, load), {"name": model})
        while found := cursor.fetchmany(batch_jobs):
            keys = pl.Series([str(key) for (key,) in found])
            session.queue.put(encode_jobs(source.form, keys, snapshot=source.identity, entity=entity, model=model))
            jobs += len(found)
            listener(JobsAdded(jobs))
    return jobs


def delete_orphans(session: EmbeddingSession) -> int:
    """Delete the chunks of this model that belong to no text, which no job would do; returns how many."""
    connection, statement = session.connection, session.source.statement("delete_orphans")
    doing = waiting(session.target, connection, "deleting chunks without a text")
    with doing, connection.transaction(), role_search_path(connection):
        return connection.execute(statement, {"name": session.source.embedder.model}).rowcount


@dataclass(frozen=True)
class Completeness:
    """Texts, and those that lack chunks; rows of the model, those without a text, those of a wrong dimension."""

    texts: int
    incomplete: int
    rows: int
    orphans: int
    wrong_dimension: int

    def findings(self) -> list[str]:
        """What is wrong, a line each."""
        counts = {
            f"of {self.texts:,} texts lack chunks": self.incomplete,
            "chunks belong to no text": self.orphans,
            "vectors have another dimension than the model's": self.wrong_dimension,
        }
        return [f"{count:,} {what}" for what, count in counts.items() if count]


def completeness(connection: Connection, source: EmbeddingSource) -> Completeness:
    """Ask the database whether every text has its chunks; reads both tables once."""
    declared = next(column.type for column in source.target.columns if column.name == source.settings.vector)
    to_array = sql.SQL("" if declared.endswith("[]") else "::real[]")
    statement = source.statement("completeness", incomplete=_incomplete(source), to_array=to_array)
    values = {"name": source.embedder.model, "dimensions": source.embedder.dimensions}
    with connection.cursor(row_factory=class_row(Completeness)) as cursor:
        found = cursor.execute(statement, values).fetchone()
    assert found is not None
    return found


def _incomplete(source: EmbeddingSource, load: int | None = None) -> sql.Composed:
    """The query for the keys of the texts that need a job."""
    changed: sql.Composable = sql.SQL("false")
    # If chunks keep their content, it must be the text; if not, a text that a load has changed is known by the
    # transaction that wrote it.
    if source.settings.content is not None:
        changed = sql.SQL("held.content <> coalesce(text.{}, '')").format(sql.Identifier(source.settings.text))
    elif load is not None:
        changed = sql.SQL("text.xmin = (SELECT xmin FROM snapseed.loads WHERE id = {})").format(sql.Literal(load))
    return source.statement("incomplete", words=sql.Literal(CHUNK_WORDS), changed=changed)
