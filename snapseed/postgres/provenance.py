"""Which snapshot a database holds, and which loads have their embedding jobs in a queue.

`snapseed.loads` is written in the same transaction as the rows. `snapseed.enqueued` is written once all jobs of a load
are in their queue, so that a crash after COMMIT loses none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from snapseed.postgres.connect import Connection


@dataclass(frozen=True)
class LoadRecord:
    """One committed load."""

    environment: str
    snapshot: str
    identity: str
    seed: int
    scale: int
    mode: str
    tables: list[str]
    rows: int
    version: str
    role: str
    loaded_at: datetime


@dataclass(frozen=True)
class LoadMark:
    """Identifies one record of a load. The number alone does not: it may be used again after a crash of the server."""

    number: int
    loaded_at: datetime


def record_load(connection: Connection, record: dict[str, object]) -> LoadMark:
    """Write one row; creates schema and table if they are missing."""
    if not has_table(connection, "snapseed.loads"):
        # Not IF NOT EXISTS, which needs the right to create a schema even if it exists.
        if connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA snapseed")
        connection.execute(_CREATE_LOADS)
    elif not _has_states(connection):
        connection.execute("ALTER TABLE snapseed.loads ADD COLUMN state jsonb")
    values = {**record, "tables": Jsonb(record["tables"]), "state": Jsonb(record.get("state"))}
    with connection.cursor(row_factory=class_row(LoadMark)) as cursor:
        mark = cursor.execute(_INSERT_LOAD, values).fetchone()
    assert mark is not None
    return mark


def is_recorded(connection: Connection, mark: LoadMark) -> bool:
    """Whether the load that wrote this mark was committed."""
    if not has_table(connection, "snapseed.loads"):
        return False
    query = "SELECT FROM snapseed.loads WHERE id = %s AND loaded_at = %s"
    return connection.execute(query, (mark.number, mark.loaded_at)).fetchone() is not None


def last_loads(connection: Connection, limit: int = 1) -> list[LoadRecord]:
    """The latest loads, newest first; empty if nothing was ever loaded here."""
    if not has_table(connection, "snapseed.loads"):
        return []
    with connection.cursor(row_factory=class_row(LoadRecord)) as cursor:
        return cursor.execute(_LATEST_LOADS, {"limit": limit}).fetchall()


def loaded_tables(connection: Connection, *, whole: bool = True) -> set[str]:
    """The tables, as `schema.table`, that snapseed has filled and nobody has created anew since.

    With `whole`, only tables without rows of others: those that a load in mode `replace` filled. A table that rows were
    only ever appended to is never ours.
    """
    if not has_table(connection, "snapseed.loads") or not _has_states(connection):
        return set()
    return {str(row[0]) for row in connection.execute(_FILLED_TABLES, {"whole": whole}).fetchall()}


def last_states(connection: Connection) -> dict[str, tuple[str, object]]:
    """For each loaded table, as `schema.table`: the snapshot's identity, and the state that its last load left."""
    if not has_table(connection, "snapseed.loads") or not _has_states(connection):
        return {}
    rows = connection.execute(_STATES).fetchall()
    return {str(table): (str(identity), state) for table, identity, state in rows}


def missing_privilege(connection: Connection) -> tuple[str, str] | None:
    """What this role lacks to record a load, and the GRANT that would give it; None if it lacks nothing."""
    row = connection.execute(_PRIVILEGE).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def load_without_jobs(connection: Connection, table: str, queue: str, model: str) -> int | None:
    """The number of the latest load of `table` (`schema.table`); None if its jobs are all in this queue."""
    if not has_table(connection, "snapseed.loads"):
        return None
    found = connection.execute(_LATEST_OF_TABLE, {"table": table}).fetchone()
    if found is None:
        return None
    query = "SELECT FROM snapseed.enqueued WHERE load_id = %s AND queue = %s AND model = %s"
    is_known = has_table(connection, "snapseed.enqueued")
    done = connection.execute(query, (found[0], queue, model)).fetchone() if is_known else None
    return int(str(found[0])) if done is None else None


def record_jobs(connection: Connection, load: int, queue: str, model: str, jobs: int) -> None:
    """Record that all jobs of a load are in the queue; creates the table if it is missing."""
    with connection.transaction():
        if not has_table(connection, "snapseed.enqueued"):
            connection.execute(_CREATE_ENQUEUED)
        connection.execute(_INSERT_ENQUEUED, {"load": load, "queue": queue, "model": model, "jobs": jobs})


