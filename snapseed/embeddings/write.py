"""Read texts and write their vectors: by COPY into a temporary table and one upsert, or straight where nothing is yet.

However often the same text is worked, and by however many, there is one right row for each chunk at the end.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from psycopg import errors, sql

from snapseed.embeddings.source import Source
from snapseed.errors import SchemaError
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows
from snapseed.load.plan import Prepared, TablePlan
from snapseed.load.plan.tables import plan_load
from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection
from snapseed.postgres.fit import table_name
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.types import Family

_STAGE = sql.Identifier("pg_temp", "snapseed_chunks")

# A job is done for good once that was said, so its rows must be on the disk by then.
_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""


@dataclass(frozen=True)
class Writer:
    """What a session needs to know of the two tables, asked once. `straight`: COPY may write into the target itself."""

    source: Source
    plan: TablePlan
    texts: sql.Identifier
    key_type: str
    key_is_uuid: bool
    straight: bool


def prepare_writer(connection: Connection, source: Source) -> Writer:
    """Look at the tables and make the temporary one. Raises `SchemaError` where they do not fit."""
    names = [table_name(source.texts), table_name(source.target)]
    facts = read_tables(connection, names)
    missing = [str(name) for name in names if name not in facts]
    if missing:
        raise SchemaError("tables are missing", observed=", ".join(missing), next_step="run `snapseed load` before")
    target = facts[names[1]]
    plan = plan_load(Prepared([source.target], {source.target.name: target}), LoadRequest(mode=Mode.UPSERT)).tables[0]
    wanted = set(source.conflict)
    if not any(index.is_unique and set(index.key) == wanted for index in target.indexes):
        columns = ", ".join(source.conflict)
        raise SchemaError(
            "the target has no unique index that tells one chunk from another",
            where=str(target.name),
            expected=f"UNIQUE ({columns})",
            next_step=f"ALTER TABLE {target.name} ADD UNIQUE ({columns});",
        )
    connection.execute(_DURABLE)
    query = sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA")
    connection.execute(query.format(_STAGE, _names(source), plan.table.identifier()))
    key = next(column for column in source.texts.columns if column.name == source.text_key)
    texts = facts[names[0]].name.identifier()
    straight = target.is_table and not target.rules and not target.row_security
    return Writer(source, plan, texts, key.type, key.kind().family is Family.UUID, straight)


@dataclass(frozen=True)
class Texts:
    """Some texts, with their keys as the types of Arrow have them, and which version of its row each was read from."""

    keys: pl.Series
    texts: pl.Series
    versions: list[tuple[object, ...]]


def read_texts(connection: Connection, writer: Writer, keys: Sequence[str]) -> Texts:
    """The texts that there are among those with these keys, in one query."""
    found = connection.execute(
        _text_query(writer, sql.Identifier(writer.source.settings.text)), [list(keys)]
    ).fetchall()
    raw = [key.bytes if isinstance(key, uuid.UUID) else key for key, *_ in found]
    return Texts(
        pl.Series(raw, dtype=pl.Binary if writer.key_is_uuid else None),
        pl.Series([text for *_, text in found], dtype=pl.String),
        [(key, version) for key, version, _ in found],
    )


def lock_texts(connection: Connection, writer: Writer, keys: Sequence[str]) -> list[tuple[object, ...]]:
    """The versions of these texts, which can be neither deleted nor changed before the transaction ends.

    Of two workers on one text, one with what it held before and one with what it holds now, the first could be the last
    to write.
    """
    query = sql.SQL("SELECT key, version FROM ({} FOR SHARE OF text) locked").format(_text_query(writer, sql.NULL))
    return connection.execute(query, [list(keys)]).fetchall()


def _text_query(writer: Writer, column: sql.Composable) -> sql.Composed:
    """Key, version and `column` of texts, by key. The transaction that wrote a row tells one version from another."""
    # The type is one that the decoder of the manifest has parsed.
    return sql.SQL(
        "SELECT text.{key} AS key, text.xmin::text AS version, {column} FROM {texts} text"
        " WHERE text.{key} = ANY (%s::text[]::{type}[]) ORDER BY 1"
    ).format(
        key=sql.Identifier(writer.source.text_key),
        column=column,
        texts=writer.texts,
        type=sql.SQL(writer.key_type),
    )


def write_chunks(connection: Connection, writer: Writer, keys: Sequence[str], arrays: Sequence[pa.Array]) -> int:
    """Bring the chunks of the texts with these keys to what `arrays` hold; returns how many rows changed.

    Once in a transaction, whose end empties the temporary table. Texts without any chunk, as all are behind a load, are
    written in two thirds of the time; should somebody else be writing theirs at this very moment, they are brought
    together like all others.
    """
    source, target = writer.source, writer.plan.table.identifier()
    if writer.straight and not _has_chunks(connection, writer, keys):
        try:
            with connection.transaction():
                return _copy(connection, writer, target, arrays)
        except errors.UniqueViolation:
            pass
    _copy(connection, writer, _STAGE, arrays)
    changed = connection.execute(_merge(source, target)).rowcount
    return changed + connection.execute(_trim(source, target), {"model": source.embedder.model}).rowcount


def _has_chunks(connection: Connection, writer: Writer, keys: Sequence[str]) -> bool:
    """Whether one of the texts has a chunk of this model."""
    settings = writer.source.settings
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} = ANY (%s::text[]::{}[]) AND {} = %s)").format(
        writer.plan.table.identifier(),
        sql.Identifier(settings.parent),
        sql.SQL(writer.key_type),
        sql.Identifier(settings.model),
    )
    return connection.execute(query, [list(keys), writer.source.embedder.model]).fetchone() == (True,)


def _copy(connection: Connection, writer: Writer, into: sql.Identifier, arrays: Sequence[pa.Array]) -> int:
    """Send the rows; returns how many those are."""
    source, plan = writer.source, writer.plan
    options = sql.SQL("FORMAT binary" if plan.binary else "FORMAT text")
    copy_into = sql.SQL("COPY {} ({}) FROM STDIN WITH ({})").format(into, _names(source), options)
    with connection.cursor() as cursor, cursor.copy(copy_into) as copy:
        if plan.binary:
            copy.write(BINARY_HEADER)
        copy.write(memoryview(encode_rows(arrays, plan)))
        if plan.binary:
            copy.write(BINARY_TRAILER)
    return len(arrays[0])


def _merge(source: Source, target: sql.Identifier) -> sql.Composed:
    columns = source.target.columns
    others = [sql.Identifier(column.name) for column in columns if column.name not in source.conflict]
    return sql.SQL(
        "INSERT INTO {} AS held ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY {}"
        " ON CONFLICT ({}) DO UPDATE SET {} WHERE {} <> {}"
    ).format(
        target,
        _names(source),
        _names(source),
        _STAGE,
        _conflict(source),
        _conflict(source),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in others),
        row_hash(columns, "held"),
        row_hash(columns, "excluded"),
    )


def _trim(source: Source, target: sql.Identifier) -> sql.Composed:
    """Rows of these texts and this model beyond their last chunk: the text was longer once."""
    parent, number, model = map(sql.Identifier, source.conflict)
    return sql.SQL(
        "DELETE FROM {} held USING (SELECT {} AS parent, max({}) AS last FROM {} GROUP BY 1) staged"
        " WHERE held.{} = staged.parent AND held.{} > staged.last AND held.{} = %(model)s"
    ).format(target, parent, number, _STAGE, parent, number, model)


def _names(source: Source) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in source.target.columns)


def _conflict(source: Source) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, source.conflict))
