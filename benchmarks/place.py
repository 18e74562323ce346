"""Where a benchmark works: a temporary copy of the example project, with an embedded server of its own.

Everything is made once, when it is first asked for, and gone at the end.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from snapseed.config import Environment, Project, find_project
from snapseed.generate.part import CHUNK_ROWS
from snapseed.generate.plan import Request
from snapseed.generate.processes import available_cores
from snapseed.generate.run import generate_snapshot
from snapseed.postgres.connect import Connection, Target, connected
from snapseed.servers import EmbeddedPostgres
from snapseed.snapshot.store import Snapshot, has_snapshot, open_snapshot

_REPOSITORY = Path(__file__).resolve().parents[1]
_TEN_COLUMNS = """
[snapseed]
schema = "ten_columns.sql"
part_rows = 25000

[environments.dev]
create_schema = true
"""


@dataclass(frozen=True)
class Place:
    """A project to measure in.

    `size` scales the numbers of rows, `rounds` is how often each thing is measured, `large` asks for what takes long.
    """

    project: Project
    server: EmbeddedPostgres
    size: float
    rounds: int
    large: bool = False

    def rows(self, count: int) -> int:
        """`count` at the size asked for."""
        return max(100, round(count * self.size))

    def snapshot(self, users: int, *only: str) -> Snapshot:
        """A snapshot of the example project with this many users."""
        return made(self.project, "-".join(["users", str(users), *only]), users, *only)

    def ten_columns(self, rows: int) -> Snapshot:
        """A snapshot of the one entity in `ten_columns.py`."""
        folder = self.project.folder / "ten_columns"
        if not folder.exists():
            (folder / "generators").mkdir(parents=True)
            (folder / "snapseed.toml").write_text(_TEN_COLUMNS)
            shutil.copy(Path(__file__).with_name("ten_columns.py"), folder / "generators")
            shutil.copy(Path(__file__).with_name("ten_columns.sql"), folder)
        return made(find_project(folder), f"rows-{rows}", rows)

    def committed(self, name: str) -> None:
        """Bring a snapshot that is committed into the project."""
        shutil.copytree(_REPOSITORY / "snapshots" / name, self.project.snapshots / name, dirs_exist_ok=True)

    def environment(self, snapshot: Snapshot, name: str) -> Environment:
        """An environment `name` of this project, to load `snapshot` into a database of its own."""
        return replace(self.project.environment("dev"), name=name, snapshot=snapshot.manifest.name)

    @contextmanager
    def connection(self, environment: str) -> Iterator[Connection]:
        """A connection to the database of an environment, which need not exist yet."""
        database = f"snapseed_{environment}"
        with connected(Target(self.server.url(database), database, "benchmarks", self.server, database)) as connection:
            yield connection


def made(project: Project, name: str, scale: int, *only: str, chunk_rows: int = CHUNK_ROWS) -> Snapshot:
    """The snapshot `name` of `project`, generated unless it is there."""
    if not has_snapshot(project.snapshots, name):
        request = Request(name, project.seed, scale, only, chunk_rows=chunk_rows)
        generate_snapshot(project, request, jobs=available_cores())
    return open_snapshot(project.snapshots, name)


def project_of(snapshot: Snapshot) -> Project:
    """The project that a snapshot was generated for."""
    return find_project(snapshot.folder)


@contextmanager
def temporary_place(size: float, rounds: int, *, large: bool = False, folder: Path | None = None) -> Iterator[Place]:
    """A place that is removed at the end, its server stopped; in `folder`, or where temporary files belong."""
    with tempfile.TemporaryDirectory(prefix="snapseed-bench-", dir=folder) as name:
        place = Path(name)
        shutil.copytree(_REPOSITORY / "generators", place / "generators")
        shutil.copy(_REPOSITORY / "snapseed.toml", place)
        server = EmbeddedPostgres(place)
        server.start()
        try:
            yield Place(find_project(place), server, size, rounds, large)
        finally:
            server.stop()
