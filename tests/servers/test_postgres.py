from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

from snapseed.errors import ConfigurationError, ServerError
from snapseed.servers import EmbeddedPostgres
from snapseed.servers.postgres import SETTINGS_FILE, render_settings
from tests.servers.conftest import answers, output, postmaster, python, query

_SETTING = re.compile(r"^(\w+) = '(.*)'  #", re.MULTILINE)


def test_settings_favour_bulk_loads_and_stay_safe(running: EmbeddedPostgres) -> None:
    """The running server has the listed settings, and C.UTF-8 databases in UTF8 with checksums."""
    with psycopg.connect(running.url("postgres")) as connection:
        settings = _SETTING.findall(render_settings(running.socket_directory))
        assert dict(settings).keys() >= {"fsync", "listen_addresses", "wal_level", "unix_socket_directories"}
        for name, value in settings:
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        encoding = "SELECT pg_encoding_to_char(encoding), datlocprovider, datlocale, datcollate FROM pg_database"
        assert set(connection.execute(encoding).fetchall()) == {("UTF8", "b", "C.UTF-8", "C")}
        hba = "SELECT DISTINCT type, auth_method FROM pg_hba_file_rules ORDER BY 1"
        assert connection.execute(hba).fetchall() == [("host", "reject"), ("local", "trust")]
        assert connection.execute("SHOW unix_socket_directories").fetchone() == (str(running.socket_directory),)
        assert connection.execute("SELECT current_setting('data_checksums')").fetchone() == ("on",)
        assert connection.execute("SELECT upper('é'), 'Z' < 'a'").fetchone() == ("É", True)


def test_settings_are_rewritten_and_the_users_own_stay(postgres: EmbeddedPostgres) -> None:
    """Each start rewrites the settings file, and ALTER SYSTEM still wins."""
    postgres.start()
    query(postgres, "ALTER SYSTEM SET max_connections = 33")
    postgres.stop()
    written = postgres.data_directory / SETTINGS_FILE
    written.write_text("wal_level = replica\n")
    postgres.start()
    assert query(postgres, "SHOW wal_level") == "minimal"
    assert query(postgres, "SHOW max_connections") == "33"
    query(postgres, "ALTER SYSTEM RESET ALL")


def test_small_shared_memory_is_avoided(tmp_path: Path) -> None:
    """Where /dev/shm is too small for a parallel index build, dynamic shared memory goes to the data folder."""
    assert "mmap" in render_settings(tmp_path, Path("/proc"))  # a file system of 0 bytes
    assert "mmap" not in render_settings(tmp_path, Path("/"))
    assert "mmap" not in render_settings(tmp_path, tmp_path / "absent")


def test_databases_are_created_once(running: EmbeddedPostgres) -> None:
    """`ensure_database` creates a missing database with any name, while others are connected, and says if it did."""
    for name in ("dev", "we\"ird 'näme; DROP", "x" * 63):
        with psycopg.connect(running.url("template1")):
            assert running.ensure_database(name)
        assert not running.ensure_database(name)
        assert query(running, "SELECT current_database()", name) == name


def test_databases_created_at_once(running: EmbeddedPostgres) -> None:
    """When two processes want the same database, one creates it, and neither fails."""
    code = "print(EmbeddedPostgres(project).ensure_database('together'))"
    said = [output(each) for each in [python(code, running.project) for _ in range(2)]]
    assert sorted(said) == ["False", "True"]


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32, "nul\0"])
def test_impossible_database_names(tmp_path: Path, name: str) -> None:
    """A name that PostgreSQL would cut or cannot hold is refused before it is asked."""
    with pytest.raises(ConfigurationError) as raised:
        EmbeddedPostgres(tmp_path).ensure_database(name)
    assert raised.value.observed == repr(name)


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


def test_a_database_of_a_stopped_server(project: Path) -> None:
    """Without a running server `ensure_database` is a server error whose next step is to start it."""
    with pytest.raises(ServerError) as raised:
        EmbeddedPostgres(project).ensure_database("dev")
    assert isinstance(raised.value.__cause__, psycopg.OperationalError)
    assert "snapseed db start" in str(raised.value.next_step)
