"""What a crash leaves behind: killed servers, lost sockets, stale process ids, half-made data."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from snapseed.errors import ConfigurationError, ServerError
from snapseed.postgres.provenance import NewLoad, record_load
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from tests.projects.state import is_alive
from tests.servers.conftest import (
    NewProject,
    Server,
    answers,
    kill_all,
    output,
    postmaster,
    processes_of,
    python,
    query,
    sleeper,
    wait_for,
)


def kill_postmaster(postgres: EmbeddedPostgres) -> psutil.Process:
    """Kill the postmaster alone, with one of its children suspended so that it does not notice; return that child."""
    process = postmaster(postgres)
    # One that lasts: a worker may end before it is suspended.
    child = next(each for each in processes_of(postgres) if "checkpointer" in " ".join(each.info["cmdline"]))
    child.suspend()
    process.kill()
    wait_for(lambda: not is_alive(process))
    return child


def is_locked(postgres: EmbeddedPostgres) -> bool:
    """Whether somebody is starting or stopping the server."""
    with (postgres.state_directory / "postgres.lock").open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_what_was_written_survives_kill_9(embedded: Server) -> None:
    """After kill -9 of all its processes the server starts again, and has what was written."""
    embedded.start()
    if isinstance(embedded, EmbeddedPostgres):
        query(embedded, "CREATE OR REPLACE VIEW kept AS SELECT 42 AS answer")
        query(embedded, "CHECKPOINT")
    else:
        with redis.Redis.from_url(embedded.url()) as client:
            client.set("answer", "42")
    kill_all(embedded)
    assert not embedded.is_running()
    assert embedded.start()
    if isinstance(embedded, EmbeddedPostgres):
        assert query(embedded, "SELECT answer FROM kept") == 42
    else:
        with redis.Redis.from_url(embedded.url()) as client:
            assert client.get("answer") == b"42"


def test_a_load_after_a_crash_has_a_number_of_its_own(running: EmbeddedPostgres) -> None:
    """Also if the crash comes soon after the table of loads was created, which the server does not log."""
    load = NewLoad(
        environment="dev",
        snapshot="dev",
        identity="0" * 64,
        seed=None,
        scale=None,
        mode="replace",
        tables=("public.t",),
        rows=1,
        version="0",
    )
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")
        with connection.transaction():
            record_load(connection, load)
        before = record_load(connection, load).number
    kill_all(running)
    running.start()
    with psycopg.connect(running.url("postgres"), autocommit=True) as connection:
        assert record_load(connection, load).number > before


def test_a_server_without_its_socket_can_be_stopped(embedded: Server) -> None:
    """A server whose socket folder was deleted is recognized by its processes, stopped, and started again."""
    embedded.start()
    shutil.rmtree(embedded.socket_directory)
    assert not embedded.is_running()
    assert embedded.stop()
    assert processes_of(embedded) == []
    assert embedded.start()
    assert answers(embedded)


def test_a_postgres_without_its_socket_is_restarted(postgres: EmbeddedPostgres) -> None:
    """A start finds a server that works but has lost its socket, shuts it down cleanly and starts it again."""
    postgres.start()
    query(postgres, "CREATE OR REPLACE VIEW clean AS SELECT 42 AS answer")
    before = postmaster(postgres)
    shutil.rmtree(postgres.socket_directory)
    assert postgres.start()
    assert postmaster(postgres).pid != before.pid
    assert query(postgres, "SELECT answer FROM clean") == 42


def test_no_second_valkey_is_started_on_the_same_data(valkey: EmbeddedRedis) -> None:
    """While a silent server still holds the data, a start fails with an error that names its process."""
    valkey.start()
    process = processes_of(valkey)[0]
    shutil.rmtree(valkey.socket_directory)
    with pytest.raises(ServerError) as raised:
        replace(valkey, timeouts=replace(valkey.timeouts, start=0.2)).start()
    assert str(process.pid) in str(raised.value.observed)
    assert [each.pid for each in processes_of(valkey)] == [process.pid]


@pytest.mark.parametrize(("action", "is_hidden"), [("start", False), ("start", True), ("stop", False)])
def test_a_server_whose_data_was_deleted_is_ended(doomed: Server, action: str, *, is_hidden: bool) -> None:
    """Start and stop end it at once, also where the kernel hides its folder from us, and a start makes a new one."""
    if is_hidden and not (os.geteuid() == 0 and shutil.which("setpriv")):
        pytest.skip("needs root, and setpriv to give up SYS_PTRACE")
    doomed.start()
    orphans = processes_of(doomed)
    shutil.rmtree(doomed.state_directory)
    hide = ["setpriv", "--bounding-set", "-sys_ptrace"] if is_hidden else []
    code = (
        f"timeouts = Timeouts(start=10, stop=10, lock=10)\nprint({type(doomed).__name__}(project, timeouts).{action}())"
    )
    assert output(python(code, doomed.project, prefix=hide)).splitlines()[-1] == "True"
    assert not any(map(is_alive, orphans))
    assert doomed.is_running() == (action == "start")
    assert not doomed.is_running() or answers(doomed)


@pytest.mark.parametrize("where", ["another project", "another mount namespace"])
def test_the_orphan_of_another_is_left_alone(new_project: NewProject, where: str) -> None:
    """Neither a server of another project, nor one that sees other files under the same path, is ended."""
    ours = EmbeddedRedis(new_project("ours"))
    folder = ours.data_directory if where == "another mount namespace" else new_project("other") / ".snapseed/valkey"
    folder.mkdir(parents=True)
    unshare = ["unshare", "--mount"] if where == "another mount namespace" else []
    if unshare and subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("may not make a mount namespace")
    command = [*unshare, str(ours.find_program()), "--port", "0", "--unixsocket", "s"]
    with subprocess.Popen([*command, "--save", "", "--proc-title-template", ours.mark], cwd=folder) as foreign:
        try:
            wait_for((folder / "s").exists)
            shutil.rmtree(folder)
            assert not ours.stop()
            assert ours.start()
            assert foreign.poll() is None
        finally:
            foreign.kill()


def test_a_start_waits_for_the_children_of_a_killed_postmaster(
    postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """While a child of a killed postmaster holds the shared memory, a start waits, says for whom, and then succeeds."""
    postgres.start()
    child = kill_postmaster(postgres)
    results: list[bool] = []
    starter = threading.Thread(target=lambda: results.append(postgres.start()))
    starter.start()
    wait_for(lambda: is_locked(postgres))
    wait_for(lambda: str(child.pid) in caplog.text)
    assert results == []
    child.resume()
    starter.join(timeout=20)
    assert results == [True]
    assert answers(postgres)


def test_children_that_do_not_end_are_named(postgres: EmbeddedPostgres) -> None:
    """A child of a killed postmaster that never ends is named in the error, and not killed."""
    postgres.start()
    child = kill_postmaster(postgres)
    with pytest.raises(ServerError) as raised:
        replace(postgres, timeouts=replace(postgres.timeouts, start=0.3)).start()
    assert str(child.pid) in str(raised.value.observed)
    assert child.is_running()
    child.resume()
    wait_for(lambda: not processes_of(postgres))


def test_a_process_id_that_passed_to_another_process(postgres: EmbeddedPostgres) -> None:
    """A stale postmaster.pid whose id now belongs to a foreign process stops no start, and harms no process."""
    postgres.start()
    postmaster_file = postgres.data_directory / "postmaster.pid"
    lines = postmaster_file.read_text().splitlines()
    kill_all(postgres)
    with sleeper(postgres) as foreign:
        postmaster_file.write_text("\n".join([str(foreign.pid), *lines[1:], ""]))
        assert not postgres.is_running()
        assert not postgres.stop()
        assert postgres.start()
        assert answers(postgres)
        assert postgres.stop()
        assert foreign.poll() is None


def test_a_process_id_that_passed_to_another_projects_server(running: EmbeddedPostgres, project: Path) -> None:
    """A postmaster.pid that names another project's server, as in a copied project, does not lead to that server."""
    copy = EmbeddedPostgres(project)
    copy.start()
    copy.stop()
    shutil.copy(running.data_directory / "postmaster.pid", copy.data_directory)
    assert not copy.stop()
    assert copy.start()
    assert postmaster(copy).pid != postmaster(running).pid
    assert answers(running)


