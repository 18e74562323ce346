"""Read a manifest, and its lists of files, that anybody may have written: nothing is used before it has been checked.

`decode` reads the manifest. Lists are read one by one, so that memory does not grow with the number of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import msgspec
from msgspec import UNSET

from snapseed.errors import ConfigurationError, ManifestError
from snapseed.printable import UNPRINTABLE
from snapseed.snapshot.hashing import EMPTY, Fingerprint, combined
from snapseed.snapshot.manifest import (
    FORMATS,
    IDENTIFIER,
    LFS_POINTER,
    MOST_BYTES,
    RESTORE,
    USERS_TABLE,
    EntityRecord,
    FileList,
    Manifest,
    PartFile,
    SequencePosition,
    is_identifier,
    is_system_table,
    names_of,
)
from snapseed.snapshot.types import INTEGERS, parse_type

Contradictions = Iterator[tuple[str, str, str]]


def decode(data: bytes, *, where: str) -> Manifest:
    """The manifest in `data`, after all checks. Files in lists are not in it: see `with_lists`.

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
            expected=f"a format from {FORMATS[0]} to {FORMATS[-1]}",
            next_step="upgrade snapseed" if document["format"] > FORMATS[-1] else "generate the snapshot again",
        )
    stated, identity = document.pop("format"), document.pop("identity", None)
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as exc:
        raise _foreign(where, str(exc)) from exc
    if manifest.format != stated:
        raise _foreign(where, f"format {stated}, but the content of format {manifest.format}")
    _require_none(_contradictions(manifest), where)
    if manifest.identity != identity:
        raise ManifestError(
            "the manifest was changed after it was written",
            where=where,
            observed=f"its content has the identity {manifest.identity}",
            expected=f"{identity}, the identity it states",
            next_step=RESTORE,
        )
    return manifest


def _require_none(contradictions: Contradictions, where: str) -> None:
    """Raise `ManifestError` for the first of these contradictions, if there is one."""
    for place, observed, expected in contradictions:
        raise ManifestError(
            "the manifest is not valid",
            where=f"{where}, {place}",
            observed=observed,
            expected=expected,
            next_step=RESTORE,
        )


def _foreign(where: str, observed: str) -> ManifestError:
    """The error about a file that is no manifest."""
    return ManifestError(
        "not a snapseed manifest",
        where=where,
        observed=observed,
        expected=f"the manifest of a snapshot, in a format from {FORMATS[0]} to {FORMATS[-1]}",
        next_step=RESTORE,
    )


def _contradictions(manifest: Manifest) -> Contradictions:
    """The place of each contradiction, what was observed and what was expected."""
    yield from _source_contradictions(manifest)
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
            yield from _file_contradictions(entity, file, manifest.chunk_rows)


def _file_contradictions(entity: EntityRecord, file: PartFile, chunk_rows: int) -> Contradictions:
    """What does not go together in one file of an entity."""
    rows = [chunk.rows for chunk in file.chunks]
    if sum(rows) != file.rows:
        yield file.path, f"{file.rows} rows", "the sum of its chunks"
    wrong = [count for count in rows[:-1] if count != chunk_rows]
    if wrong or max(rows, default=0) > chunk_rows:
        expected = f"{chunk_rows} rows (chunk_rows) in each chunk, fewer only in the last"
        yield file.path, f"a chunk of {(wrong or rows)[0]} rows", expected
    # For a key of several columns, a value of the right type for each.
    forms: list[type] | None = None
    if not isinstance(entity.key, str):
        forms = [int if column.kind().family in INTEGERS else str for column in entity.key_columns]
    for first in (chunk.first_key for chunk in file.chunks):
        if forms != (list(map(type, first)) if isinstance(first, tuple) else None):
            expected = "one value" if forms is None else f"a list of {len(forms)} values"
            yield f"entity {entity.name!r}", f"first key {first}", f"{expected}, of the key's types"


def _total_contradictions(entity: EntityRecord, total: Fingerprint) -> Contradictions:
    """Whether the rows of all chunks are those of the entity."""
    if total != entity.digest():
        observed = f"{entity.rows} rows, {entity.fingerprint}"
        yield f"entity {entity.name!r}", observed, f"the sum of its chunks: {total.rows} rows, {total}"


def _source_contradictions(manifest: Manifest) -> Contradictions:
    """What does not go with where the rows come from: either a seed, a scale and a moment, or a database."""
    generated = [name for name in ("seed", "scale", "now") if getattr(manifest, name) is not UNSET]
    capture = manifest.capture
    if len(generated) != (0 if capture else 3):
        expected = "seed, scale and now, or capture in place of all three"
        yield "source", ", ".join([*generated, *(["capture"] if capture else [])]) or "none", expected
    if manifest.seed and manifest.seed >= 2**64:
        yield "seed", str(manifest.seed), "a number below 2^64"
    for entity in manifest.entities:
        if entity.sequences:
            yield from _sequence_contradictions(f"entity {entity.name!r}", entity.sequences)
        if not capture and (entity.key == () or entity.sequences is not UNSET):
            yield f"entity {entity.name!r}", "no key, or positions of sequences", "these only in a capture"
    if capture:
        yield from _sequence_contradictions("capture", capture.sequences)
        if any(UNPRINTABLE.search(text) for text in capture.masked):
            yield "capture", f"masked columns {capture.masked!r}", "text without control characters"


