"""Which account a server runs as, when root starts it and when another user does."""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from snapseed.errors import ConfigurationError
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from tests.conftest import without_coverage
from tests.servers.conftest import (
    IMPORTS,
    NOBODY,
    REPOSITORY,
    USER,
    NewProject,
    Server,
    answers,
    as_root,
    output,
    processes_of,
    python,
    sleeper,
)

pytestmark = as_root
# The id of an account that does not exist.
UNKNOWN = 71234


def chown_all(folder: Path, uid: int, gid: int) -> None:
    """Give a folder away with everything in it."""
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, uid, gid, follow_symlinks=False)


def owners(server: Server) -> set[int]:
    """The accounts that the processes of a server run as."""
    found = set()
    for process in processes_of(server):
        with suppress(psutil.NoSuchProcess):  # a worker that has just ended
            found.add(process.uids().effective)
    return found


def test_in_roots_own_project_it_runs_as_nobody(embedded: Server) -> None:
    """With the group of `nobody`, and none of root's groups."""
    output(python(f"os.setgroups([4]); {type(embedded).__name__}(project).start()", embedded.project))
    first = processes_of(embedded)[0]
    assert set(first.uids()) == {NOBODY.pw_uid}
    assert set(first.gids()) == {NOBODY.pw_gid}
    groups = Path(f"/proc/{first.pid}/status").read_text().split("Groups:")[1].split("\n")[0]
    assert groups.split() == []
    assert owners(embedded) == {NOBODY.pw_uid}


def test_in_a_users_project_it_runs_as_that_user(fresh: Server) -> None:
    """Everything that root creates there belongs to the user, who can then use, stop and start the server."""
    os.chown(fresh.project, USER.pw_uid, USER.pw_gid)
    assert fresh.start()
    assert owners(fresh) == {USER.pw_uid}
    assert {path.stat().st_uid for path in fresh.project.rglob("*")} == {USER.pw_uid}
    code = f"server = {type(fresh).__name__}(project); print(server.start(), server.stop(), server.start())"
    assert output(python(code, fresh.project, USER)).splitlines()[-1] == "False True True"
    assert fresh.stop()


def test_a_users_state_folder_in_roots_project_stays_the_users(fresh: Server) -> None:
    """Where a user could create `.snapseed`, this user can still start and stop servers after root did."""
    fresh.project.chmod(0o777)
    code = f"server = {type(fresh).__name__}(project); print(server.start(), server.stop())"
    assert output(python(code, fresh.project, USER)).splitlines()[-1] == "True True"
    assert fresh.start()
    assert owners(fresh) == {USER.pw_uid}
    assert fresh.stop()
    assert output(python(code, fresh.project, USER)).splitlines()[-1] == "True True"


def test_in_a_project_of_an_account_without_a_name_it_runs_as_nobody(fresh: Server) -> None:
    """As with a bind mount in a container: initdb does not run as an account that has no entry in passwd."""
    os.chown(fresh.project, UNKNOWN, UNKNOWN)
    assert fresh.start()
    assert owners(fresh) == {NOBODY.pw_uid}


def test_it_runs_as_the_owner_of_the_data(embedded: Server) -> None:
    """Data made earlier by another account is used as it is, even when that account has no name any more."""
    embedded.start()
    embedded.stop()
    folders = (embedded.data_directory, embedded.socket_directory)
    for folder in folders:
        chown_all(folder, UNKNOWN, UNKNOWN)
    assert embedded.start()
    assert owners(embedded) == {UNKNOWN}
    assert answers(embedded)
    assert embedded.stop()
    for folder in folders:
        chown_all(folder, NOBODY.pw_uid, NOBODY.pw_gid)


def test_the_socket_folder_of_an_earlier_account_is_taken_over(doomed: Server) -> None:
    """After a user deleted the data of another account, what is left of it under `.snapseed` does not stop a start."""
    doomed.start()
    doomed.stop()
    shutil.rmtree(doomed.data_directory)
    os.chown(doomed.socket_directory, UNKNOWN, UNKNOWN)
    assert doomed.start()
    assert answers(doomed)


def test_data_that_root_copied_is_handed_over(postgres: EmbeddedPostgres) -> None:
    """A data folder that belongs to root, as after a copy by root, is given to the account with everything in it."""
    postgres.start()
    postgres.stop()
    chown_all(postgres.data_directory, 0, 0)
    assert postgres.start()
    assert answers(postgres)
    assert owners(postgres) == {NOBODY.pw_uid}


