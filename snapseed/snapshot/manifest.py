"""manifest.json: what a snapshot holds, down to the fingerprint of every chunk, as canonical JSON.

A manifest is untrusted input: nothing in it is used as a path or in SQL before `decode` has checked it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from snapseed.config import NAME_PATTERN
from snapseed.errors import ConfigurationError, ManifestError, UsageError
from snapseed.snapshot.hashing import Fingerprint, combined
from snapseed.snapshot.types import INTEGERS, ColumnType, parse_type

FILE_NAME = "manifest.json"
# The second came with keys of several columns. A manifest without one is of the first, so that nothing changes for it,
# and an older snapseed says of the second that it is newer, where it would else call it no manifest.
FORMATS = (1, 2)
# Part files lie in the snapshot folder itself or one folder deep, as in users.parquet and users/part-00000.parquet.
_PATH = re.compile(r"[A-Za-z0-9_-]+(?:/part-\d{5,})?\.parquet")
_HEX_64_BITS = re.compile(r"[0-9a-f]{16}")
_HEX_256_BITS = re.compile(r"[0-9a-f]{64}")
# PostgreSQL cuts identifiers at 63 bytes; a NUL can stand in none.
_IDENTIFIER_BYTES = 63


KeyValue = int | str
FirstKey = KeyValue | tuple[KeyValue, ...]


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet row group: the unit in which rows are streamed and verified. `first_key` is its smallest key."""

    rows: int
    first_key: FirstKey
    fingerprint: str

    def digest(self) -> Fingerprint:
        """The fingerprint with its number of rows."""
        return Fingerprint.parse(self.rows, self.fingerprint)


class PartFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One Parquet file; `path` is relative to the snapshot folder, with `/`."""

    path: str
    rows: int
    bytes: int
    sha256: str
    chunks: tuple[Chunk, ...]


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column's name and its PostgreSQL type, spelled as `format_type` does."""

    name: str
    type: str

    def kind(self) -> ColumnType:
        """The parsed type."""
        return parse_type(self.type)


class EntityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entity: where it goes, what its columns are, and the files that hold it, in key order.

    `key` is the column that identifies a row; several, of which the first decides first, are a tuple.
    """

    name: str
    schema: str | None
    table: str
    key: str | tuple[str, ...]
    columns: tuple[Column, ...]
    parent: str | None
    rows: int
    fingerprint: str
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
    """The columns of a key, of one too."""
    return (key,) if isinstance(key, str) else key


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is known of a snapshot. Records no time and no machine, so the same inputs give the same manifest."""

    name: str
    seed: int
    scale: int
    now: datetime
    part_rows: int
    chunk_rows: int
    pools: dict[str, str]
    libraries: dict[str, str]
    entities: tuple[EntityRecord, ...]

    @property
    def identity(self) -> str:
        """The SHA-256 of the canonical manifest: two snapshots with the same identity are the same snapshot."""
        return hashlib.sha256(_canonical(self)).hexdigest()

    @property
    def format(self) -> int:
        """The format that can say all this: 2 where a key has several columns, else 1."""
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
        """The record of the entity `name`, if the snapshot has it."""
        return next((entity for entity in self.entities if entity.name == name), None)

    def chosen(self, only: Sequence[str]) -> list[EntityRecord]:
        """The records of the entities in `only`, in the manifest's order; all where it is empty.

        Raises `UsageError` for a name that the snapshot does not have.
        """
        for name in only:
            if self.entity(name) is None:
                known = ", ".join(entity.name for entity in self.entities)
                raise UsageError(
                    "there is no such entity in the snapshot",
                    where=f"snapshot {self.name!r}",
                    observed=name,
                    expected=f"one of: {known}",
                    next_step="check the spelling, or generate the snapshot again if the entity is new",
                )
        return [entity for entity in self.entities if not only or entity.name in only]


