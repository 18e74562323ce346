"""The reference of the command line, generated from the commands: `python -m tests.docs.commands`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from snapseed.cli.app import COMMAND

HEADER = """\
# Commands

Generated from the commands by `python -m tests.docs.commands > docs/commands.md`; do not edit.
Results go to stdout, progress and messages to stderr.
With `--format json`, stdout is one JSON document with `"format": 1`.

Exit codes: `0` done · `1` a check ran and something differs · `2` usage, configuration or snapshot is wrong ·
`3` a guard refused · `4` the server failed or cannot be reached (worth a retry) ·
`130` Ctrl-C · `143` SIGTERM.
"""
# An option that this many commands have, with the same help, is described once, at the end.
SHARED_BY = 5


def reference() -> str:
    """The text of docs/commands.md."""
    commands = list(_commands(COMMAND, "snapseed"))
    uses = Counter(_option(parameter) for _, command in commands for parameter in _options(command))
    shared = [option for option, count in uses.items() if count >= SHARED_BY]
    parts = [HEADER]
    for path, command in commands:
        arguments = [parameter for parameter in command.params if not parameter.opts[0].startswith("-")]
        usage = " ".join([path, *(_argument(parameter) for parameter in arguments)])
        names = [_option(parameter) for parameter in _options(command)]
        parts.append(f"## `{usage}`\n\n{' '.join(command.help.split())}\n")
        own = [f"- {option}" for option in names if option not in shared]
        common = [option.partition(" — ")[0] for option in names if option in shared]
        also = [f"- also: {', '.join(common)}"] if common else []
        parts.append("\n".join([*own, *also]) + "\n")
    parts.append("## Options that many commands share\n")
    parts.append("\n".join(f"- {option}" for option in shared) + "\n")
    parts.append(
        "`snapseed --version` shows the version; `snapseed --install-completion` makes the shell complete names.\n"
    )
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer does not export its classes
    """Every command below `command`, with the words that call it."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, f"{path} {name}")


def _argument(parameter: Any) -> str:  # noqa: ANN401 - as above
    """`NAME`, or `[NAME]` if it may be omitted."""
    name = (parameter.metavar or parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _options(command: Any) -> list[Any]:  # noqa: ANN401 - as above
    return [parameter for parameter in command.params if parameter.opts[0].startswith("-") and not parameter.hidden]


def _option(parameter: Any) -> str:  # noqa: ANN401 - as above
    """`--name`, `-n` VALUE — its help."""
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = ""
    if choices := getattr(parameter.type, "choices", ()):
        value = " " + "|".join(choices)
    elif not parameter.is_flag:
        value = f" {parameter.metavar or ('DIR' if parameter.type.name == 'path' else 'N')}"
    words = f" Default: `{parameter.default}`." if parameter.default not in {None, False} else ""
    return f"{names}{value} — {parameter.help}{words}"


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 - its result is what it prints
