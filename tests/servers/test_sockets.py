"""Where the Unix socket is, and who can reach it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snapseed.errors import ConfigurationError, RefusedError
from snapseed.servers import EmbeddedPostgres
from snapseed.servers.project_server import SUN_PATH_BYTES, TEMPORARY_DIRECTORY
from tests.servers.conftest import KINDS, NOBODY, NewProject, Server, answers, as_root, network_sockets_of, processes_of

Place = Callable[[type[Server], str], Server]


@pytest.fixture
def place(shared: Path, new_project: NewProject) -> Iterator[Place]:
    """Creates a server in a folder of the given name. PostgreSQL's data is moved there, and back afterwards."""
    placed: list[Server] = []

    def make(kind: type[Server], name: str) -> Server:
        server = kind(new_project(name))
        if isinstance(server, EmbeddedPostgres):
            (shared / ".snapseed").rename(server.project / ".snapseed")
        placed.append(server)
        return server

    yield make
    for server in placed:
        server.stop()
        shutil.rmtree(server.socket_directory, ignore_errors=True)
        if isinstance(server, EmbeddedPostgres):
            (server.project / ".snapseed").rename(shared / ".snapseed")


@pytest.mark.parametrize("kind", KINDS)
def test_long_paths_get_a_short_socket(kind: type[Server], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose socket path would exceed `sun_path` gets a private folder in /tmp, whatever TMPDIR says."""
    server = place(kind, "l" * 100)
    again = kind(server.project)
    assert server.socket_directory.parent == TEMPORARY_DIRECTORY
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert again.socket_directory == server.socket_directory
    assert not server.socket_directory.exists()
    assert server.start()
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    assert answers(again)
    assert again.stop()
    assert not server.socket_directory.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_socket_path_that_fits_is_used(kind: type[Server], new_project: NewProject, place: Place) -> None:
    """One byte decides: with `sun_path` exactly full the socket is next to the data, and works."""
    root = new_project("x").parent
    name = "postgres/.s.PGSQL.5432" if kind is EmbeddedPostgres else "valkey/valkey.sock"
    room = SUN_PATH_BYTES - len(f"{root}//.snapseed/run-{name}")
    server = place(kind, "y" * room)
    assert server.socket_directory.is_relative_to(server.project)
    assert server.start()
    assert answers(server)
    assert kind(root / ("y" * (room + 1))).socket_directory.parent == TEMPORARY_DIRECTORY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ['it\'s "ü" $(touch x) `id` 100%&?#', "a, b", b"bytes \xff".decode("utf-8", "surrogateescape")]
)
def test_any_folder_name_works(kind: type[Server], place: Place, name: str) -> None:
    """Quotes, commas, bytes that are not text and what a shell would expand are all allowed in a project's path."""
    server = place(kind, name)
    assert server.start()
    assert answers(server)
    assert server.stop()
    assert not list(server.project.rglob("x"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_break_in_the_path_is_refused(kind: type[Server], tmp_path: Path) -> None:
    """A line break in the project's path, which would break postmaster.pid, is an error at once."""
    project = tmp_path / "line\nbreak"
    project.mkdir()
    with pytest.raises(ConfigurationError):
        kind(project).start()
    assert list(project.iterdir()) == []


def test_nothing_listens_on_tcp(embedded: Server) -> None:
    """No process of the server has a TCP or UDP socket, and only the server's account can enter its folders."""
    embedded.start()
    processes = processes_of(embedded)
    assert processes
    assert [found for process in processes for found in network_sockets_of(process)] == []
    for folder in (embedded.socket_directory, embedded.data_directory):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == processes[0].uids().effective


def trap_link(folder: Path) -> None:
    """A symbolic link to another folder."""
    folder.symlink_to(folder.parent)


def trap_file(folder: Path) -> None:
    """A file."""
    folder.write_text("")


def trap_open(folder: Path) -> None:
    """A folder that anybody can write to."""
    folder.mkdir()
    folder.chmod(0o777)


def trap_foreign(folder: Path) -> None:
    """A private folder of another account."""
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY.pw_uid + 1, NOBODY.pw_gid)


@pytest.mark.parametrize("trap", [trap_link, trap_file, trap_open, pytest.param(trap_foreign, marks=as_root)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_folder_that_somebody_planted_is_refused(
    kind: type[Server], trap: Callable[[Path], None], new_project: NewProject
) -> None:
    """In /tmp, only a private folder of the right owner is used for the socket."""
    server = kind(new_project("l" * 100))
    trap(server.socket_directory)
    try:
        with pytest.raises(RefusedError) as raised:
            server.start()
    finally:
        if server.socket_directory.is_dir() and not server.socket_directory.is_symlink():
            server.socket_directory.rmdir()
        else:
            server.socket_directory.unlink()
    assert raised.value.where == str(server.socket_directory)
    assert raised.value.next_step
    assert processes_of(server) == []


@as_root
def test_a_socket_of_another_account_does_not_count(embedded: Server) -> None:
    """A socket that another account placed where ours belongs is not taken for a running server."""
    embedded.start()
    embedded.stop()
    embedded = replace(embedded, timeouts=replace(embedded.timeouts, connect=0.1))
    postmaster_file = embedded.data_directory / "postmaster.pid"
    postmaster_file.write_text("1\n" * 7 + "ready   \n")
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(embedded.socket_file))
        impostor.listen()
        os.chown(embedded.socket_file, NOBODY.pw_uid + 1, NOBODY.pw_gid)
        assert not embedded.is_running()
        os.chown(embedded.socket_file, embedded.data_directory.stat().st_uid, -1)
        assert embedded.is_running()
    embedded.socket_file.unlink()
    postmaster_file.unlink()
