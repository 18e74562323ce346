"""A snapshot in a folder. It is replaced as a whole or not at all.

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
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from snapseed.errors import SnapshotError, SpaceError
from snapseed.snapshot.manifest import FILE_NAME, Manifest, StoredFile, encode
from snapseed.snapshot.parquet import require_loadable
from snapseed.snapshot.store_stream import digest_problem, length_problem


@dataclass(frozen=True)
class Folder:
    """The folder of a snapshot, whether it exists or not."""

    path: Path

    def __str__(self) -> str:
        """Its path."""
        return str(self.path)

    def where(self, file: StoredFile) -> str:
        """The path of a file, for messages."""
        return str(self.path / file.path)

    def repair(self) -> bool:
        """Finish or undo a replacement that a crash cut short. Returns whether there is a snapshot, valid or not."""
        staging = _staging(self.path)
        with writing_to(self.path):
            if is_folder(_retired(self.path)):
                with locked(staging) if is_folder(staging) else nullcontext(0) as lock:
                    # Without the lock, the process that replaces it is still running.
                    if lock is not None:
                        _finish_replacement(self.path)
        return (self.path / FILE_NAME).is_file()

    def open_manifest(self) -> BinaryIO:
        """The manifest. Raises `OSError`."""
        return open_file(self.path, FILE_NAME)

    def open(self, file: StoredFile, *, whole: bool = False) -> BinaryIO:  # noqa: ARG002 - as in a bucket
        """A file of the snapshot. Raises `OSError`."""
        return open_file(self.path, file.path)

    def has(self, file: StoredFile) -> bool:
        """Whether the file is there and what it should be."""
        with suppress(OSError), self.open(file) as stream:
            return not (length_problem(stream, file) or digest_problem(stream, file))
        return False

    def key(self, file: StoredFile) -> str:
        """What the file is called among `present`."""
        return file.path

    def probe(self) -> str:
        """Where it is, in words."""
        return str(self.path)

    def litter(self, _grace: timedelta) -> tuple[dict[str, int], int]:
        """What a dead run has left next to the snapshot, with its size. A lock says whether it is dead, not its age."""
        staging = _staging(self.path)
        if not is_folder(staging):
            return {}, 0
        with locked(staging) as lock:
            sizes = [path.lstat().st_size for path in staging.rglob("*")]
            return ({}, 0) if lock is None else ({staging.name: sum(sizes)}, 0)

    def remove(self, names: Collection[str]) -> None:
        """Remove litter, unless a process has begun to write there."""
        for name in names:
            with suppress(FileNotFoundError), locked(self.path.parent / name) as lock:
                if lock is not None:
                    _remove(self.path.parent / name)

    @contextmanager
    def replacing(self, *, resume: bool) -> Iterator[FolderStaging]:
        """A locked folder to write a new snapshot into, removed at the end unless it was committed or is to `resume`.

        Raises `SnapshotError` if another process is writing the same snapshot, or the folder cannot be written.
        """
        final, staging = self.path, _staging(self.path)
        with writing_to(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            _require_replaceable(final)
            if not is_folder(staging):
                _remove(staging)
            staging.mkdir(exist_ok=True)
            with locked(staging) as lock:
                # Its owner may have renamed it after we opened it and before we locked it.
                if lock is None or not _is_at(staging, lock):
                    raise SnapshotError(
                        f"another process is writing the snapshot {final.name!r}",
                        where=str(staging),
                        next_step="wait for it to end, then run this again",
                    )
                try:
                    _finish_replacement(final)
                    for path in () if resume else staging.iterdir():
                        _remove(path)
                    yield FolderStaging(staging, self)
                finally:
                    # After a commit the folder has its final name. A folder with this name is then another process's.
                    if not resume and _is_at(staging, lock):
                        shutil.rmtree(staging, ignore_errors=True)

    def present(self) -> set[str]:
        """The relative paths of everything in the folder that is no folder itself."""
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if not is_folder(path)}


@dataclass(frozen=True)
class FolderStaging:
    """The folder that a new snapshot is written into, and that of the one it will replace, if any."""

    folder: Path
    old: Folder | None = None

    def put(self, file: StoredFile) -> None:
        """Take a file that was written into the folder. Raises `SnapshotError` for one that could not be loaded."""
        require_loadable(self.folder / file.path, file)

    def place(self, file: StoredFile, final: StoredFile) -> None:
        """Take a file that was written under another path than its final one. Raises as `put` does."""
        with writing_to(self.folder):
            (self.folder / final.path).parent.mkdir(exist_ok=True)
            (self.folder / file.path).rename(self.folder / final.path)
        self.put(final)

    def take_over(self, manifest: Manifest) -> set[str]:
        """Keep what is there already of a snapshot, from the old one or an earlier try, with the same SHA-256.

        Returns the paths.
        """
        for other in Folder(self.folder).present() - {file.path for file in manifest.files}:
            (self.folder / other).unlink()
        kept = set()
        for file in manifest.files:
            path = self.folder / file.path
            if Folder(self.folder).has(file):
                kept.add(file.path)
            elif self.old and self.old.has(file):
                path.parent.mkdir(exist_ok=True)
                with self.old.open(file) as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                kept.add(file.path)
        return kept

    @property
    def as_written(self) -> Folder:
        """The files that are there before the commit."""
        return Folder(self.folder)

    def record(self, run: str, task: str, data: bytes) -> None:
        """Nothing: what a run leaves in a folder is removed by the next one."""

    def recorded(self, run: str, task: str) -> bytes | None:  # noqa: ARG002 - as in a bucket
        """Nothing."""
        return None

    def has(self, file: StoredFile) -> bool:
        """Whether a file was written."""
        return (self.folder / file.path).is_file()

    def commit(self, manifest: Manifest) -> Folder:
        """Give the snapshot its manifest and its final place, then remove the old one."""
        staging, final = self.folder, self.folder.parent / manifest.name
        (staging / FILE_NAME).write_bytes(encode(manifest))
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
        return Folder(final)


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


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
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
    """Where the new snapshot is written."""
    return final.parent / f".{final.name}.partial"


def _retired(final: Path) -> Path:
    """Where the old snapshot is until the new one has its place."""
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


def _finish_replacement(final: Path) -> None:
    """Remove the old snapshot if the new one has its place, otherwise put it back."""
    retired = _retired(final)
    if final.exists():
        with suppress(OSError):
            _remove(retired)
    elif is_folder(retired):
        retired.rename(final)


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Remove a folder and what is in it, or a file, or a link but not what it leads to."""
    if is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
