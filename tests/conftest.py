"""Servers, databases and projects for the tests: all real, each test with a database of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from snapseed import Project, find_project
from snapseed.config import Environment
from snapseed.servers import EmbeddedPostgres
from tests import server_choice
from tests.command_line import run_command
from tests.examples import load_profile

# Fixtures that several packages use.
pytest_plugins = ["tests.loaded", "tests.stores.endpoint"]

PROJECTS = Path(__file__).parent / "projects"
_PLACE = pytest.StashKey[str]()
load_profile()
# Parallel tests get 80. Without it, and without a terminal, the lines that tests look at may be of any length.
os.environ.pop("COLUMNS", None)

Connection = psycopg.Connection[tuple[object, ...]]


def without_coverage() -> dict[str, str]:
    """The variables of this process for one that cannot write coverage's file: another account, a limit on files."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put the temporary folders of this run into a place of their own; without failures, it is removed at the end.

    Started by root, pytest closes `/tmp/pytest-of-root` to all other accounts, in the middle of other runs as well. The
    embedded servers of those runs, which work as another account, then lose their data folders.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = config.stash[_PLACE] = tempfile.mkdtemp(prefix="snapseed-pytest-")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the temporary folders of a run without failures."""
    place = session.config.stash.get(_PLACE, None)
    if place is not None and exitstatus == 0:
        shutil.rmtree(place, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that take longest. At the end, the other processes would wait for them."""
    items.sort(key=lambda item: "workflows" not in item.path.parts)


def pytest_report_header() -> str:
    """Say which server the tests use."""
    return server_choice.described()


@pytest.fixture(scope="session")
def inner_pytest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a pytest that a test runs puts its folders: ours it would close to the account of an embedded server."""
    return tmp_path_factory.mktemp("inner-pytest")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, inner_pytest: Path) -> None:
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(inner_pytest))
    for name in list(os.environ):
        if name.startswith(("SNAPSEED_", "PG")) and not name.startswith("SNAPSEED_TEST_"):
            monkeypatch.delenv(name)
    # Also the width of a terminal: pytest-xdist tells its processes one of 80 columns, in which long lines break.
    outside = ("DATABASE_URL", "CI", "NO_COLOR", "COLUMNS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")
    for name in outside:
        monkeypatch.delenv(name, raising=False)


WithData = Callable[[Path], EmbeddedPostgres]


@pytest.fixture(scope="session")
def with_data() -> Iterator[WithData]:
    """Gives an embedded server its data by a copy. Where initdb is not what is tested, that saves a second."""
    with tempfile.TemporaryDirectory(prefix="snapseed-data-", dir=server_choice.memory()) as folder:
        made = EmbeddedPostgres(Path(folder))
        made.start()
        made.stop()

        def give(project: Path) -> EmbeddedPostgres:
            subprocess.run(["cp", "-a", str(made.state_directory), str(project)], check=True)  # noqa: S607 - of any Unix
            return EmbeddedPostgres(project)

        yield give


@pytest.fixture(scope="session")
def server(with_data: WithData) -> Iterator[str]:
    """The URL of a database on the server under test, to make others beside it."""
    with server_choice.running_server(with_data) as url:
        yield url


@contextmanager
def new_database(server: str, template: str = "dbname=template1") -> Iterator[str]:
    """The URL of a new database, gone in the end: an empty one, or a copy of the one that `template` is the URL of."""
    name = f"snapseed_test_{uuid.uuid4().hex[:12]}"
    names = map(sql.Identifier, (name, str(conninfo_to_dict(template)["dbname"])))
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} " + server_choice.copy_strategy())
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(create.format(*names))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The URL of an empty database, gone after the test."""
    with new_database(server) as url:
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A connection to the test's database, each statement its own transaction."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@dataclass(frozen=True)
class Sandbox:
    """A project in a folder of its own, bound to the test's database."""

    folder: Path
    url: str

    @property
    def project(self) -> Project:
        """The project as it is on disk now."""
        return find_project(self.folder)

    def environment(self, name: str | None = None, **overrides: object) -> Environment:
        """An environment of it, on the test's database."""
        return self.project.environment(name, {"database": self.url, **overrides})

    def connect(self) -> Connection:
        """A connection to the test's database."""
        return psycopg.connect(self.url, autocommit=True)

    def run(self, *arguments: str, check: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as a process in the project's folder, and wait for it."""
        environment = {**os.environ, "SNAPSEED_DATABASE": self.url, **variables}
        result = run_command(arguments, self.folder, environment, timeout_seconds=120)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def run_json(self, *arguments: str) -> dict[str, object]:
        """The document that a command prints with --format json."""
        document: dict[str, object] = json.loads(self.run(*arguments, "--format", "json", check=True).stdout)
        assert document["format"] == 1
        return document


def copied(project: Path, folder: Path) -> Path:
    """A copy of a project, under its name, in `folder`."""
    return Path(shutil.copytree(project, folder / project.name, ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def make_project(tmp_path: Path, database: str) -> Callable[[str], Sandbox]:
    """Copy a project from tests/projects, by name, or the example project by `example`, into the test's folder."""

    def copy(name: str) -> Sandbox:
        folder = tmp_path / name
        if name == "example":
            root = PROJECTS.parent.parent
            folder.mkdir()
            shutil.copytree(root / "generators", folder / "generators", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(root / "snapseed.toml", folder)
        else:
            copied(PROJECTS / name, tmp_path)
        return Sandbox(folder, database)

    return copy


@pytest.fixture(scope="session")
def generated_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A project of tests/projects, by name, with the snapshot of its default environment: made once, and only read."""

    @functools.cache
    def make(name: str) -> Path:
        from tests.projects.state import generated

        return generated(Sandbox(copied(PROJECTS / name, tmp_path_factory.mktemp("generated")), "")).folder

    return make


@pytest.fixture
def make_generated(tmp_path: Path, database: str, generated_once: Callable[[str], Path]) -> Callable[[str], Sandbox]:
    """Copy a project as `make_project` does, with the snapshot of its default environment."""
    return lambda name: Sandbox(copied(generated_once(name), tmp_path), database)


@pytest.fixture
def shop(make_generated: Callable[[str], Sandbox]) -> Sandbox:
    """A project with other tables than the example's, with a generated snapshot of 250 customers named dev."""
    return make_generated("shop")
