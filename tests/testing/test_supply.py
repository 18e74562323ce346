"""Databases for tests: each holds the snapshot, none is shared, and none stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import msgspec
import psycopg
import pytest

from snapseed import verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, RefusedError
from snapseed.testing import copying, server
from snapseed.testing.clear import clear
from snapseed.testing.names import KeptMark, TemplateMark, lock_key
from snapseed.testing.schema import Schema, migrations, project_schema
from snapseed.testing.supply import Supply, opened_supply
from tests.conftest import without_coverage
from tests.projects.state import patiently
from tests.testing.conftest import Owner

# A process that opens a supply and stops: in the middle of making the template, or with a clone in its hands.
_STOPPED = """
import sys, time
from pathlib import Path
from snapseed import find_project
from snapseed.testing.schema import Schema
from snapseed.testing.supply import opened_supply

def wait(url):
    print("here", flush=True)
    time.sleep(60)

project = find_project(Path(sys.argv[1]))
environment = project.environment(None, {"database": sys.argv[2]})
if sys.argv[3] == "making":
    with opened_supply(project, environment, Schema("stopped", wait)):
        pass
with opened_supply(project, environment) as supply:
    supply.take()
    wait("")
"""


def opened(stack: ExitStack, owner: Owner, ahead: int = 0, at_most: int | None = None) -> Supply:
    """A supply that is open until the stack is closed."""
    return stack.enter_context(opened_supply(owner.project, owner.environment(), ahead=ahead, at_most=at_most))


def start_and_kill(owner: Owner, when: str) -> None:
    """Run a process until it says that it is there, and kill it."""
    command = [sys.executable, "-c", _STOPPED, str(owner.folder), owner.url, when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=without_coverage()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("ahead", [0, 2])
def test_each_database_holds_the_snapshot_and_none_stays(owner: Owner, ahead: int) -> None:
    """What one taker changes no other sees; at the end only the template is left, and the environment as it was."""
    with ExitStack() as stack:
        supply = opened(stack, owner, ahead=ahead)
        first, second = supply.take(), supply.take()
        assert first.name != second.name
        with psycopg.connect(first.url, autocommit=True) as connection:
            connection.execute("DELETE FROM badges")
            supply.give_back(first)
        assert verify_snapshot(owner.project, owner.at(second.url)).agrees
        assert verify_snapshot(owner.project, owner.at(supply.take().url)).agrees
    # Some were never given back, and are dropped all the same.
    assert owner.databases("snapseed_clone") == []
    with owner.connect() as connection:
        assert connection.execute("SELECT to_regclass('people')").fetchone() == (None,)


def test_the_template_is_made_once_and_found_again(owner: Owner, tmp_path: Path) -> None:
    """A second run loads nothing; another schema file, or other rows, are another template."""
    for made in (True, False):
        with ExitStack() as stack:
            assert opened(stack, owner).template.made is made
    assert len(owner.databases("snapseed_template")) == 1
    assert owner.project.schema is not None
    other = tmp_path / "schema.sql"
    other.write_text(owner.project.schema.read_text(encoding="utf-8") + "-- other", encoding="utf-8")
    with opened_supply(replace(owner.project, schema=other), owner.environment()) as supply:
        assert supply.template.made
    assert len(owner.databases("snapseed_template")) == 2


def test_of_many_at_once_one_makes_the_template(owner: Owner) -> None:
    """The others wait for it and find it made; each then has databases of its own."""
    made: list[bool] = []
    names: list[str] = []

    def run() -> None:
        with opened_supply(owner.project, owner.environment()) as supply:
            made.append(supply.template.made)
            names.append(supply.take().name)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, True]
    assert len(set(names)) == 3


def test_a_template_that_was_left_half_made_is_made_anew(owner: Owner) -> None:
    """A process is killed while it makes one: what it left is not taken for a template, and is gone soon."""
    start_and_kill(owner, "making")
    assert len(owner.databases("snapseed_template")) == 1
    assert owner.project.schema is not None
    text = owner.project.schema.read_bytes()

    def create(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(text)

    with opened_supply(owner.project, owner.environment(), Schema("stopped", create)) as supply:
        assert supply.template.made
        assert verify_snapshot(owner.project, owner.at(supply.take().url)).agrees
    assert len(owner.databases("snapseed_template")) == 1


def test_clones_of_a_killed_process_go_with_the_next_run(owner: Owner) -> None:
    """Those of a process that is alive stay."""
    start_and_kill(owner, "taken")
    [orphan] = owner.databases("snapseed_clone")
    with ExitStack() as stack:
        alive = opened(stack, owner).take()
        with ExitStack() as other:
            opened(other, owner)
        assert orphan not in owner.databases()
        assert alive.name in owner.databases()


def test_a_failure_while_making_leaves_nothing_and_says_what(owner: Owner) -> None:
    """The error of whoever makes the tables comes through as it is."""

    def create(url: str) -> None:
        raise ZeroDivisionError(url)

    schema = Schema("failing", create)
    with pytest.raises(ZeroDivisionError), opened_supply(owner.project, owner.environment(), schema):
        pass
    assert owner.databases("snapseed_t") == []


def test_a_database_that_is_kept_outlives_its_run_for_some_days(owner: Owner) -> None:
    """Its age decides, and not that its process is gone."""
    with ExitStack() as stack:
        supply = opened(stack, owner)
        kept = supply.take()
        supply.keep(kept, "test_something")
    with ExitStack() as stack:
        later = opened(stack, owner).server
        assert kept.name in owner.databases()
        later.set_mark(kept.name, KeptMark("test_something", int(time.time()) - 8 * 24 * 3600))
    assert kept.name not in owner.databases()


def test_templates_go_by_age_and_number_but_not_in_use(owner: Owner, tmp_path: Path) -> None:
    """The oldest go first; one that a run works with stays, whatever its age."""
    assert owner.project.schema is not None
    names = []
    with ExitStack() as stack:
        for number in range(3):
            schema = tmp_path / f"{number}.sql"
            schema.write_bytes(owner.project.schema.read_bytes() + b"--" + str(number).encode())
            project = replace(owner.project, schema=schema)
            with opened_supply(project, owner.environment()) as supply:
                names.append(supply.template.name)
        used = replace(owner.project, schema=tmp_path / "0.sql")
        stack.enter_context(opened_supply(used, owner.environment()))
        other = stack.enter_context(opened_supply(used, owner.environment())).server
        other.unlock(lock_key(names[0]), shared=True)
        for age, name in enumerate(reversed(names)):
            mark = other.mark(name)
            assert isinstance(mark, TemplateMark)
            other.set_mark(name, msgspec.structs.replace(mark, used=mark.used - 1000 * age))
        assert clear(other, max_templates=2) == []  # the third is in use
        assert clear(other, max_templates=1) == [names[1]]
        assert clear(other, max_age=500) == []
        assert set(owner.databases("snapseed_template")) == {names[0], names[2]}
        other.lock(lock_key(names[0]), shared=True)


def test_databases_of_others_are_never_cleared(owner: Owner) -> None:
    """Neither by a name that looks like ours, nor by one of ours that another role has made."""
    names = ["snapseed_template_mine", "snapseed_clone_x", "snapseed_test"]
    for name in names:
        owner.administer("CREATE DATABASE {} OWNER {}", f"{name}_{owner.role}", owner.role)
    stranger = f"snapseed_clone_{'0' * 16}_1"
    owner.administer("DROP DATABASE IF EXISTS {}", stranger)
    owner.administer("CREATE DATABASE {}", stranger)
    with ExitStack() as stack:
        supply = opened(stack, owner)
        assert clear(supply.server, max_age=-1, max_templates=0) == [supply.template.name]
    assert {f"{name}_{owner.role}" for name in names} <= set(owner.databases())
    owner.administer("DROP DATABASE {}", stranger)


def test_no_more_are_made_ahead_than_will_be_taken(owner: Owner) -> None:
    """Of three that are asked for at most, two wait; a fourth is made when it is asked for."""
    with ExitStack() as stack:
        supply = opened(stack, owner, ahead=2, at_most=3)
        patiently(lambda: len(owner.databases("snapseed_clone")) == 2)
        supply.take()
        patiently(lambda: len(owner.databases("snapseed_clone")) == 3)
        assert len({supply.take().name for _ in range(3)}) == 3


def test_a_lost_background_costs_speed_only(owner: Owner) -> None:
    """When its connection is ended, databases are made and dropped by those who ask."""
    with ExitStack() as stack:
        supply = opened(stack, owner, ahead=1)
        own = supply.server.connection.info.backend_pid
        with psycopg.connect(owner.server, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> %s AND application_name = 'snapseed' AND datname = 'postgres' AND pid IN"
                " (SELECT pid FROM pg_stat_activity WHERE backend_start > (SELECT backend_start FROM pg_stat_activity"
                " WHERE pid = %s))",
                [own, own],
            )
        taken = [supply.take() for _ in range(3)]
        for database in taken:
            supply.give_back(database)
        assert verify_snapshot(owner.project, owner.at(supply.take().url)).agrees
        assert not {database.name for database in taken} & set(owner.databases())


def test_a_role_without_createdb_is_told_so(owner: Owner) -> None:
    """With the statement that mends it, and nothing made."""
    owner.administer("ALTER ROLE {} NOCREATEDB", owner.role)
    with pytest.raises(LoadError, match="may not make databases") as caught, ExitStack() as stack:
        opened(stack, owner)
    assert f"ALTER ROLE {owner.role} CREATEDB" in str(caught.value.next_step)


def test_a_server_without_postgres_is_met_in_the_environments_own_database(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some have dropped it; then this is where locks are taken, and nothing else is done there."""
    monkeypatch.setattr(server, "_MEETING_PLACE", f"{owner.role}_missing")
    with ExitStack() as stack:
        supply = opened(stack, owner)
        assert supply.server.identity.database == f"{owner.role}_db"
        assert verify_snapshot(owner.project, owner.at(supply.take().url)).agrees


