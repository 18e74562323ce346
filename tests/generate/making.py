"""Projects, rows and snapshots for tests of generating. They need no server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import polars as pl

from snapseed import Entity, Project, Rows, entity, find_project, generate_snapshot, open_snapshot
from snapseed.generate.number_draws import Settings
from snapseed.generate.pools import PoolFolder, Pools
from snapseed.generate.request import Request
from snapseed.snapshot.store import Snapshot
from tests.conftest import PROJECTS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHOP_POOLS = PoolFolder(PROJECTS / "shop/generators/pools")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def copy_shop(folder: Path) -> Project:
    """The sample project of shops and customers, in `folder`."""
    shutil.copytree(PROJECTS / "shop", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return find_project(folder)


def write_project(folder: Path, *modules: str, part_rows: int = 100) -> Project:
    """A project of these generator modules, named first.py, second.py and third.py."""
    (folder / "generators").mkdir(parents=True)
    for name, module in zip(["first", "second", "third"], modules, strict=False):
        (folder / "generators" / f"{name}.py").write_text("import polars as pl\nfrom snapseed import *\n\n" + module)
    (folder / "snapseed.toml").write_text(f"[snapseed]\npart_rows = {part_rows}\n[environments.dev]\n")
    return find_project(folder)


def make_snapshot(
    project: Project,
    scale: int = 250,
    *,
    seed: int | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    only: tuple[str, ...] = (),
    max_size: int | None = None,
) -> Snapshot:
    """Generate the snapshot `dev` of a project and open it. Other processes than this one begin at once."""
    request = Request("dev", project.seed if seed is None else seed, scale, only, max_size, alone=0)
    generate_snapshot(project, request, jobs=jobs, executor=executor)
    return open_snapshot(project.snapshots, "dev")


def files_of(snapshot: Snapshot) -> dict[str, bytes]:
    """Every file of a snapshot, by its relative path."""
    return {
        path.relative_to(Path(str(snapshot.place))).as_posix(): path.read_bytes()
        for path in Path(str(snapshot.place)).rglob("*")
        if path.is_file()
    }


def frame_of(snapshot: Snapshot, name: str) -> pl.DataFrame:
    """All rows of an entity, in the order of the files."""
    record = snapshot.manifest.entity(name)
    assert record is not None
    return pl.concat([pl.read_parquet(snapshot.path(file)) for file in record.files])


@entity(key="id", columns={"id": "bigint"})
def things(rows: Rows) -> pl.DataFrame:
    """An entity for rows without a project."""
    return pl.DataFrame({"id": rows.key()})


def make_rows(
    count: int, *, of: Entity = things, seed: int = 42, first: int = 0, pools: PoolFolder = SHOP_POOLS
) -> Rows:
    """Rows of a root entity, from root row `first` on."""
    settings = Settings(seed, NOW, Pools(pools))
    roots = np.arange(first, first + count)
    return Rows.of(of, settings, roots.astype(np.uint64), roots)


class _Late(Future[_T]):
    """A future that runs when its result is asked for, after all others of its executor."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> _T:
        if not self.done():
            self._work()
        return super().result(timeout)


class BackwardExecutor(Executor):
    """Runs the waiting calls in reverse order."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.order: list[object] = []

    def submit(self, function: Callable[_P, _T], /, *arguments: _P.args, **named: _P.kwargs) -> Future[_T]:
        """Queue a call; it runs when a result is asked for."""
        future: _Late[_T] = _Late(self._run_all)

        def run() -> None:
            self.order.append(arguments[0])
            try:
                future.set_result(function(*arguments, **named))
            except Exception as exc:  # noqa: BLE001 - as an executor does
                future.set_exception(exc)

        self.waiting.append(run)
        return future

    def _run_all(self) -> None:
        for run in reversed(self.waiting):
            run()
        self.waiting.clear()


def correlation(first: Sequence[float] | pl.Series, second: Sequence[float] | pl.Series) -> float:
    """Pearson's correlation coefficient."""
    return float(np.corrcoef(np.asarray(first, dtype=float), np.asarray(second, dtype=float))[0, 1])
