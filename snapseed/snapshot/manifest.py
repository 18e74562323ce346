"""manifest.json: what a snapshot holds, down to the fingerprint of every chunk, as canonical JSON.

A manifest is untrusted input: nothing in it is used in a path or in SQL before `decode` has checked it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from snapseed.config import NAME_PATTERN
from snapseed.errors import ConfigurationError, ManifestError, UsageError
from snapseed.printable import UNPRINTABLE
from snapseed.snapshot.hashing import Fingerprint, combined
from snapseed.snapshot.types import INTEGERS, ColumnType, parse_type
from snapseed.units import LARGEST_SCALE

FILE_NAME = "manifest.json"
RESTORE = "restore the snapshot from git, or generate it again"
LFS_POINTER = b"version https://git-lfs"
# Format 2 has keys of several columns. A manifest without such a key stays in format 1, so committed snapshots do not
# change. An older snapseed says that format 2 is newer; otherwise it would reject it as not a manifest.
FORMATS = (1, 2)
# What `store.part_path` returns: users.parquet, users/part-00000.parquet.
_Path = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+(?:/part-[0-9]{5,})?\.parquet\Z")]
_Hex64Bits = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Hex256Bits = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# No manifest is longer: this is room for 400,000 chunks.
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


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column's name and its PostgreSQL type, spelled as `format_type` does."""

    name: str
    type: str

    def kind(self) -> ColumnType:
        """The parsed type."""
        return parse_type(self.type)


class EntityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entity: its table, its columns, and the files that hold its rows in key order.

    `key` is the column that identifies a row, or a tuple of several columns.
    """

    name: str
    schema: str | None
    table: str
    key: str | tuple[str, ...]
    columns: tuple[Column, ...]
    parent: str | None
    rows: _Count
    fingerprint: _Hex64Bits
    files: tuple[PartFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.bytes for file in self.files)

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


def names_of(key: str | tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a key as a tuple, also if it is only one."""
    return (key,) if isinstance(key, str) else key


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a snapshot. It records no time and no machine, so the same inputs give the same manifest."""

    name: Annotated[str, Meta(pattern=rf"^{NAME_PATTERN.pattern}\Z")]
    seed: Annotated[int, Meta(ge=0)]
    scale: Annotated[int, Meta(ge=1, lt=LARGEST_SCALE)]
    now: Annotated[datetime, Meta(tz=True)]
    part_rows: _Positive
    chunk_rows: _Positive
    pools: dict[str, str]
    libraries: dict[str, str]
    entities: tuple[EntityRecord, ...]

    @property
    def identity(self) -> str:
        """The SHA-256 of the canonical manifest. Two snapshots with the same identity are the same snapshot."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def format(self) -> int:
        """The format of this manifest: 2 if a key has several columns, else 1."""
        return 1 if all(isinstance(entity.key, str) for entity in self.entities) else 2

    @property
    def rows(self) -> int:
        """Rows of all entities."""
        return sum(entity.rows for entity in self.entities)

    @property
    def bytes(self) -> int:
        """Size of all Parquet files."""
        return sum(entity.bytes for entity in self.entities)

    def entity(self, name: str) -> EntityRecord | None:
        """The record of the entity `name`; None if the snapshot does not have it."""
        return next((entity for entity in self.entities if entity.name == name), None)

    def chosen(self, only: Sequence[str]) -> list[EntityRecord]:
        """The records of the entities in `only`, in the manifest's order; all if it is empty.

        Raises `UsageError` for a name that the snapshot does not have.
        """
        known = [entity.name for entity in self.entities]
        for name in only:
            if name not in known:
                raise UsageError(
                    "the snapshot has no such entity",
                    where=f"snapshot {self.name!r}",
                    observed=name,
                    expected=f"one of: {', '.join(known)}",
                    next_step="check the spelling, or generate the snapshot again if the entity is new",
                )
        return [entity for entity in self.entities if not only or entity.name in only]