def encode(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: format, identity, then the canonical manifest, indented so that a diff reads well."""
    content = msgspec.to_builtins(manifest, order="deterministic")
    document = {"format": manifest.format, "identity": manifest.identity, **content}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, *, where: str) -> Manifest:
    """The manifest in `data`, checked whole.

    Raises `ManifestError` for a Git LFS pointer, a newer format, anything that is not a manifest, a name or path that
    is not safe, sums that do not add up, and content that is not what the identity says.
    """
    if data.startswith(b"version https://git-lfs"):
        raise ManifestError(
            "the manifest is a Git LFS pointer, not the manifest",
            where=where,
            next_step="run `git lfs pull`, or take snapshots out of LFS: they are small",
        )
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _foreign(where, str(exc)) from exc
    if not isinstance(document, dict) or type(document.get("format")) is not int:  # a boolean is an int, too
        raise _foreign(where, "no number `format`")
    if document["format"] not in FORMATS:
        raise ManifestError(
            "the manifest has another format",
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
        raise _foreign(where, f"format {stated}, and what stands in format {manifest.format}")
    _check(manifest, where)
    if manifest.identity != identity:
        raise ManifestError(
            "the manifest was changed after it was written",
            where=where,
            observed=f"its content has the identity {manifest.identity}",
            expected=f"{identity}, the identity it states",
            next_step="restore it from git, or generate the snapshot again",
        )
    return manifest


def _canonical(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest, order="deterministic")


def _foreign(where: str, observed: str) -> ManifestError:
    return ManifestError(
        "not a snapseed manifest",
        where=where,
        observed=observed,
        expected=f"the manifest of a snapshot, format {FORMATS[0]} or {FORMATS[-1]}",
        next_step="restore it from git, or generate the snapshot again",
    )


def _check(manifest: Manifest, where: str) -> None:
    """Raise `ManifestError` for the first statement that cannot be true or must not be trusted."""
    for place, observed, expected in _contradictions(manifest):
        raise ManifestError(
            "the manifest is not valid",
            where=f"{where}, {place}",
            observed=observed,
            expected=expected,
            next_step="restore it from git, or generate the snapshot again",
        )


def _contradictions(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Where, what is observed there, and what was expected."""
    if not NAME_PATTERN.fullmatch(manifest.name):
        yield "name", repr(manifest.name), "a name of lower-case letters, digits, '-' and '_'"
    if manifest.now.tzinfo is None:
        yield "now", manifest.now.isoformat(), "a moment with its time zone"
    names = [entity.name for entity in manifest.entities]
    paths = [file.path for entity in manifest.entities for file in entity.files]
    for what, values in (("entities", names), ("files", paths)):
        if len(set(values)) != len(values):
            yield what, f"a repeated name among {values}", "each once"
    for entity in manifest.entities:
        yield from _entity_contradictions(entity, names)
        for file in entity.files:
            yield from _file_contradictions(file)


def _entity_contradictions(entity: EntityRecord, names: list[str]) -> Iterator[tuple[str, str, str]]:
    place = f"entity {entity.name!r}"
    columns = [column.name for column in entity.columns]
    for identifier in [entity.name, entity.table, *columns, *([] if entity.schema is None else [entity.schema])]:
        if not 0 < len(identifier.encode()) <= _IDENTIFIER_BYTES or "\0" in identifier:
            yield place, repr(identifier), f"a PostgreSQL identifier of 1 to {_IDENTIFIER_BYTES} bytes"
    key = names_of(entity.key)
    if len(set(columns)) != len(columns) or not set(key) <= set(columns):
        yield place, f"key {entity.key!r}, columns {columns}", "each column once, the key among them"
    if not isinstance(entity.key, str) and not 1 < len(key) == len(set(key)):
        yield place, f"key {list(key)}", "a column, or two and more that differ"
    if entity.parent is not None and entity.parent not in names:
        yield place, f"parent {entity.parent!r}", "an entity of this manifest"
    for column in entity.columns:
        try:
            column.kind()
        except ConfigurationError:
            yield f"{place}, column {column.name!r}", f"type {column.type!r}", "the name of a PostgreSQL type"
    yield from _key_contradictions(entity)
    chunks = entity.chunks
    if not all(_HEX_64_BITS.fullmatch(text) for text in (entity.fingerprint, *(chunk.fingerprint for chunk in chunks))):
        yield place, "a fingerprint of another form", "16 hexadecimal digits"
    elif (total := combined(chunk.digest() for chunk in chunks)) != entity.digest():
        yield place, f"{entity.rows} rows, {entity.fingerprint}", f"the sum of its chunks: {total.rows} rows, {total}"


def _key_contradictions(entity: EntityRecord) -> Iterator[tuple[str, str, str]]:
    """First keys that are not of the key's form: of several columns, a value of its type for each."""
    forms: list[type] = []
    if not isinstance(entity.key, str):
        forms = [int if column.kind().family in INTEGERS else str for column in entity.key_columns]
    for chunk in entity.chunks:
        values = chunk.first_key if isinstance(chunk.first_key, tuple) else ()
        if list(map(type, values)) != forms or isinstance(chunk.first_key, tuple) != bool(forms):
            expected = f"a list of {len(forms)} values" if forms else "one value"
            yield f"entity {entity.name!r}", f"first key {chunk.first_key}", f"{expected}, of the key's types"


def _file_contradictions(file: PartFile) -> Iterator[tuple[str, str, str]]:
    if not _PATH.fullmatch(file.path):
        yield f"file {file.path!r}", "its path", "a path inside the snapshot folder"
    if not _HEX_256_BITS.fullmatch(file.sha256) or file.bytes < 0:
        yield file.path, f"sha256 {file.sha256!r}, bytes {file.bytes}", "64 hexadecimal digits, a size"
    if any(chunk.rows < 1 for chunk in file.chunks) or sum(chunk.rows for chunk in file.chunks) != file.rows:
        yield file.path, f"{file.rows} rows", "the sum of its chunks, each of at least one row"
