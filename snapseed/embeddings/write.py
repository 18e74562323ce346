"""Read texts, and write their chunks: by COPY straight into the target if they have none yet, otherwise by one upsert.

However often a text is processed, and by however many workers, each of its chunks ends up with one correct row.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from psycopg import errors, sql

from snapseed.embeddings.source import EmbeddingSource
from snapseed.errors import SchemaError
from snapseed.load.encode import BINARY_HEADER, BINARY_TRAILER, encode_rows
from snapseed.load.plan import Prepared, TablePlan
from snapseed.load.plan.tables import plan_load
from snapseed.load.request import LoadRequest, Mode
from snapseed.postgres.catalog import read_tables
from snapseed.postgres.connect import Connection, role_search_path
from snapseed.postgres.fit import table_name
from snapseed.postgres.rowhash import row_hash
from snapseed.snapshot.types import Family

# Once a worker has said that a job is done, nobody repeats it: its rows must be on disk by then.
_DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"


@dataclass(frozen=True)
class Writer:
    """What a session knows about the two tables, asked once. `names` fill in the statements.

    `takes_copy`: COPY may write into the target itself, and not only into the temporary table.
    """

    source: EmbeddingSource
    plan: TablePlan
    key_is_uuid: bool
    takes_copy: bool
    names: Mapping[str, sql.Composable]

    def statement(self, name: str) -> sql.Composed:
        """The statement in `queries`, with its names filled in."""
        return self.source.statement(name, **self.names)


@dataclass(frozen=True)
class TextBatch:
    """Some texts, their keys in the types of Arrow, and the key and version of the row that each was read from."""

    keys: pl.Series
    texts: pl.Series
    versions: list[tuple[object, ...]]


def prepare_writer(connection: Connection, source: EmbeddingSource) -> Writer:
    """Look at the two tables and create the temporary one. Raises `SchemaError` if they are missing or do not fit."""
    tables = [table_name(source.texts), table_name(source.target)]
    facts = read_tables(connection, tables)
    missing = [str(name) for name in tables if name not in facts]
    if missing:
        raise SchemaError("tables are missing", observed=", ".join(missing), next_step="run `snapseed load` first")
    texts, target = (facts[name] for name in tables)
    plan = plan_load(Prepared([source.target], {source.target.name: target}), LoadRequest(mode=Mode.UPSERT)).tables[0]
    identify = [source.settings.parent, source.settings.number, source.settings.model]
    if not any(index.is_unique and set(index.key) == set(identify) for index in target.indexes):
        unique = ", ".join(identify)
        raise SchemaError(
            "the target has no unique index on the columns that identify a chunk",
            where=str(target.name),
            expected=f"UNIQUE ({unique})",
            next_step=f"ALTER TABLE {target.name} ADD UNIQUE ({unique});",
        )
    columns = source.target.columns
    (key,) = source.texts.key_columns
    updates = [sql.Identifier(column.name) for column in columns if column.name not in identify]
    names = {
        "texts": texts.name.identifier(),
        "target": plan.table.identifier(),
        "stage": sql.Identifier("pg_temp", "snapseed_chunks"),
        # The type is safe in SQL: the decoder of the manifest has parsed it.
        "type": sql.SQL(key.type),
        "columns": sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        "conflict": sql.SQL(", ").join(map(sql.Identifier, identify)),
        "updates": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in updates),
        "old": row_hash(columns, "held"),
        "new": row_hash(columns, "excluded"),
    }
    takes_copy = target.is_table and not target.rules and not target.row_security
    writer = Writer(source, plan, key.kind().family is Family.UUID, takes_copy, names)
    connection.execute(_DURABLE)
    connection.execute(writer.statement("create_stage"))
    return writer


def read_texts(connection: Connection, writer: Writer, keys: Sequence[str]) -> TextBatch:
    """The texts with these keys, as far as they exist, in one query."""
    found = connection.execute(writer.statement("read_texts"), {"keys": list(keys)}).fetchall()
    raw = [key.bytes if isinstance(key, uuid.UUID) else key for key, *_ in found]
    return TextBatch(
        pl.Series(raw, dtype=pl.Binary if writer.key_is_uuid else None),
        pl.Series([text for *_, text in found], dtype=pl.String),
        [(key, version) for key, version, _ in found],
    )


def lock_texts(connection: Connection, writer: Writer, keys: Sequence[str]) -> list[tuple[object, ...]]:
    """Keys and versions of these texts, which nobody can delete or change before the transaction ends.

    Without the lock, a worker with an old version of a text could write after a worker with the new one.
    """
    return connection.execute(writer.statement("lock_texts"), {"keys": list(keys)}).fetchall()


def write_chunks(connection: Connection, writer: Writer, keys: Sequence[str], arrays: Sequence[pa.Array]) -> int:
    """Make the chunks of the texts with these keys those of `arrays`; returns how many rows changed.

    Call it once per transaction, whose end empties the temporary table. If none of the texts has a chunk, as after a
    load, COPY into the target takes two thirds of the time; if another worker writes one meanwhile, it is an upsert.
    """
    if not arrays:
        return 0
    model = {"model": writer.source.embedder.model}
    if writer.takes_copy:
        held = connection.execute(writer.statement("has_chunks"), {"keys": list(keys), **model}).fetchone()
        with suppress(errors.UniqueViolation):
            if held == (False,):
                with connection.transaction(), role_search_path(connection):
                    return _copy(connection, writer, "target", arrays)
    _copy(connection, writer, "stage", arrays)
    with role_search_path(connection):
        changed = connection.execute(writer.statement("merge_chunks")).rowcount
        return changed + connection.execute(writer.statement("trim_chunks"), model).rowcount


def _copy(connection: Connection, writer: Writer, into: str, arrays: Sequence[pa.Array]) -> int:
    """Send the rows to the table that `into` names; returns how many."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT {})").format(
        writer.names[into], writer.names["columns"], sql.SQL("binary" if writer.plan.binary else "text")
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        if writer.plan.binary:
            copy.write(BINARY_HEADER)
        copy.write(memoryview(encode_rows(arrays, writer.plan)))
        if writer.plan.binary:
            copy.write(BINARY_TRAILER)
    return len(arrays[0])