def encode(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: format, identity, then the canonical manifest, indented so that diffs read well."""
    content = msgspec.to_builtins(manifest, order="deterministic")
    document = {"format": manifest.format, "identity": manifest.identity, **content}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, *, where: str) -> Manifest:
    """The manifest in `data`, after all checks.

    Raises `ManifestError` for a Git LFS pointer, an unknown format, anything that is not a manifest, an unsafe name or
    path, sums that do not add up, and content that does not match the identity.
    """
    if len(data) > MOST_BYTES:
        raise _foreign(where, f"more than {MOST_BYTES:,} bytes")
    if data.startswith(LFS_POINTER):
        raise ManifestError(
            "the manifest is only a Git LFS pointer",
            where=where,
            next_step="run `git lfs pull`, or take snapshots out of LFS: they are small",
        )
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _foreign(where, str(exc)) from exc
    if not isinstance(document, dict) or type(document.get("format")) is not int:  # a bool is an int too
        raise _foreign(where, "no number `format`")
    if document["format"] not in FORMATS:
        raise ManifestError(
            "this version of snapseed does not know the manifest's format",
            where=where,
            observed=f"format {document['format']}",
            expected=f"format {FORMATS[0]} or {FORMATS[-1]}",
            next_step="upgrade snapseed" if document["format"] > FORMATS[-1] else "generate the snapshot again",
        )
    stated, identity = document.pop("format"), document.pop("identity", None)
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as exc:
        raise _foreign(where, str(exc)) from exc
    if manifest.format != stated:
        raise _foreign(where, f"format {stated}, but the content of format {manifest.format}")
    for place, observed, expected in _contradictions(manifest):
        raise ManifestError(
            "the manifest is not valid",
            where=f"{where}, {place}",
            observed=observed,
            expected=expected,
            next_step=RESTORE,
        )
    if manifest.identity != identity:
        raise ManifestError(
            "the manifest was changed after it was written",
            where=where,
            observed=f"its content has the identity {manifest.identity}",
            expected=f"{identity}, the identity it states",
            next_step=RESTORE,
        )
    return manifest


def is_identifier(name: str) -> bool:
    """Whether PostgreSQL takes `name` as a name of its own, and people can read it."""
    return 0 < len(name.encode(errors="replace")) <= _IDENTIFIER_BYTES and not UNPRINTABLE.search(name)


def is_system_table(schema: str | None, table: str) -> bool:
    """Whether the table belongs to PostgreSQL or to snapseed. Without a schema, pg_catalog is searched first."""
    return (table if schema is None else schema).startswith("pg_") or schema in {"information_schema", "snapseed"}


def _foreign(where: str, observed: str) -> ManifestError:
    return ManifestError(
        "not a snapseed manifest",
        where=where,
        observed=observed,
        expected=f"the manifest of a snapshot, format {FORMATS[0]} or {FORMATS[-1]}",
        next_step=RESTORE,
    )


def _contradictions(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """The place of each contradiction, what was observed and what was expected."""
    if manifest.seed >= 2**64:
        yield "seed", str(manifest.seed), "a number below 2^64"
    for text in [*manifest.pools, *manifest.pools.values(), *manifest.libraries, *manifest.libraries.values()]:
        if UNPRINTABLE.search(text):
            yield "pools and libraries", repr(text), "text without control characters"
    names = [entity.name for entity in manifest.entities]
    paths = [file.path for entity in manifest.entities for file in entity.files]
    for what, values in (("entities", names), ("files", paths)):
        if len(set(values)) != len(values):
            yield what, f"a repeated name among {values}", "each name once"
    for entity in manifest.entities:
        yield from _entity_contradictions(entity, names)
        for file in entity.files:
            rows = [chunk.rows for chunk in file.chunks]
            if sum(rows) != file.rows:
                yield file.path, f"{file.rows} rows", "the sum of its chunks"
            wrong = [count for count in rows[:-1] if count != manifest.chunk_rows]
            if wrong or max(rows, default=0) > manifest.chunk_rows:
                expected = f"{manifest.chunk_rows} rows (chunk_rows) in each chunk, fewer only in the last"
                yield file.path, f"a chunk of {(wrong or rows)[0]} rows", expected


def _entity_contradictions(entity: EntityRecord, names: list[str]) -> Iterator[tuple[str, str, str]]:
    place = f"entity {entity.name!r}"
    columns = [column.name for column in entity.columns]
    for identifier in [entity.name, entity.table, *columns, *([] if entity.schema is None else [entity.schema])]:
        if not is_identifier(identifier):
            yield place, repr(identifier), IDENTIFIER
    if is_system_table(entity.schema, entity.table):
        yield place, f"table {entity.table}, schema {entity.schema}", USERS_TABLE
    key = names_of(entity.key)
    if len(set(columns)) != len(columns) or not set(key) <= set(columns):
        yield place, f"key {entity.key!r}, columns {columns}", "each column once, the key among them"
    if not isinstance(entity.key, str) and not 1 < len(key) == len(set(key)):
        yield place, f"key {list(key)}", "one column, or several different ones"
    if entity.parent is not None and entity.parent not in names:
        yield place, f"parent {entity.parent!r}", "an entity of this manifest"
    for column in entity.columns:
        if not _is_type(column.type):
            yield f"{place}, column {column.name!r}", f"type {column.type!r}", "the name of a PostgreSQL type"
    yield from _key_contradictions(entity)
    if (total := combined(chunk.digest() for chunk in entity.chunks)) != entity.digest():
        yield place, f"{entity.rows} rows, {entity.fingerprint}", f"the sum of its chunks: {total.rows} rows, {total}"


def _is_type(text: str) -> bool:
    try:
        parse_type(text)
    except ConfigurationError:
        return False
    return not UNPRINTABLE.search(text)


def _key_contradictions(entity: EntityRecord) -> Iterator[tuple[str, str, str]]:
    """First keys that do not match the key: for several columns, a value of the right type for each."""
    forms: list[type] | None = None
    if not isinstance(entity.key, str):
        forms = [int if column.kind().family in INTEGERS else str for column in entity.key_columns]
    for first in (chunk.first_key for chunk in entity.chunks):
        if forms != (list(map(type, first)) if isinstance(first, tuple) else None):
            expected = f"a list of {len(forms)} values" if forms else "one value"
            yield f"entity {entity.name!r}", f"first key {first}", f"{expected}, of the key's types"
