"""Embedded servers in folders of their own, and ways to look at them without the code under test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.servers.project_server import TEMPORARY_DIRECTORY
from tests.conftest import WithData, without_coverage

Server = EmbeddedPostgres | EmbeddedRedis
NewProject = Callable[[str], Path]
KINDS: list[type[Server]] = [EmbeddedPostgres, EmbeddedRedis]
PROGRAMS = {EmbeddedPostgres: "postgres", EmbeddedRedis: "valkey-server"}
REPOSITORY = Path(__file__).parents[2]
NOBODY = pwd.getpwnam("nobody")
# An account that is neither root nor nobody; any does.
USER = next(entry for entry in pwd.getpwall() if entry.pw_uid not in {0, NOBODY.pw_uid})
IMPORTS = """
import os, pwd, resource, sys, time, tempfile, subprocess, psutil, psycopg
from pathlib import Path
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.servers.project_server import Timeouts
from snapseed.errors import *
project = Path(sys.argv[1])
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about what root may do")


def short_folder() -> Path:
    """A folder whose path has room for a socket's. Pytest's own may not, nor macOS's temporary directory."""
    folder = Path(tempfile.mkdtemp(prefix="snapseed-test-", dir=TEMPORARY_DIRECTORY)).resolve()
    folder.chmod(0o755)
    return folder


@pytest.fixture
def new_project() -> Iterator[NewProject]:
    """Creates project folders by name. Afterwards their servers are stopped and everything is removed."""
    root = short_folder()
    made = []

    def make(name: str) -> Path:
        folder = root / name
        folder.mkdir(parents=True)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        for kind in KINDS:
            kind(folder).stop()
            shutil.rmtree(kind(folder).socket_directory, ignore_errors=True)
    shutil.rmtree(root)


@pytest.fixture
def project(new_project: NewProject) -> Path:
    """An empty project."""
    return new_project("project")


@pytest.fixture(scope="session")
def shared(with_data: WithData) -> Iterator[Path]:
    """A project whose PostgreSQL has data, for many tests."""
    root = short_folder()
    with_data(root)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def postgres(shared: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL with data, stopped before and after the test."""
    postgres = EmbeddedPostgres(shared)
    yield postgres
    postgres.stop()


@pytest.fixture
def running(postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same, started."""
    postgres.start()
    return postgres


@pytest.fixture
def valkey(project: Path) -> EmbeddedRedis:
    """A Valkey without data, stopped."""
    return EmbeddedRedis(project)


@pytest.fixture(params=KINDS)
def embedded(request: pytest.FixtureRequest) -> Server:
    """Either server, stopped; PostgreSQL with data."""
    kind: type[Server] = request.param
    if kind is EmbeddedPostgres:
        return EmbeddedPostgres(request.getfixturevalue("postgres").project)
    return kind(request.getfixturevalue("project"))


@pytest.fixture(params=KINDS)
def fresh(request: pytest.FixtureRequest, project: Path) -> Server:
    """Either server of an empty project."""
    kind: type[Server] = request.param
    return kind(project)


@pytest.fixture(params=KINDS)
def doomed(request: pytest.FixtureRequest, project: Path, with_data: WithData) -> Server:
    """Either server of a project that no other test has, stopped; PostgreSQL with data."""
    kind: type[Server] = request.param
    return with_data(project) if kind is EmbeddedPostgres else kind(project)


def answers(server: Server) -> bool:
    """Whether a real client gets an answer through the URL that the handle gives."""
    if isinstance(server, EmbeddedPostgres):
        return query(server, "SELECT 1") == 1
    with redis.Redis.from_url(server.url()) as client:
        return bool(client.ping())


def query(postgres: EmbeddedPostgres, statement: str, database: str = "postgres") -> object:
    """The first value of the first row, in a transaction of its own."""
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def processes_of(server: Server) -> list[psutil.Process]:
    """The server's living processes, found without the code under test."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "cwd", "status"]):
        at_home = process.info["cwd"] == str(server.data_directory)
        if process.info["name"] == PROGRAMS[type(server)] and at_home and process.info["status"] != "zombie":
            found.append(process)
    return found


def network_sockets_of(process: psutil.Process) -> list[tuple[object, ...]]:
    """The TCP and UDP sockets of a process; none if it has just ended, as workers of PostgreSQL do at any time."""
    with suppress(psutil.NoSuchProcess):
        return list(process.net_connections(kind="inet"))
    return []


def postmaster(postgres: EmbeddedPostgres) -> psutil.Process:
    """The process that postmaster.pid names."""
    return psutil.Process(int((postgres.data_directory / "postmaster.pid").read_text().split()[0]))


def python(
    code: str, project: Path, account: pwd.struct_passwd | None = None, *, prefix: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """A process that runs the code, the leader of its own process group; as root, under another account if given.

    `prefix` is a command that runs it.
    """
    # It changes the account after its imports: the interpreter itself may be where only root can read.
    change = f"os.setgroups([]); os.setgid({account.pw_gid}); os.setuid({account.pw_uid})\n" if account else ""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", IMPORTS + (change if os.geteuid() == 0 else "") + code, str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=without_coverage(),
        process_group=0,
    )


def output(process: subprocess.Popen[str]) -> str:
    """Everything that the process prints, after its end."""
    with process:
        said, _ = process.communicate(timeout=30)
    return said.strip()


def wait_for(condition: Callable[[], object]) -> None:
    """Poll until the condition holds; an assertion fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_all(server: Server) -> None:
    """Kill all processes of the server with SIGKILL, and wait until they are gone."""
    for process in processes_of(server):
        try:
            process.kill()
        except psutil.NoSuchProcess:  # the children end on their own once the first is gone
            continue
    wait_for(lambda: not processes_of(server))


@contextmanager
def sleeper(server: Server, program: str = "/bin/sleep") -> Iterator[subprocess.Popen[bytes]]:
    """A foreign process of the account that the server runs as, so that the server could signal it."""
    user = server.data_directory.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen([program, "60"], user=user, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()
