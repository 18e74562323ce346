"""The options that many commands share, and completion of environment names."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from snapseed.config import find_project
from snapseed.errors import SnapseedError


class Format(StrEnum):
    """How a result is written to stdout."""

    text = "text"
    json = "json"


class CheckFormat(StrEnum):
    """How the result of checks is written to stdout."""

    text = "text"
    json = "json"
    junit = "junit"
    github = "github"


def _environment_names(incomplete: str) -> list[str]:
    try:
        return [name for name in find_project().environments if name.startswith(incomplete)]
    except SnapseedError:
        return []


EnvironmentName = Annotated[str, typer.Argument(help="The environment.", autocompletion=_environment_names)]
OptionalEnvironment = Annotated[
    str | None,
    typer.Argument(help="The environment (default: default_environment).", autocompletion=_environment_names),
]
ProjectFolder = Annotated[Path | None, typer.Option("--project", help="The project folder (default: here or above).")]
EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Take variables that are not set from this file (.env)."),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="How to write the result to stdout.")]
CheckOutputFormat = Annotated[
    CheckFormat | None,
    typer.Option("--format", help="How to write the result to stdout (default: github in GitHub Actions, else text)."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show log messages, and tracebacks of failures.")]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="ENTITY", help="This entity alone; repeat, or separate by commas.")
]
Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="This database instead of the environment's.")
]
Snapshot = Annotated[
    str | None, typer.Option("--snapshot", metavar="NAME", help="This snapshot instead of the environment's.")
]
# The words of `load.plan.Mode`, whose module would cost the help text the import of pyarrow.
LoadMode = Annotated[
    Literal["replace", "append", "upsert"], typer.Option("--mode", help="What becomes of the rows that are there.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace rows that snapseed did not load.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="HOST", help="A server that may be loaded into, beside allow_hosts; repeat."),
]


def entity_names(only: list[str] | None) -> tuple[str, ...]:
    """The names in `--only a,b --only c`."""
    return tuple(name.strip() for text in only or [] for name in text.split(",") if name.strip())
