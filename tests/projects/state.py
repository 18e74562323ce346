"""The state of a database as tests compare it: rows, sequences, indexes, constraints, triggers; its schema as SQL."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import psutil
import psycopg
from psycopg import sql

from snapseed import generate_snapshot, load_snapshot, resolve_request, verify_snapshot
from snapseed.load.outcome import Outcome
from snapseed.servers.postgres import MAJOR, EmbeddedPostgres
from snapseed.snapshot.writing import CHUNK_ROWS
from tests.conftest import Connection, Sandbox

_PATIENCE_SECONDS = 20.0
# A query that has to wait for a lock is a mistake in a test, and should not wait forever.
_LOCK_TIMEOUT = "SET lock_timeout = '20s'"

_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'S')
   AND (n.nspname <> 'snapseed' OR c.relkind <> 'S')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, 2
"""
_OBJECTS = """
SELECT pg_get_indexdef(indexrelid), indisvalid::text FROM pg_index
 WHERE indrelid IN (SELECT oid FROM pg_class
                     WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
                       -- A session that is ending takes its temporary tables with it, and their indexes.
                       AND relpersistence <> 't')
UNION ALL
SELECT conrelid::regclass::text || '.' || conname || ': ' || pg_get_constraintdef(oid), convalidated::text
  FROM pg_constraint WHERE conrelid <> 0
UNION ALL
SELECT tgrelid::regclass::text || '.' || tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
 ORDER BY 1, 2
"""
# What the other queries leave out: columns, defaults, privileges, persistence, and settings of each relation.
_STRUCTURE = """
SELECT c.oid::regclass::text, c.relkind::text, c.relpersistence::text, c.relhasindex, c.relhastriggers, c.relacl::text,
       c.reloptions, obj_description(c.oid, 'pg_class'),
       array(SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                              a.attgenerated, a.attacl::text, pg_get_expr(d.adbin, d.adrelid))
               FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1
"""
_LEFTOVERS = """
SELECT 'session', pid::text, application_name, state FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'snapseed%'
UNION ALL
SELECT 'prepared transaction', gid, owner::text, '' FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL
SELECT 'temporary relation', n.nspname, c.relname, '' FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE c.relpersistence = 't'
UNION ALL
SELECT 'lock', locktype, pid::text, mode FROM pg_locks
 WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (locktype = 'advisory' OR mode = 'AccessExclusiveLock') AND pid <> pg_backend_pid()
UNION ALL
SELECT 'invalid index', indexrelid::regclass::text, '', '' FROM pg_index WHERE NOT indisvalid
UNION ALL
SELECT 'file being written', relid::regclass::text, command, '' FROM pg_stat_progress_copy
 WHERE datname = current_database()
"""


def generated(sandbox: Sandbox, scale: int | None = None, *, chunk_rows: int = CHUNK_ROWS) -> Sandbox:
    """The same sandbox, with a snapshot for its default environment."""
    request = resolve_request(sandbox.project, sandbox.environment(), scale=scale, seed=None)
    generate_snapshot(sandbox.project, replace(request, chunk_rows=chunk_rows))
    return sandbox


def load_and_mark(sandbox: Sandbox) -> Sandbox:
    """Load a shop, then change rows and a sequence, so that what is there differs from what a load would bring."""
    load_snapshot(sandbox.project, sandbox.environment())
    with sandbox.connect() as connection:
        connection.execute("UPDATE customers SET name = 'before'")
        connection.execute("SELECT setval('customers_id_seq', 4711)")
    return replacing(sandbox)


def replacing(sandbox: Sandbox) -> Sandbox:
    """The same sandbox, whose project from now on replaces rows without asking. The folder must be the test's own."""
    file = sandbox.folder / "snapseed.toml"
    if "replace_existing" not in (text := file.read_text(encoding="utf-8")):
        file.write_text(text.replace("[environments.dev]", "[environments.dev]\nreplace_existing = true"))
    return sandbox


def contents(connection: Connection) -> dict[str, object]:
    """Everything that a load can change in the database of `connection`; gaps in the numbers of loads are no matter."""
    found: dict[str, object] = {"objects": connection.execute(_OBJECTS).fetchall()}
    for schema, name, kind in connection.execute(_RELATIONS).fetchall():
        relation = sql.Identifier(str(schema), str(name))
        query = (
            "SELECT last_value::text, is_called::text FROM {}" if kind == "S" else "SELECT t::text FROM {} t ORDER BY 1"
        )
        found[f"{schema}.{name}"] = connection.execute(sql.SQL(query).format(relation)).fetchall()
    return found


def dumped_by_pg_dump(url: str, *options: str) -> str:
    """What `pg_dump` writes with these options, without snapseed's own schema."""
    program = str(EmbeddedPostgres.find_program().with_name("pg_dump"))
    command = [program, "--exclude-schema=snapseed", f"--dbname={url}", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def schema_of(url: str) -> str:
    """What `pg_dump --schema-only` says, without snapseed's own schema."""
    dumped = dumped_by_pg_dump(url, "--schema-only")
    # \restrict carries a key that is another one each time.
    return "\n".join(line for line in dumped.splitlines() if "restrict " not in line)


def whole_state(url: str) -> dict[str, object]:
    """The contents and the schema, told by the server and, where the versions allow it, by `pg_dump` as well."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_LOCK_TIMEOUT)
        found = contents(connection) | {"structure": connection.execute(_STRUCTURE).fetchall()}
        if connection.info.server_version // 10000 <= MAJOR:
            found["schema"] = schema_of(url)
    return found


def leftovers(url: str) -> list[str]:
    """What a load that has failed has left on the server, once sessions that are about to end have had time to."""
    with psycopg.connect(url, autocommit=True) as connection:

        def found() -> list[str]:
            return [" ".join(map(str, row)) for row in connection.execute(_LEFTOVERS).fetchall()]

        patiently(lambda: not found(), required=False)
        return found()


def outcome(sandbox: Sandbox, before: dict[str, object]) -> Outcome:
    """How the database stands after a load that failed: as it was, or loaded and committed; nothing in between.

    In both cases nothing is left behind, and the schema is what it was.
    """
    assert leftovers(sandbox.url) == []
    after = whole_state(sandbox.url)
    if after == before:
        return Outcome.UNCHANGED
    for name in ("structure", "schema", "objects"):
        assert after.get(name) == before.get(name)
    assert verify_snapshot(sandbox.project, sandbox.environment()).agrees
    return Outcome.COMMITTED


def check_told(sandbox: Sandbox, before: dict[str, object], told: str) -> Outcome:
    """Make sure that the database is as the message of a load says, and return how it stands."""
    found = outcome(sandbox, before)
    assert found in told or Outcome.UNKNOWN in told, f"told: {told}\nfound: {found}"
    assert sum(said in told for said in Outcome) == 1, told
    return found


def sessions_of_snapseed(connection: Connection, besides: int = 0) -> int:
    """How many sessions of snapseed are in this database, once those that are about to end have had time to.

    It waits for as long as there are more than `besides`.
    """
    query = """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'snapseed%'"""

    def count() -> int:
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(str(row[0]))

    patiently(lambda: count() <= besides, required=False)
    return count()


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs. It may end at any moment, also while it is looked at."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def patiently(is_so: Callable[[], bool], *, required: bool = True) -> None:
    """Wait until it is so; if it never is, fail, unless it is not required."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            assert not required, "it has not come about"
            return
        time.sleep(0.02)
