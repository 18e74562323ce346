"""The titles of texts, which stand in their own table or in one that they refer to, along foreign keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from snapseed.embeddings.source import Source
from snapseed.errors import ConfigurationError
from snapseed.postgres.catalog import TableFacts, read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name
from snapseed.snapshot.manifest import Manifest


@dataclass(frozen=True)
class Titles:
    """A title in SQL, and the joins that lead to it from `found.parent`, the key of a text."""

    column: sql.Composable
    joins: sql.Composable


@dataclass(frozen=True)
class _Reference:
    """A foreign key: the tables by their oids, and the pairs of columns that are equal."""

    table: int
    to: int
    columns: tuple[tuple[str, str], ...]


def resolve_titles(connection: Connection, source: Source, manifest: Manifest, where: str) -> Titles:
    """What `title = "entity.column"` of [embeddings] means; NULL where there is none.

    Of several chains of foreign keys it is the shortest. Raises `ConfigurationError` where the snapshot has no such
    column, and where no chain leads there.
    """
    wanted = source.settings.title
    if wanted is None:
        return Titles(sql.NULL, sql.SQL(""))
    name, _, column = wanted.partition(".")
    entity = manifest.entity(name)
    if entity is None or column not in [known.name for known in entity.columns]:
        raise ConfigurationError(
            "there is no such column in the snapshot", where=where, observed=repr(wanted), expected="entity.column"
        )
    tables = read_tables(connection, [table_name(record) for record in manifest.entities])
    texts, titled = tables.get(table_name(source.texts)), tables.get(table_name(entity))
    chain = _chain(connection, texts, titled, list(tables.values())) if texts and titled else None
    if texts is None or chain is None:
        raise ConfigurationError(
            "no foreign keys lead from the texts to their titles",
            where=where,
            observed=repr(wanted),
            expected=f"a column of {source.texts.name}, or of a table that its rows refer to",
        )
    by_oid = {facts.oid: facts for facts in tables.values()}
    joins = [_join(texts, 0, "found", [(source.text_key, "parent")])]
    joins += [
        _join(by_oid[reference.to], number, f"text{number - 1}", [(theirs, ours) for ours, theirs in reference.columns])
        for number, reference in enumerate(chain, 1)
    ]
    return Titles(sql.Identifier(f"text{len(chain)}", column), sql.SQL(" ").join(joins))


def _chain(
    connection: Connection, start: TableFacts, end: TableFacts, tables: Sequence[TableFacts]
) -> list[_Reference] | None:
    """The foreign keys that lead from one table to the other; None where none do."""
    found = connection.execute(_REFERENCES, {"tables": [facts.oid for facts in tables]}).fetchall()
    references = [
        _Reference(int(str(table)), int(str(to)), tuple(zip(ours, theirs, strict=True)))  # type: ignore[call-overload]
        for table, to, ours, theirs in found
    ]
    chains: dict[int, list[_Reference]] = {start.oid: []}
    waiting = [start.oid]
    while waiting:
        oid = waiting.pop(0)
        for reference in references:
            if reference.table == oid and reference.to not in chains:
                chains[reference.to] = [*chains[oid], reference]
                waiting.append(reference.to)
    return chains.get(end.oid)


def _join(facts: TableFacts, number: int, other: str, columns: Sequence[tuple[str, str]]) -> sql.Composed:
    name = f"text{number}"
    pairs = [sql.SQL("{} = {}").format(sql.Identifier(name, mine), sql.Identifier(other, its)) for mine, its in columns]
    return sql.SQL("LEFT JOIN {} {} ON {}").format(
        facts.name.identifier(), sql.Identifier(name), sql.SQL(" AND ").join(pairs)
    )


_REFERENCES = """
SELECT k.conrelid::int8, k.confrelid::int8,
       ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute ON attrelid = k.conrelid AND attnum = u.number ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
               JOIN pg_attribute ON attrelid = k.confrelid AND attnum = u.number ORDER BY place)
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = ANY(%(tables)s::oid[]) AND k.confrelid = ANY(%(tables)s::oid[])
 ORDER BY k.conname
"""
