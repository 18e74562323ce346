"""Databases for tests: each holds the snapshot, no two tests share one, and none stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import msgspec
import psycopg
import pytest

from snapseed import find_project, load_snapshot, open_snapshot, verify_snapshot
from snapseed.errors import ConfigurationError, LoadError, RefusedError
from snapseed.servers.targets import resolve_target
from snapseed.testing import SnapseedDatabase
from snapseed.testing.clones import (
    Clones,
    Schema,
    hold_snapshot_template,
    migrations,
    opened_clones,
    schema_of,
)
from snapseed.testing.server import KeptMark, TemplateMark, connected_server
from snapseed.testing.template import MOST_AT_ONCE, copy_database, drop_together, drop_unused, fastest_strategy
from tests.capture.conftest import project_in
from tests.conftest import without_coverage
from tests.projects.state import patiently
from tests.testing.conftest import Owner

# A process that stops while it makes the template, or while it uses a clone.
_STOPPED = """
import sys, time
from pathlib import Path
from snapseed import find_project
from snapseed.testing.clones import Schema, opened_clones

def wait(url):
    print("here", flush=True)
    time.sleep(60)

project = find_project(Path(sys.argv[1]))
environment = project.environment(None, {"database": sys.argv[2]})
if sys.argv[3] == "making":
    with opened_clones(project, environment, Schema("stopped", wait)):
        pass
with opened_clones(project, environment) as clones:
    clones.take()
    wait("")
