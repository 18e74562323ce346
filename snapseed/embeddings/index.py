"""Indexes for nearest neighbors: dropped while workers write a whole table, built once all rows are there.

The definition of somebody else's index is saved in the database, in the transaction that drops it, and restored later.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator

from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.embeddings.source import QUERIES, EmbeddingSource, extension_schema, resolve_source
from snapseed.postgres import query
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, connected, role_search_path
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.fit import table_name
from snapseed.postgres.guard import identify_allowed
from snapseed.postgres.locks import AdvisoryLock, lock, set_limits, waiting
from snapseed.postgres.provenance import ensure_table, has_table
from snapseed.servers.targets import resolve_target

_LONGEST_NAME = 63
# What pgvector's documentation recommends: rows per list of IVFFlat; above a million rows, the square root of them.
_ROWS_PER_LIST = 1000
_MANY_ROWS = 1_000_000


def drop_indexes(connection: Connection, source: EmbeddingSource, environment: Environment) -> list[str]:
    """Drop the indexes for nearest neighbors of an empty target; returns a line for each, also for those that stay.

    If the target has rows, jobs are few, and the indexes stay.
    """
    with connection.transaction():
        set_limits(connection, environment)
        facts = _facts(connection, source)
        if facts is None or facts.has_rows:
            return []
        lines = []
        nearest = {name for name, _ in _nearest(connection, facts)}
        for index in (index for index in facts.indexes if index.name in nearest):
            if index.keep_reason or not facts.may_index:
                why = index.keep_reason or "the table belongs to another role"
                lines.append(f"the index {index.name} stays, and slows workers down: {why}")
                continue
            if index.name != own_name(facts, source):
                ensure_table(connection, "dropped_indexes", query("create_dropped_indexes", QUERIES))
                values = {"table": facts.oid, "name": index.name, "tablespace": index.tablespace}
                values |= {"statements": [index.definition, *index.restore]}
                connection.execute(query("save_dropped_index", QUERIES), values)
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(facts.schema, index.name)))
            lines.append(f"dropped the index {index.name} until all embeddings are there")
    return lines


def index_embeddings(project: Project, environment: Environment, *, consent: bool = False) -> list[str]:
    """Restore dropped indexes, and build the one that [embeddings] asks for; returns a line for each.

    Existing indexes stay as they are. Blocks writers meanwhile. Without pgvector there is nothing to build. It is
    guarded like a load, and does not need the queue.
    """
    source, target = resolve_source(project, environment), resolve_target(project, environment)
    with connected(target) as connection:
        identify_allowed(connection, target, environment, consent=consent)
        with waiting(target, connection, "building indexes"), connection.transaction():
            set_limits(connection, environment)
            lock(connection, AdvisoryLock.EMBEDDING_INDEXES)
            facts = _facts(connection, source)
            return [*_restore(connection, facts), *_build_own(connection, facts, source)] if facts else []


def own_name(facts: TableFacts, source: EmbeddingSource) -> str:
    """The name of our index: unique for the table, and within PostgreSQL's limit."""
    name = f"{facts.table}_{source.settings.vector}_snapseed"
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name if len(name.encode()) <= _LONGEST_NAME else f"snapseed_{digest}"


def _restore(connection: Connection, facts: TableFacts) -> Iterator[str]:
    """Rebuild the indexes that were dropped before the vectors came, and forget that they were dropped."""
    if not has_table(connection, "dropped_indexes"):
        return
    present = {index.name for index in facts.indexes}
    saved = "SELECT name, tablespace, statements FROM snapseed.dropped_indexes WHERE table_oid = %s ORDER BY name"
    for name, tablespace, statements in connection.execute(saved, [facts.oid]).fetchall():
        assert isinstance(statements, list)
        if name not in present:
            started = time.monotonic()
            # If empty, the database's default applies, as it did before.
            connection.execute("SELECT set_config('default_tablespace', %s, true)", [tablespace])
            with role_search_path(connection):
                for statement in statements:
                    connection.execute(str(statement).encode())
            yield f"rebuilt the index {name} in {time.monotonic() - started:.1f} s"
        forget = "DELETE FROM snapseed.dropped_indexes WHERE table_oid = %s AND name = %s"
        connection.execute(forget, [facts.oid, name])


def _build_own(connection: Connection, facts: TableFacts, source: EmbeddingSource) -> Iterator[str]:
    """Build the index that [embeddings] asks for, if it is missing and can be built; tell what was done."""
    method, column = source.settings.index, facts.column(source.settings.vector)
    if method is None:
        return
    if column is None or not column.type.startswith("vector"):
        kind = column.type if column else "missing"
        yield f"no index: {source.settings.vector} is {kind}, but {method} needs a vector of pgvector"
        return
    for other, indexed in _nearest(connection, facts):
        if indexed == column.name:
            yield f"the index {other} exists"
            return
    started, name = time.monotonic(), own_name(facts, source)
    names = (sql.Identifier(name), facts.name.identifier(), sql.SQL(method), sql.Identifier(column.name))
    statement = sql.SQL("CREATE INDEX {} ON {} USING {} ({} {}.vector_cosine_ops)").format(
        *names, extension_schema(connection)
    )
    if method == "ivfflat":
        statement += sql.SQL(" WITH (lists = {})").format(sql.Literal(_lists(connection, facts)))
    connection.execute(statement)
    yield f"built the index {name} in {time.monotonic() - started:.1f} s"


def _lists(connection: Connection, facts: TableFacts) -> int:
    """The lists of an IVFFlat index for the rows that are there."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(facts.name.identifier())).fetchone()
    assert row is not None
    rows = int(str(row[0]))
    return max(1, rows // _ROWS_PER_LIST if rows <= _MANY_ROWS else math.isqrt(rows))


def _nearest(connection: Connection, facts: TableFacts) -> list[tuple[object, ...]]:
    """The names of the indexes for nearest neighbors, and the column of each; None if it cannot be used."""
    return connection.execute(query("nearest_indexes", QUERIES), {"table": facts.oid}).fetchall()


def _facts(connection: Connection, source: EmbeddingSource) -> TableFacts | None:
    """What the catalogs say about the target; None if there is no such table."""
    return read_tables(connection, [table_name(source.target)]).get(table_name(source.target))
