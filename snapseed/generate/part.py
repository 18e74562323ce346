"""Make one part: a fixed range of root rows and all that descends from them, one Parquet file per entity.

A part depends on nothing but its task, which pickles, so any process on any machine can make it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snapseed.config import Project
from snapseed.errors import GeneratorError, SnapseedError
from snapseed.generate.discover import load_entities, where_it_failed
from snapseed.generate.entity import Entity
from snapseed.generate.fan_out import FanOut
from snapseed.generate.pools import Pools
from snapseed.generate.rows import Rows
from snapseed.generate.table import Key, checked_table
from snapseed.generate.writer import PartWriter
from snapseed.snapshot.manifest import PartFile

UInt64s = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.intp]

# Rows per chunk: large enough that the cost of a chunk (page headers, a step of the loader) fades, small enough that a
# chunk of wide rows stays near 15 MB and that a failed verification points at few rows.
CHUNK_ROWS = 8_192


@dataclass(frozen=True)
class Slices:
    """How many root rows are made at a time: as many as have `bytes` of data in Arrow with all that descends from them.

    So memory is bounded by a slice, however large the part. Generators hold several times as much for a moment. With
    smaller slices the cost of calls shows (40 ms a slice for the example); with twice as large ones, the peak is 30 MB
    higher. The rows do not depend on it.
    """

    bytes: int = 12_000_000
    first: int = 250
    fewest: int = 100
    most: int = 2_500

    def next(self, made: int, size: int, left: int) -> int:
        """How many root rows to make next, after `made` that took `size` bytes, where `left` are to be made.

        What is left is cut evenly: slices of one length take the least memory for their number.
        """
        most = max(self.fewest, min(self.most, self.bytes * made // max(size, 1)))
        slices = max(1, -(-left // most))
        return max(1, -(-left // slices))


SLICES = Slices()


@dataclass(frozen=True)
class PartTask:
    """All that it takes to make one part. `first` and `last` (excluded) are root rows; `write` names the entities."""

    project: Project
    seed: int
    root: str
    first: int
    last: int
    paths: dict[str, str]
    folder: Path
    chunk_rows: int = CHUNK_ROWS
    slices: Slices = SLICES


@dataclass(frozen=True)
class PartResult:
    """The files of one part by entity, the smallest and the largest key of each, and the pools that were used."""

    files: dict[str, PartFile]
    last_keys: dict[str, Key]
    first_keys: dict[str, Key]
    pools: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Generated:
    rows: Rows
    frame: pl.DataFrame
    positions: Positions


def make_part(task: PartTask) -> PartResult:
    """Write the files of a part below `task.folder` and describe them.

    An entity without rows in this part has no file. Raises `GeneratorError` for a generator that fails or breaks its
    declaration, `SnapshotError` where the files cannot be written.
    """
    entities = load_entities(task.project.generators)
    root = entities.named(task.root)
    assert root is not None
    pools = Pools(task.project.generators / "pools")
    tree = entities.tree(root)
    wanted = [entity for entity in tree if _is_needed(entity, task, tree)]
    writers = {
        entity.name: PartWriter(entity, task.folder / task.paths[entity.name], task.folder, task.chunk_rows)
        for entity in wanted
        if entity.name in task.paths
    }
    try:
        with _arrow_in_system_memory():
            first, rows = task.first, task.slices.first
            while first < task.last:
                last = min(first + rows, task.last)
                size = 0
                for entity, table in _tables(wanted, task, first, last, pools):
                    size += table.nbytes
                    if entity.name in writers and len(table):
                        writers[entity.name].add(table)
                    del table
                rows = task.slices.next(last - first, size, task.last - last)
                first = last
            filled = {name: writer for name, writer in writers.items() if writer.first_key is not None}
            files = {name: writer.close() for name, writer in filled.items()}
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    return PartResult(
        files=files,
        last_keys={name: writer.last_key for name, writer in filled.items() if writer.last_key is not None},
        first_keys={name: writer.first_key for name, writer in filled.items() if writer.first_key is not None},
        pools=pools.digests(),
    )


@contextmanager
def _arrow_in_system_memory() -> Iterator[None]:
    """Inside, Arrow takes memory from the system's allocator, whose freed memory a writer gives back after each chunk.

    Arrow's own keeps 30 MB more, and is no faster.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _tables(
    wanted: list[Entity], task: PartTask, first: int, last: int, pools: Pools
) -> Iterator[tuple[Entity, pa.Table]]:
    """The rows of the root rows from `first` to `last` (excluded), entity by entity, parents first."""
    made: dict[str, _Generated] = {}
    for entity in wanted:
        if entity.parent is None or entity.per_parent is None:
            rows, positions = _root_rows(entity, first, last, task.seed, task.project.now, pools), None
        else:
            rows, positions = _child_rows(entity, entity.per_parent, made[entity.parent.name], task, pools)
        frame = _frame(entity, rows, positions, task, made)
        yield entity, checked_table(entity, frame, len(rows))
        made[entity.name] = _Generated(rows, frame, np.zeros(0, dtype=np.intp) if positions is None else positions)
        made = {name: part for name, part in made.items() if _is_awaited(name, entity, wanted)}


