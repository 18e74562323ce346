"""Every command and option has help, which shows at once; shells complete names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snapseed.cli.app import COMMAND
from tests.command_line import run_command

HEAVY = ("numpy", "polars", "psycopg", "pyarrow", "redis", "rich")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - click's, or typer's copy
    """The path of every command, groups included."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = [" ".join(path) for path in commands(COMMAND)]


def at(path: tuple[str, ...]) -> Any:  # noqa: ANN401 - as above
    """The command at this path."""
    command: Any = COMMAND
    for name in path:
        command = command.commands[name]
    return command


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process."""
    return run_command(arguments, cwd, {**os.environ, **variables}, timeout_seconds=60)


def test_the_commands_of_the_design_are_there() -> None:
    """Removing a command is a decision, and takes a change here."""
    assert {"init", "generate", "load", "verify", "diff", "ci", "status", "show", "doctor"} <= set(ALL)
    assert {"db start", "db stop", "db drop", "db logs", "db url", "db psql"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_help(name: str) -> None:
    """A sentence for the command, and one for each of its options and arguments."""
    command = at(tuple(name.split()))
    assert command.help
    assert command.help.strip().endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", ["", "db", "queue"])
def test_a_list_of_commands_fits_80_columns(name: str, tmp_path: Path) -> None:
    """No description is cut."""
    shown = run(*name.split(), "--help", cwd=tmp_path, COLUMNS="80").stdout
    _, commands_shown = shown.split("Commands:\n")
    assert max(map(len, shown.splitlines())) <= 80
    assert "..." not in commands_shown


@pytest.mark.parametrize("name", ["", "db", "queue"])
def test_a_group_without_a_command_shows_its_help(name: str, tmp_path: Path) -> None:
    """Once, with exit code 2 because nothing was done."""
    shown, asked = run(*name.split(), cwd=tmp_path), run(*name.split(), "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(asked.stdout)
    assert shown.stderr.count("Usage:") == 1


@pytest.mark.parametrize("name", ["", "load", "db psql"])
def test_help_lists_every_option(name: str, tmp_path: Path) -> None:
    """--help and -h print the same, on stdout, with exit code 0, also outside a project."""
    path = tuple(name.split())
    shown = run(*path, "--help", cwd=tmp_path, COLUMNS="200")
    assert shown.returncode == 0
    assert shown.stderr == ""
    assert shown.stdout == run(*path, "-h", cwd=tmp_path, COLUMNS="200").stdout
    for parameter in at(path).params:
        for option in parameter.opts if parameter.param_type_name == "option" else []:
            assert option in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--help"], {}),
        (["load", "--help"], {}),
        (["--version"], {}),
        ([], {"_SNAPSEED_COMPLETE": "complete_bash", "COMP_WORDS": "snapseed load d", "COMP_CWORD": "2"}),
    ],
    ids=["help", "help of a command", "version", "completion"],
)
def test_help_and_completion_import_no_heavy_library(
    tmp_path: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    """What is quick stays quick."""
    (tmp_path / "snapseed.toml").write_text("[environments.dev]\n")
    script = (
        "import sys, json\nfrom snapseed.cli import main\nsys.argv[0] = 'snapseed'\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"json.dump([name for name in {HEAVY!r} if name in sys.modules], sys.stderr)"
    )
    command = [sys.executable, "-c", script, *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout
    assert json.loads(done.stderr) == []


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


@pytest.mark.parametrize("command", ["load", "ci", "status", "worker", "db psql", "queue retry"])
def test_completion_knows_the_environments_of_the_project(tmp_path: Path, command: str) -> None:
    """The names in snapseed.toml that begin like the word, for every kind of command."""
    (tmp_path / "snapseed.toml").write_text("[environments.dev]\n[environments.demo]\n[environments.ci]\n")
    assert completed(f"{command} de", tmp_path) == ["dev", "demo"]


def test_completion_knows_the_snapshots_and_their_entities(tmp_path: Path) -> None:
    """By the manifests of the project. One that cannot be read completes nothing, and prints nothing."""
    (tmp_path / "snapseed.toml").write_text("[environments.dev]\n")
    for name, entities in (("big", ["users", "orders"]), ("bare", ["users", "units"])):
        manifest = {"name": name, "entities": [{"name": entity} for entity in entities]}
        (tmp_path / "snapshots" / name).mkdir(parents=True)
        (tmp_path / "snapshots" / name / "manifest.json").write_text(json.dumps(manifest))
    assert completed("load --snapshot b", tmp_path) == ["bare", "big"]
    assert completed("verify dev --only u", tmp_path) == ["units", "users"]
    assert completed("show dev u", tmp_path) == ["units", "users"]
    (tmp_path / "snapshots/big/manifest.json").write_text('{"entities": 3}')
    assert completed("verify dev --only u", tmp_path) == []


def completed(line: str, folder: Path) -> list[str]:
    """What the shell offers for the last word of a line."""
    program = Path(sys.executable).with_name("snapseed")
    completion = {"COMP_WORDS": f"snapseed {line}", "COMP_CWORD": str(len(line.split()))}
    environment = {**os.environ, **completion, "_SNAPSEED_COMPLETE": "complete_bash"}
    done = subprocess.run([program], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()