"""


def opened(stack: ExitStack, owner: Owner, ahead: int = 0, at_most: int | None = None) -> Clones:
    """Clones that are open until the stack is closed."""
    return stack.enter_context(opened_clones(owner.project, owner.environment(), ahead=ahead, at_most=at_most))


def start_and_kill(owner: Owner, when: str) -> None:
    """Run a process until it says that it is there, and kill it."""
    command = [sys.executable, "-c", _STOPPED, str(owner.folder), owner.url, when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=without_coverage()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("ahead", [0, 2])
def test_each_database_holds_the_snapshot_and_none_stays(owner: Owner, ahead: int) -> None:
    """What one taker changes, no other sees. At the end only the template is left, and the environment unchanged."""
    with ExitStack() as stack:
        clones = opened(stack, owner, ahead=ahead)
        first, second = clones.take(), clones.take()
        assert first.name != second.name
        with psycopg.connect(first.url, autocommit=True) as connection:
            connection.execute("DELETE FROM badges")
            clones.give_back(first)
        assert verify_snapshot(owner.project, owner.at(second.url)).agrees
        assert verify_snapshot(owner.project, owner.at(clones.take().url)).agrees
    # Some were never given back, and are dropped all the same.
    assert owner.databases("snapseed_clone") == []
    with owner.connect() as connection:
        assert connection.execute("SELECT to_regclass('people')").fetchone() == (None,)


def test_the_template_is_made_once_and_found_again(owner: Owner, tmp_path: Path) -> None:
    """A second run loads nothing. Another schema file gives another template."""
    for made in (True, False):
        with ExitStack() as stack:
            assert opened(stack, owner).template.made is made
    assert len(owner.databases("snapseed_template")) == 1
    assert owner.project.schema is not None
    other = tmp_path / "schema.sql"
    other.write_text(owner.project.schema.read_text(encoding="utf-8") + "-- other", encoding="utf-8")
    with opened_clones(replace(owner.project, schema=other), owner.environment()) as clones:
        assert clones.template.made
    assert len(owner.databases("snapseed_template")) == 2


def template_of(owner: Owner) -> str:
    """The name of the template that a run uses now."""
    with opened_clones(owner.project, owner.environment()) as clones:
        return clones.template.name


def test_another_setting_gives_another_template(owner: Owner) -> None:
    """Of the role, since it may decide where tables are created. Without it, the old template is found again."""
    first = template_of(owner)
    owner.administer("ALTER ROLE {} SET search_path = elsewhere, public", owner.role)
    second = template_of(owner)
    owner.administer("ALTER ROLE {} RESET ALL", owner.role)
    assert template_of(owner) == first != second


def test_an_upgraded_extension_gives_another_template(owner: Owner) -> None:
    """CREATE EXTENSION in a schema file installs the version that is the default now."""
    with owner.connect() as connection:
        if connection.info.server_version < 180_000:
            pytest.skip("PostgreSQL 18 brought extension_control_path, by which a test can bring an extension")
    with tempfile.TemporaryDirectory(prefix="snapseed-extensions-") as folder:
        Path(folder).chmod(0o755)
        control = Path(folder) / "extension" / "upgraded.control"
        control.parent.mkdir()
        owner.administer(f"ALTER ROLE {{}} SET extension_control_path = '{folder}:$system'", owner.role)
        names = []
        for version in ("1.0", "1.1", "1.1"):
            control.write_text(f"default_version = '{version}'\n")
            names.append(template_of(owner))
    assert names[0] != names[1] == names[2]


def test_one_of_many_processes_makes_the_template(owner: Owner) -> None:
    """The others wait for it and find it complete. Each then has databases of its own."""
    made: list[bool] = []
    names: list[str] = []

    def run() -> None:
        with opened_clones(owner.project, owner.environment()) as clones:
            made.append(clones.template.made)
            names.append(clones.take().name)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, True]
    assert len(set(names)) == 3


def test_a_half_made_template_is_made_again(owner: Owner) -> None:
    """What a process leaves that was killed while it made a template is not used, and soon gone."""
    start_and_kill(owner, "making")
    assert len(owner.databases("snapseed_template")) == 1
    assert owner.project.schema is not None
    text = owner.project.schema.read_bytes()

    def create(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(text)

    with opened_clones(owner.project, owner.environment(), Schema("stopped", create)) as clones:
        assert clones.template.made
        assert verify_snapshot(owner.project, owner.at(clones.take().url)).agrees
    assert len(owner.databases("snapseed_template")) == 1


def test_clones_of_a_killed_process_are_dropped_by_the_next_run(owner: Owner) -> None:
    """The clones of a living process stay."""
    start_and_kill(owner, "taken")
    [orphan] = owner.databases("snapseed_clone")
    with ExitStack() as stack:
        alive = opened(stack, owner).take()
        with ExitStack() as other:
            opened(other, owner)
        assert orphan not in owner.databases()
        assert alive.name in owner.databases()


def test_a_failure_while_making_leaves_nothing_and_comes_through(owner: Owner) -> None:
    """The error of the function that creates the tables is raised as it is."""

    def create(url: str) -> None:
        raise ZeroDivisionError(url)

    schema = Schema("failing", create)
    with pytest.raises(ZeroDivisionError), opened_clones(owner.project, owner.environment(), schema):
        pass
    assert owner.databases("snapseed_t") == []


def test_a_kept_database_outlives_its_run_for_some_days(owner: Owner) -> None:
    """Its age decides when it is dropped, not the end of its process."""
    with ExitStack() as stack:
        clones = opened(stack, owner)
        kept = clones.take()
        clones.keep(kept, "test_something")
    with ExitStack() as stack:
        later = opened(stack, owner).server
        assert kept.name in owner.databases()
        later.set_mark(kept.name, KeptMark("test_something", int(time.time()) - 8 * 24 * 3600))
    assert kept.name not in owner.databases()


def test_templates_are_dropped_by_age_and_number_unless_in_use(owner: Owner, tmp_path: Path) -> None:
    """The oldest are dropped first. One that a run works with stays, whatever its age."""
    assert owner.project.schema is not None
    names = []
    with ExitStack() as stack:
        for number in range(3):
            schema = tmp_path / f"{number}.sql"
            schema.write_bytes(owner.project.schema.read_bytes() + b"--" + str(number).encode())
            project = replace(owner.project, schema=schema)
            with opened_clones(project, owner.environment()) as clones:
                names.append(clones.template.name)
        used = replace(owner.project, schema=tmp_path / "0.sql")
        stack.enter_context(opened_clones(used, owner.environment()))
        other = stack.enter_context(opened_clones(used, owner.environment())).server
        other.unlock(names[0], shared=True)
        for age, name in enumerate(reversed(names)):
            mark = other.marks()[name]
            assert isinstance(mark, TemplateMark)
            other.set_mark(name, msgspec.structs.replace(mark, used=mark.used - 1000 * age))
        assert drop_unused(other, max_templates=2) == []  # the third is in use
        assert drop_unused(other, max_templates=1) == [names[1]]
        assert drop_unused(other, max_age=500) == []
        assert set(owner.databases("snapseed_template")) == {names[0], names[2]}


def test_databases_of_others_are_never_dropped(owner: Owner) -> None:
    """Neither databases with a name that looks like ours, nor ones of ours that another role made."""
    names = ["snapseed_template_mine", "snapseed_clone_x", "snapseed_test"]
    for name in names:
        owner.administer("CREATE DATABASE {} OWNER {}", f"{name}_{owner.role}", owner.role)
    stranger = f"snapseed_clone_{'0' * 16}_1"
    owner.administer("DROP DATABASE IF EXISTS {}", stranger)
    owner.administer("CREATE DATABASE {}", stranger)
    with ExitStack() as stack:
        clones = opened(stack, owner)
        assert drop_unused(clones.server, max_age=-1, max_templates=0) == [clones.template.name]
    assert {f"{name}_{owner.role}" for name in names} <= set(owner.databases())
    owner.administer("DROP DATABASE {}", stranger)


@pytest.mark.parametrize("ahead", [0, 2])
def test_databases_are_dropped_in_batches(owner: Owner, ahead: int) -> None:
    """What was given back waits for others, but not for the end of the run."""
    with ExitStack() as stack:
        clones = opened(stack, owner, ahead=ahead)
        for _ in range(2 * MOST_AT_ONCE + 1):
            clones.give_back(clones.take())
        patiently(lambda: len(owner.databases("snapseed_clone")) <= 1 + ahead)
        assert len(owner.databases("snapseed_clone")) <= 1 + ahead


def test_dropping_does_with_the_connections_that_there_are(owner: Owner) -> None:
    """Where the server has no more for this role, drops take turns."""
    with ExitStack() as stack:
        clones = opened(stack, owner)
        names = [clones.take().name for _ in range(3)]
        owner.administer("ALTER ROLE {} CONNECTION LIMIT 1", owner.role)
        assert sorted(drop_together(clones.server, names)) == sorted(names)
        owner.administer("ALTER ROLE {} CONNECTION LIMIT -1", owner.role)


def test_no_more_are_made_ahead_than_will_be_taken(owner: Owner) -> None:
    """With at most three wanted, two are ready. A fourth is made when it is asked for."""
    with ExitStack() as stack:
        clones = opened(stack, owner, ahead=2, at_most=3)
        patiently(lambda: len(owner.databases("snapseed_clone")) == 2)
        clones.take()
        patiently(lambda: len(owner.databases("snapseed_clone")) == 3)
        assert len({clones.take().name for _ in range(3)}) == 3


_ROLLED_BACK = {
    "reads": ("SELECT FROM people", True),
    "deletes": ("DELETE FROM badges", True),
    "inserts": ("CREATE TABLE made AS SELECT generate_series(1, 10)", True),
    "inserts much": ("SELECT lo_create(0) FROM generate_series(1, 1001)", False),
    "next value": ("SELECT nextval(min(seqrelid)::regclass) FROM pg_sequence", False),
    "another value, not used": ("SELECT setval(min(seqrelid)::regclass, 500, false) FROM pg_sequence", False),
    "forgets counts": ("SELECT pg_stat_reset()", False),
}
_COMMITTED = {
    "row": "DELETE FROM badges",
    "not counted": "SET track_counts = off; DELETE FROM badges",
    "table": "CREATE TABLE made (a int)",
    "setting": "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 99', current_database()); END$$",
    "forgets counts": "CREATE TABLE made (a int); SELECT pg_stat_reset()",
}
_CHANGES = [
    *(pytest.param(sql, False, same, id=f"rolled back: {name}") for name, (sql, same) in _ROLLED_BACK.items()),
    *(pytest.param(sql, True, False, id=f"committed: {name}") for name, sql in _COMMITTED.items()),
]


@pytest.fixture(scope="module")
def ahead(server: str, shapes_folder: Path) -> Iterator[Clones]:
    """Clones made ahead by a superuser."""
    project = find_project(shapes_folder)
    with opened_clones(project, project.environment(None, {"database": server}), ahead=1, at_most=1) as clones:
        if clones.server.identity.version < 18:
            pytest.skip("older servers do not tell whether a sequence was used")
        patiently(lambda: clones.idle)
        yield clones


def oid_of(database: SnapseedDatabase) -> object:
    """The number of a database, which it keeps under another name."""
    with psycopg.connect(database.url) as connection:
        number = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
        connection.rollback()
    return number


@pytest.mark.parametrize(("statements", "commit", "same"), _CHANGES)
def test_a_database_is_handed_out_again_only_if_it_is_as_it_was(
    ahead: Clones, statements: str, *, commit: bool, same: bool
) -> None:
    """Whatever was committed, or outlasts a rollback, is seen by no other test; the old name leads nowhere."""
    database = ahead.take()
    number = oid_of(database)
    with closing(psycopg.connect(database.url)) as connection:
        connection.execute(statements)
        if commit:
            connection.commit()
        # The session is still open.
        ahead.give_back(database)
        following = ahead.take()
    assert (oid_of(following) == number) == same
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(database.url)
    ahead.give_back(following)


@pytest.mark.parametrize("change", ["SET work_mem = 99", "CONNECTION LIMIT 7"])
def test_what_is_set_from_another_database_ends_with_it(ahead: Clones, change: LiteralString) -> None:
    """The next test gets another one, although nothing was committed in this one."""
    database = ahead.take()
    number = oid_of(database)
    ahead.server.execute("ALTER DATABASE {} " + change, database.name)
    ahead.give_back(database)
    following = ahead.take()
    assert oid_of(following) != number
    ahead.give_back(following)


def test_a_pool_that_comes_back_does_not_stop_the_background(ahead: Clones) -> None:
    """It finds its database closed, and the next test gets that one under another name."""
    database = ahead.take()
    number = oid_of(database)
    connected = threading.Semaphore(0)

    def keep_connected() -> None:
        with suppress(psycopg.OperationalError):
            for _ in range(20):
                with suppress(psycopg.errors.AdminShutdown), closing(psycopg.connect(database.url)) as connection:
                    connected.release()
                    connection.execute("SELECT pg_sleep(0.5)")

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(keep_connected) for _ in range(4)]
        for _ in threads:
            connected.acquire()
        ahead.give_back(database)
    following = ahead.take()
    assert oid_of(following) == number
    ahead.give_back(following)


def test_a_lost_background_costs_speed_only(owner: Owner) -> None:
    """When its connection is ended, databases are made and dropped in the caller's thread."""
    with ExitStack() as stack:
        clones = opened(stack, owner, ahead=1)
        own = clones.server.connection.info.backend_pid
        with psycopg.connect(owner.server, autocommit=True) as connection:
            connection.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'snapseed' AND datname = 'postgres' AND usename = %s
                   AND backend_start > (SELECT backend_start FROM pg_stat_activity WHERE pid = %s)
                """,
                [owner.role, own],
            )
        taken = [clones.take() for _ in range(3)]
        for database in taken:
            clones.give_back(database)
        assert verify_snapshot(owner.project, owner.at(clones.take().url)).agrees
    assert owner.databases("snapseed_clone") == []


def test_a_role_without_createdb_is_told_so(owner: Owner) -> None:
    """With the statement that fixes it, and nothing is created."""
    owner.administer("ALTER ROLE {} NOCREATEDB", owner.role)
    with pytest.raises(LoadError) as caught, ExitStack() as stack:
        opened(stack, owner)
    assert f"ALTER ROLE {owner.role} CREATEDB" in str(caught.value.next_step)
    assert owner.databases("snapseed_t") == []


def test_without_a_database_postgres_locks_are_taken_in_the_environments_own(owner: Owner) -> None:
    """Some servers have no database `postgres`. The environment's own is then used for locks, and not changed."""
    environment = owner.environment()
    target = resolve_target(owner.project, environment)
    with connected_server(target, environment, meeting_place=f"{owner.role}_missing") as server:
        assert server.identity.database == f"{owner.role}_db"
        template = hold_snapshot_template(server, owner.project, environment, None)
        clones = Clones(server, template, ahead=1)
        assert verify_snapshot(owner.project, owner.at(clones.take().url)).agrees
        clones.close()
    with owner.connect() as connection:
        assert connection.execute("SELECT to_regclass('people')").fetchone() == (None,)


