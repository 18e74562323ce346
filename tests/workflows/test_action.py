"""The action from its first script to its outputs, on the embedded server and on a given one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from snapseed.servers import EmbeddedPostgres
from snapseed.snapshot.store import open_snapshot
from tests.docs.pages import DOCS, ROOT, table_rows
from tests.workflows.conftest import NewPython, Thread
from tests.workflows.scripts import Runner, all_scripts, load
from tests.workflows.table import CI

SCRIPTS = all_scripts()
ACTION = load(ROOT / "action.yml")
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
USERS = "SELECT count(*) FROM users"


class Action:
    """The action as a runner executes it: its scripts in order, its own environment, its outputs."""

    def __init__(self, runner: Runner, new_python: NewPython, project: Path) -> None:
        self.runner = runner
        new_python(runner.temporary / "snapseed")
        self.source, runner.workspace = runner.workspace, project
        self.said = ""

    def uses(self, *, exit_code: int = 0, **inputs: str) -> dict[str, str]:
        """The outputs of the action for these inputs, whose names have underscores instead of dashes."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(ACTION["inputs"])
        values = {name: given.get(name, table["default"]) for name, table in ACTION["inputs"].items()}
        self.runner.expressions |= {f"inputs.{name}": value for name, value in values.items()}
        self.runner.expressions |= {
            "github.action_path": str(self.source),
            "steps.python.outputs.python-path || 'python3'": "python3",
        }
        found: dict[str, str] = {}
        for name, step in STEPS.items():
            if "run" in step and ("inputs.comment" not in step.get("if", "") or values["comment"] == "true"):
                last = step is list(STEPS.values())[-1]
                self.said, found = self.runner.run(SCRIPTS[f"action.yml: {name}"], exit_code=exit_code if last else 0)
        values = {name: table["value"] for name, table in ACTION["outputs"].items()}
        assert values == {name: f"${{{{ steps.ci.outputs.{name} }}}}" for name in values}
        return {name: found.get(name, "") for name in values}


