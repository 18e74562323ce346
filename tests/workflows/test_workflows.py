"""Each script of a workflow is executed or listed with a reason why not, and workflows have few permissions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from snapseed.servers import EmbeddedPostgres
from tests.conftest import new_database
from tests.docs.pages import DOCS, ROOT
from tests.workflows.conftest import NewPython
from tests.workflows.scripts import Runner, all_scripts, load, workflow_files
from tests.workflows.table import CI, DRY, EXECUTED, STARTERS

SCRIPTS = all_scripts()
_DRY = 'make() { command make -n --silent "$@"; }; sudo() { echo "$@"; }\n'


def test_every_script_is_executed_or_has_a_reason() -> None:
    """A new script without a test fails here, and so does an entry for a script that no longer exists."""
    named = [name for names in EXECUTED.values() for name in names]
    assert sorted(SCRIPTS) == sorted([*named, *DRY])


@pytest.mark.parametrize("name", DRY)
def test_what_is_not_executed_would_run(name: str, runner: Runner) -> None:
    """Make knows the target and all its dependencies; the shell reads the other commands."""
    said, _ = runner.run(SCRIPTS[name], prelude=_DRY)
    assert said.strip()


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str, tmp_path: Path) -> None:
    """The linter of workflows does not check the scripts of the action and of pages."""
    file = tmp_path / "script.sh"
    file.write_text(f"#!/bin/bash\nset -e -o pipefail\n{SCRIPTS[name].text}\n")
    program = Path(sys.prefix) / "bin/shellcheck"
    if not program.exists():
        pytest.skip("shellcheck is not installed here")
    done = subprocess.run([str(program), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned_and_are_few() -> None:
    """By a full commit and its version, the same everywhere. Only GitHub's own actions and ours are used."""
    pins: dict[str, set[str]] = {}
    for path in [ROOT / "action.yml", *workflow_files(), DOCS / "github-actions.md"]:
        for used in re.findall(r"uses: (.+)", path.read_text()):
            pinned = re.fullmatch(r"(actions/\w[\w-]*)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", used)
            assert pinned or re.match(r"(\./|OWNER/.+@v1)( #|$)", used), f"{path}: {used}"
            if pinned:
                pins.setdefault(pinned[1], set()).add(pinned[2])
    assert set(pins) == {"actions/cache", "actions/checkout", "actions/setup-python"}
    assert all(len(found) == 1 for found in pins.values()), pins


