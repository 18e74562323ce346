"""What somebody else puts into a project does not get root, or any other user, to change, follow or believe it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from pathlib import Path

import pytest

from snapseed.errors import RefusedError, SnapseedError
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.servers.account import read_end
from tests.servers.conftest import USER, NewProject, Server, as_root, output, python

REFUSED = """
try: {kind}(project).start()
except RefusedError as error: print(error.where)
"""
# Where a link can be planted, below the project.
PLACES = (".snapseed", ".snapseed/{name}", ".snapseed/run-{name}")


def mode(path: Path) -> int:
    """The permissions of a file or folder."""
    return stat.S_IMODE(path.lstat().st_mode)


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """Everything in a folder, with modes and owners."""
    return sorted((str(path), mode(path), path.lstat().st_uid) for path in [folder, *folder.rglob("*")])


def mine(new_project: NewProject, owner: pwd.struct_passwd | None) -> Path:
    """A project, as root that of a user."""
    project = new_project("project")
    if owner is not None and os.geteuid() == 0:
        os.chown(project, owner.pw_uid, owner.pw_gid)
    return project


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_planted_link_is_refused_before_anything_is_changed(
    new_project: NewProject, place: str, kind: type[Server]
) -> None:
    """Root's own folder, which a user's link leads to, keeps its modes and its files."""
    secret = new_project("secret/deep/er")
    secret.parents[1].chmod(0o700)
    secret.parent.chmod(0o700)
    (secret / "PG_VERSION").write_text("18")
    before = tree(secret.parents[1])
    server = kind(mine(new_project, USER))
    link = server.project / place.format(name=server.name)
    link.parent.mkdir(mode=0o700, exist_ok=True)
    link.symlink_to(secret)
    for path in (link, link.parent):
        os.lchown(path, *(USER[2:4] if os.geteuid() == 0 else (-1, -1)))
    with pytest.raises(RefusedError) as raised:
        server.start()
    assert raised.value.where == str(link)
    assert tree(secret.parents[1]) == before


@as_root
@pytest.mark.parametrize("file", ["PG_VERSION", "server.log", "postmaster.pid", "postgres.lock"])
def test_the_text_behind_a_planted_link_is_not_shown(new_project: NewProject, shared: Path, file: str) -> None:
    """Root reads and changes nothing that only root may."""
    project = new_project("project")
    shutil.copytree(shared / ".snapseed", project / ".snapseed")
    server = EmbeddedPostgres(project)
    secret = new_project("secret") / "shadow"
    secret.write_text("17canary\n")
    secret.chmod(0o600)
    planted = (server.state_directory if file.endswith("lock") else server.data_directory) / file
    planted.unlink(missing_ok=True)
    planted.symlink_to(secret)
    for path in [project, *project.rglob("*")]:
        os.lchown(path, USER.pw_uid, USER.pw_gid)
    try:
        said = str(server.start())
    except SnapseedError as error:
        said = str(error)
    finally:
        planted.unlink()
    assert "canary" not in said
    assert secret.read_text() == "17canary\n"
    assert (mode(secret), secret.stat().st_uid) == (0o600, 0)


def test_a_planted_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nor is a link read."""
    os.mkfifo(tmp_path / "log")
    (tmp_path / "link").symlink_to(__file__)
    for name in ("log", "link"):
        with pytest.raises(OSError):  # noqa: PT011 - either of two numbers, by system
            read_end(tmp_path / name)


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_the_state_folder_is_closed_whatever_the_umask(new_project: NewProject, umask: int) -> None:
    """Other accounts cannot list it or write to it, and cannot open the lock."""
    server = EmbeddedRedis(mine(new_project, USER))
    assert output(python(f"os.umask({umask}); print(EmbeddedRedis(project).start())", server.project, USER)) == "True"
    assert mode(server.state_directory) == 0o700
    assert mode(server.state_directory / "valkey.lock") == 0o600


@as_root
def test_in_roots_project_the_servers_account_only_passes_through(new_project: NewProject) -> None:
    """It can reach its data, and create nothing beside them."""
    server = EmbeddedRedis(new_project("project"))
    server.start()
    assert (mode(server.state_directory), server.state_directory.stat().st_uid) == (0o711, 0)


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
@pytest.mark.parametrize("shared_by", ["mode", "group", "owner"])
def test_a_state_folder_that_others_can_write_to_is_refused(
    new_project: NewProject, kind: type[Server], shared_by: str
) -> None:
    """Somebody could put another server's socket into it. So it is not even asked whether a server runs there."""
    if shared_by == "owner" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    server = kind(mine(new_project, USER))
    server.state_directory.mkdir()
    if os.geteuid() == 0:
        os.chown(server.state_directory, USER.pw_uid if shared_by != "owner" else 54321, -1)
    server.state_directory.chmod({"mode": 0o777, "group": 0o770, "owner": 0o755}[shared_by])
    said = output(python(REFUSED.format(kind=kind.__name__), server.project, USER))
    assert said == str(server.state_directory)
    assert list(server.state_directory.iterdir()) == []


@as_root
def test_the_lock_of_an_earlier_version_is_closed(new_project: NewProject) -> None:
    """An account that can read a lock can take it and hold up every start."""
    server = EmbeddedRedis(mine(new_project, USER))
    server.state_directory.mkdir(mode=0o755)
    lock = server.state_directory / "valkey.lock"
    lock.touch(0o644)
    for path in (server.state_directory, lock):
        os.chown(path, USER.pw_uid, USER.pw_gid)
    server.start()
    assert mode(lock) == 0o600


@as_root
def test_a_file_of_root_under_the_name_of_the_lock_stays_roots(new_project: NewProject) -> None:
    """A hard link to one, for example: it is neither given away nor closed."""
    server = EmbeddedRedis(mine(new_project, USER))
    server.state_directory.mkdir(mode=0o700)
    os.chown(server.state_directory, USER.pw_uid, USER.pw_gid)
    file = new_project("etc") / "passwd"
    file.touch(0o644)
    (server.state_directory / "valkey.lock").hardlink_to(file)
    server.start()
    assert (mode(file), file.stat().st_uid) == (0o644, 0)
