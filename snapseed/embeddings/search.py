"""Search by meaning: the chunks nearest to a question, with the titles of their texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from psycopg import sql

from snapseed.config import Environment, Project
from snapseed.embeddings.chunks import embed_texts
from snapseed.embeddings.source import Source, resolve_source
from snapseed.errors import ConfigurationError, SchemaError
from snapseed.postgres.catalog import TableFacts, TableName, read_tables
from snapseed.postgres.connect import Connection, connected
from snapseed.postgres.failures import translated
from snapseed.postgres.fit import table_name
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot

# Lists of IVFFlat that a search looks into. With pgvector's default of 1 it misses too much.
_PROBES = 10
# HNSW finds at most this many rows: pgvector's default, and the highest value it takes.
_EF_SEARCH = 40
_HIGHEST_EF_SEARCH = 1000


@dataclass(frozen=True)
class Hit:
    """A chunk, the key of its text, and how near it is: the cosine of the angle, 1 for the same direction.

    `title` is the column that [embeddings] names, None if it names none.
    """

    key: str
    number: int
    similarity: float
    content: str | None
    title: str | None = None


def search(project: Project, environment: Environment, question: str, limit: int = 5) -> list[Hit]:
    """The nearest chunks, nearest first; none if the table is empty. Uses pgvector if the column is a `vector`.

    Raises `SchemaError` if the table is missing, `EmbeddingError` if the embedder fails, `ConfigurationError` for
    mistakes in [embeddings], and what connecting raises.
    """
    manifest = open_snapshot(project.snapshots, environment.snapshot).manifest
    source = resolve_source(project, environment, manifest)
    target = resolve_target(project, environment)
    vector = embed_texts(source.embedder, pl.Series([question])).cast(pl.List(pl.Float64))[0].to_list()
    with (
        connected(target, create=False) as connection,
        translated("searching", target.described),
        connection.transaction(),
    ):
        ef_search = min(max(_EF_SEARCH, limit), _HIGHEST_EF_SEARCH)
        connection.execute(_SETTINGS, {"probes": str(_PROBES), "ef_search": str(ef_search)})
        connection.execute(_ITERATIVE)
        query = _query(connection, source, manifest, f"{project.file} [embeddings] title")
        values = {"question": vector, "name": source.embedder.model, "limit": limit}
        found = connection.execute(query, values).fetchall()
    return [
        Hit(str(key), int(str(number)), float(str(similarity)), _text(content), _text(title))
        for key, number, similarity, content, title in found
    ]


def _query(connection: Connection, source: Source, manifest: Manifest, where: str) -> sql.Composed:
    tables = read_tables(connection, [table_name(record) for record in manifest.entities])
    facts = tables.get(table_name(source.target))
    column = facts.column(source.settings.vector) if facts else None
    if facts is None or column is None:
        raise SchemaError(
            "there is nothing to search", where=str(table_name(source.target)), next_step="run `snapseed load` first"
        )
    # pgvector's `<=>` is one minus the cosine. Its indexes serve only an ORDER BY of that, so titles are joined later.
    nearest = sql.SQL(_BY_PGVECTOR if column.type.startswith("vector") else _BY_ARRAYS)
    nearest_chunks = nearest.format(**(source.identifiers() | {"target": facts.name.identifier()}))
    title, joins = _title(connection, source, manifest, tables, where)
    return sql.SQL(_TITLED).format(nearest=nearest_chunks, title=title, joins=joins)


def _title(
    connection: Connection, source: Source, manifest: Manifest, tables: Mapping[TableName, TableFacts], where: str
) -> tuple[sql.Composable, sql.Composable]:
    """`title = "entity.column"` of [embeddings] in SQL: the column, and the joins that lead to it from `found.parent`.

    The joins follow the shortest chain of foreign keys. Raises `ConfigurationError` if the snapshot has no such column,
    or no chain leads to it.
    """
    wanted = source.settings.title
    if wanted is None:
        return sql.NULL, sql.SQL("")
    name, _, column = wanted.partition(".")
    entity = manifest.entity(name)
    if entity is None or column not in [known.name for known in entity.columns]:
        raise ConfigurationError(
            "the snapshot has no such column", where=where, observed=repr(wanted), expected="entity.column"
        )
    texts, titled = tables.get(table_name(source.texts)), tables.get(table_name(entity))
    by_oid = {facts.oid: facts for facts in tables.values()}
    chain = _chain(connection, texts.oid, titled.oid, list(by_oid)) if texts and titled else None
    if texts is None or chain is None:
        raise ConfigurationError(
            "no foreign keys lead from the texts to their titles",
            where=where,
            observed=repr(wanted),
            expected=f"a column of {source.texts.name}, or of a table that its rows refer to",
        )
    joins = [_join(texts, 0, "found", [(source.text_key, "parent")])]
    for number, key in enumerate(chain, 1):
        joins.append(_join(by_oid[key.to], number, f"text{number - 1}", key.columns))
    return sql.Identifier(f"text{len(chain)}", column), sql.SQL(" ").join(joins)


@dataclass(frozen=True)
class _ForeignKey:
    """A foreign key from one table to another, by their oids; pairs of a column there and its column here."""

    table: int
    to: int
    columns: list[tuple[str, str]]


def _chain(connection: Connection, start: int, end: int, tables: list[int]) -> list[_ForeignKey] | None:
    """The shortest chain of foreign keys from one table to another; None if there is none."""
    found: list[Any] = connection.execute(_FOREIGN_KEYS, {"tables": tables}).fetchall()
    keys = [_ForeignKey(table, to, list(zip(theirs, ours, strict=True))) for table, to, ours, theirs in found]
    chains: dict[int, list[_ForeignKey]] = {start: []}
    waiting = deque([start])
    while waiting:
        oid = waiting.popleft()
        for key in keys:
            if key.table == oid and key.to not in chains:
                chains[key.to] = [*chains[oid], key]
                waiting.append(key.to)
    return chains.get(end)


def _join(facts: TableFacts, number: int, other: str, columns: Sequence[tuple[str, str]]) -> sql.Composed:
    name = f"text{number}"
    pairs = [sql.SQL("{} = {}").format(sql.Identifier(name, mine), sql.Identifier(other, its)) for mine, its in columns]
    return sql.SQL("LEFT JOIN {} {} ON {}").format(
        facts.name.identifier(), sql.Identifier(name), sql.SQL(" AND ").join(pairs)
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


_SETTINGS = "SELECT set_config('ivfflat.probes', %(probes)s, true), set_config('hnsw.ef_search', %(ef_search)s, true)"
# An index knows nothing about models. Since 0.8 pgvector searches on until it has enough rows of the right one.
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
_FOREIGN_KEYS = """
SELECT k.conrelid::int8, k.confrelid::int8,
       ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute ON attrelid = k.conrelid AND attnum = u.number ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute ON attrelid = k.confrelid AND attnum = u.number ORDER BY place)
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = ANY(%(tables)s::oid[]) AND k.confrelid = ANY(%(tables)s::oid[])
 ORDER BY k.conname
"""
