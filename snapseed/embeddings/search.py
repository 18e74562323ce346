"""Search by meaning: the chunks nearest to a question, as a demonstration and a smoke test."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.database.catalog import read_tables
from snapseed.database.connect import Connection, connected, resolve_target
from snapseed.database.failures import translated
from snapseed.embeddings.source import Source, resolve_source
from snapseed.errors import SchemaError
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.schema import table_name


@dataclass(frozen=True)
class Hit:
    """A chunk, the key of its text, and how near it is: the cosine of the angle, 1 for the same direction."""

    key: str
    number: int
    similarity: float
    content: str | None


def search(project: Project, environment: Environment, question: str, limit: int = 5) -> list[Hit]:
    """The nearest chunks, the nearest first; none where nothing is near at all. By pgvector where the column is one.

    Raises `SchemaError` where the table is missing, and what [embeddings] and connecting may raise.
    """
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    source = resolve_source(project, environment, manifest)
    target = resolve_target(project, environment)
    vector = source.embedder.embed(pl.Series([question])).cast(pl.List(pl.Float64))[0].to_list()
    with connected(target, create=False) as connection, translated("searching", target.described):
        found = connection.execute(
            _query(connection, source), {"question": vector, "name": source.embedder.model, "limit": limit}
        ).fetchall()
    return [
        Hit(str(key), int(str(number)), float(str(similarity)), None if content is None else str(content))
        for key, number, similarity, content in found
    ]


def _query(connection: Connection, source: Source) -> sql.Composed:
    settings, name = source.settings, table_name(source.target)
    facts = read_tables(connection, [name]).get(name)
    column = facts.column(settings.vector) if facts else None
    if facts is None or column is None:
        raise SchemaError("there is nothing to search", where=str(name), next_step="run `snapseed load` before")
    # pgvector's `<=>` is one minus the cosine, and an index serves an ORDER BY of it alone.
    query = _BY_PGVECTOR if column.type.startswith("vector") else _BY_ARRAYS
    return sql.SQL(query).format(
        vector=sql.Identifier(settings.vector),
        parent=sql.Identifier(settings.parent),
        number=sql.Identifier(settings.number),
        content=sql.Identifier(settings.content) if settings.content else sql.NULL,
        target=facts.name.identifier(),
        model=sql.Identifier(settings.model),
    )


_BY_PGVECTOR = """
SELECT {parent}::text, {number}, 1 - ({vector} <=> %(question)s::vector), {content}
  FROM {target} WHERE {model} = %(name)s ORDER BY {vector} <=> %(question)s::vector LIMIT %(limit)s
"""
_BY_ARRAYS = """
SELECT {parent}::text, {number}, similarity, {content}
  FROM {target}, LATERAL (SELECT sum(a * b) AS similarity FROM unnest({vector}, %(question)s::real[]) pair(a, b)) found
 WHERE {model} = %(name)s ORDER BY similarity DESC LIMIT %(limit)s
"""
