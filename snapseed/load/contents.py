"""What the snapshot's files hold that a table, or the encoding of a database, might refuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import psycopg
import pyarrow as pa

from snapseed.load.plan import ColumnContents
from snapseed.load.plan.requirements import text_limit
from snapseed.postgres.connect import Connection
from snapseed.postgres.facts import TableFacts
from snapseed.postgres.fit import Problem, table_name
from snapseed.snapshot.arrow import pc
from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

# Characters of a text, as its beginning.
_SHOWN = 60


def read_contents(snapshot: Snapshot, entity: EntityRecord, facts: TableFacts) -> dict[str, ColumnContents]:
    """The contents of the columns whose values the table might refuse.

    Only values of enums, and of texts that go into a column with a length, are read. The number of NULLs is in the
    footers of the files.
    """
    targets = {column.name: (column, found) for column in entity.columns if (found := facts.column(column.name))}
    referring = {name for key in facts.foreign_keys for name in key.columns}
    counted = {name for name, (_, found) in targets.items() if found.not_null or name in referring}
    enums = {name for name, (_, found) in targets.items() if found.labels}
    texts = {name for name, (column, found) in targets.items() if text_limit(column, found) is not None}
    read = sorted(enums | texts)
    nulls = Counter[str]()
    longest = dict.fromkeys(texts, 0)
    labels = {name: set[str]() for name in enums}
    # Opened once: reading the footer takes most of the time.
    for part in snapshot.parts(entity, entity.files if counted or read else ()):
        nulls.update({name: part.null_count(name) for name in counted})
        numbers = range(len(part.file.chunks) if read else 0)
        for batch in chain.from_iterable(part.batches(number, read) for number in numbers):
            for name in texts:
                longest[name] = max(longest[name], pc.max(pc.utf8_length(batch.column(name))).as_py() or 0)
            for name in enums:
                values = batch.column(name)
                values = pc.list_flatten(values, recursive=True) if pa.types.is_list(values.type) else values
                labels[name].update(pc.unique(values.drop_null()).to_pylist())
    return {
        name: ColumnContents(nulls[name], longest.get(name, 0), frozenset(labels.get(name, ())))
        for name in {*counted, *read}
    }


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
            found = connection.execute(convert, {"bytes": characters.encode(), "encoding": encoding}).fetchall()
    except (psycopg.errors.UntranslatableCharacter, psycopg.errors.CharacterNotInRepertoire):
        half = len(characters) // 2
        if not half:
            return characters
        return _lacking(connection, encoding, characters[:half]) or _lacking(connection, encoding, characters[half:])
    ((converted,),) = found
    assert isinstance(converted, bytes)
    return next((mine for mine, theirs in zip(characters, converted.decode(), strict=True) if mine != theirs), None)