def test_a_name_that_looks_like_production_is_refused(owner: Owner) -> None:
    """Although the database itself would not be touched: its server is not one for tests."""
    url = psycopg.conninfo.make_conninfo(owner.url, dbname="shop_production")
    with pytest.raises(RefusedError), opened_clones(owner.project, owner.at(url)):
        pass


def test_a_schema_without_files_is_refused(owner: Owner) -> None:
    """Without files a template would never notice a new migration; without a schema file there are no tables."""
    with pytest.raises(ConfigurationError) as caught:
        migrations(lambda _: None, [owner.folder / "missing"], owner.folder)
    assert "snapseed_schema_files" in str(caught.value.next_step)
    with pytest.raises(ConfigurationError) as caught:
        schema_of(replace(owner.project, schema=None), open_snapshot(owner.project.snapshots, "dev").manifest)
    assert "snapseed_schema" in str(caught.value.next_step)


def test_a_capture_needs_no_schema_file(owner: Owner, tmp_path: Path) -> None:
    """The schema that it carries makes the tables of each database."""
    load_snapshot(owner.project, owner.environment(create_schema=True))
    captured = project_in(tmp_path, owner.url)
    captured.capture()
    project, at = captured.project, captured.project.environment
    with opened_clones(project, at("dev", {"database": owner.url})) as clones:
        assert verify_snapshot(project, at("dev", {"database": clones.take().url})).agrees


