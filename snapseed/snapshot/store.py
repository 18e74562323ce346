"""Where the files of snapshots are: no other module knows. A snapshot is replaced as a whole or not at all.

A new snapshot is written into a locked folder next to its final place, and renamed when it is complete. If a crash cuts
that short, the next command that opens the snapshot repairs it. The folder may come from anybody and have anything
in the place of a file, so no link is followed below the folder of a snapshot, and only regular files are read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from snapseed.errors import ManifestError, SnapshotError, SpaceError
from snapseed.snapshot.arrow import in_one_piece
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
    encode,
)
from snapseed.snapshot.manifest_checks import decode
from snapseed.snapshot.parquet import Part, read_part, readable

# In microseconds, as the end of a day, which PostgreSQL has: Python would show its beginning.
_MIDNIGHT = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Snapshot:
    """The folder of a snapshot, and its manifest, which was checked."""

    folder: Path
    manifest: Manifest

    def path(self, file: PartFile) -> Path:
        """The path of a part, for messages; `open_file` opens it."""
        return self.folder / file.path

    def named_files(self) -> dict[str, str | None]:
        """The relative paths that belong to the snapshot, each with its entity; None for manifest and schema."""
        parts = {file.path: entity.name for entity in self.manifest.entities for file in entity.files}
        schema = self.manifest.capture and self.manifest.capture.schema
        return {FILE_NAME: None, **({schema.path: None} if schema else {}), **parts}

    def present_files(self) -> set[str]:
        """The relative paths of everything in the folder that is no folder itself."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not _is_folder(path)}

    def read_schema(self, file: SchemaFile) -> bytes:
        """The SQL of the schema. Raises `SnapshotError` unless it is what the manifest says."""
        with readable(str(self.folder / file.path)), open_file(self.folder, file.path) as stream:
            data = stream.read(file.bytes + 1)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            where, observed = str(self.folder / file.path), "another SHA-256 than the manifest has"
            raise SnapshotError("the schema was altered", where=where, observed=observed, next_step=RESTORE)
        return data

    @contextmanager
    def open_part(self, entity: EntityRecord, file: PartFile, *, altered: bool = False) -> Iterator[Part]:
        """A part of the entity, ready to be read chunk by chunk.

        Raises `SnapshotError` if it cannot be read, or does not have the columns, the chunks and, unless it is known to
        be altered, the length that the manifest says.
        """
        where = str(self.path(file))
        with ExitStack() as stack:
            with readable(where):
                stream = stack.enter_context(open_file(self.folder, file.path))
                if not altered and (problem := _length_problem(stream, file)):
                    raise ValueError(problem)
            yield stack.enter_context(read_part(stream, where, entity, file))

    def batches(self, entity: EntityRecord, names: Sequence[str]) -> Generator[pa.RecordBatch]:
        """All rows of an entity with these of its columns, as `Part.batches` has them."""
        for file in entity.files:
            with self.open_part(entity, file) as part:
                for number in range(len(file.chunks)):
                    yield from part.batches(number, names)

    def chunk_columns(self, entity: EntityRecord, number: int) -> list[pa.Array]:
        """The columns of a chunk; `number` counts from 0 over all files of the entity."""
        file, group = [(file, group) for file in entity.files for group in range(len(file.chunks))][number]
        names = [column.name for column in entity.columns]
        with self.open_part(entity, file) as part:
            chunk = pa.Table.from_batches(part.batches(group, names))
        return [in_one_piece(column) for column in chunk.columns]

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


