"""`snapseed.loads`: which snapshot a database holds, written in the same transaction as the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from snapseed.database.connect import Connection


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


def record_load(connection: Connection, record: dict[str, object]) -> None:
    """Write one row, making schema and table where they are missing."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        connection.execute(_CREATE)
    connection.execute(_INSERT, {**record, "tables": Jsonb(record["tables"])})


def last_loads(connection: Connection, limit: int = 1) -> list[LoadRecord]:
    """The latest loads, newest first; none where nothing was ever loaded here."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        return []
    with connection.cursor(row_factory=class_row(LoadRecord)) as cursor:
        return cursor.execute(_LATEST, {"limit": limit}).fetchall()


def loaded_tables(connection: Connection) -> set[str]:
    """The tables, as `schema.table`, that a load of ours has filled at any time."""
    if connection.execute(_EXISTS).fetchone() == (None,):
        return set()
    return {str(row[0]) for row in connection.execute(_TABLES).fetchall()}


_EXISTS = "SELECT to_regclass('snapseed.loads')"

# One row per load; `tables` lists schema.table of each table that it filled. seed may pass 2^63, hence numeric.
_CREATE = """
CREATE SCHEMA IF NOT EXISTS snapseed;
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
    version text NOT NULL,
    role text NOT NULL DEFAULT current_user,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE snapseed.loads IS 'Snapshots that snapseed has loaded into this database';
"""

_INSERT = """
INSERT INTO snapseed.loads (environment, snapshot, identity, seed, scale, mode, tables, rows, version)
VALUES (%(environment)s, %(snapshot)s, %(identity)s, %(seed)s, %(scale)s, %(mode)s, %(tables)s, %(rows)s, %(version)s)
"""

_LATEST = """
SELECT environment, snapshot, identity, seed::text::numeric AS seed, scale, mode, tables, rows, version, role, loaded_at
  FROM snapseed.loads ORDER BY id DESC LIMIT %(limit)s
"""

_TABLES = "SELECT DISTINCT jsonb_array_elements_text(tables) FROM snapseed.loads"