def test_a_stale_valkey_pid_file_harms_nobody(valkey: EmbeddedRedis) -> None:
    """A pid file that names a foreign process does not prevent a start, and no signal goes to that process."""
    valkey.start()
    valkey.stop()
    with sleeper(valkey) as foreign:
        (valkey.data_directory / "valkey.pid").write_text(f"{foreign.pid}\n")
        assert not valkey.stop()
        assert valkey.start()
        assert valkey.stop()
        assert foreign.poll() is None


@pytest.mark.parametrize("leftover", [[], ["PG_VERSION", "base/1/112"]])
def test_an_incomplete_data_folder_heals(project: Path, leftover: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """A data folder without a complete cluster is replaced by a new one, and kept aside if there is anything in it."""
    postgres = EmbeddedPostgres(project)
    for name in leftover:
        path = postgres.data_directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("18\n")
    postgres.data_directory.mkdir(parents=True, exist_ok=True)
    assert postgres.start()
    assert answers(postgres)
    aside = list(postgres.state_directory.glob("postgres.incomplete-*"))
    assert [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) for folder in aside
    ] == ([leftover] if leftover else [])
    told = [record for record in caplog.records if str(postgres.data_directory) in record.getMessage()]
    assert any(folder.name in record.getMessage() for folder in aside for record in told) == bool(leftover)


