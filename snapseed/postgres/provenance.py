"""Which snapshot a database holds, and which loads have their embedding jobs in a queue.

`snapseed.loads` is written in the same transaction as the rows. `snapseed.enqueued` is written once all jobs of a load
are in their queue, so that a crash after COMMIT loses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection


@dataclass(frozen=True, kw_only=True)
class NewLoad:
    """A load to be recorded. `tables` are named `schema.table`; `state` has, by table, what the load left there.

    Under `emptied` it has the tables outside the load that lost their rows, with the number of these.
    """

    environment: str
    snapshot: str
    identity: str
    seed: int
    scale: int
    mode: str
    tables: tuple[str, ...]
    rows: int
    version: str
    state: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class LoadRecord(NewLoad):
    """A committed load, without its `state`: see `last_states`."""

    role: str
    loaded_at: datetime


@dataclass(frozen=True)
class LoadMark:
    """Identifies one record of a load. The number alone does not: it may be used again after a crash of the server."""

    number: int
    loaded_at: datetime


def record_load(connection: Connection, load: NewLoad) -> LoadMark:
    """Write one row; creates schema and table if they are missing."""
    if not has_table(connection, "snapseed.loads"):
        create_schema(connection)
        connection.execute(query("create_loads"))
    elif not _has_states(connection):
        connection.execute("ALTER TABLE snapseed.loads ADD COLUMN state jsonb")
    values = {**vars(load), "tables": Jsonb(list(load.tables)), "state": Jsonb(load.state)}
    (row,) = read_rows(connection, query("insert_load"), **values)
    return LoadMark(**row)


def is_recorded(connection: Connection, mark: LoadMark) -> bool:
    """Whether the load that wrote this mark was committed."""
    if not has_table(connection, "snapseed.loads"):
        return False
    statement = "SELECT FROM snapseed.loads WHERE id = %s AND loaded_at = %s"
    return connection.execute(statement, (mark.number, mark.loaded_at)).fetchone() is not None


def last_loads(connection: Connection, limit: int = 1) -> list[LoadRecord]:
    """The latest loads, newest first; empty if nothing was ever loaded here."""
    if not has_table(connection, "snapseed.loads"):
        return []
    return [LoadRecord(**row) for row in read_rows(connection, query("latest_loads"), limit=limit)]


def loaded_tables(connection: Connection, *, whole: bool = True) -> set[str]:
    """The tables, as `schema.table`, that snapseed has filled and that nobody has re-created since.

    With `whole`, only tables without rows of others: those that a load in mode `replace` filled. A table that rows were
    only ever appended to is never ours.
    """
    if not _has_states(connection):
        return set()
    return {str(row[0]) for row in connection.execute(query("filled_tables"), {"whole": whole}).fetchall()}


def last_states(connection: Connection) -> dict[str, tuple[str, object]]:
    """For each loaded table, as `schema.table`: the snapshot's identity, and the state that its last load left."""
    if not _has_states(connection):
        return {}
    rows = connection.execute(query("table_states")).fetchall()
    return {str(table): (str(identity), state) for table, identity, state in rows}


def missing_privilege(connection: Connection) -> tuple[str, str] | None:
    """What this role lacks to record a load, and the GRANT that would give it; None if it lacks nothing."""
    row = connection.execute(query("missing_privilege")).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


def load_without_jobs(connection: Connection, table: str, queue: str, model: str) -> int | None:
    """The number of the latest load of `table` (`schema.table`); None if its jobs are all in this queue."""
    if not has_table(connection, "snapseed.loads"):
        return None
    found = connection.execute(query("latest_load_of_table"), {"table": table}).fetchone()
    if found is None:
        return None
    statement = "SELECT FROM snapseed.enqueued WHERE load_id = %s AND queue = %s AND model = %s"
    is_known = has_table(connection, "snapseed.enqueued")
    done = connection.execute(statement, (found[0], queue, model)).fetchone() if is_known else None
    return int(str(found[0])) if done is None else None


def record_jobs(connection: Connection, load: int, queue: str, model: str, jobs: int) -> None:
    """Record that all jobs of a load are in the queue; creates the table if it is missing."""
    with connection.transaction():
        if not has_table(connection, "snapseed.enqueued"):
            connection.execute(query("create_enqueued"))
        connection.execute(query("insert_enqueued"), {"load": load, "queue": queue, "model": model, "jobs": jobs})


def create_schema(connection: Connection) -> None:
    """Create the schema of our tables, unless it exists. IF NOT EXISTS would need the right to create it even then."""
    if connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,):
        connection.execute("CREATE SCHEMA snapseed")


def has_table(connection: Connection, name: str) -> bool:
    """Whether a table of ours exists."""
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone() == (True,)


def _has_states(connection: Connection) -> bool:
    """Whether there is a record of loads with their states; older versions of snapseed created it without them."""
    statement = """SELECT FROM pg_attribute
                WHERE attrelid = to_regclass('snapseed.loads') AND attname = 'state' AND NOT attisdropped"""
    return connection.execute(statement).fetchone() is not None
