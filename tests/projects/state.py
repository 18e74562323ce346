"""The state of a database as tests compare it: rows, sequences, indexes, constraints, triggers; its schema as SQL."""

from __future__ import annotations

import subprocess
import time

from psycopg import sql

from snapseed import generate_snapshot, resolve_request
from snapseed.database.embedded.programs import find_programs
from tests.conftest import Connection, Sandbox

_PATIENCE_SECONDS = 20.0

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
                     WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace))
UNION ALL
SELECT conrelid::regclass::text || '.' || conname || ': ' || pg_get_constraintdef(oid), convalidated::text
  FROM pg_constraint WHERE conrelid <> 0
UNION ALL
SELECT tgrelid::regclass::text || '.' || tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
 ORDER BY 1, 2
"""


def generated(sandbox: Sandbox, scale: int | None = None) -> Sandbox:
    """The same sandbox, with a snapshot for its default environment."""
    request = resolve_request(sandbox.project, sandbox.environment(), scale=scale, seed=None)
    generate_snapshot(sandbox.project, request)
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


def schema_of(url: str) -> str:
    """What `pg_dump --schema-only` says, without snapseed's own schema."""
    command = [str(find_programs() / "pg_dump"), "--schema-only", "--exclude-schema=snapseed", f"--dbname={url}"]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # \restrict carries a key that is another one each time.
    return "\n".join(line for line in dumped.splitlines() if "restrict " not in line)


def sessions_of_snapseed(connection: Connection) -> int:
    """How many sessions of snapseed are in this database, once those that are about to end have had time to."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'snapseed'"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        row = connection.execute(query).fetchone()
        assert row is not None
        count = int(str(row[0]))
        if count == 0 or time.monotonic() > deadline:
            return count
        time.sleep(0.02)
