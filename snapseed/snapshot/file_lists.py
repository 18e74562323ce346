"""The files of an entity that are in lists: read list by list, so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import msgspec

from snapseed.errors import ManifestError
from snapseed.snapshot.hashing import EMPTY, combined
from snapseed.snapshot.manifest import RESTORE, EntityRecord, FileList, Manifest, PartFile
from snapseed.snapshot.manifest_checks import Contradictions, file_contradictions, require_none, total_contradictions


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
            require_none(_list_contradictions(self.entity, listed, files, last), where)
            for file in files:
                require_none(file_contradictions(self.entity, file, self.chunk_rows), where)
            total = combined([total, *(chunk.digest() for file in files for chunk in file.chunks)])
            last = max(map(_place, files), default=last)
            yield from files
        require_none(total_contradictions(self.entity, total), self.where)

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