def test_a_start_killed_during_initdb_heals(project: Path) -> None:
    """After kill -9 of a first start in the middle of initdb the next start works and leaves no debris."""
    postgres = EmbeddedPostgres(project)
    state = postgres.state_directory
    with python("EmbeddedPostgres(project).start()", project) as starter:
        wait_for(lambda: list(state.glob("postgres.initdb-*/PG_VERSION")))
        starter.kill()
    assert not postgres.data_directory.exists()
    assert postgres.start()
    assert answers(postgres)
    wait_for(lambda: not list(state.glob("postgres.initdb-*")))


def test_a_failing_initdb_shows_what_it_said(project: Path) -> None:
    """When initdb fails (here: it may not write large files), its message is in the error, and nothing stays behind."""
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try: EmbeddedPostgres(project).start()
except MachineError as error: print(error.observed)
"""
    assert "File too large" in output(python(code, project))
    assert [path.name for path in (project / ".snapseed").glob("postgres*")] == ["postgres.lock"]


def test_a_failing_start_shows_the_log(postgres: EmbeddedPostgres) -> None:
    """When the server does not start, the last lines of its log are in the error."""
    postgres.start()
    postgres.stop()
    settings = postgres.data_directory / "postgresql.conf"
    before = settings.read_text()
    settings.write_text(before + "no_such_setting = 1\n")
    with pytest.raises(ServerError) as raised:
        postgres.start()
    settings.write_text(before)
    assert 'unrecognized configuration parameter "no_such_setting"' in str(raised.value.observed)
    assert str(postgres.log_file) in str(raised.value.next_step)


def test_valkey_with_damaged_data_shows_its_log(valkey: EmbeddedRedis) -> None:
    """When Valkey cannot read its data back, the error shows its log as soon as it has ended, not after a time-out."""
    valkey.start()
    valkey.stop()
    next(valkey.data_directory.glob("appendonlydir/*.manifest")).write_text("nonsense\n")
    with pytest.raises(ServerError) as raised:
        replace(valkey, timeouts=replace(valkey.timeouts, start=3600)).start()
    assert "AOF" in str(raised.value.observed)


def test_data_of_another_major_version_is_left_alone(postgres: EmbeddedPostgres) -> None:
    """Data of PostgreSQL 15 is an error that names both versions, and no file is touched."""
    postgres.start()
    postgres.stop()
    (postgres.data_directory / "PG_VERSION").write_text("15\n")
    state = postgres.state_directory

    def times() -> dict[Path, int]:  # but not of the lock, in which each start leaves its process
        return {path: path.lstat().st_mtime_ns for path in [state, *state.rglob("*")] if path.suffix != ".lock"}

    before = times()
    with pytest.raises(ConfigurationError) as raised:
        postgres.start()
    assert (raised.value.observed, str(raised.value.expected)[:13]) == ("PostgreSQL 15", "PostgreSQL 18")
    assert raised.value.next_step
    assert times() == before
    (postgres.data_directory / "PG_VERSION").write_text("18\n")
