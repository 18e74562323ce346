"""What to generate: a request, the parts that it consists of, and about how large the result will be."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from snapseed.config import Environment, Project, Store
from snapseed.config.settings import suggestion
from snapseed.errors import UsageError
from snapseed.generate.code import packed
from snapseed.generate.generators import load_generators
from snapseed.generate.output import MOST_FILES
from snapseed.generate.part import SLICES, PartTask, Slices, make_part
from snapseed.snapshot.manifest import names_of
from snapseed.snapshot.store import Staging, existing_snapshot, part_path
from snapseed.snapshot.store_folder import FolderStaging, writing_to
from snapseed.snapshot.writing import CHUNK_ROWS

# Root rows that are made to estimate a size: takes some tenths of a second and is right within a few percent.
_SAMPLED_ROWS = 1_000


@dataclass(frozen=True)
class Request:
    """A snapshot to make, with everything decided. `resolve_request` makes it from flags, environment and project.

    `only` names the entities to make (empty: all). With `part`, the snapshot has that part alone. `chunk_rows`,
    `slices` and `alone` have fixed values, which only tests and benchmarks change: this process works alone for so many
    seconds before it starts others, each of which takes as long to start. See `EntityFiles` for `most_files`.
    With `resume`, parts that a run like this one has left in a bucket are skipped. Without a `store`, the snapshot goes
    to that of the project.
    """

    name: str
    seed: int
    scale: int
    only: tuple[str, ...] = ()
    max_size: int | None = None
    part: int | None = None
    chunk_rows: int = CHUNK_ROWS
    slices: Slices = SLICES
    alone: float = 0.5
    most_files: int = MOST_FILES
    resume: bool = True
    store: Store | None = None

    def store_in(self, project: Project) -> Store:
        """Where the snapshot goes."""
        return self.store or project.snapshots


def resolve_request(
    project: Project,
    environment: Environment,
    *,
    scale: int | None,
    seed: int | None,
    only: Sequence[str] = (),
    part: int | None = None,
) -> Request:
    """Decide what to generate for an environment. What is None comes from the environment or the project.

    The scale is that of the environment, or else that of the existing snapshot; the seed is the project's. A `part`
    becomes a snapshot of its own, named `NAME-part-NUMBER`. Raises `UsageError` if there is no scale, or `only` names
    an unknown entity.
    """
    generators = load_generators(project.generators)
    for entity in names_of(only):
        if entity not in generators.entities:
            known, meant = ", ".join(generators.entities), suggestion(entity, generators.entities) or "check --only"
            raise UsageError("there is no such entity", observed=entity, expected=f"one of: {known}", next_step=meant)
    name = environment.snapshot if part is None else f"{environment.snapshot}-part-{part}"
    scale = scale or environment.scale
    if scale is None and (existing := existing_snapshot(environment.snapshots, name)):
        scale = existing.manifest.scale or None
    if scale is None:
        raise UsageError(
            "there is no scale",
            where=f"environment {environment.name!r}",
            expected="the number of root rows to make",
            next_step=f"add --scale 10k, or `scale` to [environments.{environment.name}]",
        )
    seed, store = project.seed if seed is None else seed, environment.snapshots
    return Request(name, seed, scale, names_of(only), environment.max_size, part, store=store)


@dataclass(frozen=True)
class Tree:
    """How many rows a root entity has, which entities of its tree to write, and the numbers of the parts to make."""

    rows: int
    names: tuple[str, ...]
    parts: range


class Tasks:
    """The tasks that make a snapshot in `staging`. Each is created on demand, so a billion root rows take no memory.

    For a request of a single part, it has that part of each tree, and the only part of a tree that has just one. Raises
    `UsageError` if no tree has this part.
    """

    def __init__(self, project: Project, request: Request, staging: Staging) -> None:
        self.project = project
        self.request = request
        self.staging = staging
        self._run = "" if isinstance(staging, FolderStaging) else _run(project, request)
        entities = load_generators(project.generators).entities.values()
        self.written = [entity for entity in entities if not request.only or entity.name in request.only]
        self.trees = []
        for root in dict.fromkeys(entity.root for entity in self.written):
            rows = root.root_rows.at(request.scale)
            parts = range(-(-rows // project.part_rows))
            if request.part is not None and len(parts) > 1:
                parts = parts[request.part : request.part + 1]
            names = tuple(entity.name for entity in self.written if entity.root is root)
            self.trees.append(Tree(rows, names, parts))
        if request.part is not None and not any(request.part in tree.parts for tree in self.trees):
            last = max(tree.rows - 1 for tree in self.trees) // project.part_rows
            raise UsageError(
                "there is no such part",
                observed=str(request.part),
                expected=f"0 to {last}: each has {project.part_rows:,} (part_rows) of {request.scale:,} root rows",
            )

    def __len__(self) -> int:
        return sum(len(tree.parts) for tree in self.trees)

    @property
    def root_rows(self) -> int:
        """The root rows of all tasks."""
        size = self.project.part_rows
        return sum(min(tree.parts.stop * size, tree.rows) - tree.parts.start * size for tree in self.trees)

    def __iter__(self) -> Iterator[PartTask]:
        size = self.project.part_rows
        for tree in self.trees:
            for number in tree.parts:
                part = number if tree.rows > size else None
                yield self.task(tree, number * size, min((number + 1) * size, tree.rows), part)

    def task(self, tree: Tree, first: int, last: int, part: int | None = None) -> PartTask:
        """The task that makes these root rows of a tree, as the part of this number; None for an only part."""
        return PartTask(
            project=self.project,
            seed=self.request.seed,
            first=first,
            last=last,
            paths={name: part_path(name, part) for name in tree.names},
            staging=self.staging,
            run=self._run,
            resume=self.request.resume,
            chunk_rows=self.request.chunk_rows,
            slices=self.request.slices,
        )


def _run(project: Project, request: Request) -> str:
    """What is the same for all runs whose parts are the same: a digest of everything that they depend on."""
    code = packed(project)
    settings = (request.seed, request.scale, request.only, request.part, request.chunk_rows, project.now.isoformat())
    inputs = (code.sha256, sorted(code.versions.items()), *settings, project.part_rows)
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()[:16]


@dataclass(frozen=True)
class Estimate:
    """About how many rows and bytes a snapshot will have, and exactly how many parts."""

    rows: int
    bytes: int
    parts: int


def estimate(project: Project, request: Request) -> Estimate:
    """Estimate the size of a snapshot by making some rows from its middle. Takes some tenths of a second at any scale.

    Raises what making those rows raises.
    """
    with tempfile.TemporaryDirectory(prefix="snapseed-estimate-") as folder, writing_to(Path(folder)):
        tasks = Tasks(project, request, FolderStaging(Path(folder)))
        rows = size = 0
        for tree in tasks.trees:
            sampled = min(_SAMPLED_ROWS, tree.rows)
            first = (tree.rows - sampled) // 2
            for written in make_part(tasks.task(tree, first, first + sampled)).files.values():
                rows += written.file.rows * tree.rows // sampled
                size += written.file.bytes * tree.rows // sampled
    return Estimate(rows, size, len(tasks))
