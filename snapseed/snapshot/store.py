"""Snapshots by name, in a folder or in an object store: no other module asks which of the two it is.

A snapshot is replaced as a whole or not at all: its manifest is written last, and until then the old one is there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import pyarrow as pa

from snapseed.config.store import Store
from snapseed.errors import ManifestError, SnapshotError, UsageError
from snapseed.snapshot.keys import moment
from snapseed.snapshot.manifest import (
    FILE_NAME,
    LFS_POINTER,
    MOST_BYTES,
    RESTORE,
    EntityRecord,
    Manifest,
    PartFile,
    SchemaFile,
)
from snapseed.snapshot.manifest_checks import decode
from snapseed.snapshot.parquet import Part, read_part, readable
from snapseed.snapshot.store_folder import Folder, FolderStaging, replacing_folder
from snapseed.snapshot.store_git import Revision
from snapseed.snapshot.store_stream import WholeReader

if TYPE_CHECKING:
    from snapseed.snapshot.store_bucket import Prefix, PrefixStaging

# Where a snapshot is, and where a new one is being written.
Place: TypeAlias = "Folder | Prefix | Revision"
Staging: TypeAlias = "FolderStaging | PrefixStaging"
# In microseconds, as the end of a day, which PostgreSQL has: Python would show its beginning.
_MIDNIGHT = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Snapshot:
    """Where a snapshot is, and its manifest, which was checked. Picklable."""

    place: Place
    manifest: Manifest

    def path(self, file: PartFile | SchemaFile) -> str:
        """The path or URL of a file, for messages."""
        return self.place.where(file)

    def named_files(self) -> dict[str, str | None]:
        """What belongs to the snapshot, as `present_files` names it, each with its entity if it has one."""
        parts = {self.place.key(file): entity.name for entity in self.manifest.entities for file in entity.files}
        return {FILE_NAME: None, **{self.place.key(file): None for file in self.manifest.files}, **parts}

    def present_files(self) -> set[str]:
        """The relative paths of everything that is there."""
        return self.place.present()

    def sizes_in_bucket(self) -> dict[str, int] | None:
        """The size of each object, by the names of `named_files`; None in a folder."""
        if isinstance(self.place, Folder | Revision):
            return None
        return {key: meta["size"] for key, meta in self.place.listed().items()}

    def read_schema(self, file: SchemaFile) -> bytes:
        """The SQL of the schema. Raises `SnapshotError` unless it is what the manifest says."""
        with readable(self.path(file)), self.place.open(file) as stream:
            data = stream.read(file.bytes + 1)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            where, observed = self.path(file), "another SHA-256 than the manifest has"
            raise SnapshotError("the schema was altered", where=where, observed=observed, next_step=RESTORE)
        return data

    @contextmanager
    def open_part(
        self, entity: EntityRecord, file: PartFile, *, altered: bool = False, whole: bool = False
    ) -> Iterator[Part]:
        """A part of the entity, ready to be read chunk by chunk. From a bucket, the `whole` part is read ahead.

        Raises `SnapshotError` if it cannot be read, or does not have the columns, the chunks and, unless it is known to
        be altered, the length that the manifest says; at the end also if what was read ahead has another SHA-256.
        """
        where = self.path(file)
        with ExitStack() as stack:
            with readable(where):
                stream = stack.enter_context(self.place.open(file, whole=whole))
                if not altered and (problem := _length_problem(stream, file)):
                    raise ValueError(problem)
            yield stack.enter_context(read_part(stream, where, entity.columns, file))
            if isinstance(stream, WholeReader) and (problem := _digest_problem(stream, file)):
                raise SnapshotError(
                    "a file of the snapshot was altered", where=where, observed=problem, next_step=RESTORE
                )

    def batches(self, entity: EntityRecord, names: Sequence[str]) -> Generator[pa.RecordBatch]:
        """All rows of an entity with these of its columns, as `Part.batches` has them."""
        for file in entity.files:
            with self.open_part(entity, file) as part:
                for number in range(len(file.chunks)):
                    yield from part.batches(number, names)

    def first_rows(self, entity: EntityRecord, count: int) -> list[dict[str, object]]:
        """The first rows of an entity as Python values."""
        rows: list[dict[str, object]] = []
        names = [column.name for column in entity.columns]
        with closing(self.batches(entity, names)) as batches:
            while len(rows) < count and (batch := next(batches, None)):
                columns = [map(python_value, column) for column in batch.slice(0, count - len(rows))]
                rows += [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        return rows


def python_value(value: pa.Scalar) -> object:
    """A value as Python has it; as PostgreSQL prints it if it is beyond Python's range of moments and times."""
    if isinstance(value, pa.Time64Scalar) and value.value == _MIDNIGHT:
        return "24:00:00"
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return moment(value)


