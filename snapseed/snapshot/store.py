"""Snapshots by name, in a folder or in an object store: no other module asks which of the two it is.

A snapshot is replaced as a whole or not at all: its manifest is written last, and until then the old one is there.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import pyarrow as pa

from snapseed.config import Environment
from snapseed.config.store import Store
from snapseed.errors import ManifestError, SnapshotError, StoreError, extra
from snapseed.snapshot.keys import moment
from snapseed.snapshot.manifest import (
    FILE_NAME,
    MOST_BYTES,
    RESTORE,
    EntityRecord,
    FileList,
    Manifest,
    PartFile,
    SchemaFile,
    StoredFile,
)
from snapseed.snapshot.manifest_checks import decode, with_lists
from snapseed.snapshot.parquet import Part, read_part, readable
from snapseed.snapshot.store_folder import Folder, FolderStaging
from snapseed.snapshot.store_stream import WholeReader, digest_problem, length_problem

if TYPE_CHECKING:
    from snapseed.snapshot.store_bucket import Prefix, PrefixStaging

# Where a snapshot is, and where a new one is being written.
Place: TypeAlias = "Folder | Prefix"
Staging: TypeAlias = "FolderStaging | PrefixStaging"
# Files of a bucket that are opened before they are read: each waits for an answer.
_OPENED_AHEAD = 4
# In microseconds, as the end of a day, which PostgreSQL has: Python would show its beginning.
_MIDNIGHT = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Snapshot:
    """Where a snapshot is, and its manifest, which was checked. Picklable."""

    place: Place
    manifest: Manifest

    def path(self, file: StoredFile) -> str:
        """The path or URL of a file, for messages."""
        return self.place.where(file)

    def named_files(self) -> dict[str, str | None]:
        """What belongs to the snapshot, as `place.present` names it, each with its entity if it has one."""
        parts = {self.place.key(file): entity.name for entity in self.manifest.entities for file in entity.files}
        return {FILE_NAME: None, **{self.place.key(file): None for file in self.manifest.files}, **parts}

    def sizes_in_bucket(self) -> dict[str, int] | None:
        """The size of each object, by the names of `named_files`; None in a folder."""
        if isinstance(self.place, Folder):
            return None
        return {meta["path"]: meta["size"] for meta in self.place.listed()}

    def read_schema(self, file: SchemaFile) -> bytes:
        """The SQL of the schema. Raises `SnapshotError` unless it is what the manifest says."""
        with readable(self.path(file)), self.place.open(file) as stream:
            data = stream.read(file.bytes + 1)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            where, observed = self.path(file), "another SHA-256 than the manifest has"
            raise SnapshotError("the schema was altered", where=where, observed=observed, next_step=RESTORE)
        return data

    @contextmanager
    def open_part(self, entity: EntityRecord, file: PartFile, *, altered: bool = False) -> Iterator[Part]:
        """A part of the entity, ready to be read chunk by chunk.

        Raises `SnapshotError` if it cannot be read, or does not have the columns, the chunks and, unless it is known to
        be altered, the length that the manifest says.
        """
        with (
            self._opened(file, altered=altered) as stream,
            read_part(stream, self.path(file), entity.columns, file) as part,
        ):
            yield part

    def parts(self, entity: EntityRecord, files: Iterable[PartFile], *, whole: bool = False) -> Generator[Part]:
        """These parts, as `open_part` opens them, each open until the next one is asked for.

        In a bucket, the next ones are opened ahead, and those that are read `whole` are read ahead. Raises
        `SnapshotError` at the end of such a part if it has another SHA-256.
        """
        with ThreadPoolExecutor(_OPENED_AHEAD, thread_name_prefix="open") as threads:
            waiting = deque[tuple[PartFile, Future[BinaryIO]]]()
            left = iter(files)
            ahead = 1 if isinstance(self.place, Folder) else _OPENED_AHEAD
            while True:
                for file in islice(left, ahead - len(waiting)):
                    waiting.append((file, threads.submit(self._opened, file, whole=whole)))
                if not waiting:
                    return
                file, opened = waiting.popleft()
                where = self.path(file)
                with opened.result() as stream, read_part(stream, where, entity.columns, file) as part:
                    yield part
                    if isinstance(stream, WholeReader) and (problem := digest_problem(stream, file)):
                        summary = "a file of the snapshot was altered"
                        raise SnapshotError(summary, where=where, observed=problem, next_step=RESTORE)

    def _opened(self, file: PartFile, *, altered: bool = False, whole: bool = False) -> BinaryIO:
        """A file of the length that the manifest says, unless it is known to be altered."""
        with readable(self.path(file)), ExitStack() as stack:
            try:
                stream = stack.enter_context(self.place.open(file, whole=whole))
            except FileNotFoundError as exc:
                if isinstance(self.place, Folder):
                    raise
                manifest = bytes(self.place.read(FILE_NAME)[0])
                if decode(manifest, where=str(self.place)).identity == self.manifest.identity:
                    raise
                summary = "another process has replaced the snapshot in the meantime"
                raise StoreError(summary, where=str(self.place), next_step="run this again") from exc
            if not altered and (problem := length_problem(stream, file)):
                raise ValueError(problem)
            stack.pop_all()
            return stream

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
    """Where the snapshot `name` is, or would be. Raises `ConfigurationError` for a bucket without the extra."""
    store = Store(store) if isinstance(store, Path) else store
    if isinstance(store.place, Path):
        return Folder(store.place / name)
    with extra("stores", "the clients of object stores are"):
        from snapseed.snapshot.store_bucket import Prefix
    return Prefix(store, name)


def snapshot_of(environment: Environment) -> Snapshot:
    """The snapshot that an environment uses. Raises what `open_snapshot` does, with the commands that would make it."""
    return open_snapshot(environment.snapshots, environment.snapshot, environment.name)


def open_snapshot(store: Store | Path, name: str, environment: str = "ENV") -> Snapshot:
    """The snapshot `name` in this store or folder. Repairs a replacement that a crash cut short.

    Raises `SnapshotError` if there is none, and `ManifestError` if its manifest is not valid.
    """
    snapshot = opened_at(place_of(store, name), name, environment)
    if snapshot.manifest.name != name:
        raise ManifestError(
            "the manifest is that of another snapshot",
            where=f"{snapshot.place}/{FILE_NAME}",
            observed=f"name {snapshot.manifest.name!r}",
            expected=f"{name!r}, the name of its folder",
            next_step=f"rename the folder to {snapshot.manifest.name}, or {RESTORE}",
        )
    return snapshot


def opened_at(place: Place, name: str, environment: str = "ENV") -> Snapshot:
    """The snapshot at a place, which may have been renamed; otherwise as `open_snapshot`."""
    place.repair()
    where = f"{place}/{FILE_NAME}"
    try:
        with place.open_manifest() as stream:
            # A read may return less than it was asked for only at the end.
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as exc:
        made = name if name == environment else f"{environment} --snapshot {name}"
        raise SnapshotError(
            f"there is no snapshot named {name!r}",
            where=str(place),
            expected=f"one with {FILE_NAME}",
            next_step=f"run `snapseed generate {made}` or `snapseed capture {made}`",
        ) from exc
    except OSError as exc:
        observed = exc.strerror or str(exc)
        raise ManifestError("the manifest cannot be read", where=where, observed=observed) from exc
    manifest = decode(data, where=where)
    return Snapshot(place, with_lists(manifest, partial(_read_list, place), where=where))


def _read_list(place: Place, listed: FileList) -> bytes:
    """What a list of files holds, as far as the manifest says how long it is."""
    with readable(place.where(listed)), place.open(listed) as stream:
        return stream.read(listed.bytes + 1)


def existing_snapshot(store: Store, name: str) -> Snapshot | None:
    """The snapshot of this name; None if there is none. Raises `ManifestError` if its manifest is not valid."""
    return open_snapshot(store, name) if place_of(store, name).repair() else None


def file_problem(snapshot: Snapshot, file: StoredFile) -> str | None:
    """What is wrong with a file's length or SHA-256, in words; None if both are those of the manifest."""
    try:
        with snapshot.place.open(file, whole=True) as stream:
            return length_problem(stream, file) or digest_problem(stream, file)
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"


def replacing(store: Store, name: str, *, resume: bool = False) -> AbstractContextManager[Staging]:
    """Where to write a new snapshot. Call its `commit` inside the block, or the old snapshot stays.

    To `resume` another try, in a folder, what was written before a failure is left, and found by the next one.

    Raises `SnapshotError` if another process is writing the same snapshot, or the place cannot be written.
    """
    return place_of(store, name).replacing(resume=resume)


@dataclass(frozen=True)
class PruneReport:
    """What was removed, or with `dry_run` would be, with the size of each; and how many files were too new for that."""

    place: str
    removed: dict[str, int]
    left: int
    dry_run: bool


def prune_snapshot(store: Store, name: str, grace: float, *, dry_run: bool = False) -> PruneReport:
    """Remove what dead runs have left of a snapshot; nothing that is younger than `grace` seconds."""
    place = place_of(store, name)
    found, left = place.litter(timedelta(seconds=grace))
    if not dry_run:
        place.remove(found)
    return PruneReport(str(place), found, left, dry_run)
