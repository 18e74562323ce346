"""The plugin's fixtures and options, in pytest processes as users start them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from snapseed.servers import EmbeddedPostgres
from tests.conftest import WithData
from tests.testing.pytest_plugin.conftest import EXAMPLE, QUICK, Suite, outcomes

_OWN = """
import psycopg
import pytest

@pytest.mark.parametrize("number", range(3))
def test_own(snapseed_database, snapseed_url, snapseed_connection, number):
    assert snapseed_url == snapseed_database.url
    assert snapseed_connection.info.dbname == snapseed_database.name
    assert snapseed_connection.execute("SELECT count(*) FROM members").fetchone() == (40,)
    snapseed_connection.execute("DELETE FROM members")
    snapseed_connection.commit()

@pytest.mark.parametrize("number", range(2))
def test_shared(snapseed_database_shared, number):
    with psycopg.connect(snapseed_database_shared.url) as connection:
        assert connection.execute("SELECT count(*) FROM members").fetchone() == (40 - number,)
        connection.execute("DELETE FROM members WHERE id = (SELECT min(id) FROM members)")
"""
_HEAVY = """
import sys

def test_nothing_heavy_is_imported():
    assert "snapseed.testing.pytest_plugin" in sys.modules
    assert not {"psycopg", "pyarrow", "polars", "numpy"} & set(sys.modules)
"""
_MODULES = """
names = set()

def test_one(snapseed_database_shared):
    names.add(snapseed_database_shared.name)

def test_two(snapseed_database_shared):
    assert names == {snapseed_database_shared.name}
"""


_SECRET = """
import os
import psycopg
import pytest

SECRET = "correct" + "-horse"

def fail(url):
    local = {"url": url, "in a list": [url]}
    assert SECRET in url and url.startswith("postgresql://")
    os.environ["COPY"] = url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    raise AssertionError(f"{local!r}")

def test_raises(snapseed_url):
    fail(snapseed_url)

def test_compares(snapseed_url):
    assert snapseed_url == "postgresql://other"

def test_compares_the_other_way(snapseed_database):
    assert "postgresql://other" == snapseed_database.url

def test_holds(snapseed_database):
    url = snapseed_database.url
    assert [url] == []
"""


def test_failing_tests_do_not_print_the_password(suite: Suite) -> None:
    """Neither on the terminal, with all local variables, nor in JUnit's file; drivers still get it."""
    suite.write(test_secret=_SECRET)
    url = make_conninfo(suite.url, password="correct-horse")
    said = suite.run("-vv", "--showlocals", "--junitxml=junit.xml", DATABASE_URL=url)
    assert outcomes(said) == {"failed": 4}, said
    written = (suite.folder / "junit.xml").read_text()
    for text in (said, written):
        assert "***" in text
        assert "correct-horse" not in text


def test_each_test_has_its_own_rows(suite: Suite) -> None:
    """Whatever others commit. Tests that share a database see one. Two runs at the same time do not collide."""
    suite.write(test_own=_OWN)
    before = suite.clones()
    runs = [suite.start("-q", *arguments) for arguments in (("-n", "2", "--dist", "loadfile"), ())]
    for said in [run.communicate(timeout=120)[0] for run in runs]:
        assert outcomes(said) == {"passed": 5}, said
    assert suite.clones() <= before


def test_importing_the_plugin_costs_next_to_nothing(suite: Suite) -> None:
    """Tests that use no database import no driver. Without a project the header has no line about one."""
    suite.write(test_heavy=_HEAVY)
    said = suite.run()
    assert outcomes(said) == {"passed": 1}, said
    assert re.search(r"^snapseed: environment test, snapshot test, server \S+", said, re.MULTILINE)
    (suite.folder / "snapseed.toml").unlink()
    said = suite.run()
    assert outcomes(said) == {"passed": 1}, said
    assert "snapseed: " not in said


def test_the_database_of_a_failed_test_is_kept_on_request(suite: Suite) -> None:
    """Its URL is printed, also with worker processes, and it holds what the test left in it. The others are gone."""
    suite.write(
        test_failing="import pytest\n"
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_some(snapseed_connection, number):\n"
        "    snapseed_connection.execute('DELETE FROM loans')\n"
        "    snapseed_connection.commit()\n"
        "    assert number != 1\n"
    )
    before = suite.clones()
    assert outcomes(suite.run("-q")) == {"failed": 1, "passed": 2}
    assert suite.clones() <= before
    said = suite.run("-n", "1", "--snapseed-keep-on-failure")
    [(test, url)] = re.findall(r"^(test_failing\S+)\n    (postgresql://\S+)$", said, re.MULTILINE)
    assert test == "test_failing.py::test_some[1]"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM loans").fetchone() == (0,)
        assert {connection.info.dbname} == suite.clones() - before
        name = connection.info.dbname
    with psycopg.connect(suite.url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(name)))


def test_the_scope_of_the_shared_database_is_a_setting(suite: Suite) -> None:
    """By a key of the configuration file or by an option, which wins. With `module`, each file has its own database."""
    suite.write(
        test_a=_MODULES, test_b=_MODULES + "\ndef test_three():\n    import test_a\n    print(names | test_a.names)\n"
    )
    (suite.folder / "pytest.ini").write_text("[pytest]\nsnapseed_scope = module\n", encoding="utf-8")
    assert len(set(re.findall(r"snapseed_clone_\w+", suite.run("-s")))) == 2
    said = suite.run("-s", "--snapseed-scope", "session", "--snapseed-ahead", "0")
    assert outcomes(said) == {"passed": 5}, said
    assert len(set(re.findall(r"snapseed_clone_\w+", said))) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--snapseed-scope", "class"), "snapseed_scope is 'class'"),
        (("--snapseed-ahead", "many"), "snapseed_ahead is 'many'"),
        (("--snapseed-environment", "tset"), "there is no environment named 'tset'"),
        (("--snapseed-snapshot", "other"), "snapseed generate test --snapshot other"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(suite: Suite, arguments: tuple[str, str], expected: str) -> None:
    """It is reported as snapseed reports it, without a line of snapseed's own code."""
    suite.write(test_one="def test_one(snapseed_url):\n    pass\n")
    said = suite.run("-q", *arguments)
    assert expected in said
    assert "passed" not in said
    assert "Traceback" not in said
    assert "exception" not in said
    assert "snapseed/" not in said.replace(str(suite.folder), "")


@pytest.mark.slow
def test_the_example_runs_in_two_processes_on_the_embedded_server(with_data: WithData) -> None:
    """As somebody runs it who has cloned the repository: nothing else is installed or started.

    When the schema file changes, the error has the command for the environment, not for the template's name.
    """
    # Not in pytest's own folder, which is closed to the account of the server.
    with tempfile.TemporaryDirectory(prefix="snapseed-example-") as name:
        folder = Path(name) / "pytest"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".snapseed"))
        with_data(folder)
        command = [sys.executable, "-m", "pytest", "-n", "2", *QUICK.split()]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
            with (folder / "schema.sql").open("a", encoding="utf-8") as file:
                file.write("ALTER TABLE members ADD needed integer NOT NULL;")
            changed = subprocess.run(
                [*command[:3], "-x", *QUICK.split()],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        finally:
            EmbeddedPostgres(folder).stop()
    assert "needed is NOT NULL" in changed.stdout
    assert "snapseed generate test" in changed.stdout
    assert "load template_" not in changed.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert "server embedded PostgreSQL" in done.stdout
    assert outcomes(done.stdout) == {"passed": 9}