def open_file(folder: Path, path: str) -> BinaryIO:
    """Open a regular file below the folder of a snapshot: the one place where a snapshot's files are opened.

    `path` has `/`. Raises `OSError`, also for a link on the way and for a FIFO or device, which it does not wait for.
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in path.split("/"):
            # A FIFO without O_NONBLOCK would wait for a writer.
            inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=opened)
            os.close(opened)
            opened = inner
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")  # noqa: TRY301 - to be closed like the others
    except OSError as exc:
        os.close(opened)
        if exc.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, which is not followed") from exc
        raise
    return os.fdopen(opened, "rb", buffering=0)


def snapshot_folder(snapshots: Path, name: str) -> Path:
    """The folder of the snapshot `name`, whether it exists or not."""
    return snapshots / name


def part_path(entity: str, number: int | None = None) -> str:
    """The path of a part inside its snapshot. `number` counts from 0; None is for an entity with only one part."""
    return f"{entity}.parquet" if number is None else f"{entity}/part-{number:05d}.parquet"


def open_snapshot(snapshots: Path, name: str) -> Snapshot:
    """The snapshot `name` in the folder `snapshots`. Repairs a replacement that a crash cut short.

    Raises `SnapshotError` if there is none, and `ManifestError` if its manifest is not valid.
    """
    folder = snapshot_folder(snapshots, name)
    with writing_to(folder):
        _repair(folder)
    where = str(folder / FILE_NAME)
    try:
        with open_file(folder, FILE_NAME) as stream:
            # A read may return less than it was asked for only at the end.
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as exc:
        raise SnapshotError(
            f"there is no snapshot named {name!r}",
            where=str(folder),
            expected=f"a folder with {FILE_NAME}",
            next_step=f"run `snapseed generate` or `snapseed capture` for the environment that uses {name!r}",
        ) from exc
    except OSError as exc:
        observed = exc.strerror or str(exc)
        raise ManifestError("the manifest cannot be read", where=where, observed=observed) from exc
    manifest = decode(data, where=where)
    if manifest.name != name:
        raise ManifestError(
            "the manifest is that of another snapshot",
            where=where,
            observed=f"name {manifest.name!r}",
            expected=f"{name!r}, the name of its folder",
            next_step=f"rename the folder to {manifest.name}, or {RESTORE}",
        )
    return Snapshot(folder, manifest)


def has_snapshot(snapshots: Path, name: str) -> bool:
    """Whether a snapshot of this name exists, valid or not."""
    folder = snapshot_folder(snapshots, name)
    with writing_to(folder):
        _repair(folder)
    return (folder / FILE_NAME).is_file()


def file_problem(snapshot: Snapshot, file: PartFile | SchemaFile) -> str | None:
    """What is wrong with a file's length or SHA-256, in words; None if both are those of the manifest."""
    try:
        with open_file(snapshot.folder, file.path) as stream:
            if problem := _length_problem(stream, file):
                return problem
            digest, left = hashlib.sha256(), file.bytes
            while left and (data := stream.read(min(left, 1 << 20))):
                digest.update(data)
                left -= len(data)
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    if digest.hexdigest() != file.sha256:
        return f"altered: SHA-256 is {digest.hexdigest()}, expected {file.sha256}"
    return None


def _length_problem(stream: BinaryIO, file: PartFile | SchemaFile) -> str | None:
    if stream.read(len(LFS_POINTER)) == LFS_POINTER:
        return "only a Git LFS pointer, not the data; run `git lfs pull`"
    stream.seek(0)
    size = os.fstat(stream.fileno()).st_size
    return None if size == file.bytes else f"has {size} bytes, expected {file.bytes}: truncated or altered"


