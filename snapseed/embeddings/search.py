"""Search by meaning: the chunks nearest to a question, as a demonstration and a smoke test."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.embeddings.chunks import embedded
from snapseed.embeddings.source import Source, resolve_source
from snapseed.embeddings.titles import resolve_titles
from snapseed.errors import SchemaError
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot

# Lists of IVFFlat that a search looks into; pgvector's own 1 misses too much of what is near.
_PROBES = 10
# HNSW finds no more rows than this; pgvector's own value, and the largest that it takes.
_EF_SEARCH = 40
_LARGEST_EF_SEARCH = 1000


@dataclass(frozen=True)
class Hit:
    """A chunk, the key of its text, and how near it is: the cosine of the angle, 1 for the same direction.

    `title` is what [embeddings] names as such, None where it names nothing.
    """

    key: str
    number: int
    similarity: float
    content: str | None
    title: str | None = None


def search(project: Project, environment: Environment, question: str, limit: int = 5) -> list[Hit]:
    """The nearest chunks, the nearest first; none where the table is empty. By pgvector where the column is one.

    Raises `SchemaError` where the table is missing, `EmbeddingError` where the embedder fails, and what [embeddings]
    and connecting may raise.
    """
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    source = resolve_source(project, environment, manifest)
    target = resolve_target(project, environment)
    vector = embedded(source.embedder, pl.Series([question])).cast(pl.List(pl.Float64))[0].to_list()
    with (
        connected(target, create=False) as connection,
        translated("searching", target.described),
        connection.transaction(),
    ):
        ef_search = min(max(_EF_SEARCH, limit), _LARGEST_EF_SEARCH)
        connection.execute(_SETTINGS, {"probes": str(_PROBES), "ef_search": str(ef_search)})
        connection.execute(_ITERATIVE)
        query = _query(connection, source, manifest, f"{project.file} [embeddings] title")
        found = connection.execute(
            query, {"question": vector, "name": source.embedder.model, "limit": limit}
        ).fetchall()
    return [
        Hit(str(key), int(str(number)), float(str(similarity)), _text(content), _text(title))
        for key, number, similarity, content, title in found
    ]


def _query(connection: Connection, source: Source, manifest: Manifest, where: str) -> sql.Composed:
    settings, name = source.settings, table_name(source.target)
    facts = read_tables(connection, [name]).get(name)
    column = facts.column(settings.vector) if facts else None
    if facts is None or column is None:
        raise SchemaError("there is nothing to search", where=str(name), next_step="run `snapseed load` before")
    # pgvector's `<=>` is one minus the cosine, and an index serves an ORDER BY of it alone: so titles come behind it.
    nearest = sql.SQL(_BY_PGVECTOR if column.type.startswith("vector") else _BY_ARRAYS).format(
        vector=sql.Identifier(settings.vector),
        parent=sql.Identifier(settings.parent),
        number=sql.Identifier(settings.number),
        content=sql.Identifier(settings.content) if settings.content else sql.NULL,
        target=facts.name.identifier(),
        model=sql.Identifier(settings.model),
    )
    titles = resolve_titles(connection, source, manifest, where)
    return sql.SQL(_TITLED).format(nearest=nearest, title=titles.column, joins=titles.joins)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_SETTINGS = "SELECT set_config('ivfflat.probes', %(probes)s, true), set_config('hnsw.ef_search', %(ef_search)s, true)"
# An index knows nothing of models; since 0.8 pgvector looks on until it has found enough of the right one.
_ITERATIVE = """
SELECT set_config('hnsw.iterative_scan', 'strict_order', true),
       set_config('ivfflat.iterative_scan', 'relaxed_order', true)
  FROM pg_extension WHERE extname = 'vector' AND (string_to_array(extversion, '.')::int[])[:2] >= '{0,8}'
"""
_BY_PGVECTOR = """
SELECT {parent} AS parent, {number} AS number, 1 - ({vector} <=> %(question)s::vector) AS similarity,
       {content} AS content
  FROM {target} WHERE {model} = %(name)s ORDER BY {vector} <=> %(question)s::vector LIMIT %(limit)s
"""
_BY_ARRAYS = """
SELECT {parent} AS parent, {number} AS number, similarity, {content} AS content
  FROM {target}, LATERAL (
       SELECT coalesce(sum(a * b) / nullif(sqrt(sum(a * a)) * sqrt(sum(b * b)), 0), 0) AS similarity
         FROM unnest({vector}, %(question)s::real[]) pair(a, b)
       ) pairs
 WHERE {model} = %(name)s ORDER BY similarity DESC LIMIT %(limit)s
"""
_TITLED = """
SELECT found.parent::text, found.number, found.similarity, found.content, {title}
  FROM ({nearest}) found {joins}
 ORDER BY found.similarity DESC, found.parent, found.number
"""
