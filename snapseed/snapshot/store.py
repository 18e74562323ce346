"""Where the files of snapshots are: no other module knows. A snapshot is replaced as a whole or not at all.

A new snapshot is written into a locked folder next to its final place, and renamed when it is complete. If a crash cuts
that short, the next command that opens the snapshot repairs it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.errors import ManifestError, SnapshotError
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.manifest import FILE_NAME, LFS_POINTER, RESTORE, EntityRecord, Manifest, PartFile, decode, encode


@dataclass(frozen=True)
class Snapshot:
    """The folder of a snapshot, and its manifest, which was checked."""

    folder: Path
    manifest: Manifest

    def path(self, file: PartFile) -> Path:
        """The path of a part. The manifest's checks made sure that it is inside the folder."""
        return self.folder / file.path

    def named_files(self) -> dict[str, str | None]:
        """The relative paths that belong to the snapshot, each with its entity; None for the manifest itself."""
        parts = {file.path: entity.name for entity in self.manifest.entities for file in entity.files}
        return {FILE_NAME: None, **parts}

    def present_files(self) -> set[str]:
        """The relative paths of all files in the folder."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir()}

    def open_part(self, file: PartFile) -> pq.ParquetFile:
        """The part, ready to read row group by row group. Raises `SnapshotError` if it cannot be read."""
        try:
            # Read on demand: a memory map or a read-ahead buffer took a tenth more time and counted as our memory.
            return pq.ParquetFile(self.path(file), pre_buffer=False)
        except (OSError, ValueError, pa.ArrowException) as exc:
            raise SnapshotError(
                "a part cannot be read", where=str(self.path(file)), observed=str(exc), next_step=RESTORE
            ) from exc

    def chunk_columns(self, entity: EntityRecord, number: int) -> list[pa.Array]:
        """The columns of a chunk; `number` counts from 0 over all files of the entity."""
        file, group = [(file, group) for file in entity.files for group in range(len(file.chunks))][number]
        with self.open_part(file) as part:
            rows = part.read_row_group(group)
        return [in_one_piece(rows.column(column.name)) for column in entity.columns]

    def first_rows(self, entity: EntityRecord, count: int) -> list[dict[str, object]]:
        """The first rows of an entity as Python values, at most one chunk of them."""
        if not entity.files:
            return []
        with self.open_part(entity.files[0]) as part:
            rows: list[dict[str, object]] = part.read_row_group(0).slice(0, count).to_pylist()
        return rows


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
    _repair(folder)
    try:
        data = (folder / FILE_NAME).read_bytes()
    except FileNotFoundError as exc:
        raise SnapshotError(
            f"there is no snapshot named {name!r}",
            where=str(folder),
            expected=f"a folder with {FILE_NAME}",
            next_step=f"run `snapseed generate` for the environment that uses {name!r}",
        ) from exc
    except OSError as exc:
        raise ManifestError("the manifest cannot be read", where=str(folder / FILE_NAME), observed=str(exc)) from exc
    return Snapshot(folder, decode(data, where=str(folder / FILE_NAME)))


def has_snapshot(snapshots: Path, name: str) -> bool:
    """Whether a snapshot of this name exists, valid or not."""
    folder = snapshot_folder(snapshots, name)
    _repair(folder)
    return (folder / FILE_NAME).is_file()


def file_problem(snapshot: Snapshot, file: PartFile) -> str | None:
    """What is wrong with a part's length or SHA-256, in words; None if both are those of the manifest."""
    path = snapshot.path(file)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                return "only a Git LFS pointer, not the data; run `git lfs pull`"
            if size != file.bytes:
                return f"has {size} bytes, expected {file.bytes}: truncated or altered"
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    if digest != file.sha256:
        return f"altered: SHA-256 is {digest}, expected {file.sha256}"
    return None


@contextmanager
def replacing(snapshots: Path, name: str) -> Iterator[Path]:
    """A folder to write a new snapshot into. Call `commit` inside the block, or everything written is removed.

    Raises `SnapshotError` if another process is writing the same snapshot, or the folder cannot be written.
    """
    final = snapshot_folder(snapshots, name)
    staging = _staging(final)
    with writing_to(snapshots):
        snapshots.mkdir(parents=True, exist_ok=True)
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
                _empty(staging)
                yield staging
            finally:
                # After a commit the folder has its final name. A folder with this name is then another process's.
                if _is_at(staging, lock):
                    shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """Lock a folder, and give its descriptor; None if another process has the lock."""
    handle = os.open(folder, os.O_RDONLY)
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
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def commit(staging: Path, manifest: Manifest) -> Path:
    """Give the snapshot in `staging` its manifest and its final place, then remove the old one."""
    final = staging.parent / manifest.name
    (staging / FILE_NAME).write_bytes(encode(manifest))
    for path in [*staging.rglob("*"), staging]:
        _sync(path)
    retired = _retired(final)
    shutil.rmtree(retired, ignore_errors=True)
    if final.exists():
        final.rename(retired)
    staging.rename(final)
    _sync(final.parent)
    shutil.rmtree(retired, ignore_errors=True)
    return final


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
        full = exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        raise SnapshotError(
            "there is no space left for the snapshot" if full else "the snapshot cannot be written",
            where=str(exc.filename or folder),
            observed=exc.strerror or str(exc),
            expected=f"a folder that can be written, with room for the snapshot: {folder}",
            next_step="free some space, or choose a smaller --scale" if full else "check its permissions",
        ) from exc


def _staging(final: Path) -> Path:
    return final.parent / f".{final.name}.partial"


def _retired(final: Path) -> Path:
    return final.parent / f".{final.name}.replaced"


def _repair(final: Path) -> None:
    """Finish or undo a replacement that a crash cut short, but not one whose process is still running."""
    if not _retired(final).exists():
        return
    if not _staging(final).exists():
        _finish_replacement(final)
        return
    with _locked(_staging(final)) as lock:
        if lock is not None:
            _finish_replacement(final)


def _finish_replacement(final: Path) -> None:
    retired = _retired(final)
    if final.exists():
        shutil.rmtree(retired, ignore_errors=True)
    elif retired.exists():
        retired.rename(final)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