@contextmanager
def replacing(snapshots: Path, name: str) -> Iterator[Path]:
    """A folder to write a new snapshot into. Call `commit` inside the block, or everything written is removed.

    Raises `SnapshotError` if another process is writing the same snapshot, or the folder cannot be written.
    """
    final = snapshot_folder(snapshots, name)
    staging = _staging(final)
    with writing_to(snapshots):
        snapshots.mkdir(parents=True, exist_ok=True)
        _require_replaceable(final)
        if not _is_folder(staging):
            _remove(staging)
        staging.mkdir(exist_ok=True)
        with _locked(staging) as lock:
            # Its owner may have renamed it after we opened it and before we locked it.
            if lock is None or not _is_at(staging, lock):
                raise SnapshotError(
                    f"another process is writing the snapshot {name!r}",
                    where=str(staging),
                    next_step="wait for it to end, then run this again",
                )
            try:
                _finish_replacement(final)
                for path in staging.iterdir():
                    _remove(path)
                yield staging
            finally:
                # After a commit the folder has its final name. A folder with this name is then another process's.
                if _is_at(staging, lock):
                    shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Lock a folder, and give its descriptor; None if another process has the lock."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            locked = False
        yield handle if locked else None
    finally:
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    """Whether the folder at `path` is the one that `handle` refers to."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def commit(staging: Path, manifest: Manifest) -> Path:
    """Give the snapshot in `staging` its manifest and its final place, then remove the old one.

    Raises `SnapshotError` for what no reader would accept: the old one stays.
    """
    final = staging.parent / manifest.name
    (staging / FILE_NAME).write_bytes(encode(manifest))
    _require_readable(Snapshot(staging, decode(encode(manifest), where=str(staging / FILE_NAME))))
    for path in [*staging.rglob("*"), staging]:
        _sync(path)
    retired = _retired(final)
    _remove(retired)
    if final.exists():
        final.rename(retired)
    staging.rename(final)
    _sync(final.parent)
    with suppress(OSError):
        _remove(retired)
    return final


def _require_readable(made: Snapshot) -> None:
    if made.manifest.schema_file:
        made.read_schema(made.manifest.schema_file)
    for entity in made.manifest.entities:
        for file in entity.files:
            with made.open_part(entity, file) as part:
                try:
                    part.require_memory([column.name for column in entity.columns])
                except SnapshotError as exc:
                    where, advice = f"entity {entity.name!r}", "make the values smaller"
                    summary = "the rows are too large for a snapshot; the one before stays"
                    raise SnapshotError(summary, where=where, observed=exc.observed, next_step=advice) from exc


def describe(path: Path, root: Path) -> tuple[str, int, str]:
    """Relative path, size and SHA-256 of a file that was just written."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return path.relative_to(root).as_posix(), path.stat().st_size, digest


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Translate failures to write below `folder` into `SnapshotError`s that say what went wrong."""
    try:
        yield
    except OSError as exc:
        if exc.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:  # not a fault of the folder
            raise
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        kind = SpaceError if full else SnapshotError
        raise kind(
            "there is no space left for the snapshot" if full else "the snapshot cannot be written",
            where=str(exc.filename or folder),
            observed=exc.strerror or str(exc),
            expected=None if full else f"a folder that can be written: {folder}",
            next_step="free some space, or make a smaller snapshot" if full else "check its permissions",
        ) from exc


def _staging(final: Path) -> Path:
    return final.parent / f".{final.name}.partial"


def _retired(final: Path) -> Path:
    return final.parent / f".{final.name}.replaced"


def _require_replaceable(final: Path) -> None:
    """Raise `SnapshotError` for a link, and for a file or a folder that was hardly meant to be replaced."""
    if final.is_symlink():
        observed = f"a link to {final.readlink()}"
    elif not final.exists() or (final.is_dir() and (not any(final.iterdir()) or os.path.lexists(final / FILE_NAME))):
        return
    else:
        observed = f"something without a {FILE_NAME}"
    raise SnapshotError(
        "the place of the snapshot is taken",
        where=str(final),
        observed=observed,
        expected="a snapshot, or nothing",
        next_step="move it away; to keep snapshots on another disk, set `snapshots` in snapseed.toml",
    )


def _repair(final: Path) -> None:
    """Finish or undo a replacement that a crash cut short, but not one whose process is still running."""
    if not _is_folder(_retired(final)):
        return
    if not _is_folder(_staging(final)):
        _finish_replacement(final)
        return
    with _locked(_staging(final)) as lock:
        if lock is not None:
            _finish_replacement(final)


def _finish_replacement(final: Path) -> None:
    retired = _retired(final)
    if final.exists():
        with suppress(OSError):
            _remove(retired)
    elif _is_folder(retired):
        retired.rename(final)


def _is_folder(path: Path) -> bool:
    """Whether it is a folder, and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Remove a folder and what is in it, or a file, or a link but not what it leads to."""
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
