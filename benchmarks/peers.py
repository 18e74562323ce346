"""Other ways to fill the example's tables: `pg_restore`, ADBC and DuckDB, each as its own users would.

All start from an empty database, and end with the same rows, keys, foreign keys and indexes in it.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa
import pyarrow.dataset
from psycopg import sql

from snapseed.snapshot.manifest import EntityRecord
from snapseed.snapshot.store import Snapshot

_EXTENSION = "duckdb-ext-postgres"
PACKAGES = ("adbc-driver-postgresql", "duckdb", _EXTENSION)


@dataclass(frozen=True)
class Material:
    """What the peers load, and where to: the snapshot's own Parquet files, or a dump of a database that holds them."""

    programs: Path
    url: str
    snapshot: Snapshot
    dump: Path
    before: Path
    after: Path

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of the server's own programs."""
        subprocess.run([self.programs / program, *arguments], check=True)

    def files(self, entity: EntityRecord) -> list[str]:
        """The Parquet files of an entity."""
        return [str(self.snapshot.path(file)) for file in entity.files]


def dumped(programs: Path, source: str, url: str, snapshot: Snapshot, folder: Path) -> Material:
    """What `pg_dump` makes of the database `source`, without snapseed's own schema.

    The dump is not compressed: that is the fastest to restore, if by little, and by far the fastest to make.
    """
    material = Material(programs, url, snapshot, folder / "all.dump", folder / "before.sql", folder / "after.sql")
    dump = partial(material.run, "pg_dump", "--exclude-schema=snapseed", "--dbname", source)
    dump("--format=custom", "--compress=none", "--file", material.dump)
    dump("--section=pre-data", "--file", material.before)
    dump("--section=post-data", "--file", material.after)
    return material


def pg_restore(material: Material, *options: str) -> None:
    """The whole dump: tables, then rows, then indexes, keys and foreign keys."""
    material.run("pg_restore", *options, "--dbname", material.url, material.dump)


def adbc_ingest(material: Material) -> None:
    """Binary COPY straight into the tables; vectors into a temporary table of arrays, and from there by a cast.

    ADBC 1.13 knows uuid, timestamptz, numeric and arrays; a string is what an enum takes, and a string that says it is
    JSON (`arrow.json`) what jsonb takes. For a vector it has no form that pgvector would read.
    """
    _psql(material, material.before)
    with adbc_driver_postgresql.dbapi.connect(material.url) as connection, connection.cursor() as cursor:
        cursor.execute(_truncate(material))
        for entity in material.snapshot.manifest.entities:
            if not _vectors(entity):
                cursor.adbc_ingest(entity.table, _batches(material, entity), mode="append")
                continue
            cursor.adbc_ingest("arrays", _batches(material, entity), mode="create", temporary=True)
            cursor.execute(_from_arrays(entity))
            cursor.execute("DROP TABLE arrays")
        connection.commit()
    _psql(material, material.after)


def duckdb_insert(material: Material) -> None:
    """INSERT of what `read_parquet` reads straight into the tables.

    The extension sends text, so enum, jsonb and vector take what comes; a detour over arrays takes longer.
    """
    _psql(material, material.before)
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{_duckdb_extension()}'")
        connection.execute(f"ATTACH '{material.url}' AS target (TYPE postgres)")
        connection.execute("BEGIN")
        connection.execute("CALL postgres_execute('target', ?)", [_truncate(material)])
        for entity in material.snapshot.manifest.entities:
            table = sql.Identifier("target", "public", entity.table).as_string()
            insert = f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet(?)"  # noqa: S608 - quoted above
            connection.execute(insert, [material.files(entity)])
        connection.execute("COMMIT")
    _psql(material, material.after)


def _psql(material: Material, script: Path) -> None:
    quiet = ("--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction")
    material.run("psql", *quiet, "--dbname", material.url, "--file", script)


def _truncate(material: Material) -> str:
    """Of empty tables, but in the transaction that fills them: then the server writes no WAL for the rows."""
    tables = [sql.Identifier(entity.table) for entity in material.snapshot.manifest.entities]
    return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables)).as_string()


def _vectors(entity: EntityRecord) -> set[str]:
    return {column.name for column in entity.columns if column.type.startswith("vector")}


def _batches(material: Material, entity: EntityRecord) -> pa.RecordBatchReader:
    """The rows as ADBC can take them: jsonb marked as JSON, vectors (stored as half floats) as lists of floats."""
    dataset = pyarrow.dataset.dataset(material.files(entity))
    schema = dataset.schema
    for index, column in enumerate(entity.columns):
        if column.type == "jsonb":
            schema = schema.set(index, pa.field(column.name, pa.json_()))
        elif column.name in _vectors(entity):
            schema = schema.set(index, pa.field(column.name, pa.list_(pa.float32())))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in dataset.to_batches():
            yield batch.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _from_arrays(entity: EntityRecord) -> str:
    names = [sql.Identifier(column.name) for column in entity.columns]
    values = [
        sql.SQL("{}::vector").format(name) if column.name in _vectors(entity) else name
        for column, name in zip(entity.columns, names, strict=True)
    ]
    statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM arrays")
    comma = sql.SQL(", ")
    return statement.format(sql.Identifier(entity.table), comma.join(names), comma.join(values)).as_string()


def _duckdb_extension() -> Path:
    """The file of the extension: it comes in a wheel, so that nothing is downloaded at run time."""
    files = importlib.metadata.files(_EXTENSION) or ()
    return next(Path(str(file.locate())) for file in files if file.suffix == ".duckdb_extension")