def _is_needed(entity: Entity, task: PartTask, tree: list[Entity]) -> bool:
    return entity.name in task.paths or any(other.name in task.paths and entity in other.ancestors for other in tree)


def _is_awaited(name: str, current: Entity, wanted: list[Entity]) -> bool:
    """Whether an entity that is still to come descends from the one named `name`; its rows can go when none does."""
    later = wanted[wanted.index(current) + 1 :]
    return any(name in [ancestor.name for ancestor in entity.ancestors] for entity in later)


def _child_rows(
    entity: Entity, per_parent: FanOut, parent: _Generated, task: PartTask, pools: Pools
) -> tuple[Rows, Positions]:
    """The identities of the children of some rows, and for each the position of its parent's row."""
    try:
        counts = per_parent.counts(parent.rows, parent.frame, entity.name)
    except Exception as exc:
        raise _failed(entity, exc, task.project.generators) from exc
    parents = np.repeat(np.arange(len(counts)), counts)
    roots = parent.rows.roots[parents]
    rows = Rows.of(
        entity,
        seed=task.seed,
        now=task.project.now,
        pools=pools,
        roots=roots,
        ordinals=_distance_to_first(roots).astype(np.uint64),
        positions=_distance_to_first(parents),
    )
    return rows, parents


def _root_rows(entity: Entity, first: int, last: int, seed: int, now: datetime, pools: Pools) -> Rows:
    roots = np.arange(first, last, dtype=np.uint64)
    zeros = np.zeros(len(roots), dtype=np.int64)
    return Rows.of(
        entity, seed=seed, now=now, pools=pools, roots=roots, ordinals=zeros.astype(np.uint64), positions=zeros
    )


def _distance_to_first(groups: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """For sorted values, how many equal ones stand before each."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups, side="left")


def _frame(
    entity: Entity, rows: Rows, positions: Positions | None, task: PartTask, made: dict[str, _Generated]
) -> pl.DataFrame:
    """What the generator returns, given its ancestors' rows aligned to its own and the lookup entities it names."""
    arguments: dict[str, pl.DataFrame] = {}
    for ancestor in entity.ancestors:
        assert positions is not None
        if ancestor.name in entity.parameters:
            arguments[ancestor.name] = made[ancestor.name].frame[positions]
        if ancestor.parent is not None:
            positions = made[ancestor.name].positions[positions]
    for name in entity.parameters:
        if name not in arguments:
            arguments[name], used = _lookup(task.project.generators, task.seed, task.project.now, name)
            rows.pools.used.update(used)
    try:
        return entity(rows=rows, **arguments)
    except SnapseedError:
        raise
    except Exception as exc:
        raise _failed(entity, exc, task.project.generators) from exc


@cache
def _lookup(folder: Path, seed: int, now: datetime, name: str) -> tuple[pl.DataFrame, frozenset[str]]:
    """All rows of a lookup entity, and the pools that they are made of; once per process."""
    entity = load_entities(folder).named(name)
    assert entity is not None
    assert entity.root_rows is not None
    pools = Pools(folder / "pools")
    rows = _root_rows(entity, 0, entity.root_rows.at(1), seed, now, pools)
    arguments = {}
    for parameter in entity.parameters:
        arguments[parameter], used = _lookup(folder, seed, now, parameter)
        pools.used.update(used)
    try:
        frame = entity(rows=rows, **arguments)
    except SnapseedError:
        raise
    except Exception as exc:
        raise _failed(entity, exc, folder) from exc
    checked_table(entity, frame, len(rows))
    return frame, frozenset(pools.used)


def _failed(entity: Entity, exc: Exception, folder: Path) -> GeneratorError:
    return GeneratorError(
        f"the generator of {entity.name!r} failed",
        where=where_it_failed(exc, folder),
        observed=f"{type(exc).__name__}: {exc}",
        next_step="run again with --verbose for the whole traceback",
    )
