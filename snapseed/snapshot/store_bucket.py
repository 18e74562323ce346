"""A snapshot in a bucket: of S3, Google Cloud Storage or Azure, or of a server that speaks like one of them.

The key of a file has the beginning of its SHA-256, so a new snapshot overwrites no file of the old one. The manifest is
written last, and only if it is still the one that was there at the beginning. What no manifest names is litter.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from snapseed.config import Store
from snapseed.errors import ManifestError, SnapshotError, StoreError
from snapseed.snapshot.manifest import FILE_NAME, FileList, Manifest, StoredFile, encode
from snapseed.snapshot.manifest_checks import decode, with_lists
from snapseed.snapshot.parquet import require_loadable
from snapseed.snapshot.store_client import HasChangedError, NoConditionsError, client_of, translated
from snapseed.snapshot.store_folder import locked
from snapseed.snapshot.store_stream import TAIL_BYTES, PieceReader, WholeReader

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

# Records of finished tasks, by which a run that was cut short goes on.
_RECORDS = ".parts/"
# Objects that are removed at a time.
_REMOVED = 10_000
# What the local folders of a writer, which locks its own, and of a worker on another machine are called.
_WRITERS, _WORKERS = "put", "work"
# A writer stores one file after another. After this long without a new one, nobody is writing.
GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class Prefix:
    """The keys of a snapshot in a bucket, whether it exists or not. Picklable: each process has its own client."""

    store: Store
    name: str

    def __str__(self) -> str:
        """Its URL."""
        return f"{self.store}/{self.name}"

    def where(self, file: StoredFile) -> str:
        """The URL of a file, for messages."""
        return f"{self}/{self.key(file)}"

    def key(self, file: StoredFile) -> str:
        """The key of a file below the prefix."""
        path = PurePosixPath(file.path)
        return str(path.with_name(f"{path.stem}-{file.sha256[:16]}{path.suffix}"))

    def repair(self) -> bool:
        """Whether there is a snapshot, valid or not. There is nothing to repair."""
        return self.version() is not None

    def version(self) -> tuple[tuple[str, str], ...] | None:
        """What identifies the version of the manifest, in the store's words; None without one."""
        with suppress(FileNotFoundError), self._client() as client:
            # Not HEAD, whose refusals have no reason.
            meta = client.get(FILE_NAME).meta
            return tuple((name, str(tag)) for name, tag in meta.items() if name in {"e_tag", "version"} and tag)
        return None

    def open_manifest(self) -> BinaryIO:
        """The manifest. Raises `OSError` and `StoreError`."""
        return io.BytesIO(self.read(FILE_NAME)[0])

    def open(self, file: StoredFile, *, whole: bool = False) -> BinaryIO:
        """A file of the snapshot, for pieces of it or to read the `whole` file. Raises `OSError` and `StoreError`."""
        key = self.key(file)
        try:
            tail, meta, _ = self._tail(key, file.bytes)
        except StoreError:
            # Beyond the end of a file that is too short, there is no range.
            if not self.size(key):
                return io.BytesIO()
            tail, meta, _ = self._tail(key, min(file.bytes, self.size(key)))
        if meta["size"] > file.bytes:
            tail, meta, _ = self._tail(key, meta["size"])

        def fetch(start: int, end: int) -> memoryview:
            return self.read(key, {"range": (start, end), "if_match": meta["e_tag"]})[0]

        return cast("BinaryIO", (WholeReader if whole else PieceReader)(fetch, meta["size"], tail))

    def _tail(self, key: str, size: int) -> tuple[memoryview, ObjectMeta, dict[str, str]]:
        """The end of an object of this size. Azure has no other way to say where the end is."""
        return self.read(key, {"range": (max(0, size - TAIL_BYTES), size)})

    def keys(self, manifest: Manifest) -> set[str]:
        """The keys of all files of a manifest, those in lists too, which are read one at a time."""

        def read(listed: FileList) -> bytes:
            return bytes(self.read(self.key(listed), {"range": (0, listed.bytes + 1)})[0])

        return {self.key(file) for file in with_lists(manifest, read, where=str(self)).files}

    def read(self, key: str, options: Any = None) -> tuple[memoryview, ObjectMeta, dict[str, str]]:  # noqa: ANN401
        """An object or a range of it, what the store says of it, and its attributes."""
        with self._client() as client:
            found = client.get(key, options=options)
            return memoryview(found.bytes()), found.meta, found.attributes

    def size(self, key: str) -> int:
        """The length of an object. Raises `OSError` and `StoreError`."""
        with self._client() as client:
            return client.head(key)["size"]

    def put(self, key: str, data: bytes | Path, **options: Any) -> None:  # noqa: ANN401 - those of obstore
        """Store an object. Raises `SnapshotError` and `StoreError`."""
        with self._client() as client:
            client.put(key, data, chunk_size=8 << 20, max_concurrency=4, **options)

    def move(self, key: str, other: str) -> None:
        """Give an object another key; the store does it."""
        with self._client() as client:
            client.rename(key, other)

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects."""
        left = iter(sorted(keys))
        while some := list(islice(left, _REMOVED)):
            with self._client() as client, suppress(FileNotFoundError):
                client.delete(some)

    def listed(self) -> Iterator[ObjectMeta]:
        """What the store says of each object below the prefix."""
        with self._client() as client:
            for page in client.list(chunk_size=1_000):
                yield from page

    def present(self) -> set[str]:
        """Nothing: a file that the manifest does not name may be in the making."""
        return set()

    def named(self) -> set[str]:
        """The keys that the manifest names, and its own; no others if it is missing or damaged."""
        with suppress(FileNotFoundError, ManifestError), self.open_manifest() as stream:
            return {FILE_NAME, *self.keys(decode(stream.read(), where=str(self)))}
        return {FILE_NAME}

    def probe(self) -> str:
        """Try what a writer and a reader need, and say in words what the store can do. Raises as they would."""
        key = f".probe-{secrets.token_hex(8)}"
        conditional = "no conditional writes: of two writers at once, the last one wins"
        self.put(key, b"snapseed")
        try:
            with suppress(NoConditionsError):
                self.put(key, b"snapseed", mode="create")
        except HasChangedError:
            conditional = "conditional writes"
        finally:
            self.read(key)
            self.remove({key})
        return f"{self.store}: listed, read, written; {conditional}"

    def litter(self, grace: timedelta) -> tuple[dict[str, int], int]:
        """What no manifest names, with the size of each; while a process may be writing, only how many those are."""
        named = self.named()
        others = sorted((meta for meta in self.listed() if meta["path"] not in named), key=itemgetter("path"))
        if _are_older([meta["last_modified"] for meta in others], grace):
            return {meta["path"]: meta["size"] for meta in others}, 0
        return {}, len(others)

    @contextmanager
    def replacing(self, *, resume: bool) -> Iterator[PrefixStaging]:  # noqa: ARG002 - as in a folder
        """Where to write a new snapshot. Files that were put stay without a commit: the next run may need them."""
        _clear_local()
        staging = PrefixStaging(self, secrets.token_hex(8), self.version() or ())
        folder = _local(_WRITERS, staging.token)
        folder.mkdir(mode=0o700)
        with locked(folder):
            try:
                yield staging
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _client(self) -> Iterator[ObjectStore]:
        """The client, whose failures become ours."""
        with translated(str(self)):
            yield client_of(self.store, self.name)


@dataclass(frozen=True)
class PrefixStaging:
    """A new snapshot that is being written into a bucket. Picklable: every machine has a folder of this name.

    `before` is the version of the manifest that will be replaced, as the store identifies it; empty without one.
    """

    prefix: Prefix
    token: str
    before: tuple[tuple[str, str], ...]

    @property
    def folder(self) -> Path:
        """Where this machine writes a file before it is put into the bucket: the writer's own, or that of a worker."""
        folder = _local(_WRITERS, self.token)
        if not folder.exists():
            folder = _local(_WORKERS, self.token)
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def as_written(self) -> Prefix:
        """The files that were put before the commit."""
        return self.prefix

    def put(self, file: StoredFile) -> None:
        """Move a file from the folder into the bucket. Raises `SnapshotError` for one that could not be loaded."""
        path = self.folder / file.path
        require_loadable(path, file)
        self.prefix.put(self.prefix.key(file), path)
        path.unlink()

    def place(self, file: StoredFile, final: StoredFile) -> None:
        """Put a file under its final path: from the folder, or from where a worker has put it. Raises as `put` does."""
        if (self.folder / file.path).exists():
            (self.folder / final.path).parent.mkdir(exist_ok=True)
            (self.folder / file.path).rename(self.folder / final.path)
            self.put(final)
        else:
            self.prefix.move(self.prefix.key(file), self.prefix.key(final))

    def take_over(self, manifest: Manifest) -> set[str]:
        """The paths of files of a snapshot that are in the bucket already, with the same SHA-256."""
        sizes = {meta["path"]: meta["size"] for meta in self.prefix.listed()}
        return {file.path for file in manifest.files if sizes.get(self.prefix.key(file)) == file.bytes}

    def record(self, run: str, task: str, data: bytes) -> None:
        """Remember that a task of a run is done, after its files were put."""
        self.prefix.put(f"{_RECORDS}{run}/{task}", data)

    def recorded(self, run: str, task: str) -> bytes | None:
        """What was remembered of a task of a run; None if it is not done."""
        with suppress(FileNotFoundError):
            return bytes(self.prefix.read(f"{_RECORDS}{run}/{task}")[0])
        return None

    def has(self, file: StoredFile) -> bool:
        """Whether a file was put: its key has its SHA-256."""
        with suppress(FileNotFoundError):
            return self.prefix.size(self.prefix.key(file)) == file.bytes
        return False

    def commit(self, manifest: Manifest) -> Prefix:
        """Write the manifest if nobody else has replaced it, then remove what it does not name.

        Raises `SnapshotError` if somebody has, or if a file is missing.
        """
        prefix, named = self.prefix, self.prefix.keys(manifest)
        before = prefix.named() if self.before else set()
        # Of millions of objects, no more than keys and times are kept.
        missing, ended, litter = set(named), list[str](), dict[str, datetime]()
        for meta in prefix.listed():
            key = meta["path"]
            if key in named:
                missing.discard(key)
            elif key != FILE_NAME and (key in before or key.startswith(_RECORDS)):
                ended.append(key)
            elif key != FILE_NAME:
                litter[key] = meta["last_modified"]
        if missing:
            raise SnapshotError(
                "files of the new snapshot are gone; the one before stays",
                where=str(prefix),
                observed=f"{len(missing):,} files, the first of them {min(missing)}",
                next_step="see whether another process removed them, and run this again",
            )
        self._replace_manifest(encode(manifest))
        prefix.remove([*ended, *(litter if _are_older(litter.values(), GRACE) else ())])
        return prefix

    def _replace_manifest(self, data: bytes) -> None:
        """Write the manifest on condition that it is the one from before."""
        writer = {"writer": f"process {os.getpid()} on {socket.gethostname()}"}
        try:
            try:
                self.prefix.put(FILE_NAME, data, mode=dict(self.before) or "create", attributes=writer)
            except NoConditionsError:
                # Not safe from a second writer in the same instant, but from all others.
                if (self.prefix.version() or ()) != self.before:
                    raise HasChangedError from None
                self.prefix.put(FILE_NAME, data, attributes=writer)
        except HasChangedError as exc:
            there, meta, attributes = self.prefix.read(FILE_NAME)
            # Of a request whose answer was lost, the second try finds what the first has written.
            if there != data:
                raise SnapshotError(
                    f"another process has replaced the snapshot {self.prefix.name!r} meanwhile; its snapshot stays",
                    where=str(self.prefix),
                    observed=f"written by {attributes.get('writer', 'somebody')},"
                    f" {meta['last_modified']:%Y-%m-%d %H:%M:%S} UTC",
                    next_step="run this again if yours should replace it",
                ) from exc


def _local(kind: str, token: str) -> Path:
    """The folder of a writer or worker on this machine."""
    return Path(tempfile.gettempdir(), f"snapseed-{kind}-{token}")


def _clear_local() -> None:
    """Remove what dead writers of this account have left on this machine: nobody locks it, or nobody writes there."""
    since = datetime.now(UTC) - GRACE
    for kind in (_WRITERS, _WORKERS):
        for folder in Path(tempfile.gettempdir()).glob(f"snapseed-{kind}-*"):
            with suppress(OSError), locked(folder) as lock:
                facts = folder.lstat()
                is_idle = kind == _WRITERS or datetime.fromtimestamp(facts.st_mtime, UTC) < since
                if lock is not None and is_idle and facts.st_uid == os.getuid():
                    shutil.rmtree(folder)


def _are_older(times: Iterable[datetime], grace: timedelta) -> bool:
    """Whether none of these objects is so new that a process may be writing."""
    since = datetime.now(UTC) - grace
    return all(time <= since for time in times)
