"""Which snapshot a database holds, and which loads have their embedding jobs in a queue.

`snapseed.loads` is written in the same transaction as the rows. `snapseed.enqueued` is written once all jobs of a load
are in their queue, so that a crash after COMMIT loses none. What another role could have put there is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import ClientCursor, sql
from psycopg.types.json import Jsonb

from snapseed.errors import RefusedError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_rows
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts


@dataclass(frozen=True, kw_only=True)
class NewLoad:
    """A load to be recorded. `tables` are named `schema.table`; `state` has, by table, what the load left there.

    Under `emptied` it has the tables outside the load that lost their rows, with how many; under `left` those
    that an upsert could not change; under `times` how long the load took so far, as JSON (`load.outcome.LoadTimes`).
    A capture has no seed and no scale.
    """

    environment: str
    snapshot: str
    identity: str
    seed: int | None
    scale: int | None
    mode: str
    tables: tuple[str, ...]
    rows: int
    version: str
    state: Mapping[str, object] | None = None


@dataclass(frozen=True, kw_only=True)
class LoadRecord(NewLoad):
    """A committed load, without its `state`: see `last_states`. Older ones have no `times`."""

    times: str | None
    role: str
    loaded_at: datetime


@dataclass(frozen=True, kw_only=True)
class FilledTable:
    """What loads have put into a table since it was last `replaced`: snapshots with these `identities`.

    Their rows are those of these `transactions`. `by_workers`: a load has emptied the table, and workers fill it.
    `has_grown`: it has a partition that it did not have then. `parts` are digests of the parts that were loaded.
    """

    name: str
    replaced: bool
    upserted: bool
    by_workers: bool
    has_grown: bool
    identities: tuple[str, ...]
    transactions: tuple[str, ...]
    parts: frozenset[str]


@dataclass(frozen=True)
class LoadMark:
    """Identifies one record of a load. The number alone does not: it may be used again after a crash of the server."""

    number: int
    loaded_at: datetime


def record_load(connection: Connection, load: NewLoad) -> LoadMark:
    """Write one row; creates schema and table if they are missing."""
    is_first = ensure_table(connection, "loads", query("create_loads"))
    if not _has_states(connection):
        connection.execute("ALTER TABLE snapseed.loads ADD COLUMN state jsonb")
    (row,) = read_rows(connection, query("insert_load"), **_values(load))
    if is_first:
        # With wal_level = minimal, what the transaction draws that creates the sequence is not logged, and the server
        # believes that 32 numbers were: after a crash it would give out the same ones again.
        connection.execute("SELECT setval(pg_get_serial_sequence('snapseed.loads', 'id'), %s)", [row["number"]])
    return LoadMark(**row)


def recorded_by_script(connection: Connection, load: NewLoad) -> Iterator[bytes]:
    """The statements that do so later, without parameters."""
    if not has_table(connection, "loads"):
        yield from (b"CREATE SCHEMA IF NOT EXISTS snapseed", query("create_loads"))
    elif not _has_states(connection):
        yield b"ALTER TABLE snapseed.loads ADD COLUMN state jsonb"
    insert, _, _ = query("insert_load").decode().partition("\nRETURNING")
    yield ClientCursor(connection).mogrify(insert, _values(load)).encode()


def _values(load: NewLoad) -> dict[str, object]:
    """The parameters of the statement that records a load."""
    return {**vars(load), "tables": Jsonb(list(load.tables)), "state": Jsonb(load.state)}


def is_recorded(connection: Connection, mark: LoadMark) -> bool:
    """Whether the load that wrote this mark was committed."""
    if not has_table(connection, "loads"):
        return False
    statement = "SELECT FROM snapseed.loads WHERE id = %s AND loaded_at = %s"
    return connection.execute(statement, (mark.number, mark.loaded_at)).fetchone() is not None


def last_loads(connection: Connection, limit: int = 1) -> list[LoadRecord]:
    """The latest loads, newest first; empty if nothing was ever loaded here."""
    if not has_table(connection, "loads"):
        return []
    return [LoadRecord(**row) for row in read_rows(connection, query("latest_loads"), limit=limit)]


def filled_tables(connection: Connection) -> dict[str, FilledTable]:
    """The tables, as `schema.table`, that snapseed has filled and that nobody has re-created since."""
    if not _has_states(connection):
        return {}
    rows = read_rows(connection, query("filled_tables"))
    return {row["name"]: FilledTable(**row | {"parts": frozenset(row["parts"])}) for row in rows}


def loaded_tables(connection: Connection) -> set[str]:
    """Filled tables without rows from before the load, and without partitions from after it."""
    return {name for name, table in filled_tables(connection).items() if table.replaced and not table.has_grown}


def changed_tables(
    connection: Connection, tables: Iterable[TableFacts], filled: Mapping[str, FilledTable]
) -> frozenset[str]:
    """Tables that loads have filled and to which others have written since."""
    known = ((table, found) for table in tables if (found := filled.get(str(table.name))))
    return frozenset(str(table.name) for table, found in known if _has_other_rows(connection, table, found))


def _has_other_rows(connection: Connection, facts: TableFacts, filled: FilledTable) -> bool:
    """Whether somebody else has inserted or changed a row since, in a partition too; True if this role may not look.

    A row has the number of the transaction that wrote it, whatever VACUUM, CLUSTER and pg_upgrade do. Reads the whole
    table, a million rows in 0.05 s.
    """
    if not facts.has_rows or filled.by_workers:
        return False
    allowed = connection.execute("SELECT has_column_privilege(%s::oid, 'xmin', 'SELECT')", [facts.oid]).fetchone()
    if facts.row_security or facts.foreign_partitions or facts.citus or allowed != (True,):
        return True
    # Not as parameters: a name may contain %.
    known = sql.Literal(list(filled.transactions))
    others = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE xmin <> ALL ({}::text[]::xid[]))").format(
        facts.name.rows(), known
    )
    return connection.execute(others).fetchone() == (True,)


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
    if not has_table(connection, "loads"):
        return None
    found = connection.execute(query("latest_load_of_table"), {"table": table}).fetchone()
    if found is None:
        return None
    statement = "SELECT FROM snapseed.enqueued WHERE load_id = %s AND queue = %s AND model = %s"
    is_known = has_table(connection, "enqueued")
    done = connection.execute(statement, (found[0], queue, model)).fetchone() if is_known else None
    return int(str(found[0])) if done is None else None


def record_jobs(connection: Connection, load: int, queue: str, model: str, jobs: int) -> None:
    """Record that all jobs of a load are in the queue; creates the table if it is missing."""
    with connection.transaction():
        ensure_table(connection, "enqueued", query("create_enqueued"))
        connection.execute(query("insert_enqueued"), {"load": load, "queue": queue, "model": model, "jobs": jobs})


def ensure_table(connection: Connection, name: str, create: bytes) -> bool:
    """Create a table of ours, and its schema, unless it exists; whether it did not. Raises as `has_table`."""
    if has_table(connection, name):
        return False
    # IF NOT EXISTS would need the right to create it even if it exists.
    if connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,):
        connection.execute("CREATE SCHEMA snapseed AUTHORIZATION CURRENT_USER")
    connection.execute(create)
    # Somebody else may have created the schema a moment ago.
    return has_table(connection, name)


def has_table(connection: Connection, name: str) -> bool:
    """Whether a table of ours exists in the schema `snapseed`.

    Raises `RefusedError` if somebody else than this role, the database's owner or a superuser owns it, or has changed
    it: what it says cannot be believed, and writing to it could run SQL that is not ours.
    """
    (found,) = read_rows(connection, query("doubts"), table=name) or [{"found": False, "doubt": None}]
    if found["doubt"]:
        give = f"ALTER SCHEMA snapseed OWNER TO {found['owner']}; ALTER TABLE snapseed.{name} OWNER TO {found['owner']}"
        raise RefusedError(
            "the records of loads in this database cannot be trusted",
            where=f"snapseed.{name}",
            observed=found["doubt"],
            expected="what snapseed creates, owned by this role, the database's owner or a superuser",
            next_step=f"let a superuser run `{give};` if you trust the records, else `DROP SCHEMA snapseed CASCADE;`",
        )
    return bool(found["found"])


def _has_states(connection: Connection) -> bool:
    """Whether there is a record of loads with their states; older versions of snapseed created it without them."""
    statement = """SELECT FROM pg_attribute
                WHERE attrelid = to_regclass('snapseed.loads') AND attname = 'state' AND NOT attisdropped"""
    return has_table(connection, "loads") and connection.execute(statement).fetchone() is not None
