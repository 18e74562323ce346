"""Snapshots as somebody else may write them: any content, and a manifest that matches it, identity included."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.snapshot.hashing import combined, fingerprint
from snapseed.snapshot.manifest import (
    CaptureRecord,
    Chunk,
    Column,
    EntityRecord,
    Manifest,
    PartFile,
    SchemaFile,
    encode,
)
from snapseed.snapshot.types import parse_type

CHUNK_ROWS = 8_192


def write_file(path: Path, table: pa.Table, *, dictionary: bool = True) -> None:
    """A Parquet file in chunks of `CHUNK_ROWS`, with the options of our writer that matter here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", row_group_size=CHUNK_ROWS, use_dictionary=dictionary, version="2.6")


def described(folder: Path, table: pa.Table, types: Mapping[str, str], name: str = "things") -> EntityRecord:
    """The record of an entity whose file `things.parquet` is in the folder and holds `table`; its key is `id`."""
    data = (folder / f"{name}.parquet").read_bytes()
    kinds = [parse_type(text) for text in types.values()]
    chunks = []
    for start in range(0, len(table), CHUNK_ROWS):
        rows = table.slice(start, CHUNK_ROWS).combine_chunks()
        try:
            digest = str(fingerprint([column.chunk(0) for column in rows.columns], kinds))
        except (ValueError, LookupError, AttributeError, pa.ArrowException):  # of a column that does not have its type
            digest = "0" * 16
        key = rows.column("id")[0].as_py()
        chunks.append(Chunk(len(rows), key if isinstance(key, int) else str(key), digest))
    file = PartFile(f"{name}.parquet", len(table), len(data), hashlib.sha256(data).hexdigest(), tuple(chunks))
    total = combined(chunk.digest() for chunk in chunks)
    columns = tuple(Column(column, text) for column, text in types.items())
    return EntityRecord(name, None, name, "id", columns, None, total.rows, str(total), (file,))


def write_manifest(folder: Path, *entities: EntityRecord, **changes: object) -> Manifest:
    """A manifest of these entities in the folder, by its name; `changes` are fields of it."""
    manifest = Manifest(
        name=folder.name,
        seed=1,
        scale=1,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        part_rows=CHUNK_ROWS,
        chunk_rows=CHUNK_ROWS,
        pools={},
        libraries={"pyarrow": pa.__version__},
        entities=entities,
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(encode(manifest))
    return manifest


def forge(folder: Path, table: pa.Table, types: Mapping[str, str], *, dictionary: bool = True) -> Manifest:
    """A snapshot with one entity, `things`, that holds `table`: its file, and a manifest that describes it."""
    write_file(folder / "things.parquet", table, dictionary=dictionary)
    return write_manifest(folder, described(folder, table, types))


def forge_capture(folder: Path, table: pa.Table, types: Mapping[str, str], schema: bytes) -> Manifest:
    """A captured snapshot with one entity, `things`, and this schema."""
    write_file(folder / "things.parquet", table)
    (folder / "schema.sql").write_bytes(schema)
    file = SchemaFile("schema.sql", len(schema), hashlib.sha256(schema).hexdigest())
    capture = CaptureRecord(schema=file, subset=False, masked=(), server=18)
    absent = dict.fromkeys(("seed", "scale", "now"), msgspec.UNSET)
    return write_manifest(folder, described(folder, table, types), capture=capture, **absent)
