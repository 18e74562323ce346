"""`snapseed.enqueued`: the loads whose jobs are in their queue, so that a crash behind the COMMIT loses none."""

from __future__ import annotations

from snapseed.postgres.connect import Connection


def load_without_jobs(connection: Connection, table: str, queue: str, model: str) -> int | None:
    """The number of the latest load of `table` (`schema.table`) if its jobs are not all in this queue; else None."""
    if connection.execute("SELECT to_regclass('snapseed.loads')").fetchone() == (None,):
        return None
    known = connection.execute("SELECT to_regclass('snapseed.enqueued')").fetchone() != (None,)
    found = connection.execute(_LATEST, {"table": table}).fetchone()
    if found is None:
        return None
    values = {"load": found[0], "queue": queue, "model": model}
    done = connection.execute(_DONE, values).fetchone() if known else None
    return int(str(found[0])) if done is None else None


def record_jobs(connection: Connection, load: int, queue: str, model: str, jobs: int) -> None:
    """Say that all jobs of a load are in the queue, making the table where it is missing."""
    with connection.transaction():
        if connection.execute("SELECT to_regclass('snapseed.enqueued')").fetchone() == (None,):
            connection.execute(_CREATE)
        connection.execute(_INSERT, {"load": load, "queue": queue, "model": model, "jobs": jobs})


_LATEST = """
SELECT max(id) FROM snapseed.loads
 WHERE EXISTS (SELECT FROM jsonb_array_elements_text(tables) t(name) WHERE t.name = %(table)s)
HAVING max(id) IS NOT NULL
"""

_DONE = """
SELECT FROM snapseed.enqueued WHERE load_id = %(load)s AND queue = %(queue)s AND model = %(model)s
"""

_CREATE = """
CREATE TABLE snapseed.enqueued (
    load_id bigint NOT NULL,
    queue text NOT NULL,
    model text NOT NULL,
    jobs bigint NOT NULL,
    enqueued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (load_id, queue, model)
);
COMMENT ON TABLE snapseed.enqueued IS 'Loads whose embedding jobs are all in their queue';
"""

_INSERT = """
INSERT INTO snapseed.enqueued (load_id, queue, model, jobs) VALUES (%(load)s, %(queue)s, %(model)s, %(jobs)s)
ON CONFLICT (load_id, queue, model) DO UPDATE SET jobs = excluded.jobs, enqueued_at = clock_timestamp()
"""
