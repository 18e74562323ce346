"""Make one part: a fixed range of root rows and all that descends from them, one Parquet file per entity.

A part depends on nothing but its task, which pickles, so any process on any machine can make it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from snapseed.config import Project
from snapseed.errors import GeneratorError, SnapseedError
from snapseed.generate.discover import load_entities, where_it_failed
from snapseed.generate.entity import Entity
from snapseed.generate.pools import Pools
from snapseed.generate.rows import Rows
from snapseed.generate.table import checked_table, comparable
from snapseed.snapshot.fingerprint import fingerprint
from snapseed.snapshot.manifest import Chunk, PartFile
from snapseed.snapshot.store import describe, writing_to
from snapseed.snapshot.types import Family

UInt64s = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.intp]

# Rows per chunk: large enough that the cost of a chunk (page headers, a step of the loader) fades, small enough that a
# chunk of wide rows stays near 30 MB and that a failed verification points at few rows.
CHUNK_ROWS = 16_384


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


@dataclass(frozen=True)
class PartResult:
    """The files of one part by entity, the smallest and the largest key of each, and the pools that were used."""

    files: dict[str, PartFile]
    last_keys: dict[str, int | bytes]
    first_keys: dict[str, int | bytes]
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
    pools = _pools(task.project.generators / "pools")
    wanted = [entity for entity in entities.tree(root) if _is_needed(entity, task, entities.tree(root))]
    made: dict[str, _Generated] = {}
    result = PartResult({}, {}, {})
    for entity in wanted:
        rows, positions = _identities(entity, task, made, pools)
        frame = _frame(entity, rows, positions, task, made)
        table = checked_table(entity, frame, len(rows))
        made[entity.name] = _Generated(rows, frame, np.zeros(0, dtype=np.intp) if positions is None else positions)
        if entity.name in task.paths and len(rows):
            keys = comparable(table.column(entity.key).chunk(0))
            result.first_keys[entity.name], result.last_keys[entity.name] = keys[0].as_py(), keys[-1].as_py()
            result.files[entity.name] = _write(entity, table, task.folder / task.paths[entity.name], task.folder)
        made = {name: part for name, part in made.items() if _is_awaited(name, entity, wanted)}
    result.pools.update(pools.digests())
    return result


@cache
def _pools(folder: Path) -> Pools:
    return Pools(folder)


def _is_needed(entity: Entity, task: PartTask, tree: list[Entity]) -> bool:
    return entity.name in task.paths or any(other.name in task.paths and entity in other.ancestors for other in tree)


def _is_awaited(name: str, current: Entity, wanted: list[Entity]) -> bool:
    """Whether an entity that is still to come descends from the one named `name`; its rows can go when none does."""
    later = wanted[wanted.index(current) + 1 :]
    return any(name in [ancestor.name for ancestor in entity.ancestors] for entity in later)


def _identities(
    entity: Entity, task: PartTask, made: dict[str, _Generated], pools: Pools
) -> tuple[Rows, Positions | None]:
    """The identities of the entity's rows in this part, and for each the position of its parent's row."""
    if entity.parent is None or entity.per_parent is None:
        return _root_rows(entity, task.first, task.last, task.seed, task.project.now, pools), None
    parent = made[entity.parent.name]
    try:
        counts = entity.per_parent.counts(parent.rows, parent.frame, entity.name)
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
            arguments[name] = _lookup(task.project.generators, task.seed, task.project.now, name)
    try:
        return entity(rows=rows, **arguments)
    except SnapseedError:
        raise
    except Exception as exc:
        raise _failed(entity, exc, task.project.generators) from exc


@cache
def _lookup(folder: Path, seed: int, now: datetime, name: str) -> pl.DataFrame:
    """All rows of a lookup entity, made once per process."""
    entities = load_entities(folder)
    entity = entities.named(name)
    assert entity is not None
    assert entity.root_rows is not None
    rows = _root_rows(entity, 0, entity.root_rows.at(1), seed, now, _pools(folder / "pools"))
    arguments = {parameter: _lookup(folder, seed, now, parameter) for parameter in entity.parameters}
    try:
        frame = entity(rows=rows, **arguments)
    except Exception as exc:
        raise _failed(entity, exc, folder) from exc
    checked_table(entity, frame, len(rows))
    return frame


def _write(entity: Entity, table: pa.Table, path: Path, folder: Path) -> PartFile:
    """One Parquet file, one row group a chunk, every writer option fixed: the same rows give the same bytes."""
    kinds = list(entity.columns.values())
    chunks = []
    with writing_to(path):
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(
            path,
            table.schema,
            version="2.6",
            data_page_version="1.0",
            compression="zstd",
            # Level 1 halves the time of level 3 for a few per cent more bytes on text and vectors alike.
            compression_level=1,
            use_dictionary=_dictionary_columns(entity),
            write_statistics=True,
            data_page_size=1 << 20,
            write_batch_size=1024,
            dictionary_pagesize_limit=1 << 20,
            store_schema=True,
            write_page_index=False,
            use_byte_stream_split=False,
        ) as writer:
            for start in range(0, len(table), CHUNK_ROWS):
                part = table.slice(start, CHUNK_ROWS).combine_chunks()
                writer.write_table(part, row_group_size=CHUNK_ROWS)
                columns = [column.chunk(0) for column in part.columns]
                digest = fingerprint(columns, kinds)
                first = part.column(entity.key)[0].as_py()
                chunks.append(Chunk(len(part), first if isinstance(first, int) else str(first), str(digest)))
        relative, size, sha256 = describe(path, folder)
    return PartFile(path=relative, rows=len(table), bytes=size, sha256=sha256, chunks=tuple(chunks))


def _dictionary_columns(entity: Entity) -> list[str]:
    """Columns whose values may repeat. Keys and floats do not, and trying costs time."""
    never = {Family.REAL, Family.DOUBLE, Family.VECTOR}
    return [name for name, kind in entity.columns.items() if name != entity.key and kind.family not in never]


def _failed(entity: Entity, exc: Exception, folder: Path) -> GeneratorError:
    return GeneratorError(
        f"the generator of {entity.name!r} failed",
        where=where_it_failed(exc, folder),
        observed=f"{type(exc).__name__}: {exc}",
        next_step="run again with --verbose for the whole traceback",
    )