def test_data_of_somebody_else_is_refused(embedded: Server) -> None:
    """Without root, data of another account is neither started nor stopped, and the error names the owner."""
    embedded.start()
    code = f"""
for what in ("start", "stop"):
    try: getattr({type(embedded).__name__}(project), what)()
    except RefusedError as error: print(error.observed)
"""
    assert output(python(code, embedded.project, USER)) == "owner nobody\nowner nobody"
    assert answers(embedded)


def test_folders_above_get_the_search_bit_and_no_more(
    new_project: NewProject, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder above the data that the account cannot pass gets o+x, which is logged. The others stay as they are."""
    inner = new_project("closed/open/project")
    closed = inner.parents[1]
    closed.chmod(0o700)
    inner.parent.chmod(0o751)
    with caplog.at_level(logging.WARNING, logger="snapseed"):
        EmbeddedRedis(inner).start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert stat.S_IMODE(inner.parent.stat().st_mode) == 0o751
    messages = [record.getMessage() for record in caplog.records if str(closed.parent) in record.getMessage()]
    assert len(messages) == 1
    assert f"{closed} searchable (o+x)" in messages[0]


def test_without_an_account_nobody_root_is_told_so(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without that account is an error before anything is created."""

    def missing(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", missing)
    with pytest.raises(ConfigurationError, match="nobody"):
        fresh.start()
    assert list(fresh.project.iterdir()) == []


def run_restricted(command: list[str], code: str, project: Path) -> str:
    """What the code prints as a root with fewer rights; skips the test where the machine cannot take them away."""
    probe = subprocess.run([*command, "true"], check=False, capture_output=True) if shutil.which(command[0]) else None
    if probe is None or probe.returncode != 0:
        pytest.skip(f"this machine does not run {command[0]}")
    program = [sys.executable, "-c", IMPORTS + code, str(project)]
    done = subprocess.run(
        [*command, *program], cwd=REPOSITORY, capture_output=True, text=True, check=True, env=without_coverage()
    )
    return done.stdout.strip()


def test_a_root_that_cannot_change_accounts_is_told_so(fresh: Server) -> None:
    """Root of a user namespace with no other account in it can run no server, and gets an error that says so."""
    code = f"""
try: {type(fresh).__name__}(project).start()
except ConfigurationError as error: print(error.where)
"""
    said = run_restricted(["unshare", "--user", "--map-root-user"], code, fresh.project)
    assert said == str(fresh.socket_directory)


NO_PTRACE = ["setpriv", "--bounding-set", "-sys_ptrace"]


def test_processes_are_known_where_the_kernel_hides_their_folder(embedded: Server) -> None:
    """Root without SYS_PTRACE, as in a container, cannot see a process's folder and still stops the right server."""
    embedded.start()
    shutil.rmtree(embedded.socket_directory)
    code = f"print({type(embedded).__name__}(project).stop())"
    assert run_restricted(NO_PTRACE, code, embedded.project) == "True"
    assert processes_of(embedded) == []


def test_a_server_of_another_container_is_not_signalled(embedded: Server) -> None:
    """Where a project folder is shared, a stop in one container is an error if the server runs in another one."""
    embedded.start()
    code = f"""
try: {type(embedded).__name__}(project).stop()
except ServerError as error: print(error.where)
"""
    said = run_restricted(["unshare", "--pid", "--fork", "--mount-proc"], code, embedded.project)
    assert said == str(embedded.data_directory)
    assert answers(embedded)


def test_a_process_that_cannot_be_judged_keeps_its_file(postgres: EmbeddedPostgres) -> None:
    """Without proof that the process in postmaster.pid is foreign the file stays, and PostgreSQL's refusal is shown."""
    postgres.start()
    postgres.stop()
    postmaster_file = postgres.data_directory / "postmaster.pid"
    # Of the right name, so that only its folder could tell.
    program = Path(shutil.copy("/bin/sleep", postgres.project / "postgres"))
    with sleeper(postgres, str(program)) as foreign:
        postmaster_file.write_text(f"{foreign.pid}\n{postgres.data_directory}\n")
        code = """
try: EmbeddedPostgres(project).start()
except ServerError as error: print(error.observed)
"""
        assert "postmaster.pid" in run_restricted(NO_PTRACE, code, postgres.project)
        assert postmaster_file.exists()
        assert foreign.poll() is None
    postmaster_file.unlink()
    program.unlink()
