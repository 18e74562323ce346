"""The PostgreSQL servers that tests can run on. The choice is made before the first test, and shown in the header.

`SNAPSEED_TEST_DATABASE` decides if it is set: the URL of a server, or `container`, `embedded` or `system`.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from psycopg.conninfo import make_conninfo

from snapseed.servers import EmbeddedPostgres
from snapseed.servers.account import account_for, make_searchable, private_directory, run_as

SETTING = "SNAPSEED_TEST_DATABASE"
IMAGE_SETTING = "SNAPSEED_TEST_IMAGE"
DEFAULT_IMAGE = "pgvector/pgvector:pg18"

# An engine on this machine answers in milliseconds. Waiting longer for one would slow every run.
_PROBE_SECONDS = 2
_START_SECONDS = 60
# What the data and WAL of four test processes take in the course of a run, and half as much again.
_MEMORY_BYTES = 6 * 2**30
# Debian and Ubuntu keep the programs of each major version here.
_INSTALLED = Path("/usr/lib/postgresql")


class Kind(StrEnum):
    """A kind of server."""

    GIVEN = "given"
    CONTAINER = "container"
    EMBEDDED = "embedded"
    SYSTEM = "system"


def chosen(setting: str, *, engine_answers: bool) -> tuple[Kind, str]:
    """Which server a run uses, and why.

    A word in the setting is always obeyed: without that server the run fails, and does not use another one.
    """
    if setting in {Kind.CONTAINER, Kind.EMBEDDED, Kind.SYSTEM}:
        return Kind(setting), f"chosen by {SETTING}"
    if setting:
        return Kind.GIVEN, f"named by {SETTING}"
    if engine_answers:
        return Kind.CONTAINER, "a Docker engine answers"
    return Kind.EMBEDDED, f"no Docker engine answers and {SETTING} is not set"


@functools.cache
def choice() -> tuple[Kind, str]:
    """The choice for this process. The engine is only asked if the setting is empty."""
    setting = os.environ.get(SETTING, "")
    return chosen(setting, engine_answers=not setting and engine_answers())


def engine_answers() -> bool:
    """Whether a Docker engine of this machine answers. Its containers share our network on Linux only."""
    place = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if sys.platform != "linux" or not place.startswith("unix://"):
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PROBE_SECONDS)
        try:
            connection.connect(place.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def described() -> str:
    """The line in the header of each run."""
    kind, reason = choice()
    names = {
        Kind.GIVEN: "a given one",
        Kind.CONTAINER: f"a container of {image()}",
        Kind.EMBEDDED: "the embedded one",
        Kind.SYSTEM: "the one installed on this machine",
    }
    return f"PostgreSQL server: {names[kind]} ({reason})"


def image() -> str:
    """The image of a container."""
    return os.environ.get(IMAGE_SETTING) or DEFAULT_IMAGE


@contextmanager
def running_server(prepared: Callable[[Path], EmbeddedPostgres] = EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database on the chosen server, which is stopped afterwards unless it was running before.

    `prepared` gives the embedded server of a folder.
    """
    kind, _ = choice()
    if kind is Kind.GIVEN:
        yield os.environ[SETTING]
    elif kind is Kind.CONTAINER:
        with _container() as url:
            yield url
    elif kind is Kind.SYSTEM:
        with system_server(system_programs()) as url:
            yield url
    else:
        with _embedded(prepared) as url:
            yield url


@contextmanager
def _embedded(prepared: Callable[[Path], EmbeddedPostgres]) -> Iterator[str]:
    # Not in pytest's own folder: as root, each start of pytest closes that again to the account of the server.
    with tempfile.TemporaryDirectory(prefix="snapseed-tests-", dir=memory()) as folder:
        embedded = prepared(Path(folder))
        embedded.start()
        try:
            yield embedded.url("postgres")
        finally:
            embedded.stop()


def memory() -> str | None:
    """A file system in memory with room for the servers of all test processes, or None to use the disk.

    Each test creates and drops a database of its own: 300 files, which takes longer on disk than most tests.
    """
    place = "/dev/shm"  # noqa: S108 - a folder of our own is made in it
    try:
        return place if shutil.disk_usage(place).free >= _MEMORY_BYTES else None
    except OSError:
        return None


@functools.cache
def copy_strategy() -> str:
    """How the chosen server copies a database: its files where they are in memory, otherwise as the server prefers.

    Files cost a third less CPU time than the default, which writes the copy to the WAL as well. A disk would have to
    sync 300 of them.
    """
    return "STRATEGY file_copy" if choice()[0] is Kind.EMBEDDED and memory() else ""


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import ExecWaitStrategy

    # The container uses the network of this machine. With a forwarded port, as PostgresContainer has it, the server
    # would have an address of its own, and the guard would refuse most tests as if it were another machine.
    port = _free_port()
    ready = ExecWaitStrategy(["pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"])
    container = DockerContainer(image(), network_mode="host").waiting_for(ready.with_startup_timeout(_START_SECONDS))
    # Tests log in as roles that they create. Nobody outside this machine can log in.
    container.with_command("postgres -c listen_addresses=127.0.0.1 -c fsync=off")
    with container.with_envs(POSTGRES_HOST_AUTH_METHOD="trust", PGPORT=str(port)):
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def system_programs() -> Path:
    """The folder of initdb and pg_ctl of the newest PostgreSQL on this machine.

    Raises `FileNotFoundError` where none is installed.
    """
    found = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if program := shutil.which("pg_config"):
        said = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=True)
        folder = Path(said.stdout.strip())
        if (folder / "initdb").exists():
            return folder
    raise FileNotFoundError(
        f"no PostgreSQL server is installed: neither {_INSTALLED}/*/bin/initdb nor one of pg_config"
    )


@contextmanager
def system_server(programs: Path) -> Iterator[str]:
    """A server run from these programs on a Unix socket; if we are root, as an account without rights."""
    with tempfile.TemporaryDirectory(prefix="snapseed-system-") as name:
        home = Path(name).resolve() / "server"
        account = account_for(home, home.parent)
        private_directory(home, account)
        make_searchable(home, account)
        data, log = home / "data", home / "log"

        def run(program: str, *arguments: str) -> None:
            done = run_as([str(programs / program), f"--pgdata={data}", *arguments], account, _START_SECONDS, home)
            said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            assert done.returncode == 0, f"{program}: {done.stdout}{said}"

        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off"
        run("pg_ctl", "start", f"--log={log}", "--wait", f"--timeout={_START_SECONDS}", f"--options={options}")
        try:
            yield make_conninfo(host=str(home), user="postgres", dbname="postgres")
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=fast")