@pytest.mark.parametrize("path", workflow_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_workflow_may_do_little(path: Path) -> None:
    """No permissions by default, read access per job, a time limit for each, no stored credentials; one may comment."""
    document = load(path)
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        permissions = dict(job["permissions"])
        if path.name == "pull-request.yml":
            assert permissions.pop("pull-requests") == "write"
        assert permissions in ({}, {"contents": "read"}), name
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_the_required_job_needs_every_other() -> None:
    """A job that it does not name could fail unnoticed."""
    jobs = load(ROOT / CI)["jobs"]
    assert set(jobs["required"]["needs"]) == set(jobs) - {"required"}


def test_the_tests_run_on_every_version_that_is_promised() -> None:
    """The matrices have the Python versions of the classifiers, and PostgreSQL 14 to 18."""
    jobs = load(ROOT / CI)["jobs"]
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    assert jobs["postgres"]["strategy"]["matrix"]["postgres"] == ["14", "15", "16", "17", "18"]


@pytest.mark.parametrize(("results", "exit_code"), [("success success", 0), ("success failure", 1), ("skipped", 1)])
def test_the_required_job_passes_when_all_have(results: str, exit_code: int, runner: Runner) -> None:
    """It fails when a job failed, was cancelled or was skipped."""
    runner.expressions["join(needs.*.result, ' ')"] = results
    said, _ = runner.run(SCRIPTS[f"{CI}: required: Check that every job passed"], exit_code=exit_code)
    assert said.split() == results.split()


@pytest.mark.parametrize(
    ("job", "step", "server"),
    [
        ("test", "Test on the embedded server", "the embedded one"),
        ("postgres", "Test on a container", "a container of pgvector/pgvector:pg16"),
    ],
)
@pytest.mark.slow
def test_the_suite_is_run_on_the_server_of_the_job(job: str, step: str, server: str, runner: Runner) -> None:
    """The script starts the suite, limited to tests that need no server, and the header names the right server."""
    runner.expressions["matrix.postgres"] = "16"
    runner.variables["PYTEST_ADDOPTS"] = (
        "tests/test_errors.py --maxprocesses=1 --cov-fail-under=0 --cov-report= -p no:cacheprovider"
    )
    runner.run(SCRIPTS[f"{CI}: {job}: Install"])
    said, _ = runner.run(SCRIPTS[f"{CI}: {job}: {step}"])
    assert f"PostgreSQL server: {server}" in said
    assert " passed" in said


@pytest.mark.slow
def test_the_snapshots_are_regenerated_and_compared(runner: Runner, checkout: Path) -> None:
    """The committed snapshots pass. One changed byte is a failure."""
    runner.run(SCRIPTS[f"{CI}: conformance: Install the pinned versions"])
    compare = SCRIPTS[f"{CI}: conformance: Regenerate both snapshots, and compare rows and bytes"]
    runner.run(compare)
    manifest = checkout / "snapshots/ci/manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"seed"', ' "seed"', 1))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet"]
    subprocess.run([*git, "--all", "--message=changed"], cwd=checkout, check=True)
    try:
        runner.run(compare, exit_code=1)
    finally:
        manifest.write_text(whole)
        subprocess.run([*git, "--all", "--message=as it was"], cwd=checkout, check=True)


@pytest.mark.slow
def test_the_wheel_works_outside_the_source_tree(runner: Runner, checkout: Path, new_python: NewPython) -> None:
    """Installed from the built file alone, it creates, loads and verifies a project, and passes a few tests."""
    shutil.rmtree(checkout / "dist", ignore_errors=True)
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", str(checkout)]
    subprocess.run(build, check=True, capture_output=True)
    new_python(runner.temporary / "clean")
    runner.expressions["runner.temp"] = str(runner.temporary)
    runner.variables["PYTEST_ADDOPTS"] = "-k 'version or public' -p no:cacheprovider"
    runner.run(SCRIPTS[f"{CI}: wheel: Install it into a clean environment"])
    runner.run(SCRIPTS[f"{CI}: wheel: Use it as a newcomer would"])
    assert not EmbeddedPostgres(runner.temporary / "newcomer").is_running()
    said, _ = runner.run(SCRIPTS[f"{CI}: wheel: Test the commands of the wheel"])
    assert " passed" in said
    for program in (runner.temporary / "clean/bin").glob("python3"):
        where = [str(program), "-c", "import snapseed; print(snapseed.__file__)"]
        found = subprocess.run(where, cwd=runner.temporary / "away", capture_output=True, text=True, check=True)
        assert found.stdout.startswith(str(runner.temporary / "clean"))


@pytest.mark.slow
def test_the_workflow_of_a_starter_passes_on_the_first_push(runner: Runner, server: str, tmp_path: Path) -> None:
    """Its scripts, in order and in a project that has no snapshot, load into the database that the job names."""
    runner.run(SCRIPTS[f"{CI}: conformance: Install the pinned versions"])
    for starter, table, rows in (("shop", "customers", 50), ("media", "users", 200)):
        runner.workspace = tmp_path / starter
        init = [sys.executable, "-m", "snapseed", "init", str(runner.workspace), "--example", starter]
        subprocess.run(init, check=True, capture_output=True)
        names = [name for name in SCRIPTS if name.startswith(f"{STARTERS}/{starter}/")]
        with new_database(server) as runner.variables["DATABASE_URL"]:
            for name in names:
                said, _ = runner.run(SCRIPTS[name])
                assert "passed" in said or name not in names[2:]
            with psycopg.connect(runner.variables["DATABASE_URL"]) as connection:
                found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        assert found == (rows,)
