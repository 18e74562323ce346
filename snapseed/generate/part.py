"""Make parts: a fixed range of root rows and all that descends from them, one Parquet file per entity.

A part depends on nothing but its task, which can be pickled, so any process on any machine can make it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from snapseed.config import Project
from snapseed.config.settings import suggestion
from snapseed.errors import GeneratorError, SnapseedError, is_from_outside
from snapseed.generate.column_rules import read_schema_rules
from snapseed.generate.draws.bits import Int64s
from snapseed.generate.entity import Entity
from snapseed.generate.generators import load_generators, where_it_failed
from snapseed.generate.number_draws import Settings
from snapseed.generate.output import checked_table, columns_of, require_following
from snapseed.generate.pools import Pools
from snapseed.generate.rows import Rows
from snapseed.snapshot.store import Staging
from snapseed.snapshot.writing import CHUNK_ROWS, PartWriter, WrittenFile

# Is told how many more root rows are made.
Told = Callable[[int], None]


@dataclass(frozen=True)
class Slices:
    """How many root rows to make at a time: as many as have `bytes` of Arrow data, with all that descends from them.

    So a slice bounds the memory, whatever the size of the part; generators briefly hold several times as much. Smaller
    slices make the cost of calls show (30 ms a slice for the example); slices twice as large raise the peak by 30 MB.
    The rows do not depend on it.
    """

    bytes: int = 18_000_000
    first: int = 500
    fewest: int = 100
    most: int = 2_500

    def next(self, made: int, size: int, left: int) -> int:
        """How many root rows to make next, after `made` that took `size` bytes, if `left` remain.

        It divides the rest evenly: slices of equal length take the least memory for their number.
        """
        most = max(self.fewest, min(self.most, self.bytes * made // max(size, 1)))
        slices = max(1, -(-left // most))
        return max(1, -(-left // slices))


SLICES = Slices()


@dataclass(frozen=True)
class PartTask:
    """Everything needed to make one part: root rows `first` to `last` (excluded), and the file of each entity to write.

    The entities descend from one root entity; `paths` are relative to the snapshot in `staging`. `run` identifies
    everything that its parts depend on. With `resume`, a part that such a run has completed is skipped.
    """

    project: Project
    seed: int
    first: int
    last: int
    paths: dict[str, str]
    staging: Staging
    run: str = ""
    resume: bool = False
    chunk_rows: int = CHUNK_ROWS
    slices: Slices = SLICES


@dataclass(frozen=True)
class PartResult:
    """The files of one part by entity, and the SHA-256 of each pool that it used."""

    files: dict[str, WrittenFile]
    pools: dict[str, str]


def make_part(task: PartTask, told: Told = lambda _: None) -> PartResult:
    """Write the files of a part and describe them. An entity without rows in this part has no file.

    A part that its run has made before is found, and its files are in place. `told` hears of each slice. Raises
    `GeneratorError` if a generator fails or breaks its declaration, `SnapshotError` if a file cannot be written.
    """
    name = f"{next(iter(task.paths))}-{task.first}.json"
    if task.resume and (record := task.staging.recorded(task.run, name)):
        found = msgspec.json.decode(record, type=PartResult)
        if all(task.staging.has(written.file) for written in found.files.values()):
            told(task.last - task.first)
            return found
    made = _made(task, told)
    if task.run:
        task.staging.record(task.run, name, msgspec.json.encode(made))
    return made


def _made(task: PartTask, told: Told) -> PartResult:
    """Make a part slice by slice, so that memory does not grow with it. A failure leaves no file."""
    maker = _Maker(task)
    writers = {
        entity.name: PartWriter(
            columns_of(entity, entity.columns),
            columns_of(entity, entity.key_columns),
            task.staging.folder,
            task.paths[entity.name],
            task.chunk_rows,
        )
        for entity in maker.entities
        if entity.name in task.paths
    }
    try:
        with _arrow_in_system_memory():
            first, rows = task.first, task.slices.first
            while first < task.last:
                last = min(first + rows, task.last)
                size = 0
                for entity, table in maker.tables(first, last):
                    size += table.nbytes
                    if len(table) and (writer := writers.get(entity.name)):
                        require_following(entity, table, writer, task.paths[entity.name])
                        writer.add(table)
                    del table
                rows = task.slices.next(last - first, size, task.last - last)
                told(last - first)
                first = last
            files = {name: written for name, writer in writers.items() if (written := writer.close())}
        for written in files.values():
            task.staging.put(written.file)
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    return PartResult(files, maker.pools.digests())


@contextmanager
def _arrow_in_system_memory() -> Iterator[None]:
    """Let Arrow use the system's allocator: its own keeps 30 MB more, and is no faster."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


