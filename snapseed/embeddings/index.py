"""Indexes for nearest neighbours: gone while workers write a whole table, built once all rows are there.

What somebody else made is remembered in the database before it goes, in the same transaction, and comes back as it was.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.embeddings.source import Source, resolve_source
from snapseed.postgres.catalog import IndexFacts, TableFacts, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import identify_allowed
from snapseed.postgres.locks import AdvisoryLock, lock, set_limits
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.store import open_snapshot

_LONGEST_NAME = 63
# What pgvector's documentation asks for: so many rows in a list of IVFFlat; beyond a million rows their square root.
_ROWS_OF_LIST = 1000
_MANY_ROWS = 1_000_000


def drop_indexes(connection: Connection, source: Source, environment: Environment) -> list[str]:
    """Take the indexes for nearest neighbours away from an empty target; says a line for each, and for each that stays.

    Where the target holds rows, jobs are few: nothing is done.
    """
    with connection.transaction():
        set_limits(connection, environment)
        facts = _facts(connection, source)
        if facts is None or facts.has_rows:
            return []
        lines = []
        for index in _nearest(connection, facts):
            if index.keep_reason or not facts.may_index:
                why = index.keep_reason or "the table is not this role's"
                lines.append(f"the index {index.name} slows workers down, and stays: {why}")
                continue
            if index.name != own_name(facts, source):
                _remember(connection, facts, index)
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(facts.schema, index.name)))
            lines.append(f"the index {index.name} is gone until all embeddings are there")
    return lines


def build_indexes(connection: Connection, source: Source, environment: Environment) -> list[str]:
    """Make again what was dropped, and the index that [embeddings] asks for; says a line for each.

    What is there already is left as it is. Rows cannot be written meanwhile. Without pgvector there is no such index.
    """
    with connection.transaction():
        set_limits(connection, environment)
        lock(connection, AdvisoryLock.EMBEDDING_INDEXES)
        facts = _facts(connection, source)
        if facts is None:
            return []
        return [*_restored(connection, facts), *_own(connection, facts, source)]


def index_embeddings(project: Project, environment: Environment, *, consent: bool = False) -> list[str]:
    """`build_indexes` for an environment, guarded like a load; its queue is not asked."""
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    source = resolve_source(project, environment, manifest)
    target = resolve_target(project, environment)
    with connected(target) as connection:
        identify_allowed(connection, target, environment, consent=consent)
        with translated("building indexes", target.described):
            return build_indexes(connection, source, environment)


def own_name(facts: TableFacts, source: Source) -> str:
    """The name of our index: no other table's, and within what PostgreSQL takes."""
    name = f"{facts.table}_{source.settings.vector}_snapseed"
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name if len(name.encode()) <= _LONGEST_NAME else f"snapseed_{digest}"


def _restored(connection: Connection, facts: TableFacts) -> Iterator[str]:
    if connection.execute("SELECT to_regclass('snapseed.dropped_indexes')").fetchone() == (None,):
        return
    found = connection.execute(_REMEMBERED, {"table": facts.oid}).fetchall()
    present = {index.name for index in facts.indexes}
    for name, tablespace, statements in found:
        assert isinstance(statements, list)
        if name not in present:
            started = time.monotonic()
            # Empty, the database's own default decides, as it did before.
            connection.execute("SELECT set_config('default_tablespace', %s, true)", [tablespace])
            for statement in statements:
                connection.execute(str(statement).encode())
            yield f"the index {name} was built again in {time.monotonic() - started:.1f} s"
        connection.execute(_FORGET, {"table": facts.oid, "name": name})


def _own(connection: Connection, facts: TableFacts, source: Source) -> Iterator[str]:
    method, name = source.settings.index, sql.Identifier(own_name(facts, source))
    if method is None:
        return
    column = facts.column(source.settings.vector)
    if column is None or not column.type.startswith("vector"):
        kind = column.type if column else "missing"
        yield f"no index: {source.settings.vector} is {kind}, and {method} is of pgvector"
        return
    if others := connection.execute(_ON_COLUMN, {"table": facts.oid, "column": column.name}).fetchall():
        yield f"the index {others[0][0]} is there"
        return
    started = time.monotonic()
    statement = sql.SQL("CREATE INDEX {} ON {} USING {} ({} vector_cosine_ops)").format(
        name, facts.name.identifier(), sql.SQL(method), sql.Identifier(column.name)
    )
    if method == "ivfflat":
        statement += sql.SQL(" WITH (lists = {})").format(sql.Literal(_lists(connection, facts)))
    connection.execute(statement)
    yield f"the index {own_name(facts, source)} was built in {time.monotonic() - started:.1f} s"


def _lists(connection: Connection, facts: TableFacts) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(facts.name.identifier())).fetchone()
    assert row is not None
    rows = int(str(row[0]))
    return max(1, rows // _ROWS_OF_LIST if rows <= _MANY_ROWS else math.isqrt(rows))


def _nearest(connection: Connection, facts: TableFacts) -> list[IndexFacts]:
    names = {name for (name,) in connection.execute(_NEAREST, {"table": facts.oid}).fetchall()}
    return [index for index in facts.indexes if index.name in names]


def _remember(connection: Connection, facts: TableFacts, index: IndexFacts) -> None:
    if connection.execute("SELECT to_regclass('snapseed.dropped_indexes')").fetchone() == (None,):
        if connection.execute("SELECT to_regnamespace('snapseed')").fetchone() == (None,):
            connection.execute("CREATE SCHEMA snapseed")
        connection.execute(_CREATE)
    values = {"table": facts.oid, "name": index.name, "tablespace": index.tablespace}
    connection.execute(_REMEMBER, values | {"statements": [index.definition, *index.restore]})


def _facts(connection: Connection, source: Source) -> TableFacts | None:
    return read_tables(connection, [table_name(source.target)]).get(table_name(source.target))


_CREATE = """
CREATE TABLE snapseed.dropped_indexes (
    table_oid oid NOT NULL,
    name text NOT NULL,
    tablespace text NOT NULL,
    statements text[] NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_oid, name)
);
COMMENT ON TABLE snapseed.dropped_indexes IS 'Indexes that come back once all embeddings are there';
"""
_REMEMBER = """
INSERT INTO snapseed.dropped_indexes (table_oid, name, tablespace, statements)
VALUES (%(table)s, %(name)s, %(tablespace)s, %(statements)s)
ON CONFLICT (table_oid, name) DO UPDATE SET tablespace = excluded.tablespace, statements = excluded.statements
"""
_REMEMBERED = """
SELECT name, tablespace, statements FROM snapseed.dropped_indexes WHERE table_oid = %(table)s ORDER BY name
"""
_FORGET = "DELETE FROM snapseed.dropped_indexes WHERE table_oid = %(table)s AND name = %(name)s"
_NEAREST = """
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
 WHERE i.indrelid = %(table)s AND m.amname IN ('hnsw', 'ivfflat')
 ORDER BY c.relname
"""
_ON_COLUMN = """
SELECT c.relname FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am m ON m.oid = c.relam
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
 WHERE i.indrelid = %(table)s AND a.attname = %(column)s AND m.amname IN ('hnsw', 'ivfflat') AND i.indisvalid
 ORDER BY c.relname
"""
