"""Copy a snapshot from one store to another: only files that are not there yet, and on after an interruption."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from snapseed.config import Store
from snapseed.errors import SnapshotError
from snapseed.events import Advanced, Listener, ignore
from snapseed.snapshot.manifest import RESTORE, Manifest, StoredFile
from snapseed.snapshot.parquet import readable
from snapseed.snapshot.store import Snapshot, Staging, open_snapshot, replacing
from snapseed.snapshot.store_folder import writing_to
from snapseed.snapshot.store_stream import WholeReader

# Files at a time: as many as fill the line, although each waits for its answer.
_AT_ONCE = 4
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class CopyReport:
    """What was copied from where to where, and what was there already."""

    manifest: Manifest
    source: str
    target: str
    copied_files: int
    copied_bytes: int
    skipped_files: int
    skipped_bytes: int


def copy_snapshot(source: Store, target: Store, name: str, listener: Listener = ignore) -> CopyReport:
    """Copy the snapshot `name`; what the target has under this name is replaced as a whole or not at all.

    The listener gets `Advanced` in bytes. Raises `SnapshotError` if a file is not what the manifest says, or cannot be
    written, and `StoreError`.
    """
    snapshot = open_snapshot(source, name)
    manifest = snapshot.manifest
    total = skipped = copied = 0
    with replacing(target, name, resume=True) as staging, ThreadPoolExecutor(_AT_ONCE) as threads:
        there = staging.take_over(manifest)
        for file in manifest.files:
            total += file.bytes
            skipped += file.bytes if file.path in there else 0
        done = skipped
        wanted = (file for file in manifest.files if file.path not in there)
        running = deque(threads.submit(_copy, snapshot, staging, file) for file in islice(wanted, _AT_ONCE))
        try:
            while running:
                done += running.popleft().result()
                copied += 1
                running.extend(threads.submit(_copy, snapshot, staging, file) for file in islice(wanted, 1))
                listener(Advanced("files", done, total, unit="bytes"))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
        place = staging.commit(manifest)
    return CopyReport(
        manifest=manifest,
        source=str(snapshot.place),
        target=str(place),
        copied_files=copied,
        copied_bytes=total - skipped,
        skipped_files=len(there),
        skipped_bytes=skipped,
    )


def _copy(snapshot: Snapshot, staging: Staging, file: StoredFile) -> int:
    """Copy a file that is what the manifest says. Returns its length."""
    path, digest, where = staging.folder / file.path, hashlib.sha256(), snapshot.path(file)
    with readable(where), snapshot.place.open(file, whole=True) as stream, writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as copy:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
                copy.write(piece)
                if isinstance(stream, WholeReader):
                    stream.drop_before(stream.tell())
    if digest.hexdigest() != file.sha256:
        observed = f"SHA-256 is {digest.hexdigest()}, expected {file.sha256}"
        raise SnapshotError("a file of the snapshot was altered", where=where, observed=observed, next_step=RESTORE)
    staging.put(file)
    return file.bytes
