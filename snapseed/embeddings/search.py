"""Search by meaning: the chunks nearest to a question, with the titles of their texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from psycopg import sql
from psycopg.rows import class_row

from snapseed.config import Environment, Project
from snapseed.embeddings.chunks import embed_texts
from snapseed.embeddings.source import QUERIES, EmbeddingSource, extension_schema, resolve_source
from snapseed.errors import ConfigurationError, SchemaError
from snapseed.postgres import query
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts, TableName
from snapseed.postgres.fit import table_name
from snapseed.postgres.locks import reading
from snapseed.servers.targets import resolve_target
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import snapshot_of

# Lists of IVFFlat that a search looks into. With pgvector's default of 1 it misses too much.
_PROBES = 10
# HNSW finds at most this many rows: pgvector's default, and the highest value it takes.
_EF_SEARCH = 40
_HIGHEST_EF_SEARCH = 1000
# A foreign key on the way to a title: the table that it refers to, and pairs of a column there and one here.
_Step = tuple[int, Sequence[tuple[str, str]]]


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
    manifest = snapshot_of(environment).manifest
    source = resolve_source(project, environment, manifest)
    target = resolve_target(project, environment)
    vector = embed_texts(source.embedder, pl.Series([question])).cast(pl.List(pl.Float64))[0].to_list()
    with reading(target, "searching") as connection:
        ef_search = min(max(_EF_SEARCH, limit), _HIGHEST_EF_SEARCH)
        settings = {"probes": str(_PROBES), "ef_search": str(ef_search)}
        connection.execute(query("search_settings", QUERIES), settings)
        statement = _statement(connection, source, manifest, f"{project.file} [embeddings] title")
        values = {"question": vector, "name": source.embedder.model, "limit": limit}
        with connection.cursor(row_factory=class_row(Hit)) as cursor:
            return cursor.execute(statement, values).fetchall()


def _statement(connection: Connection, source: EmbeddingSource, manifest: Manifest, where: str) -> sql.Composed:
    tables = read_tables(connection, [table_name(record) for record in manifest.entities])
    facts = tables.get(table_name(source.target))
    column = facts.column(source.settings.vector) if facts else None
    if facts is None or column is None:
        raise SchemaError(
            "there is nothing to search", where=str(table_name(source.target)), next_step="run `snapseed load` first"
        )
    name = "nearest_vectors" if column.type.startswith("vector") else "nearest_arrays"
    nearest = source.statement(name, target=facts.name.identifier(), extension=extension_schema(connection))
    title, joins = _title(connection, source, manifest, tables, where)
    return source.statement("titled", nearest=nearest, title=title, joins=joins)


def _title(
    connection: Connection,
    source: EmbeddingSource,
    manifest: Manifest,
    tables: Mapping[TableName, TableFacts],
    where: str,
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
    for number, (oid, columns) in enumerate(chain, 1):
        joins.append(_join(by_oid[oid], number, f"text{number - 1}", columns))
    return sql.Identifier(f"text{len(chain)}", column), sql.SQL(" ").join(joins)


def _chain(connection: Connection, start: int, end: int, tables: list[int]) -> list[_Step] | None:
    """The shortest chain of foreign keys from one table to another, by their oids; None if there is none."""
    keys: list[Any] = connection.execute(query("foreign_keys", QUERIES), {"tables": tables}).fetchall()
    chains: dict[int, list[_Step]] = {start: []}
    reached = [start]
    for oid in reached:  # grows meanwhile
        for table, other, columns in keys:
            if table == oid and other not in chains:
                chains[other] = [*chains[oid], (other, columns)]
                reached.append(other)
    return chains.get(end)


def _join(facts: TableFacts, number: int, other: str, columns: Sequence[tuple[str, str]]) -> sql.Composed:
    name = f"text{number}"
    pairs = [sql.SQL("{} = {}").format(sql.Identifier(name, mine), sql.Identifier(other, its)) for mine, its in columns]
    return sql.SQL("LEFT JOIN {} {} ON {}").format(
        facts.name.identifier(), sql.Identifier(name), sql.SQL(" AND ").join(pairs)
    )
