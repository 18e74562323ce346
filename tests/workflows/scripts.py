"""The scripts in the YAML of the workflows and of the action, and a stand-in for the runner that executes them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.docs.pages import DOCS, ROOT, blocks_of

_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_SECONDS = 180


@dataclass(frozen=True)
class Script:
    """One `run` of a step: what bash gets, and the variables and folder that the YAML sets, not yet evaluated."""

    name: str
    text: str
    shell: str
    variables: Mapping[str, str] = field(default_factory=dict)
    directory: str = "."


def workflow_files() -> list[Path]:
    """Every workflow that we run or ship."""
    folders = (".github/workflows", "examples/workflows", "snapseed/starter/*/.github/workflows")
    return sorted(path for folder in folders for path in ROOT.glob(f"{folder}/*.yml"))


def all_scripts() -> dict[str, Script]:
    """Every script by its name: in the action, in workflows, and in the YAML of pages."""
    found = list(_of_steps("action.yml", load(ROOT / "action.yml")["runs"]["steps"], {}))
    for path in workflow_files():
        found += _of_workflow(path.relative_to(ROOT).as_posix(), load(path))
    for page in sorted(DOCS.glob("*.md")):
        for block in blocks_of(page):
            if block.language == "yaml":
                found += _of_page(page.relative_to(ROOT).as_posix(), yaml.safe_load(block.text))
    by_name = {script.name: script for script in found}
    assert len(by_name) == len(found), "two scripts have the same name"
    return by_name


def load(path: Path) -> Any:  # noqa: ANN401 - YAML can be anything
    """The document in a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _of_page(page: str, document: Any) -> Iterator[Script]:  # noqa: ANN401 - as above
    """The scripts of steps or of a workflow for GitHub, or of jobs for GitLab."""
    if isinstance(document, list):
        yield from _of_steps(page, document, {})
        return
    if "jobs" in document:
        yield from _of_workflow(page, document)
        return
    for job, table in document.items():
        if isinstance(table, dict) and "script" in table:
            lines = [*table.get("before_script", []), *table["script"]]
            variables = {name: str(value) for name, value in table.get("variables", {}).items()}
            yield Script(f"{page}: {job}", "\n".join(lines), "bash", variables)


def _of_workflow(file: str, document: Any) -> Iterator[Script]:  # noqa: ANN401 - as above
    for job, table in document["jobs"].items():
        variables = {**document.get("env", {}), **table.get("env", {})}
        yield from _of_steps(f"{file}: {job}", table.get("steps", []), variables)


def _of_steps(place: str, steps: Any, variables: Mapping[str, str]) -> Iterator[Script]:  # noqa: ANN401 - as above
    for step in steps:
        if "run" in step:
            assert step.get("name"), f"{place}: a step with a script has a name"
            values = {name: str(value) for name, value in {**variables, **step.get("env", {})}.items()}
            directory = step.get("working-directory", ".")
            yield Script(f"{place}: {step['name']}", step["run"], step.get("shell", ""), values, directory)


@dataclass
class Runner:
    """What a runner provides: a folder for temporary files, the files that scripts write to, the PATH between steps.

    `expressions` has the values of `${{ … }}`. A missing one that a script needs is an error.
    """

    temporary: Path
    workspace: Path
    path: str
    expressions: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    summary: str = ""

    def run(self, script: Script, *, exit_code: int = 0, prelude: str = "") -> tuple[str, dict[str, str]]:
        """Execute the script as the runner would; return what it printed, and its outputs."""
        assert not _EXPRESSION.search(script.text), f"{script.name}: pass values in variables, never in the script"
        files = {
            name: self.temporary / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        }
        for file in files.values():
            file.write_text("")
        source = self.temporary / "script.sh"
        source.write_text(prelude + script.text)
        # https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax: shell
        command = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}[script.shell]
        variables = {
            "PATH": self.path,
            "HOME": os.environ["HOME"],
            "LANG": "C.UTF-8",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": str(self.temporary),
            # A script that asks a registry for a package fails: everything is already here.
            "PIP_NO_INDEX": "1",
            # A pytest in a script closes the folder of its temporary files, so it must not be the one of this run.
            "PYTEST_DEBUG_TEMPROOT": str(self.temporary),
            **{name: str(file) for name, file in files.items()},
            **{name: self.evaluated(value) for name, value in script.variables.items()},
            **self.variables,
        }
        done = subprocess.run(
            [*command, str(source)],
            cwd=self.workspace / self.evaluated(script.directory),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == exit_code, f"{script.name} ended with {done.returncode}\n{done.stdout}"
        self.path = os.pathsep.join([*reversed(files["GITHUB_PATH"].read_text().split()), self.path])
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        return done.stdout, dict(line.split("=", 1) for line in lines)

    def evaluated(self, text: str) -> str:
        """The text with its expressions replaced by their values."""
        return _EXPRESSION.sub(lambda match: self.expressions[match[1]], text)