@pytest.fixture
def project(tmp_path: Path, checkout: Path) -> Iterator[Path]:
    """A user's repository with the example project and its committed snapshots."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("generators", "snapshots"):
        shutil.copytree(checkout / name, folder / name)
    shutil.copy(checkout / "snapseed.toml", folder)
    yield folder
    EmbeddedPostgres(folder).stop()


@pytest.fixture
def action(runner: Runner, new_python: NewPython, project: Path) -> Action:
    """The action, in that repository."""
    return Action(runner, new_python, project)


def rows(url: str) -> object:
    """How many users a database holds."""
    with psycopg.connect(url) as connection:
        found = connection.execute(USERS).fetchone()
        assert found is not None
        return found[0]


@pytest.mark.slow
def test_it_loads_into_the_embedded_server_and_leaves_it_running(action: Action, project: Path) -> None:
    """The outputs describe the load, the next steps of the job pass, and the tests of the examples find the rows."""
    outputs = action.uses(environment="ci")
    manifest = open_snapshot(project / "snapshots", "ci").manifest
    assert outputs["outcome"] == "passed"
    assert int(outputs["rows"]) == sum(entity.rows for entity in manifest.entities)
    assert outputs["snapshot-digest"] == manifest.identity
    assert float(outputs["seconds"]) > 0
    assert json.loads(Path(outputs["report"]).read_text())["outcome"] == "passed"
    assert "passed" in action.runner.summary
    assert rows(outputs["database-url"]) == 200

    runner = action.runner
    runner.expressions |= {f"steps.seed.outputs.{name}": value for name, value in outputs.items()}
    runner.expressions["matrix.database-url"] = ""
    runner.run(SCRIPTS[f"{CI}: action: Check its outputs"])
    runner.run(SCRIPTS[f"{CI}: action: Find the rows in a later step"])

    write_tests(project)
    # The URL of the job's service, where the example has one.
    runner.variables["DATABASE_URL"] = outputs["database-url"]
    runner.expressions["inputs.install"] = "python -m pip install --requirement requirements.txt"
    runner.expressions["inputs.test"] = "python -m pytest"
    places = ("embedded.yml", "service.yml", "reusable.yml", "github-actions.md")
    scripts = [script for name, script in SCRIPTS.items() if name.partition(": ")[0].endswith(places)]
    # Several places have the same script.
    for script in {(script.text, str(script.variables)): script for script in scripts}.values():
        said, _ = runner.run(script)
        assert "1 passed" in said or ": Install " in script.name


def write_tests(project: Path) -> None:
    """A minimal test suite of the repository."""
    (project / "requirements.txt").write_text("psycopg\npytest\n")
    (project / "test_rows.py").write_text(
        "import os, psycopg\n\n\ndef test_rows():\n"
        f"    assert psycopg.connect(os.environ['DATABASE_URL']).execute('{USERS}').fetchone() == (200,)\n"
    )


def test_it_loads_into_the_database_that_it_is_given(
    action: Action, project: Path, database: str, thread: Thread
) -> None:
    """In a subfolder of the repository. Its options are split at white space, and bash does not expand them.

    Before that, it comments what the last merge changed in committed snapshots.
    """
    below = project / "below"
    below.mkdir()
    for entry in ("generators", "snapshots", "snapseed.toml"):
        shutil.move(project / entry, below / entry)
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for commit in ("all", "without one"):
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", f"--message={commit}"], check=True)
        shutil.rmtree(below / "snapshots" / "ci", ignore_errors=True)
    action.runner.expressions |= {"github.event.pull_request.number": "7", "github.token": "secret"}
    action.runner.variables |= thread.variables
    outputs = action.uses(
        comment="true",
        environment="dev",
        database_url=database,
        working_directory="below",
        extras="",
        arguments="--snapshot test\n  --junit $HOME.xml",
    )
    assert outputs["outcome"] == "passed"
    assert rows(database) == 25
    assert (below / "$HOME.xml").exists()
    (comment,) = thread.comments
    assert "only on the left" in str(comment["body"])
    assert "only on the left" in action.runner.summary
    subprocess.run([*git, "checkout", "--quiet", "HEAD~1"], check=True)
    said, _ = action.runner.run(SCRIPTS["action.yml: Comment the differences"], exit_code=2)
    assert "fetch-depth" in said


@pytest.mark.slow
def test_a_load_that_fails_fails_the_step_with_its_exit_code(action: Action) -> None:
    """The report and the outcome are among the outputs. The content of an input is never executed."""
    closed = "postgresql://127.0.0.1:1/none"
    outputs = action.uses(exit_code=4, environment="ci", database_url=closed, arguments="--retries 0")
    assert outputs["outcome"] == "failed"
    assert json.loads(Path(outputs["report"]).read_text())["exit_code"] == 4
    # The same with a version from PyPI, which is already installed here.
    action.uses(
        exit_code=2, environment="ci$(touch executed)", arguments="; touch executed", version=version("snapseed")
    )
    assert not list(action.runner.workspace.rglob("executed"))


def test_the_page_names_the_inputs_and_outputs() -> None:
    """All of them, in the order of the action, with the same defaults."""
    page = DOCS / "github-actions.md"
    inputs = table_rows(page, "Inputs")
    assert list(inputs) == list(ACTION["inputs"])
    assert list(table_rows(page, "Outputs")) == list(ACTION["outputs"])
    for name, cells in inputs.items():
        if shown := re.fullmatch(r"`(.+)`", cells[0]):
            assert shown[1] == ACTION["inputs"][name]["default"]
        else:
            assert ACTION["inputs"][name]["default"] == ""


@pytest.mark.slow
def test_the_jobs_for_gitlab_load_and_find_the_rows(
    runner: Runner, new_python: NewPython, project: Path, database: str
) -> None:
    """With a service and without. The checks are written to a file for the merge request."""
    programs = new_python(runner.temporary / "job")
    install = [str(programs / "python"), "-m", "pip", "install", "--quiet", str(runner.workspace)]
    pip = {"PATH": runner.path, "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    subprocess.run(install, env=pip, check=True, capture_output=True)
    runner.path = f"{programs}:{runner.path}"
    runner.workspace = project
    write_tests(project)
    given = runner.variables
    # There is no network of services here: the test's own database stands in for GitLab's.
    for job, variables in (("test", {"DATABASE_URL": database}), ("test-embedded", {})):
        runner.variables = given | variables
        said, _ = runner.run(SCRIPTS[f"docs/gitlab-ci.md: {job}"])
        assert "1 passed" in said
        checks = project / "seed.xml"
        assert "<testcase" in checks.read_text()
        checks.unlink()


def test_the_key_of_the_cache_changes_with_what_is_installed() -> None:
    """The same inputs give the same key; another version or other extras give another."""

    def key(version: str, extras: str) -> str:
        variables = {"ACTION_PATH": str(ROOT), "INPUT_VERSION": version, "INPUT_EXTRAS": extras}
        command = [sys.executable, str(ROOT / ".github/cache_key.py")]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    assert key("", "embedded") == key("", "embedded")
    assert len({key("", "embedded"), key("1.0", "embedded"), key("", ""), key("embedded", "")}) == 4
