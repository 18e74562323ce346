"""A project whose snapshot is captured, and databases with the schema of its source."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from snapseed import Project, find_project
from snapseed.capture.request import CaptureRequest
from snapseed.capture.snapshot import CaptureReport, capture_snapshot
from snapseed.load.outcome import LoadReport
from snapseed.load.snapshot import load_snapshot
from tests.conftest import new_database
from tests.projects.state import dumped_by_pg_dump

SOURCE = (Path(__file__).parent / "source.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Captured:
    """A project without generators, the URL of the database that it captures, and whether it ignores `[mask]`."""

    folder: Path
    url: str
    unmasked: bool = True

    @property
    def project(self) -> Project:
        """The project as it is on disk now."""
        return find_project(self.folder)

    def capture(self, request: CaptureRequest = CaptureRequest(), **options: object) -> CaptureReport:
        """Capture the source. Options replace those of the request."""
        environment = self.project.environment("dev", {"source": self.url})
        request = replace(request, **{"unmasked": self.unmasked, **options})  # type: ignore[arg-type]
        return capture_snapshot(self.project, environment, request)

    def load(self, url: str) -> LoadReport:
        """Load the snapshot into the database of this URL, which has the tables."""
        return load_snapshot(self.project, self.project.environment("dev", {"database": url}))


def project_in(folder: Path, url: str, settings: str = "[environments.dev]\n") -> Captured:
    """A project in an empty folder."""
    (folder / "snapseed.toml").write_text(settings, encoding="utf-8")
    return Captured(folder, url)


def filled(url: str, statements: str) -> str:
    """The same URL, after these statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())
    return url


def rows_of(url: str) -> list[str]:
    """The rows and the positions of sequences, as `pg_dump --data-only` has them, sorted."""
    lines = dumped_by_pg_dump(url, "--data-only", "--inserts").splitlines()
    return sorted(line for line in lines if line.startswith(("INSERT", "SELECT pg_catalog.setval")))


def tables_of(url: str) -> list[str]:
    """The schema without owners and privileges, as pg_dump has it, without settings that older servers do not know."""
    lines = dumped_by_pg_dump(url, "--schema-only", "--no-owner", "--no-privileges").splitlines()
    return [line for line in lines if "restrict " not in line and line != "SET transaction_timeout = 0;"]


def restored(captured: Captured, url: str, **overrides: object) -> LoadReport:
    """Load the snapshot into an empty database."""
    environment = captured.project.environment("dev", {"database": url, "create_schema": True, **overrides})
    return load_snapshot(captured.project, environment)


def state_of(url: str) -> list[str]:
    """All that pg_dump says about a database: what it has, in its order, and then its contents, sorted."""
    schema, contents = _dumped(url)
    return [*schema, *sorted(contents)]


def contents_of(url: str) -> list[str]:
    """Rows, positions of sequences, and which materialized views have data, sorted, as pg_dump has them."""
    return sorted(_dumped(url)[1])


def _dumped(url: str) -> tuple[list[str], list[str]]:
    """What pg_dump says about the schema, and about the contents."""
    dumped = dumped_by_pg_dump(url, "--inserts", "--no-owner", "--no-privileges")
    schema, contents = list[str](), list[str]()
    for entry in re.split(r"(?m)^--\n-- (?=Name: |Data for Name: )", dumped):
        is_data = re.match(r".*; Type: (TABLE DATA|SEQUENCE SET|MATERIALIZED VIEW DATA);", entry)
        (contents if is_data else schema).extend(line for line in entry.splitlines() if "restrict " not in line)
    return schema, contents


def difference(before: list[str], after: str) -> str:
    """What pg_dump says differently about a database, compared with the state of another one."""
    return "\n".join(difflib.unified_diff(before, state_of(after), "before", after, n=0, lineterm=""))


@pytest.fixture(scope="session")
def source(server: str) -> Iterator[str]:
    """The database of `source.sql`; tests only read it."""
    with new_database(server) as url:
        yield filled(url, SOURCE)


@pytest.fixture
def captured(source: str, tmp_path: Path) -> Captured:
    """A project for this database."""
    return project_in(tmp_path, source)


@pytest.fixture
def emptied(database: str, source: str) -> str:
    """An empty database with the tables of the source."""
    return filled(database, "\n".join(tables_of(source)))
