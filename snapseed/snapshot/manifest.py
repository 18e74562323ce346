"""manifest.json: what a snapshot holds, down to the fingerprint of every chunk, as canonical JSON.

A manifest is untrusted input: nothing in it is used in a path or in SQL before `manifest_checks.decode` has checked it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from snapseed.config.settings import NAME_PATTERN, suggestion
from snapseed.errors import SnapshotError, UsageError
from snapseed.printable import UNPRINTABLE
from snapseed.snapshot.hashing import Fingerprint, combined
from snapseed.snapshot.types import ColumnType, parse_type
from snapseed.units import LARGEST_SCALE, size

FILE_NAME = "manifest.json"
RESTORE = "restore the snapshot from git, or generate or capture it again"
LFS_POINTER = b"version https://git-lfs"
# Format 2 has keys of several columns, format 3 is a capture, format 4 lists files in files of their own. A manifest
# without them stays in format 1, so committed snapshots do not change. An older snapseed says that the format is newer;
# otherwise it would reject it as not a manifest.
FORMATS = (1, 2, 3, 4)
# What `store.part_path` returns: users.parquet, users/part-00000.parquet.
_Path = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+(?:/part-[0-9]{5,})?\.parquet\Z")]
_ListPath = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+/files-[0-9]{5,}\.json\Z")]
_Hex64Bits = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Hex256Bits = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# No manifest and no schema is longer: this is room for 400,000 chunks.
MOST_BYTES = 1 << 26
# PostgreSQL cuts identifiers at 63 bytes.
_IDENTIFIER_BYTES = 63
# What is expected of the name of an entity, table or column, and of a table.
IDENTIFIER = f"a PostgreSQL identifier of 1 to {_IDENTIFIER_BYTES} bytes, without control characters"
USERS_TABLE = "a table of your own: not in a schema pg_…, information_schema or snapseed"
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]

KeyValue = int | str
FirstKey = KeyValue | tuple[KeyValue, ...]


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet row group: the unit in which rows are streamed and verified. `first_key` is its smallest key."""

    rows: _Positive
    first_key: FirstKey
    fingerprint: _Hex64Bits

    def digest(self) -> Fingerprint:
        """The fingerprint of its rows."""
        return Fingerprint.parse(self.rows, self.fingerprint)


class PartFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet file; `path` is relative to the snapshot folder, with `/`."""

    path: _Path
    rows: _Count
    bytes: _Count
    sha256: _Hex256Bits
    chunks: tuple[Chunk, ...]


class FileList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the snapshot that lists files of one entity, as `EntityRecord.files` would; and what they add up to."""

    path: _ListPath
    bytes: Annotated[int, Meta(ge=0, le=MOST_BYTES)]
    sha256: _Hex256Bits
    files: _Positive
    rows: _Count
    data_bytes: _Count


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column's name and its PostgreSQL type, spelled as `format_type` does."""

    name: str
    type: str

    def kind(self) -> ColumnType:
        """The parsed type."""
        return parse_type(self.type)


class SequencePosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a sequence of a captured database stood, as the sequence itself says it."""

    schema: str
    name: str
    last_value: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    is_called: bool


class EntityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entity: its table, its columns, and the files that hold its rows in key order.

    `key` is the column that identifies a row, or a tuple of several columns; in a capture, an empty tuple is that of a
    table without a key, whose rows are ordered by all columns. `sequences` are those of a captured table's columns.
    Very many files are in `lists`, in their order. In a snapshot that was opened, `files` then reads one list after the
    other, each time that it is gone through.
    """

    name: str
    schema: str | None
    table: str
    key: str | tuple[str, ...]
    columns: tuple[Column, ...]
    parent: str | None
    rows: _Count
    fingerprint: _Hex64Bits
    files: Sequence[PartFile]
    sequences: tuple[SequencePosition, ...] | UnsetType = UNSET
    lists: tuple[FileList, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        # As msgspec reads it.
        if isinstance(self.files, list):
            msgspec.structs.force_setattr(self, "files", tuple(self.files))

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(listed.data_bytes for listed in self.lists or ()) or sum(file.bytes for file in self.files)

    @property
    def file_count(self) -> int:
        """How many files it has."""
        return sum(listed.files for listed in self.lists or ()) or len(self.files)

    @property
    def kinds(self) -> list[ColumnType]:
        """The types of the columns, in their order."""
        return [column.kind() for column in self.columns]

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in its order."""
        return tuple(next(column for column in self.columns if column.name == name) for name in names_of(self.key))

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks of all files, in key order."""
        return [chunk for file in self.files for chunk in file.chunks]

    def digest(self) -> Fingerprint:
        """The fingerprint of all rows."""
        return Fingerprint.parse(self.rows, self.fingerprint)

    def part_digests(self) -> list[str]:
        """Number and fingerprint of the rows of each part that has some: the same in any snapshot with these rows."""
        digests = (combined(chunk.digest() for chunk in file.chunks) for file in self.files)
        return [f"{digest.rows}:{digest}" for digest in digests if digest.rows]


def names_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as the columns of a key, always as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)


class SchemaFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The schema of the captured database, as SQL, in a file of the snapshot."""

    path: Literal["schema.sql"]
    bytes: Annotated[int, Meta(ge=0, le=MOST_BYTES)]
    sha256: _Hex256Bits


# Whatever a snapshot consists of, its manifest apart.
StoredFile = PartFile | SchemaFile | FileList


class CaptureRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was captured: the whole of the tables or a subset of their rows, and from which major version of the server.

    `masked` are the columns whose values a rule replaced, as `users.email`. `sequences` belong to no captured table.
    """

    schema: SchemaFile | None
    subset: bool
    masked: tuple[str, ...]
    server: _Positive
    sequences: tuple[SequencePosition, ...] = ()


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a snapshot. It records no time and no machine, so the same inputs give the same manifest.

    It was either generated, and has `seed`, `scale` and `now`, or captured.
    """

    name: Annotated[str, Meta(pattern=rf"^{NAME_PATTERN.pattern}\Z")]
    capture: CaptureRecord | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    scale: Annotated[int, Meta(ge=1, lt=LARGEST_SCALE)] | UnsetType = UNSET
    now: Annotated[datetime, Meta(tz=True)] | UnsetType = UNSET
    part_rows: _Positive
    chunk_rows: _Positive
    pools: dict[str, str]
    libraries: dict[str, str]
    entities: tuple[EntityRecord, ...]

    @property
    def identity(self) -> str:
        """The SHA-256 of the canonical manifest. Two snapshots with the same identity are the same snapshot."""
        return hashlib.sha256(msgspec.json.encode(self.without_listed, order="deterministic")).hexdigest()

    @property
    def without_listed(self) -> Manifest:
        """The manifest as it is written: without the files that are in lists."""
        if self.format != FORMATS[-1]:
            return self
        entities = (msgspec.structs.replace(each, files=()) if each.lists else each for each in self.entities)
        return msgspec.structs.replace(self, entities=tuple(entities))

    @property
    def lists(self) -> list[FileList]:
        """The lists of files, of all entities."""
        return [listed for entity in self.entities for listed in entity.lists or ()]

    @property
    def format(self) -> int:
        """The format: 4 with lists of files, 3 for a capture, 2 if a key has several columns, otherwise 1."""
        if any(entity.lists for entity in self.entities):
            return 4
        if self.capture is not UNSET:
            return 3
        return 1 if all(isinstance(entity.key, str) for entity in self.entities) else 2

    @property
    def schema_file(self) -> SchemaFile | None:
        """The file with the schema, which only a capture may have."""
        return None if self.capture is UNSET else self.capture.schema

    @property
    def files(self) -> Iterator[StoredFile]:
        """All files, the schema's and lists first; those in lists if the snapshot was opened."""
        schema = [self.schema_file] if self.schema_file else []
        return chain(schema, self.lists, (file for entity in self.entities for file in entity.files))

    @property
    def rows(self) -> int:
        """Rows of all entities."""
        return sum(entity.rows for entity in self.entities)

    @property
    def bytes(self) -> int:
        """Size of all Parquet files."""
        return sum(entity.bytes for entity in self.entities)

    def require_size(self, most: int | None, advice: str) -> None:
        """Raise `SnapshotError`, with this advice, if the snapshot has more bytes than its environment allows."""
        if most is not None and self.bytes > most:
            raise SnapshotError(
                f"the snapshot {self.name!r} is larger than allowed; the one before stays",
                observed=size(self.bytes),
                expected=f"at most {size(most)} (max_size)",
                next_step=f"{advice}, or raise max_size",
            )

    def entity(self, name: str) -> EntityRecord | None:
        """The record of the entity `name`; None if the snapshot does not have it."""
        return next((entity for entity in self.entities if entity.name == name), None)

    def masked_in(self, entity: EntityRecord) -> frozenset[str]:
        """The columns of an entity whose values a rule of a capture replaced."""
        masked = () if self.capture is UNSET else self.capture.masked
        tables = (entity.name, entity.table, f"{entity.schema}.{entity.table}")
        names = (column.name for column in entity.columns)
        return frozenset(name for name in names if not {f"{table}.{name}" for table in tables}.isdisjoint(masked))

    def chosen(self, only: Sequence[str]) -> list[EntityRecord]:
        """The records of the entities in `only`, in the manifest's order; all if it is empty.

        Raises `UsageError` for a name that the snapshot does not have.
        """
        only = names_of(only)
        known = [entity.name for entity in self.entities]
        for name in only:
            if name not in known:
                raise UsageError(
                    "the snapshot has no such entity",
                    where=f"snapshot {self.name!r}",
                    observed=name,
                    expected=f"one of: {', '.join(known)}",
                    next_step=suggestion(name, known) or "generate the snapshot again if the entity is new",
                )
        return [entity for entity in self.entities if not only or entity.name in only]


def encode(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: format, identity, then the canonical manifest, indented so that diffs read well."""
    content = msgspec.to_builtins(manifest.without_listed, order="deterministic")
    document = {"format": manifest.format, "identity": manifest.identity, **content}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def is_identifier(name: str) -> bool:
    """Whether PostgreSQL takes `name` as a name of its own, and people can read it."""
    return 0 < len(name.encode(errors="replace")) <= _IDENTIFIER_BYTES and not UNPRINTABLE.search(name)


def is_system_table(schema: str | None, table: str) -> bool:
    """Whether the table belongs to PostgreSQL or to snapseed. Without a schema, pg_catalog is searched first."""
    return (table if schema is None else schema).startswith("pg_") or schema in {"information_schema", "snapseed"}
