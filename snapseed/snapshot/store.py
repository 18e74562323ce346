"""Where snapshots lie, and the only module that knows it. A snapshot is replaced whole or not at all.

A new one is written into a locked folder beside its final place and renamed when complete; what a crash leaves behind
is put right by the next command that looks.
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
from snapseed.snapshot.manifest import FILE_NAME, EntityRecord, Manifest, PartFile, decode, encode

# A SHA-256 of 1 MiB takes a few milliseconds, so the cost of a call vanishes and memory stays small.
_READ_BYTES = 1 << 20
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot folder and its checked manifest."""

    folder: Path
    manifest: Manifest

    def path(self, file: PartFile) -> Path:
        """The path of a part. The manifest's checks made sure that it is inside the folder."""
        return self.folder / file.path

    def named_files(self) -> dict[str, str | None]:
        """The relative paths that belong to the snapshot, each with its entity; None for the manifest itself."""
        parts = {file.path: entity.name for entity in self.manifest.entities for file in entity.files}
        return {FILE_NAME: None, **parts}

    def open_part(self, file: PartFile) -> pq.ParquetFile:
        """The part, ready to read row group by row group. Raises `SnapshotError` where it cannot be read."""
        try:
            # Read as it is needed: mapped, or fetched ahead, it took a tenth more time and counted as memory of ours.
            return pq.ParquetFile(self.path(file), pre_buffer=False)
        except (OSError, ValueError, pa.ArrowException) as exc:
            raise SnapshotError(
                "a part cannot be read", where=str(self.path(file)), observed=str(exc), next_step=_RESTORE
            ) from exc

    def first_rows(self, entity: EntityRecord, count: int) -> list[dict[str, object]]:
        """The first rows of an entity as Python values, at most one chunk of them."""
        for file in entity.files[:1]:
            with self.open_part(file) as part:
                rows: list[dict[str, object]] = part.read_row_group(0).slice(0, count).to_pylist()
                return rows
        return []


_RESTORE = "restore it from git, or generate the snapshot again"


def open_snapshot(snapshots: Path, name: str) -> Snapshot:
    """The snapshot `name` under the folder `snapshots`, after healing a replacement that a crash cut short.

    Raises `SnapshotError` where there is none, and `ManifestError` where its manifest is not valid.
    """
    folder = snapshots / name
    _heal(folder)
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
    """Whether a snapshot of this name lies there, valid or not."""
    _heal(snapshots / name)
    return (snapshots / name / FILE_NAME).is_file()


def file_problem(snapshot: Snapshot, file: PartFile) -> str | None:
    """What is wrong with a part's bytes, or None where length and SHA-256 are those of the manifest. Length first."""
    path = snapshot.path(file)
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                return "a Git LFS pointer in place of the data; run `git lfs pull`"
            if size != file.bytes:
                return f"has {size} bytes, expected {file.bytes}: truncated or altered"
            stream.seek(0)
            digest = hashlib.sha256()
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"
    if digest.hexdigest() != file.sha256:
        return f"altered: SHA-256 is {digest.hexdigest()}, expected {file.sha256}"
    return None


def extra_files(snapshot: Snapshot) -> list[str]:
    """Files in the snapshot folder that the manifest does not name, as sorted relative paths."""
    known = snapshot.named_files().keys()
    found = {path.relative_to(snapshot.folder).as_posix() for path in snapshot.folder.rglob("*") if not path.is_dir()}
    return sorted(found - known)


@contextmanager
def replacing(snapshots: Path, name: str) -> Iterator[Path]:
    """A folder to write a new snapshot into; leave the block by `commit` first, or all that was written is removed.

    Raises `SnapshotError` where another process is writing the same snapshot, or the folder cannot be written.
    """
    final = snapshots / name
    staging = _staging(final)
    with writing_to(snapshots):
        snapshots.mkdir(parents=True, exist_ok=True)
        staging.mkdir(exist_ok=True)
        lock = os.open(staging, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise _busy(staging, name) from exc
        if not _is_at(staging, lock):  # renamed between the opening and the locking, by the one who had it
            raise _busy(staging, name)
        try:
            _finish_replacement(final)
            with writing_to(staging):
                _empty(staging)
                yield staging
        finally:
            # After a commit the folder has its final name, and one of this name is another process's.
            if _is_at(staging, lock):
                shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(lock)


def _busy(staging: Path, name: str) -> SnapshotError:
    return SnapshotError(
        f"another process is writing the snapshot {name!r}",
        where=str(staging),
        next_step="wait for it to end, then run this again",
    )


def _is_at(path: Path, handle: int) -> bool:
    """Whether the folder at `path` is the one that `handle` is open on."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def commit(staging: Path, manifest: Manifest) -> Path:
    """Give the snapshot in `staging` its manifest and its final place; the old one goes once the new one stands."""
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
    """Translate failures to write below `folder` into `SnapshotError`s that say what stands in the way."""
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


def _heal(final: Path) -> None:
    """Finish or undo a replacement that a crash cut short; leave one alone whose process is alive."""
    if not _retired(final).exists():
        return
    if not _staging(final).exists():
        _finish_replacement(final)
        return
    handle = os.open(_staging(final), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _finish_replacement(final)
    except BlockingIOError:
        return
    finally:
        os.close(handle)


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