def has_table(connection: Connection, name: str) -> bool:
    """Whether a table of ours exists."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)


def _has_states(connection: Connection) -> bool:
    """Whether loads record their states; older versions of snapseed created the table without the column."""
    query = """SELECT FROM pg_attribute
                WHERE attrelid = 'snapseed.loads'::regclass AND attname = 'state' AND NOT attisdropped"""
    return connection.execute(query).fetchone() is not None


# One row per load. `tables` lists schema.table of each table that it filled. seed may exceed 2^63, hence numeric.
_CREATE_LOADS = """
CREATE TABLE snapseed.loads (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    snapshot text NOT NULL,
    identity text NOT NULL,
    seed numeric(20) NOT NULL,
    scale bigint NOT NULL,
    mode text NOT NULL,
    tables jsonb NOT NULL,
    rows bigint NOT NULL,
    state jsonb,
    version text NOT NULL,
    role text NOT NULL DEFAULT current_user,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE snapseed.loads IS 'Snapshots that snapseed has loaded into this database';
"""

_INSERT_LOAD = """
INSERT INTO snapseed.loads (environment, snapshot, identity, seed, scale, mode, tables, rows, state, version)
VALUES (%(environment)s, %(snapshot)s, %(identity)s, %(seed)s, %(scale)s, %(mode)s, %(tables)s, %(rows)s, %(state)s,
        %(version)s)
RETURNING id AS number, loaded_at
"""

_LATEST_LOADS = """
SELECT environment, snapshot, identity, seed::text::numeric AS seed, scale, mode, tables, rows, version, role, loaded_at
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
"""

# The name alone proves nothing: somebody may have dropped the table and created another one, or restored a dump that
# contains the record. So the oid must be that of the latest load. A record without an oid does not count.
_FILLED_TABLES = """
SELECT latest.name
  FROM (SELECT DISTINCT ON (t.name) t.name, state -> t.name ->> 'oid' AS oid
          FROM snapseed.loads, jsonb_array_elements_text(tables) t(name)
         WHERE mode = 'replace' OR mode = 'upsert' AND NOT %(whole)s
         ORDER BY t.name, id DESC) latest
  JOIN pg_class c ON c.oid::text = latest.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname || '.' || c.relname = latest.name
"""

_STATES = """
SELECT DISTINCT ON (t.name) t.name, identity, state -> t.name
  FROM snapseed.loads, jsonb_array_elements_text(tables) t(name) ORDER BY t.name, id DESC
"""

_PRIVILEGE = """
SELECT CASE WHEN c.oid IS NOT NULL THEN 'INSERT and SELECT on snapseed.loads'
            WHEN n.oid IS NOT NULL THEN 'CREATE and USAGE on schema snapseed'
            ELSE format('CREATE on database %I', current_database()) END,
       CASE WHEN c.oid IS NOT NULL THEN format('GRANT USAGE ON SCHEMA snapseed TO %1$I; '
                                               'GRANT INSERT, SELECT ON snapseed.loads TO %1$I;', current_user)
            WHEN n.oid IS NOT NULL THEN format('GRANT USAGE, CREATE ON SCHEMA snapseed TO %I;', current_user)
            ELSE format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user) END
  FROM (SELECT) nothing
  LEFT JOIN pg_namespace n ON n.nspname = 'snapseed'
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'loads'
 WHERE NOT CASE WHEN c.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'USAGE')
                                            AND has_table_privilege(c.oid, 'INSERT')
                                            AND has_table_privilege(c.oid, 'SELECT')
                WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE')
                                            AND has_schema_privilege(n.oid, 'USAGE')
                ELSE has_database_privilege(current_database(), 'CREATE') END
"""

_LATEST_OF_TABLE = """
SELECT max(id) FROM snapseed.loads
 WHERE EXISTS (SELECT FROM jsonb_array_elements_text(tables) t(name) WHERE t.name = %(table)s)
HAVING max(id) IS NOT NULL
"""

_CREATE_ENQUEUED = """
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

_INSERT_ENQUEUED = """
INSERT INTO snapseed.enqueued (load_id, queue, model, jobs) VALUES (%(load)s, %(queue)s, %(model)s, %(jobs)s)
ON CONFLICT (load_id, queue, model) DO UPDATE SET jobs = excluded.jobs, enqueued_at = clock_timestamp()
"""
