"""The options that commands share, each written once.

A command names those it has, and `in_project` calls it with one frozen `Run` that holds what was parsed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from snapseed.cli import console
from snapseed.cli.console import Format, ResultFormat
from snapseed.config import Environment, Project, find_project
from snapseed.errors import SnapseedError


def _environment_names(incomplete: str) -> list[str]:
    """What the shell completes an environment's name to."""
    try:
        return [name for name in find_project().environments if name.startswith(incomplete)]
    except SnapseedError:
        return []


@dataclass(frozen=True)
class Option:
    """One option or argument: the parameter's name, and its type and default as Typer reads them.

    `is_setting`: it has the name of a setting of the environment and replaces it.
    """

    name: str
    annotation: Any
    default: object = None
    is_setting: bool = False


OptionalEnvironment = Annotated[
    str | None,
    typer.Argument(help="The environment (default: default_environment).", autocompletion=_environment_names),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show log messages, and tracebacks of failures.")]
# Options that some commands have, with values of their own.
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="ENTITY", help="Only this entity (repeat, or separate by commas)."),
]

# What commands share, in the order of the help text.
REQUIRED_ENVIRONMENT = Option(
    "environment",
    Annotated[str, typer.Argument(help="The environment.", autocompletion=_environment_names)],
    Parameter.empty,
)
ENVIRONMENT = Option("environment", OptionalEnvironment)
RETRIES = Option(
    "retries",
    Annotated[int | None, typer.Option(min=0, help="Attempts after the first, if a failure may pass (default: 20).")],
    is_setting=True,
)
TIMEOUT = Option(
    "timeout",
    Annotated[str | None, typer.Option(metavar="TIME", help="Start no attempt after this time (default: 2min).")],
    is_setting=True,
)
ALLOW_HOST = Option(
    "allow_host",
    Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Allow this server in addition to allow_hosts (repeat for several)."),
    ],
)
YES = Option(
    "yes", Annotated[bool, typer.Option("--yes", "-y", help="Replace rows that snapseed did not load.")], False
)
DATABASE = Option(
    "database",
    Annotated[str | None, typer.Option(metavar="URL", help="Override the environment's database.")],
    is_setting=True,
)
SNAPSHOT = Option(
    "snapshot",
    Annotated[str | None, typer.Option(metavar="NAME", help="Override the environment's snapshot.")],
    is_setting=True,
)
_PROJECT = Option(
    "project",
    Annotated[Path | None, typer.Option(help="The project folder (default: this folder or the nearest one above).")],
)
_ENV_FILE = Option(
    "env_file",
    Annotated[Path | None, typer.Option(metavar="FILE", help="Read variables that are not set from this file.")],
)
RESULT = Option(
    "output",
    Annotated[ResultFormat, typer.Option("--format", help="How to write the result to stdout.")],
    ResultFormat.text,
)
CHECKS = Option(
    "output",
    Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to write the result to stdout (default: github in GitHub Actions, otherwise text)."
        ),
    ],
)
QUIET = Option(
    "quiet", Annotated[bool, typer.Option("--quiet", "-q", help="Show only the result, no progress.")], False
)
_VERBOSE = Option("verbose", Verbose, False)
_ORDER = (
    *("environment", "retries", "timeout", "allow_host", "yes", "database", "snapshot"),
    *("project", "env_file", "output", "quiet", "verbose"),
)
# A command that writes to the environment's database, and is guarded.
WRITES = (REQUIRED_ENVIRONMENT, ALLOW_HOST, YES, DATABASE, SNAPSHOT)


@dataclass(frozen=True)
class Run:
    """One call of a command: what its shared options say. `consent` is --yes."""

    project: Project
    output: Format
    quiet: bool
    consent: bool
    name: str | None
    settings: Mapping[str, object]
    hosts: tuple[str, ...]

    @property
    def environment(self) -> Environment:
        """The environment that was named, or the default one, with the settings that options override.

        Raises `UsageError` if there is no such environment, `ConfigurationError` if its settings are wrong.
        """
        return self.project.environment(self.name, self.settings).allowing(self.hosts)

    def note(self, text: str) -> None:
        """Show a line of progress, unless --quiet."""
        if not self.quiet:
            console.note(text)


def in_project(*options: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options, and --project, --env-file and --verbose, which all have.

    The command is a function of a `Run` and its own parameters. Typer reads the signature of the wrapper: the
    environment, the command's own parameters, then the shared ones. A failure is shown in the format that was asked
    for, and ends the process with its exit code.
    """
    used = sorted([*options, _PROJECT, _ENV_FILE, _VERBOSE], key=lambda option: _ORDER.index(option.name))
    shared = [
        Parameter(option.name, Parameter.KEYWORD_ONLY, default=option.default, annotation=option.annotation)
        for option in used
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter.replace(kind=Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        ]
        parameters = [
            *(parameter for parameter in shared if parameter.name == "environment"),
            *own,
            *(parameter for parameter in shared if parameter.name != "environment"),
        ]

        @functools.wraps(command)
        def call(**values: Any) -> None:  # noqa: ANN401 - whatever Typer has parsed
            given = {option.name: values.pop(option.name) for option in used}
            output = console.chosen_format(given.get("output", ResultFormat.text))
            with console.reporting(output, verbose=given["verbose"]):
                run = Run(
                    project=find_project(given["project"], given["env_file"]),
                    output=output,
                    quiet=given.get("quiet", False),
                    consent=given.get("yes", False),
                    name=given.get("environment"),
                    settings={option.name: given[option.name] for option in used if option.is_setting},
                    hosts=tuple(given.get("allow_host") or ()),
                )
                command(run, **values)

        # Typer asks `inspect` for the signature, and `typing` for the annotations.
        call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del call.__wrapped__
        return call

    return decorate


def entity_names(only: list[str] | None) -> tuple[str, ...]:
    """The names in `--only a,b --only c`."""
    return tuple(name.strip() for text in only or [] for name in text.split(",") if name.strip())