def test_a_name_that_looks_like_production_is_refused(owner: Owner) -> None:
    """Though the database itself would not be touched: its server is not one for tests."""
    url = psycopg.conninfo.make_conninfo(owner.url, dbname="shop_production")
    with pytest.raises(RefusedError, match="looks like production"), opened_supply(owner.project, owner.at(url)):
        pass


def test_migrations_without_files_are_refused(owner: Owner) -> None:
    """A template would never notice a new migration; and a project without a schema file has no tables."""
    with pytest.raises(ConfigurationError, match="have changed"):
        migrations(lambda _: None, [owner.folder / "missing"], owner.folder)
    with pytest.raises(ConfigurationError, match="nothing says how the tables"):
        project_schema(replace(owner.project, schema=None))


@pytest.mark.parametrize("size", ["small", "large"])
def test_the_strategy_goes_by_the_size(owner: Owner, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives the same database; a large one is copied as files, cloned where that was faster."""
    if size == "large":
        monkeypatch.setattr(copying, "_FILES_FROM", 0)
    with ExitStack() as stack:
        supply = opened(stack, owner, ahead=1)
        version = supply.server.version
        expected = {"small": {"wal_log"}, "large": {"file_copy", "file_clone"} if version >= 18 else {"file_copy"}}
        assert supply.template.mark.strategy in ({""} if version < 15 else expected[size])
        assert verify_snapshot(owner.project, owner.at(supply.take().url)).agrees


def test_a_url_carries_what_libpq_was_given(owner: Owner) -> None:
    """Passwords and names are escaped, other parameters stay, and a Unix socket stands behind the question mark."""
    with ExitStack() as stack:
        supply = opened(stack, owner)
        database = supply.take()
        parsed = psycopg.conninfo.conninfo_to_dict(database.url)
        assert (parsed["dbname"], parsed["user"]) == (database.name, owner.role)
        assert str(database.port) == parsed["port"]
        secret = replace(
            supply.server,
            target=replace(supply.server.target, conninfo="password='a b@/' options='-c x.y=1' application_name=x"),
        )
        found = psycopg.conninfo.conninfo_to_dict(secret.url("a/b c"))
        if supply.server.connection.info.password == "":
            assert found["password"] == "a b@/"
        assert (found["dbname"], found["options"]) == ("a/b c", "-c x.y=1")
        assert "application_name" not in found
        assert os.sep not in database.name
