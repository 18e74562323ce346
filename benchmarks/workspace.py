"""Where benchmarks run: a temporary copy of the example project with its own embedded server.

Snapshots and databases are created on first use and removed at the end.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from snapseed.config import Environment, Project, find_project
from snapseed.generate.parallel import available_cores
from snapseed.generate.request import Request
from snapseed.generate.snapshot import generate_snapshot
from snapseed.postgres.connect import Connection, Target, connected
from snapseed.servers import EmbeddedPostgres
from snapseed.snapshot.store import Snapshot, existing_snapshot, open_snapshot
from snapseed.snapshot.writing import CHUNK_ROWS

_REPOSITORY = Path(__file__).resolve().parents[1]
# Small projects with tables made for one benchmark.
PROJECTS = Path(__file__).with_name("projects")


@dataclass(frozen=True)
class Workspace:
    """A project to measure in.

    `scale` multiplies row counts, `rounds` is how often each thing is measured, `large` allows very large row counts.
    """

    project: Project
    server: EmbeddedPostgres
    scale: float
    rounds: int
    large: bool = False

    def rows(self, count: int) -> int:
        """`count` multiplied by the scale, at least 100."""
        return max(100, round(count * self.scale))

    def snapshot(self, users: int, *only: str) -> Snapshot:
        """A snapshot of the example project with this many users."""
        return ensure_snapshot(self.project, "-".join(["users", str(users), *only]), users, *only)

    def small_project(self, name: str) -> Project:
        """One of `projects/`, copied into the workspace."""
        folder = self.project.folder / name
        if not folder.exists():
            shutil.copytree(PROJECTS / name, folder)
        return find_project(folder)

    def ten_columns(self, rows: int) -> Snapshot:
        """A snapshot of `projects/ten_columns`: one table of ten common types."""
        return ensure_snapshot(self.small_project("ten_columns"), f"rows-{rows}", rows)

    def copy_committed(self, name: str) -> None:
        """Copy a committed snapshot of the repository into the project."""
        shutil.copytree(_REPOSITORY / "snapshots" / name, self.project.snapshots.folder / name, dirs_exist_ok=True)

    def environment(self, snapshot: Snapshot, name: str) -> Environment:
        """An environment that loads `snapshot` into a database of its own."""
        return replace(self.project.environment("dev"), name=name, snapshot=snapshot.manifest.name)

    @contextmanager
    def connection(self, environment: str) -> Iterator[Connection]:
        """A connection to the database of an environment, which is created if missing."""
        database = f"snapseed_{environment}"
        with connected(Target(self.server.url(database), database, "benchmarks", self.server, database)) as connection:
            # Our own connections see the catalogs only; benchmarks name tables as users do.
            connection.execute("SET search_path = public")
            yield connection


def ensure_snapshot(project: Project, name: str, scale: int, *only: str, chunk_rows: int = CHUNK_ROWS) -> Snapshot:
    """Open the snapshot `name`, and generate it first if it does not exist."""
    if existing_snapshot(project.snapshots, name) is None:
        request = Request(name, project.seed, scale, only, chunk_rows=chunk_rows)
        generate_snapshot(project, request, jobs=available_cores())
    return open_snapshot(project.snapshots, name)


def project_of(snapshot: Snapshot) -> Project:
    """The project that contains a snapshot."""
    return find_project(Path(str(snapshot.place)))


@contextmanager
def temporary_workspace(
    scale: float, rounds: int, *, large: bool = False, folder: Path | None = None
) -> Iterator[Workspace]:
    """A workspace in `folder` (default: the system's temporary folder); stops its server and removes itself."""
    with tempfile.TemporaryDirectory(prefix="snapseed-bench-", dir=folder) as name:
        place = Path(name)
        shutil.copytree(_REPOSITORY / "generators", place / "generators")
        shutil.copy(_REPOSITORY / "snapseed.toml", place)
        server = EmbeddedPostgres(place)
        server.start()
        try:
            yield Workspace(find_project(place), server, scale, rounds, large)
        finally:
            server.stop()