@dataclass(frozen=True)
class _Slice:
    """The rows of an entity in one slice, its frame, and for each row the position of its parent's row."""

    rows: Rows
    frame: pl.DataFrame
    parents: Int64s


class _Maker:
    """Calls the generators of one part, slice by slice."""

    def __init__(self, task: PartTask) -> None:
        self._generators = load_generators(task.project.generators)
        self._folder = task.project.generators
        self.pools = Pools(self._generators.pools)
        self._settings = Settings(task.seed, task.project.now, self.pools)
        self._lookups: dict[str, pl.DataFrame] = {}
        written = [self._generators.entities[name] for name in task.paths]
        needed = {entity for last in written for entity in (last, *last.ancestors)}
        self.entities = [entity for entity in self._generators.entities.values() if entity in needed]
        self._schema = read_schema_rules(task.project.schema)
        self._rules = {entity.name: self._schema.rules_of(entity) for entity in self.entities}

    def tables(self, first: int, last: int) -> Iterator[tuple[Entity, pa.Table]]:
        """The rows of the root rows from `first` to `last` (excluded), entity by entity, parents first."""
        made: dict[str, _Slice] = {}
        for number, entity in enumerate(self.entities):
            if entity.parent is None or entity.per_parent is None:
                roots, parents = np.arange(first, last, dtype=np.uint64), np.arange(last - first)
            else:
                parent = made[entity.parent.name]
                with self._naming(entity):
                    bits = parent.rows.bits(f"number of {entity.name}")
                    counts = entity.per_parent.counts(entity.parent, parent.rows.roots, bits, parent.frame)
                parents = np.repeat(np.arange(len(counts)), counts)
                roots = parent.rows.roots[parents]
            rows = Rows.of(entity, self._settings, roots, parents)
            frame = self._frame(entity, rows, _ancestors(entity, parents, made))
            yield entity, checked_table(entity, frame, len(rows), self._rules[entity.name])
            made[entity.name] = _Slice(rows, frame, parents)
            # Rows that no later entity descends from can be freed.
            awaited = {ancestor.name for later in self.entities[number + 1 :] for ancestor in later.ancestors}
            made = {name: part for name, part in made.items() if name in awaited}

    def _frame(self, entity: Entity, rows: Rows, ancestors: dict[str, pl.DataFrame]) -> pl.DataFrame:
        """What the generator returns for these rows, given its ancestors' frames and the lookup entities it names."""
        lookups = {name: self._lookup(name) for name in entity.parameters if name not in ancestors}
        with self._naming(entity):
            return entity(rows=rows, **ancestors, **lookups)

    def _lookup(self, name: str) -> pl.DataFrame:
        """All rows of a lookup entity; made once per part."""
        if name not in self._lookups:
            entity = self._generators.entities[name]
            roots = np.arange(entity.root_rows.at(1))
            rows = Rows.of(entity, self._settings, roots.astype(np.uint64), roots)
            frame = self._frame(entity, rows, {})
            checked_table(entity, frame, len(rows), self._schema.rules_of(entity))
            self._lookups[name] = frame
        return self._lookups[name]

    @contextmanager
    def _naming(self, entity: Entity) -> Iterator[None]:
        """Turn any exception of a generator into a `GeneratorError` that says where it was raised."""
        try:
            yield
        except BaseException as exc:
            # An exit() or a KeyboardInterrupt of its own is a failure like any other.
            if isinstance(exc, SnapseedError) or is_from_outside(exc):
                raise
            is_column = isinstance(exc, pl.exceptions.ColumnNotFoundError)
            # Such as a draw that was misspelled.
            meant = suggestion(exc.name, dir(exc.obj)) if isinstance(exc, AttributeError) and exc.name else None
            known = {name: self._generators.entities[name].columns for name in entity.parameters if is_column}
            raise GeneratorError(
                f"the generator of {entity.name!r} failed",
                where=where_it_failed(exc, self._folder, entity.function.__code__),
                observed=f"{type(exc).__name__}: {exc}",
                expected="; ".join(f"{name} has {', '.join(columns)}" for name, columns in known.items()) or None,
                next_step=meant or "run again with --verbose for the whole traceback",
            ) from exc


def _ancestors(entity: Entity, parents: Int64s, made: dict[str, _Slice]) -> dict[str, pl.DataFrame]:
    """The frames of the ancestors that a generator names, aligned to its own rows."""
    frames: dict[str, pl.DataFrame] = {}
    for ancestor in entity.ancestors:
        if ancestor.name in entity.parameters:
            frames[ancestor.name] = made[ancestor.name].frame[parents]
        if ancestor.parent is not None:
            parents = made[ancestor.name].parents[parents]
    return frames
