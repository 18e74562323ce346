"""`snapseed.loads`: which snapshot a database holds, written in the same transaction as the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from snapseed.postgres.connect import Connection


@dataclass(frozen=True)
class LoadRecord:
    """One load that was committed."""

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
    """What tells one record of a load from all others: a number alone may come again after a crash of the server."""

    number: int
    loaded_at: datetime


def record_load(connection: Connection, record: dict[str, object]) -> LoadMark:
    """Write one row, making schema and table where they are missing."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        # Not IF NOT EXISTS: that asks for the right to make a schema even where it is there.
        if connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA snapseed")
        connection.execute(_CREATE)
    elif not _has_states(connection):
        connection.execute(_ADD_STATE)
    values = {**record, "tables": Jsonb(record["tables"]), "state": Jsonb(record.get("state"))}
    with connection.cursor(row_factory=class_row(LoadMark)) as cursor:
        mark = cursor.execute(_INSERT, values).fetchone()
    assert mark is not None
    return mark


def is_recorded(connection: Connection, mark: LoadMark) -> bool:
    """Whether the load that wrote this mark was committed."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        return False
    values = {"number": mark.number, "loaded_at": mark.loaded_at}
    return connection.execute(_MARKED, values).fetchone() is not None


def last_loads(connection: Connection, limit: int = 1) -> list[LoadRecord]:
    """The latest loads, newest first; none where nothing was ever loaded here."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        return []
    with connection.cursor(row_factory=class_row(LoadRecord)) as cursor:
        return cursor.execute(_LATEST, {"limit": limit}).fetchall()


def loaded_tables(connection: Connection, *, whole: bool = True) -> set[str]:
    """The tables, as `schema.table`, that a load of ours has filled and nobody has made anew since.

    `whole`: with no row but its own, as only a replacing load leaves them. An append alone makes no table ours.
    """
    if connection.execute(_EXISTS).fetchone() == (None,) or not _has_states(connection):
        return set()
    return {str(row[0]) for row in connection.execute(_TABLES, {"whole": whole}).fetchall()}


def last_states(connection: Connection) -> dict[str, tuple[str, object]]:
    """For each table that was loaded, as `schema.table`: the snapshot's identity and the state its last load left."""
    if connection.execute(_EXISTS).fetchone() == (None,) or not _has_states(connection):
        return {}
    rows = connection.execute(_STATES).fetchall()
    return {str(table): (str(identity), state) for table, identity, state in rows}


def missing_privilege(connection: Connection) -> tuple[str, str] | None:
    """What this role lacks to write a row, and the GRANT that would give it; None where it lacks nothing."""
    row = connection.execute(_PRIVILEGE).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def _has_states(connection: Connection) -> bool:
    return connection.execute(_HAS_STATES).fetchone() is not None


_EXISTS = "SELECT to_regclass('snapseed.loads')"

# A table made before loads recorded their states lacks the column.
_HAS_STATES = """
SELECT FROM pg_attribute WHERE attrelid = 'snapseed.loads'::regclass AND attname = 'state' AND NOT attisdropped
"""
_ADD_STATE = "ALTER TABLE snapseed.loads ADD COLUMN state jsonb"

# One row per load; `tables` lists schema.table of each table that it filled. seed may pass 2^63, hence numeric.
_CREATE = """
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

_INSERT = """
INSERT INTO snapseed.loads (environment, snapshot, identity, seed, scale, mode, tables, rows, state, version)
VALUES (%(environment)s, %(snapshot)s, %(identity)s, %(seed)s, %(scale)s, %(mode)s, %(tables)s, %(rows)s, %(state)s,
        %(version)s)
RETURNING id AS number, loaded_at
"""

_MARKED = "SELECT FROM snapseed.loads WHERE id = %(number)s AND loaded_at = %(loaded_at)s"

_LATEST = """
SELECT environment, snapshot, identity, seed::text::numeric AS seed, scale, mode, tables, rows, version, role, loaded_at
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
"""

# A name alone proves nothing: the table may have been dropped and made by somebody else, or come out of a dump together
# with the record. Its oid must be that of the latest load, and a record without one counts for nothing.
_TABLES = """
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


def load_without_jobs(connection: Connection, table: str, queue: str, model: str) -> int | None:
    """The number of the latest load of `table` (`schema.table`) if its jobs are not all in this queue; else None."""
    if connection.execute("SELECT to_regclass('snapseed.loads')").fetchone() == (None,):
        return None
    known = connection.execute("SELECT to_regclass('snapseed.enqueued')").fetchone() != (None,)
    found = connection.execute(_LATEST_OF_TABLE, {"table": table}).fetchone()
    if found is None:
        return None
    values = {"load": found[0], "queue": queue, "model": model}
    done = connection.execute(_DONE, values).fetchone() if known else None
    return int(str(found[0])) if done is None else None


def record_jobs(connection: Connection, load: int, queue: str, model: str, jobs: int) -> None:
    """Say that all jobs of a load are in the queue, making the table where it is missing."""
    with connection.transaction():
        if connection.execute("SELECT to_regclass('snapseed.enqueued')").fetchone() == (None,):
            connection.execute(_CREATE_ENQUEUED)
        connection.execute(_INSERT_ENQUEUED, {"load": load, "queue": queue, "model": model, "jobs": jobs})


_LATEST_OF_TABLE = """
SELECT max(id) FROM snapseed.loads
 WHERE EXISTS (SELECT FROM jsonb_array_elements_text(tables) t(name) WHERE t.name = %(table)s)
HAVING max(id) IS NOT NULL
"""


_DONE = """
SELECT FROM snapseed.enqueued WHERE load_id = %(load)s AND queue = %(queue)s AND model = %(model)s
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