def part_path(entity: str, number: int | None = None) -> str:
    """The path of a part inside its snapshot. `number` counts from 0; None is for an entity with only one part."""
    return f"{entity}.parquet" if number is None else f"{entity}/part-{number:05d}.parquet"


def place_of(store: Store | Path, name: str) -> Place:
    """Where the snapshot `name` is, whether it exists or not."""
    store = Store(store) if isinstance(store, Path) else store
    if isinstance(store.place, Path):
        return Folder(store.place / name)
    place: Prefix = _buckets(store).Prefix(store, name)
    return place


def _buckets(store: Store) -> ModuleType:
    """The module for buckets. Raises `UsageError` without the client that it needs."""
    try:
        from snapseed.snapshot import store_bucket
    except ImportError as exc:
        raise UsageError(
            "object stores need another package", where=str(store), next_step="pip install 'snapseed[stores]'"
        ) from exc
    return store_bucket


def open_snapshot(store: Store | Path, name: str) -> Snapshot:
    """The snapshot `name` in this store or folder. Repairs a replacement that a crash cut short.

    Raises `SnapshotError` if there is none, and `ManifestError` if its manifest is not valid.
    """
    snapshot = opened_at(place_of(store, name), name)
    if snapshot.manifest.name != name:
        raise ManifestError(
            "the manifest is that of another snapshot",
            where=f"{snapshot.place}/{FILE_NAME}",
            observed=f"name {snapshot.manifest.name!r}",
            expected=f"{name!r}, the name of its folder",
            next_step=f"rename the folder to {snapshot.manifest.name}, or {RESTORE}",
        )
    return snapshot


def opened_at(place: Place, name: str) -> Snapshot:
    """The snapshot at a place, which may have been renamed; otherwise as `open_snapshot`."""
    place.repair()
    where = f"{place}/{FILE_NAME}"
    try:
        with place.open_manifest() as stream:
            # A read may return less than it was asked for only at the end.
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as exc:
        raise SnapshotError(
            f"there is no snapshot named {name!r}",
            where=str(place),
            expected=f"one with {FILE_NAME}",
            next_step=f"run `snapseed generate` or `snapseed capture` for the environment that uses {name!r}",
        ) from exc
    except OSError as exc:
        observed = exc.strerror or str(exc)
        raise ManifestError("the manifest cannot be read", where=where, observed=observed) from exc
    return Snapshot(place, decode(data, where=where))


def has_snapshot(store: Store, name: str) -> bool:
    """Whether a snapshot of this name exists, valid or not."""
    return place_of(store, name).repair()


def file_problem(snapshot: Snapshot, file: PartFile | SchemaFile) -> str | None:
    """What is wrong with a file's length or SHA-256, in words; None if both are those of the manifest."""
    try:
        with snapshot.place.open(file, whole=True) as stream:
            return _length_problem(stream, file) or _digest_problem(stream, file)
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"


def _digest_problem(stream: BinaryIO, file: PartFile | SchemaFile) -> str | None:
    if isinstance(stream, WholeReader):
        found = stream.digest()
    else:
        digest, left = hashlib.sha256(), file.bytes
        while left and (data := stream.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        found = digest.hexdigest()
    return None if found == file.sha256 else f"altered: SHA-256 is {found}, expected {file.sha256}"


def _length_problem(stream: BinaryIO, file: PartFile | SchemaFile) -> str | None:
    if stream.read(len(LFS_POINTER)) == LFS_POINTER:
        return "only a Git LFS pointer, not the data; run `git lfs pull`"
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return None if size == file.bytes else f"has {size} bytes, expected {file.bytes}: truncated or altered"


def replacing(store: Store, name: str) -> AbstractContextManager[Staging]:
    """Where to write a new snapshot. Call its `commit` inside the block, or the old snapshot stays.

    Raises `SnapshotError` if another process is writing the same snapshot, or the place cannot be written.
    """
    if isinstance(store.place, Path):
        return replacing_folder(store.place, name)
    found: AbstractContextManager[Staging] = _buckets(store).replacing_prefix(store, name)
    return found
