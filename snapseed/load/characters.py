"""Which texts of a snapshot a database cannot keep, because its encoding lacks some of their characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pyarrow as pa

from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import Problem, table_name
from snapseed.snapshot.arrow import pc
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

# Characters of a text, as its beginning.
_SHOWN = 60


def unconvertible_texts(
    connection: Connection, snapshot: Snapshot, entities: Sequence[EntityRecord]
) -> Iterator[Problem]:
    """Texts that are not the same again after a conversion to the database's encoding and back: one for each column."""
    encoding = connection.info.parameter_status("server_encoding")
    for entity in entities:
        for column in entity.columns:
            characters = set[str]()
            for texts in _texts(snapshot, entity, column.name):
                everything = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), "")[0].as_py()
                characters.update(() if everything.isascii() else everything)
            lacking = _lacking(connection, encoding or "", "".join(sorted(characters)))
            if lacking:
                matching = (
                    texts.filter(pc.match_substring(texts, lacking)) for texts in _texts(snapshot, entity, column.name)
                )
                value = next(texts[0].as_py() for texts in matching if len(texts))
                yield Problem(
                    f"{table_name(entity)}.{column.name}: {encoding}, the encoding of the database, has no"
                    f" {lacking!r} (U+{ord(lacking):04X}), which is in {value[:_SHOWN]!r}; a database in UTF8 has it"
                )


def _texts(snapshot: Snapshot, entity: EntityRecord, column: str) -> Iterator[pa.Array]:
    """The texts of a column, those in lists too; nothing for columns of other types."""
    for batch in snapshot.batches(entity, [column]):
        values = batch.column(0)
        values = pc.list_flatten(values, recursive=True) if pa.types.is_nested(values.type) else values
        if pa.types.is_string(values.type):
            yield values.drop_null()


def _lacking(connection: Connection, encoding: str, characters: str) -> str | None:
    """The first of these characters that this encoding lacks, or gives back as another one."""
    convert = "SELECT convert(convert(%(bytes)s, 'UTF8', %(encoding)s), %(encoding)s, 'UTF8')"
    try:
        with connection.transaction():
            row = connection.execute(convert, {"bytes": characters.encode(), "encoding": encoding}).fetchone()
    except (psycopg.errors.UntranslatableCharacter, psycopg.errors.CharacterNotInRepertoire):
        half = len(characters) // 2
        if not half:
            return characters
        return _lacking(connection, encoding, characters[:half]) or _lacking(connection, encoding, characters[half:])
    assert row is not None
    assert isinstance(row[0], bytes)
    return next((mine for mine, theirs in zip(characters, row[0].decode(), strict=True) if mine != theirs), None)
