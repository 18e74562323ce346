"""Every command and option explains itself, at once, in every shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from snapseed.cli.app import app
from tests.command_line import run_command

HEAVY = ("numpy", "polars", "psycopg", "pyarrow", "redis", "rich")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - click's, or typer's copy
    """The path of every command, groups included."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def at(path: tuple[str, ...]) -> Any:  # noqa: ANN401 - as above
    """The command at this path."""
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return command


ALL = [" ".join(path) for path in commands(typer.main.get_command(app))]


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process."""
    return run_command(arguments, cwd, {**os.environ, **variables}, timeout_seconds=60)


def test_the_commands_of_the_design_are_there() -> None:
    """Whoever takes a command away has to say so here."""
    assert {"init", "generate", "load", "verify", "diff", "ci", "status", "show", "doctor"} <= set(ALL)
    assert {"db start", "db stop", "db url", "db psql"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(name: str) -> None:
    """A sentence for the command, and one for each of its options and arguments."""
    command = at(tuple(name.split()))
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", ["", "load", "db psql"])
def test_help_lists_every_option(name: str, tmp_path: Path) -> None:
    """--help and -h print the same, on stdout, with exit code 0, outside of any project."""
    path = tuple(name.split())
    shown = run(*path, "--help", cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert shown.stdout == run(*path, "-h", cwd=tmp_path, COLUMNS="200").stdout
    for parameter in at(path).params:
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert option in shown.stdout


def test_help_imports_no_heavy_library(tmp_path: Path) -> None:
    """Nor do the version, an unknown command and a project that is not there: what is quick stays quick."""
    script = (
        "import sys, json\nfrom snapseed.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"json.dump([name for name in {HEAVY!r} if name in sys.modules], sys.stderr)"
    )
    for arguments in (["--help"], ["load", "--help"], ["--version"]):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(done.stderr) == [], arguments


def test_without_arguments_help_is_shown(tmp_path: Path) -> None:
    """`snapseed` alone says what there is, and that nothing was done: exit code 2."""
    shown = run(cwd=tmp_path)
    assert shown.returncode == 2
    assert "generate" in shown.stdout + shown.stderr


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    """As `snapseed 1.2.3`."""
    from importlib.metadata import version

    assert run("--version", cwd=tmp_path).stdout == f"snapseed {version('snapseed')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_set_up(shell: str, tmp_path: Path) -> None:
    """The script for each shell comes from the console script itself."""
    program = Path(sys.executable).with_name("snapseed")
    environment = {**os.environ, "_SNAPSEED_COMPLETE": f"source_{shell}"}
    command = [str(program)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "_SNAPSEED_COMPLETE" in done.stdout


def test_completion_knows_the_environments_of_the_project(tmp_path: Path) -> None:
    """The names in snapseed.toml that begin as the word does, without a second of waiting."""
    (tmp_path / "snapseed.toml").write_text("[environments.dev]\n[environments.demo]\n[environments.ci]\n")
    program = Path(sys.executable).with_name("snapseed")
    started = time.monotonic()
    environment = {
        **os.environ,
        "_SNAPSEED_COMPLETE": "complete_bash",
        "COMP_WORDS": "snapseed load de",
        "COMP_CWORD": "2",
    }
    done = subprocess.run([str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["dev", "demo"]
    assert time.monotonic() - started < 20
