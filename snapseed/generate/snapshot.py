"""Generate a snapshot: make its parts, put the manifest together, replace the old snapshot. Or check an existing one.

The result does not depend on how many processes make it, nor on the order in which parts get ready.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from snapseed.config import Project, Store
from snapseed.errors import ManifestError, SnapseedError, SnapshotError, SpaceError, UsageError
from snapseed.events import Advanced, Listener, Note, ignore, phase
from snapseed.generate.generators import load_generators
from snapseed.generate.output import EntityFiles
from snapseed.generate.parallel import make_parts
from snapseed.generate.request import Request, Tasks, estimate
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import (
    Snapshot,
    Staging,
    existing_snapshot,
    file_problem,
    open_snapshot,
    place_of,
    replacing,
)
from snapseed.snapshot.store_folder import FolderStaging, writing_to
from snapseed.units import size

_LIBRARIES = ("numpy", "polars", "pyarrow")
# What rows and files depend on, apart from the generators and their pools.
_SETTINGS = ("seed", "scale", "now", "part_rows", "chunk_rows")
# What an entity says of its table.
_DECLARED = ("schema", "table", "key", "columns", "parent")
# A snapshot of this many parts takes longer than it takes to estimate its size.
_MANY_PARTS = 8


@dataclass(frozen=True)
class GenerateReport:
    """What was written, and how long it took. `replaced` is the identity of the snapshot that was there before."""

    manifest: Manifest
    folder: str
    seconds: float
    replaced: str | None


@dataclass(frozen=True)
class CheckReport:
    """How an existing snapshot compares with the same one regenerated.

    `different` says in one line each which settings, pools and entities differ, and which files are damaged.
    """

    manifest: Manifest
    seconds: float
    different: tuple[str, ...]
    same_bytes: bool

    @property
    def same_rows(self) -> bool:
        """Whether every row is the same; the bytes may differ between library versions."""
        return not self.different


def generate_snapshot(
    project: Project, request: Request, *, jobs: int = 1, executor: Executor | None = None, listener: Listener = ignore
) -> GenerateReport:
    """Write a snapshot in place of the one before, completely or not at all.

    It uses up to `jobs` processes, or the `executor` if there is one. With `only` in the request, other entities keep
    their files, which must have the same seed and scale. The listener gets an `Advanced` in root rows again and
    again. Raises `GeneratorError`; `SnapshotError` if it cannot be written or is larger than `max_size`; `UsageError`
    if `only` does not fit the existing snapshot.
    """
    started = time.monotonic()
    previous = _previous(project, request)
    kept = _kept(previous, project, request) if request.only and previous else None
    with _sized(project, request, listener), replacing(request.store_in(project), request.name) as staging:
        if kept:
            _copy_files(kept, staging)
        manifest = make_manifest(Tasks(project, request, staging), kept, jobs, executor, listener)
        manifest.require_size(request.max_size, "choose a smaller scale")
        folder = str(staging.commit(manifest))
    replaced = previous.manifest.identity if previous else None
    return GenerateReport(manifest, folder, time.monotonic() - started, replaced)


@contextmanager
def _sized(project: Project, request: Request, listener: Listener) -> Iterator[None]:
    """Say how large a snapshot of many parts will be. If there is no room, now or later, the error has both sizes."""
    store = request.store_in(project)
    folder = store.folder_of("")
    disk = folder if folder and folder.exists() else project.folder
    expected = None
    if len(Tasks(project, request, FolderStaging(project.folder))) >= _MANY_PARTS:
        expected, free = estimate(project, request), shutil.disk_usage(disk).free
        # An estimate from a few rows is good for two digits.
        rows = round(expected.rows, 2 - len(str(expected.rows)))
        text = f"about to generate {expected.parts:,} parts, about {rows:,} rows and {size(expected.bytes)}"
        listener(Note(f"{text}; {size(free)} are free" if folder else text))
    try:
        if folder and expected and expected.bytes > free:
            next_step = "free some space, or make a smaller snapshot"
            # The handler adds the sizes, as to an error of the writer.
            raise SpaceError("there is too little space for the snapshot", next_step=next_step)  # noqa: TRY301
        yield
    except SpaceError as exc:
        exc.where = str(place_of(store, request.name))
        exc.observed = "; ".join(filter(None, [exc.observed, f"{size(shutil.disk_usage(disk).free)} are free"]))
        with suppress(SnapseedError):
            exc.expected = f"about {size((expected or estimate(project, request)).bytes)}"
        raise


def check_snapshot(project: Project, request: Request, *, jobs: int = 1, listener: Listener = ignore) -> CheckReport:
    """Make a snapshot again in a temporary folder, with its own seed and scale, and compare it with the existing one.

    Another seed or scale in the request is a difference. Writes nothing in the project. Raises what `generate_snapshot`
    raises, and `SnapshotError` if there is no snapshot.
    """
    started = time.monotonic()
    snapshot = open_snapshot(request.store_in(project), request.name)
    stored = snapshot.manifest
    same = request
    if stored.seed is not msgspec.UNSET and stored.scale is not msgspec.UNSET:  # as in a capture
        same = replace(request, seed=stored.seed, scale=stored.scale)
    with (
        tempfile.TemporaryDirectory(prefix="snapseed-check-") as folder,
        _sized(project, replace(same, store=Store(Path(folder))), listener),
        writing_to(Path(folder)),
    ):
        made = make_manifest(Tasks(project, same, FolderStaging(Path(folder))), jobs=jobs, listener=listener)
    names = request.only or tuple(dict.fromkeys(entity.name for entity in (*stored.entities, *made.entities)))
    damaged = tuple(
        f"{file.path}: {problem}"
        for name in names
        if (record := stored.entity(name))
        for file in record.files
        if (problem := file_problem(snapshot, file))
    )
    settings = (
        f"{name}: the snapshot has {old}, the project asks for {new}"
        for name, old, new in _other_settings(stored, _without_entities(project, request))
    )
    different = (*settings, *_differences(stored, made, names), *damaged)
    old_files, new_files = (
        {entity.name: entity.lists or entity.files for entity in side.entities} for side in (stored, made)
    )
    same_bytes = not different and all(old_files.get(name, ()) == new_files.get(name, ()) for name in names)
    return CheckReport(made, time.monotonic() - started, different, same_bytes)


def make_manifest(
    tasks: Tasks,
    kept: Snapshot | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    listener: Listener = ignore,
) -> Manifest:
    """Make all parts, and the manifest that describes them and the entities that are kept."""
    done = 0

    def told(rows: int) -> None:
        """Pass on how many root rows have been made."""
        nonlocal done
        done += rows
        listener(Advanced("generating", done, tasks.root_rows, "root rows"))

    gathered = {entity.name: EntityFiles(entity, tasks.staging, tasks.request.most_files) for entity in tasks.written}
    pools: dict[str, str] = {}
    made = make_parts(tasks, told, jobs=min(jobs, len(tasks)), executor=executor)
    with phase(listener, "generating"), closing(made):
        for part in made:
            pools |= part.pools
            for name, written in part.files.items():
                gathered[name].add(written)
    records = {name: files.record() for name, files in gathered.items()}
    if kept and kept.manifest.entities:
        records |= {record.name: record for record in kept.manifest.entities}
        pools = {**kept.manifest.pools, **pools}
    entities = load_generators(tasks.project.generators).entities
    return msgspec.structs.replace(
        _without_entities(tasks.project, tasks.request),
        pools=dict(sorted(pools.items())),
        entities=tuple(records[name] for name in entities if name in records),
    )


def _without_entities(project: Project, request: Request) -> Manifest:
    """What is known of a manifest before any part is made."""
    return Manifest(
        name=request.name,
        seed=request.seed,
        scale=request.scale,
        now=project.now,
        part_rows=project.part_rows,
        chunk_rows=request.chunk_rows,
        pools={},
        libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
        entities=(),
    )


def _previous(project: Project, request: Request) -> Snapshot | None:
    """The snapshot that will be replaced. A damaged one is ignored, unless some of it would be kept."""
    try:
        return existing_snapshot(request.store_in(project), request.name)
    except ManifestError:
        if request.only:
            raise
        return None


def _kept(previous: Snapshot, project: Project, request: Request) -> Snapshot:
    """The snapshot without the entities that are replaced. Raises `UsageError` if it was made with other settings."""
    if other := _other_settings(previous.manifest, _without_entities(project, request)):
        raise UsageError(
            "--only keeps the other entities, and they were made with other settings",
            where=str(previous.place),
            observed=", ".join(f"{name} {old}" for name, old, _ in other),
            expected=", ".join(f"{name} {new}" for name, _, new in other),
            next_step="generate without --only, or with the settings of the snapshot",
        )
    names = load_generators(project.generators).entities.keys() - set(request.only)
    records = tuple(record for record in previous.manifest.entities if record.name in names)
    return replace(previous, manifest=msgspec.structs.replace(previous.manifest, entities=records))


def _copy_files(kept: Snapshot, staging: Staging) -> None:
    """Take over the files of entities that are kept. Raises `SnapshotError` for a damaged one."""
    there = staging.take_over(kept.manifest)
    for file in kept.manifest.files:
        if file.path not in there:
            raise SnapshotError(
                "a file that --only would keep is damaged",
                where=kept.path(file),
                observed=file_problem(kept, file),
                next_step="generate without --only",
            )


def _other_settings(stored: Manifest, wanted: Manifest) -> list[tuple[str, object, object]]:
    """The name of each setting that differs, its value in the snapshot, and the value wanted now."""
    captured = "none, since it was captured"
    old_values = {
        name: captured if getattr(stored, name) is msgspec.UNSET else getattr(stored, name) for name in _SETTINGS
    }
    values = ((name, old_values[name], getattr(wanted, name)) for name in _SETTINGS)
    return [(name, old, new) for name, old, new in values if old != new]


def _differences(stored: Manifest, made: Manifest, names: Sequence[str]) -> Iterator[str]:
    """One line for each pool and entity in which the snapshot differs from the same one regenerated."""
    for pool, digest in made.pools.items():  # a pool that only the snapshot names may belong to other entities
        if stored.pools.get(pool) != digest:
            yield f"pool {pool}: changed since the snapshot was made"
    for name in names:
        old, new = stored.entity(name), made.entity(name)
        if old is None or new is None:
            yield f"{name}: only in {'the generators' if old is None else 'the snapshot'}"
        elif any(getattr(old, name) != getattr(new, name) for name in _DECLARED):
            yield f"{name}: its declaration has changed"
        elif old.digest() != new.digest():
            pairs = enumerate(zip(old.chunks, new.chunks, strict=False))
            place = next((f", first in chunk {number}" for number, (there, here) in pairs if there != here), "")
            there, here = (f"{record.rows:,} rows ({record.fingerprint})" for record in (old, new))
            yield f"{name}: the snapshot has {there}, generated {here}{place}"
