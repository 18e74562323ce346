"""The queue of an environment and its database, open side by side: what every command around embeddings works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from snapseed.config import Environment, Project
from snapseed.embeddings.enqueue import delete_orphaned_chunks, enqueue_incomplete
from snapseed.embeddings.index import drop_indexes
from snapseed.embeddings.queues import JobQueue, job_queue, require_form
from snapseed.embeddings.source import Source, resolve_source
from snapseed.embeddings.write import prepare_writer
from snapseed.errors import UsageError
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, Target, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import identify, require_allowed
from snapseed.postgres.provenance import load_without_jobs, record_jobs
from snapseed.servers.targets import RedisTarget, redis_connected, redis_translated, resolve_redis, resolve_target
from snapseed.snapshot.store import open_snapshot


@dataclass(frozen=True)
class Session:
    """What is open, and what it is of."""

    source: Source
    target: Target
    redis: RedisTarget
    connection: Connection
    queue: JobQueue


@contextmanager
def embedding_session(project: Project, environment: Environment, *, consent: bool = False) -> Iterator[Session]:
    """Open both, guarded like a load.

    Raises `UsageError` for an environment without a queue, and all that connecting and [embeddings] may raise.
    """
    if environment.embeddings != "queue":
        raise UsageError(
            "this environment takes its embeddings from the snapshot, and has no queue",
            where=environment.sources.get("embeddings"),
            expected='embeddings = "queue"',
        )
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    source = resolve_source(project, environment, manifest)
    target, redis = resolve_target(project, environment), resolve_redis(project, environment)
    with connected(target) as connection:
        require_allowed(identify(connection), target, environment, consent=consent)
        with redis_connected(redis, environment, consent=consent) as client:
            with redis_translated("looking at the queue", redis):
                require_form(client, source.settings.queue, source.queue_name, redis.described)
            queue = job_queue(client, source.settings.queue, source.queue_name, source.claim_after)
            yield Session(source, target, redis, connection, queue)


def require_queue(project: Project, environment: Environment, *, consent: bool = False) -> None:
    """See that jobs can be made: what a load would otherwise find out behind its COMMIT.

    Raises what [embeddings], the guard of Redis and connecting to it may raise.
    """
    resolve_source(project, environment, open_snapshot(project.snapshots, environment.snapshot).manifest)
    with redis_connected(resolve_redis(project, environment), environment, consent=consent):
        pass


def enqueue_load(
    project: Project,
    environment: Environment,
    *,
    consent: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    log: Callable[[str], None] = lambda _: None,
) -> int | None:
    """Put the jobs of the latest load into the queue, unless they are there; returns how many, None for none to put.

    A crash before the end loses nothing: nobody has said that they are there, so the next call begins anew; jobs that
    are there twice do no harm. Before, indexes for nearest neighbours go from the target; `log` gets a line for each.
    """
    with embedding_session(project, environment, consent=consent) as session:
        source, connection = session.source, session.connection
        with translated("looking for the load", session.target.described):
            name = table_name(source.texts)
            facts = read_tables(connection, [name]).get(name)
            table = str(facts.name) if facts else ""
            load = load_without_jobs(connection, table, source.queue_name, source.embedder.model)
        if load is None:
            return None
        with translated("dropping indexes", session.target.described):
            for line in drop_indexes(connection, source, environment):
                log(line)
        with translated("preparing to write", session.target.described):
            prepare_writer(connection, source)
        jobs = repair_queue(session, progress, load)
        with translated("recording the jobs", session.target.described):
            record_jobs(connection, load, source.queue_name, source.embedder.model, jobs)
        return jobs


def repair_queue(session: Session, progress: Callable[[int], None] = lambda _: None, load: int | None = None) -> int:
    """Put a job into the queue for each text whose chunks are not there, see `enqueue_incomplete`; returns how many."""
    where = session.target.described
    with translated("looking for what is missing", where), redis_translated("putting jobs", session.redis):
        return enqueue_incomplete(session.connection, session.queue, session.source, progress, load)


def delete_orphans(session: Session) -> int:
    """Delete the chunks of the model that belong to no text; returns how many."""
    with translated("deleting chunks without a text", session.target.described):
        return delete_orphaned_chunks(session.connection, session.source)
