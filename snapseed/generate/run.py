"""Generate a snapshot: have its parts made here or in other processes, put the manifest together, replace.

The result does not depend on how many processes made it, nor in which order their parts were ready.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from snapseed.config import Environment, Project
from snapseed.errors import ManifestError, SnapshotError, UsageError
from snapseed.generate.discover import load_entities
from snapseed.generate.entity import Entity
from snapseed.generate.part import PartResult
from snapseed.generate.plan import Request, Tasks
from snapseed.generate.processes import make_parts
from snapseed.generate.writer import keys_do_not_ascend
from snapseed.snapshot.hashing import combined
from snapseed.snapshot.manifest import Column, EntityRecord, Manifest
from snapseed.snapshot.store import Snapshot, commit, file_problem, has_snapshot, open_snapshot, replacing

_LIBRARIES = ("numpy", "polars", "pyarrow")


@dataclass(frozen=True)
class Progress:
    """How far a run has come; `parts_total` is known from the start, rows and bytes are those of the parts made."""

    parts_done: int
    parts_total: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class GenerateReport:
    """What was written, and how long it took. `replaced` is the identity of the snapshot that was there before."""

    manifest: Manifest
    folder: Path
    seconds: float
    replaced: str | None


def resolve_request(
    project: Project,
    environment: Environment,
    *,
    scale: int | None,
    seed: int | None,
    only: Sequence[str] = (),
    check: bool = False,
    part: int | None = None,
) -> Request:
    """What `snapseed generate` is to make.

    The scale is the flag's, else the environment's, else that of the snapshot that is there (to `check` it, that comes
    before the environment's); the seed is the flag's, else the project's. A `part` alone becomes a snapshot named
    `NAME-part-N`. Raises `UsageError` where no scale is known, or `only` names no entity.
    """
    entities = load_entities(project.generators)
    for name in only:
        if entities.named(name) is None:
            known = ", ".join(entity.name for entity in entities.ordered)
            raise UsageError(
                "there is no such entity", observed=name, expected=f"one of: {known}", next_step="check --only"
            )
    name = environment.snapshot if part is None else f"{environment.snapshot}-part-{part}"
    if (check or environment.scale is None) and has_snapshot(project.snapshots, name):
        scale = scale or open_snapshot(project.snapshots, name).manifest.scale
    scale = scale or environment.scale
    if scale is None:
        raise UsageError(
            "no scale is given",
            where=f"environment {environment.name!r}",
            expected="how many root rows to make",
            next_step=f"add --scale 10k, or `scale` to [environments.{environment.name}]",
        )
    return Request(name, project.seed if seed is None else seed, scale, tuple(only), environment.max_size, part)


def generate_snapshot(
    project: Project,
    request: Request,
    *,
    jobs: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
    executor: Executor | None = None,
) -> GenerateReport:
    """Write the snapshot and put it in place of the one before, whole or not at all.

    `executor` takes the place of `jobs` processes of this machine. With `only`, the other entities keep the files they
    have, which must be of the same seed and scale. Raises `GeneratorError`, `SnapshotError` (the size budget included).
    """
    started = time.monotonic()
    previous = _previous(project, request)
    kept = _kept(previous, project, request) if request.only and previous else ()
    with replacing(project.snapshots, request.name) as staging:
        for record in kept:
            _keep(previous, record, staging)
        manifest = write_parts(project, request, staging, jobs, progress, executor, kept)
        if kept and previous:
            pools = {**previous.manifest.pools, **manifest.pools}
            manifest = msgspec.structs.replace(manifest, pools=dict(sorted(pools.items())))
        if request.max_size is not None and manifest.bytes > request.max_size:
            raise SnapshotError(
                f"the snapshot {request.name!r} is larger than its budget; the one before stays",
                observed=f"{manifest.bytes:,} bytes",
                expected=f"at most {request.max_size:,} bytes (max_size)",
                next_step="choose a smaller scale, or raise max_size",
            )
        folder = commit(staging, manifest)
    return GenerateReport(
        manifest, folder, time.monotonic() - started, previous.manifest.identity if previous else None
    )


def write_parts(
    project: Project,
    request: Request,
    folder: Path,
    jobs: int,
    progress: Callable[[Progress], None],
    executor: Executor | None,
    kept: Sequence[EntityRecord],
) -> Manifest:
    """Have all parts written below `folder`, and return the manifest that describes them and the entities kept."""
    entities = load_entities(project.generators)
    kept_names = {record.name for record in kept}
    tasks = Tasks(project, request, folder)
    results: list[PartResult] = []
    rows = size = 0
    progress(Progress(0, len(tasks), 0, 0))
    for result in make_parts(tasks, jobs=jobs, executor=executor):
        results.append(result)
        rows += sum(file.rows for file in result.files.values())
        size += sum(file.bytes for file in result.files.values())
        progress(Progress(len(results), len(tasks), rows, size))
    records = {entity.name: _record(entity, results) for entity in tasks.written}
    records |= {record.name: record for record in kept}
    pools = {name: digest for result in results for name, digest in result.pools.items()}
    return Manifest(
        name=request.name,
        seed=request.seed,
        scale=request.scale,
        now=project.now,
        part_rows=project.part_rows,
        chunk_rows=request.chunk_rows,
        pools=dict(sorted(pools.items())),
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        entities=tuple(records[entity.name] for entity in entities.ordered if entity.name in {*records, *kept_names}),
    )


def _record(entity: Entity, results: Sequence[PartResult]) -> EntityRecord:
    mine = [result for result in results if entity.name in result.files]
    for before, after in pairwise(mine):
        if before.last_keys[entity.name] >= after.first_keys[entity.name]:  # type: ignore[operator]
            raise keys_do_not_ascend(entity, after.files[entity.name].path)
    files = tuple(result.files[entity.name] for result in mine)
    total = combined(chunk.digest() for file in files for chunk in file.chunks)
    return EntityRecord(
        name=entity.name,
        schema=entity.schema,
        table=entity.table,
        key=entity.key,
        columns=tuple(Column(name, kind.name) for name, kind in entity.columns.items()),
        parent=entity.parent.name if entity.parent else None,
        rows=total.rows,
        fingerprint=str(total),
        files=files,
    )


def _previous(project: Project, request: Request) -> Snapshot | None:
    """The snapshot that is to be replaced. A damaged one counts only where some of it would be kept."""
    if not has_snapshot(project.snapshots, request.name):
        return None
    try:
        return open_snapshot(project.snapshots, request.name)
    except ManifestError:
        if request.only:
            raise
        return None


def _kept(previous: Snapshot, project: Project, request: Request) -> tuple[EntityRecord, ...]:
    """The records of the entities that `only` leaves as they are."""
    manifest, entities = previous.manifest, load_entities(project.generators)
    wanted = {
        "seed": request.seed,
        "scale": request.scale,
        "now": project.now,
        "part_rows": project.part_rows,
        "chunk_rows": request.chunk_rows,
    }
    other = [setting for setting, value in wanted.items() if getattr(manifest, setting) != value]
    if other:
        raise UsageError(
            f"--only keeps the other entities, and those are of another {' and '.join(other)}",
            where=str(previous.folder),
            observed=", ".join(f"{setting} {getattr(manifest, setting)}" for setting in other),
            expected=", ".join(f"{setting} {wanted[setting]}" for setting in other),
            next_step="generate without --only, or with the settings of the snapshot",
        )
    return tuple(
        record for record in manifest.entities if record.name not in request.only and entities.named(record.name)
    )


def _keep(previous: Snapshot | None, record: EntityRecord, staging: Path) -> None:
    assert previous is not None
    for file in record.files:
        if problem := file_problem(previous, file):
            raise SnapshotError(
                "a file that --only would keep is damaged",
                where=str(previous.path(file)),
                observed=problem,
                next_step="generate without --only",
            )
        target = staging / file.path
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(previous.path(file), target)
