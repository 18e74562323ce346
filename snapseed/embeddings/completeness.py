"""Whether every text has its chunks, and nothing else is there: no orphan, no other dimension."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from snapseed.embeddings.enqueue import incomplete
from snapseed.embeddings.source import Source
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name


@dataclass(frozen=True)
class Completeness:
    """How many texts there are and how many lack chunks; rows of the model, orphans, and those of a wrong dimension."""

    texts: int
    incomplete: int
    rows: int
    orphans: int
    wrong_dimension: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing and nothing too much."""
        return not (self.incomplete or self.orphans or self.wrong_dimension)

    def findings(self) -> list[str]:
        """What is not as it should be."""
        counts = {
            f"of {self.texts:,} texts lack chunks": self.incomplete,
            "chunks belong to no text": self.orphans,
            "vectors have another dimension than the model's": self.wrong_dimension,
        }
        return [f"{count:,} {what}" for what, count in counts.items() if count]


def completeness(connection: Connection, source: Source) -> Completeness:
    """Ask the database; reads both tables once each."""
    settings, texts, target = source.settings, table_name(source.texts), table_name(source.target)
    is_vector = next(column for column in source.target.columns if column.name == settings.vector).type
    length = sql.SQL("cardinality({})" if is_vector.endswith("[]") else "cardinality({}::real[])").format(
        sql.Identifier(settings.vector)
    )
    query = sql.SQL(
        "SELECT (SELECT count(*) FROM {texts}), (SELECT count(*) FROM ({incomplete}) lacking),"
        " count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM {texts} text WHERE text.{key} = chunk.{parent})),"
        " count(*) FILTER (WHERE {length} <> %(dimensions)s)"
        " FROM {target} chunk WHERE {model} = %(name)s"
    ).format(
        texts=texts.identifier(),
        incomplete=incomplete(source),
        key=sql.Identifier(source.text_key),
        parent=sql.Identifier(settings.parent),
        length=length,
        target=target.identifier(),
        model=sql.Identifier(settings.model),
    )
    values = {"name": source.embedder.model, "dimensions": source.embedder.dimensions}
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return Completeness(*(int(str(number)) for number in row))