@pytest.mark.parametrize(("size", "large"), [(10**6, False), (10**9, True)])
def test_the_strategy_depends_on_the_size(owner: Owner, size: int, *, large: bool) -> None:
    """Each gives the same database. A large one is copied as files, and cloned where that was faster."""
    with ExitStack() as stack:
        clones = opened(stack, owner)
        server, version = clones.server, clones.server.identity.version
        strategy = fastest_strategy(server, clones.template.name, size)
        expected = ({"file_copy", "file_clone"} if version >= 18 else {"file_copy"}) if large else {"wal_log"}
        assert strategy in ({""} if version < 15 else expected)
        name = server.next_clone()
        copy_database(server, clones.template.name, name, strategy)
        assert verify_snapshot(owner.project, owner.at(server.url(name))).agrees


def test_a_url_carries_what_libpq_was_given(owner: Owner) -> None:
    """Passwords and names are escaped, other parameters stay, and a Unix socket comes after the question mark."""
    with ExitStack() as stack:
        clones = opened(stack, owner)
        database = clones.take()
        parsed = psycopg.conninfo.conninfo_to_dict(database.url)
        assert (parsed["dbname"], parsed["user"]) == (database.name, owner.role)
        assert str(database.port) == parsed["port"]
        secret = replace(
            clones.server,
            target=replace(clones.server.target, conninfo="password='a b@/' options='-c x.y=1' application_name=x"),
        )
        found = psycopg.conninfo.conninfo_to_dict(secret.url("a/b c"))
        if clones.server.connection.info.password == "":
            assert found["password"] == "a b@/"
        assert (found["dbname"], found["options"]) == ("a/b c", "-c x.y=1")
        assert "application_name" not in found
        assert os.sep not in database.name
