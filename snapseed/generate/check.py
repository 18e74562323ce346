"""Check a snapshot: make it again elsewhere and compare. Nothing in the project is written."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snapseed.config import Project
from snapseed.generate.plan import Request
from snapseed.generate.run import Progress, write_parts
from snapseed.snapshot.manifest import EntityRecord, Manifest, PartFile
from snapseed.snapshot.store import open_snapshot, writing_to


@dataclass(frozen=True)
class CheckReport:
    """How a snapshot compares with the same one made again. `different` names entities, files or settings."""

    manifest: Manifest
    seconds: float
    different: tuple[str, ...]
    same_bytes: bool

    @property
    def same_rows(self) -> bool:
        """Whether every row is the same; the bytes may differ between library versions."""
        return not self.different


def check_snapshot(
    project: Project, request: Request, *, jobs: int = 1, progress: Callable[[Progress], None] = lambda _: None
) -> CheckReport:
    """Make the snapshot again in a temporary folder and compare; nothing in the project is written."""
    started = time.monotonic()
    stored = open_snapshot(project.snapshots, request.name).manifest
    with tempfile.TemporaryDirectory(prefix="snapseed-check-") as folder, writing_to(Path(folder)):
        made = write_parts(project, request, Path(folder), jobs, progress, None, ())
    names = request.only or tuple(entity.name for entity in (*stored.entities, *made.entities))
    different = [*_settings(stored, made), *_pools(stored, made), *_entities(stored, made, names)]
    same_bytes = all(_files(stored.entity(name)) == _files(made.entity(name)) for name in names)
    return CheckReport(made, time.monotonic() - started, tuple(different), same_bytes)


def _files(record: EntityRecord | None) -> tuple[PartFile, ...]:
    return record.files if record else ()


def _settings(stored: Manifest, made: Manifest) -> Iterator[str]:
    for setting in ("seed", "scale", "now", "part_rows", "chunk_rows"):
        old, new = getattr(stored, setting), getattr(made, setting)
        if old != new:
            yield f"{setting}: the snapshot has {old}, the project asks for {new}"


def _pools(stored: Manifest, made: Manifest) -> Iterator[str]:
    """Pools that changed. One that only the snapshot names may belong to entities that were not made."""
    for pool, digest in made.pools.items():
        if stored.pools.get(pool) != digest:
            yield f"pool {pool}: changed since the snapshot was made"


def _entities(stored: Manifest, made: Manifest, names: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(names):
        old, new = stored.entity(name), made.entity(name)
        if old is None or new is None:
            yield f"{name}: only in {'the generators' if old is None else 'the snapshot'}"
        elif _declaration(old) != _declaration(new):
            yield f"{name}: declared otherwise than in the snapshot"
        elif old.digest() != new.digest():
            pairs = zip(old.chunks, new.chunks, strict=False)
            place = next(
                (f", first in chunk {number}" for number, (there, here) in enumerate(pairs) if there != here), ""
            )
            there, here = (f"{record.rows:,} rows ({record.fingerprint})" for record in (old, new))
            yield f"{name}: the snapshot has {there}, generated {here}{place}"


def _declaration(record: EntityRecord) -> tuple[object, ...]:
    return record.schema, record.table, record.key, record.columns, record.parent
