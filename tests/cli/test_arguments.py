"""What is left out has one meaning, and what is empty has none."""

from __future__ import annotations

import pytest

from tests.cli.test_help import ALL, at
from tests.conftest import Sandbox

COMMANDS = [name for name in ALL if name and not hasattr(at(tuple(name.split())), "commands")]
EMPTY = [
    *(["load", *words] for words in ([""], [" "], ["dev", ""], ["--only", ""], ["--only="], ["--only", " "])),
    *(["load", "--only", names] for names in (",", "orders,", "orders,,customers")),
    *(["load", option, ""] for option in ("--snapshot", "--database", "--allow-host", "--project", "--env-file")),
    ["generate", "--scale", ""],
    ["show", "dev", ""],
    ["search", ""],
    ["search", "dev", "  "],
    ["ci", "--report", ""],
    ["db", "url", ""],
    ["queue", "status", ""],
    ["init", ""],
]


@pytest.mark.parametrize("arguments", EMPTY, ids=" ".join)
def test_an_empty_text_is_an_error(arguments: list[str], shop: Sandbox) -> None:
    """As an option or by its place, in any command: an unset variable of a shell must not mean everything."""
    shown = shop.run(*arguments)
    assert shown.returncode == 2, shown.stdout
    assert "empty" in shown.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_needs_the_name_of_an_environment(name: str) -> None:
    """It defaults to default_environment (in `status`, to all), and the help says so."""
    for parameter in at(tuple(name.split())).params:
        if parameter.name == "environment":
            assert not parameter.required
            assert ("default: all" if name == "status" else "default: default_environment") in parameter.help


def test_commands_without_an_environment_use_the_default_one(shop: Sandbox) -> None:
    """Those that write as well, and those with other arguments."""
    shop.run("load", check=True)
    assert shop.run("verify", check=True).stdout
    assert shop.run("diff").returncode == 0
    assert "customers" in shop.run("show", check=True).stdout
    assert shop.run("show", "orders", check=True).stdout == shop.run("show", "dev", "orders", check=True).stdout
    shown = shop.run("search", "how to bake bread")
    assert "[embeddings]" in shown.stderr


def test_a_search_needs_a_question(shop: Sandbox) -> None:
    """The name of an environment alone would be one."""
    shown = shop.run("search")
    assert shown.returncode == 2
    assert "question" in shown.stderr


def test_parents_of_all_entities_are_a_mistake(shop: Sandbox) -> None:
    """--with-parents without --only asks for nothing."""
    shown = shop.run("load", "dev", "--with-parents")
    assert shown.returncode == 2
    assert "--only" in shown.stderr


def test_the_commands_that_need_no_server_need_no_variable_for_it(shop: Sandbox) -> None:
    """`doctor` and `status` report it; only what connects fails, with exit code 2."""
    settings = shop.folder / "snapseed.toml"
    settings.write_text(settings.read_text() + '\n[environments.away]\nsnapshot = "dev"\ndatabase = "${AWAY_URL}"\n')
    away = Sandbox(shop.folder, "")
    for command in (["generate", "away", "--scale", "5"], ["generate", "away", "--check"], ["show", "away"]):
        away.run(*command, check=True)
    away.run("verify", "away", "--offline", check=True)
    for command in (["load"], ["verify"], ["diff"], ["ci"], ["db", "url"], ["db", "start"], ["reset"]):
        shown = away.run(*command, "away")
        assert shown.returncode == 2, command
        assert "AWAY_URL" in shown.stderr
    shown = away.run("doctor", "away", "--format", "json")
    assert shown.returncode == 1
    assert "AWAY_URL" in shown.stdout
    assert "generators" in shown.stdout
    assert "AWAY_URL" in away.run("status", check=True).stdout


def test_a_variable_that_is_no_setting_is_named_on_stderr(shop: Sandbox) -> None:
    """The command runs; its result is as without the variable."""
    shown = shop.run("show", SNAPSEED_DATABSE="x", check=True)
    assert "SNAPSEED_DATABASE" in shown.stderr
    assert shown.stdout == shop.run("show", check=True).stdout
