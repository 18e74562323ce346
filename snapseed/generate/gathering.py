"""The files of an entity, gathered as its parts get ready: their order is checked, and very many go into lists."""

from __future__ import annotations

import msgspec

from snapseed.generate.entity import Entity
from snapseed.generate.output import columns_of, keys_do_not_ascend
from snapseed.snapshot.hashing import EMPTY, combined
from snapseed.snapshot.keys import sortable
from snapseed.snapshot.manifest import EntityRecord, FileList, FirstKey, PartFile
from snapseed.snapshot.store import Staging
from snapseed.snapshot.store_folder import describe, writing_to
from snapseed.snapshot.writing import WrittenFile

# An entity has at most so many files in the manifest itself, which git and people may read: a few megabytes. Beyond
# that, they are in lists of so many, and the memory of a run does not grow with their number.
MOST_FILES = 10_000
_LISTED = 1_000


class EntityFiles:
    """The files of one entity so far, in the order of their keys."""

    def __init__(self, entity: Entity, staging: Staging, most: int = MOST_FILES) -> None:
        self._entity, self._staging, self._most = entity, staging, most
        self._files: list[PartFile] = []
        self._lists: list[FileList] = []
        self._total = EMPTY
        self._last_key: FirstKey | None = None

    def add(self, written: WrittenFile) -> None:
        """Take the next file. Raises `GeneratorError` if its keys do not follow those of the file before."""
        file = written.file
        key = columns_of(self._entity, self._entity.key_columns)
        first = sortable(file.chunks[0].first_key, key)
        if self._last_key is not None and sortable(self._last_key, key) >= first:
            raise keys_do_not_ascend(self._entity, file.path)
        self._last_key = written.last_key
        self._total = combined([self._total, *(chunk.digest() for chunk in file.chunks)])
        self._files.append(file)
        if len(self._files) > self._most:
            # From the first list on, no more files wait than one has.
            self._most = min(self._most, _LISTED)
            self._list_files(len(self._files) - len(self._files) % self._most)

    def record(self) -> EntityRecord:
        """What the manifest says of the entity."""
        if self._lists:
            self._list_files(len(self._files))
        entity = self._entity
        return EntityRecord(
            name=entity.name,
            schema=entity.schema,
            table=entity.table,
            key=entity.key,
            columns=columns_of(entity, entity.columns),
            parent=entity.parent.name if entity.parent else None,
            rows=self._total.rows,
            fingerprint=str(self._total),
            files=tuple(self._files),
            lists=tuple(self._lists) if self._lists else msgspec.UNSET,
        )

    def _list_files(self, count: int) -> None:
        """Write the first files into lists, and forget them."""
        folder, size = self._staging.folder, min(self._most, _LISTED)
        for first in range(0, count, size):
            files = self._files[first : min(first + size, count)]
            path = folder / self._entity.name / f"files-{len(self._lists):05d}.json"
            with writing_to(path):
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(msgspec.json.encode(files))
                name, length, sha256 = describe(path, folder)
            rows, data_bytes = sum(file.rows for file in files), sum(file.bytes for file in files)
            listed = FileList(name, length, sha256, len(files), rows, data_bytes)
            self._staging.put(listed)
            self._lists.append(listed)
        del self._files[:count]
