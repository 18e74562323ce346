"""Which parts a snapshot has, known at once and made up one by one, and about how large it will be."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from snapseed.config import Project
from snapseed.errors import UsageError
from snapseed.generate.discover import load_entities
from snapseed.generate.entity import Entity
from snapseed.generate.part import CHUNK_ROWS, SLICES, PartTask, Slices, make_part
from snapseed.snapshot.store import writing_to

# Root rows made to learn the size of what descends from them: some tenths of a second, right within some hundredths.
_SAMPLED_ROWS = 1_000


@dataclass(frozen=True)
class Request:
    """A snapshot to make: the flags applied, the environment and an existing manifest asked for what was not given.

    With `part` it holds that part alone, under a name of its own. Another `chunk_rows` or other `slices` than the fixed
    ones are for tests and benchmarks.
    """

    name: str
    seed: int
    scale: int
    only: tuple[str, ...] = ()
    max_size: int | None = None
    part: int | None = None
    chunk_rows: int = CHUNK_ROWS
    slices: Slices = SLICES


@dataclass(frozen=True)
class Tree:
    """A root entity, how many rows it has, and the entities of its tree that are written."""

    root: Entity
    rows: int
    names: tuple[str, ...]

    def parts(self, part_rows: int) -> int:
        """How many parts there are."""
        return -(-self.rows // part_rows)


class Tasks(Sequence[PartTask]):
    """The tasks of a snapshot, whose files go below `folder`. A billion root rows take no more memory than ten.

    Of a single part there is one task, and those of trees that have no more than one. Raises `UsageError` where there
    is no such part.
    """

    def __init__(self, project: Project, request: Request, folder: Path) -> None:
        self._project = project
        self._request = request
        self._folder = folder
        self.written = tuple(
            entity
            for entity in load_entities(project.generators).ordered
            if not request.only or entity.name in request.only
        )
        self.trees = tuple(_trees(project, request, self.written))
        self._ranges = [(tree, self._numbers(tree)) for tree in self.trees]
        if request.part is not None and not any(request.part in numbers for _, numbers in self._ranges):
            most = max((tree.parts(project.part_rows) for tree in self.trees), default=0)
            raise UsageError(
                "there is no such part",
                observed=str(request.part),
                expected=f"0 to {most - 1}: {project.part_rows:,} root rows each (part_rows), {request.scale:,} in all",
            )

    def _numbers(self, tree: Tree) -> range:
        count = tree.parts(self._project.part_rows)
        part = self._request.part
        return range(count) if part is None or count == 1 else range(part, min(part + 1, count))

    def __len__(self) -> int:
        return sum(len(numbers) for _, numbers in self._ranges)

    @overload
    def __getitem__(self, index: int) -> PartTask: ...
    @overload
    def __getitem__(self, index: slice) -> list[PartTask]: ...
    def __getitem__(self, index: int | slice) -> PartTask | list[PartTask]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        for tree, numbers in self._ranges:
            if position < len(numbers):
                return self._task(tree, numbers[position])
            position -= len(numbers)
        raise AssertionError

    def _task(self, tree: Tree, number: int) -> PartTask:
        several = tree.rows > self._project.part_rows
        first = number * self._project.part_rows
        return PartTask(
            project=self._project,
            seed=self._request.seed,
            root=tree.root.name,
            first=first,
            last=min(first + self._project.part_rows, tree.rows),
            paths={name: f"{name}/part-{number:05d}.parquet" if several else f"{name}.parquet" for name in tree.names},
            folder=self._folder,
            chunk_rows=self._request.chunk_rows,
            slices=self._request.slices,
        )


@dataclass(frozen=True)
class Estimate:
    """About how many rows and bytes a snapshot will have, and exactly how many parts."""

    rows: int
    bytes: int
    parts: int


def estimate(project: Project, request: Request) -> Estimate:
    """The size of a snapshot, judged by some rows in the middle of it. Some tenths of a second, at any scale.

    Raises what making those rows raises.
    """
    with tempfile.TemporaryDirectory(prefix="snapseed-estimate-") as folder, writing_to(Path(folder)):
        tasks = Tasks(project, request, Path(folder))
        rows = size = 0
        for tree in tasks.trees:
            sampled = min(_SAMPLED_ROWS, tree.rows)
            first = (tree.rows - sampled) // 2
            paths = {name: f"{name}.parquet" for name in tree.names}
            task = PartTask(project, request.seed, tree.root.name, first, first + sampled, paths, Path(folder))
            files = make_part(task).files.values()
            rows += sum(file.rows for file in files) * tree.rows // sampled
            size += sum(file.bytes for file in files) * tree.rows // sampled
    return Estimate(rows, size, len(tasks))


def _trees(project: Project, request: Request, written: Sequence[Entity]) -> Iterator[Tree]:
    entities = load_entities(project.generators)
    for root in entities.roots():
        names = tuple(entity.name for entity in entities.tree(root) if entity in written)
        if names:
            assert root.root_rows is not None
            yield Tree(root, root.root_rows.at(request.scale), names)