def _entity_contradictions(entity: EntityRecord, names: list[str]) -> Contradictions:
    """Names, types and sums of an entity that do not go together."""
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
    if not isinstance(entity.key, str) and (len(key) == 1 or len(key) != len(set(key))):
        yield place, f"key {list(key)}", "one column, or several different ones"
    if entity.parent is not None and entity.parent not in names:
        yield place, f"parent {entity.parent!r}", "an entity of this manifest"
    for column in entity.columns:
        with suppress(ConfigurationError):
            parse_type(column.type)
            if not UNPRINTABLE.search(column.type):
                continue
        yield f"{place}, column {column.name!r}", f"type {column.type!r}", "the name of a PostgreSQL type"
    yield from _sum_contradictions(place, entity)


def _sum_contradictions(place: str, entity: EntityRecord) -> Contradictions:
    """What files, or lists of files, do not add up to."""
    if not entity.lists:
        yield from _total_contradictions(entity, combined(chunk.digest() for chunk in entity.chunks))
        return
    if (rows := sum(listed.rows for listed in entity.lists)) != entity.rows:
        yield place, f"{entity.rows} rows", f"the sum of its lists: {rows}"
    if entity.files:
        yield place, f"{len(entity.files)} files beside its lists", "all files in lists"


def _sequence_contradictions(place: str, sequences: Sequence[SequencePosition]) -> Contradictions:
    """Names of sequences that PostgreSQL does not have, or that are its own."""
    for sequence in sequences:
        for identifier in (sequence.schema, sequence.name):
            if not is_identifier(identifier):
                yield place, repr(identifier), IDENTIFIER
        if is_system_table(sequence.schema, sequence.name):
            yield place, f"sequence {sequence.name}, schema {sequence.schema}", USERS_TABLE


# ── Files in lists ───────────────────────────────────────────────────────────────────────────────────────────────────


def with_lists(manifest: Manifest, read: Callable[[FileList], bytes], *, where: str) -> Manifest:
    """The manifest with the files that are in lists, which are read each time that somebody goes through them."""
    entities = tuple(
        msgspec.structs.replace(each, files=_ListedFiles(each, manifest.chunk_rows, read, where))
        if each.lists
        else each
        for each in manifest.entities
    )
    return msgspec.structs.replace(manifest, entities=entities)


@dataclass(frozen=True, eq=False)
class _ListedFiles(Sequence[PartFile]):
    """The files of an entity, in the order of the lists. Picklable if `read` is.

    Raises `ManifestError` for a list that is not what the manifest says before it gives a file of it, and at the end if
    all files together are not.
    """

    entity: EntityRecord
    chunk_rows: int
    read: Callable[[FileList], bytes]
    where: str

    def __len__(self) -> int:
        return self.entity.file_count

    @overload
    def __getitem__(self, index: int) -> PartFile: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PartFile]: ...
    def __getitem__(self, index: int | slice) -> PartFile | Sequence[PartFile]:
        return tuple(self)[index]

    def __iter__(self) -> Iterator[PartFile]:
        total, last = EMPTY, (0, "")
        for listed in self.entity.lists or ():
            files = self._read(listed)
            where = f"{self.where}, {listed.path}"
            _require_none(_list_contradictions(self.entity, listed, files, last), where)
            for file in files:
                _require_none(_file_contradictions(self.entity, file, self.chunk_rows), where)
            total = combined([total, *(chunk.digest() for file in files for chunk in file.chunks)])
            last = max(map(_place, files), default=last)
            yield from files
        _require_none(_total_contradictions(self.entity, total), self.where)

    def _read(self, listed: FileList) -> tuple[PartFile, ...]:
        """The files of a list. Raises `ManifestError` for one that was altered."""
        data = self.read(listed)
        digest, observed = hashlib.sha256(data).hexdigest(), None
        try:
            files = msgspec.json.decode(data, type=tuple[PartFile, ...])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            observed = str(exc)
        if digest != listed.sha256 or observed:
            raise ManifestError(
                "a list of files was altered",
                where=f"{self.where}, {listed.path}",
                observed=observed or f"SHA-256 is {digest}",
                expected=f"SHA-256 {listed.sha256}",
                next_step=RESTORE,
            )
        return files


def _list_contradictions(
    entity: EntityRecord, listed: FileList, files: Sequence[PartFile], last: tuple[int, str]
) -> Contradictions:
    """What the manifest does not say of a list, and files that are not in their order, after the `last` one."""
    found = len(files), sum(file.rows for file in files), sum(file.bytes for file in files)
    expected = listed.files, listed.rows, listed.data_bytes
    if found != expected:
        yield listed.path, "{} files, {} rows, {} bytes".format(*found), "{}, {}, {}".format(*expected)
    places = [last, *map(_place, files)]
    if any(second <= first for first, second in pairwise(places)):
        yield listed.path, "files in another order", "each once, by their numbers"
    if any(not file.path.startswith(f"{entity.name}/") for file in files):
        yield listed.path, "files of others", f"files of {entity.name}"


def _place(file: PartFile) -> tuple[int, str]:
    """What sorts files by their numbers, also beyond five digits."""
    return len(file.path), file.path
