"""The options that commands share, each written once, as a field of `Options`.

A command names those it has, and `in_project` calls it with one frozen `Call` that holds what was parsed.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from snapseed.cli import console
from snapseed.cli.console import DiffFormat, Format, ResultFormat
from snapseed.config import Environment, Project, find_project
from snapseed.config.settings import unknown_variables
from snapseed.errors import SnapseedError, UsageError, extra
from snapseed.events import Listener
from snapseed.redaction import redacted

if TYPE_CHECKING:
    from snapseed.cluster.executor import ClusterExecutor


# What a typing error must not lead to.
_DANGEROUS = {"--yes", "--unlogged", "--recreate", "--no-verify", "--with-children", "--unmasked", "--include-filled"}


class Commands(TyperGroup):
    """All commands. None takes an empty text: `--only "$ENTITY"` without that variable must not mean all entities."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer does not export its class
        """Refuse empty arguments, at any depth, before anything is parsed."""
        for before, argument in pairwise(["", *args]):
            option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "=", argument)
            if equals and not value.strip():
                name = option if option.startswith("-") else "an argument"
                raise typer.BadParameter(f"{name} is empty; is a variable of your shell not set?", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer does not export its class
        """Run the command. An unknown option never suggests one that could lose something."""
        try:
            return super().invoke(ctx)
        except Exception as exc:
            # Typer does not export the class of this error either.
            unknown: Any = exc
            if close := getattr(exc, "possibilities", None):
                # The closest comes first.
                unknown.possibilities = [name for name in close if not {name, close[0]} & _DANGEROUS]
            if getattr(exc, "option_name", None) in {"--env", "--environment"}:
                unknown.possibilities = []
                unknown.message += "; the environment is named without an option: snapseed load dev"
            raise


def environment_names(incomplete: str) -> list[str]:
    """What the shell completes an environment's name to."""
    try:
        return [name for name in find_project().environments if name.startswith(incomplete)]
    except SnapseedError:
        return []


def state_names(context: typer.Context, incomplete: str) -> list[str]:
    """What the shell completes the name of a state to: nothing unless the server runs and answers at once."""
    # Whatever goes wrong: it would be printed into the command that is being typed.
    with suppress(Exception):
        given = context.params
        project = find_project(given.get("project"), given.get("env_file"))
        environment = project.environment(given.get("environment"), {"database": given.get("database")})
        from snapseed.testing.states import names_at_once

        return [name for name in names_at_once(project, environment) if name.startswith(incomplete)]
    return []


def in_manifests(*, entities: bool) -> Callable[[str], list[str]]:
    """What the shell completes the name of a snapshot, or of an entity in one, to. Reads no more than the manifests."""

    def complete(incomplete: str) -> list[str]:
        """The names that begin like this; none if something cannot be read."""
        with suppress(SnapseedError, OSError, ValueError, LookupError, TypeError):
            folder = find_project().snapshots.folder
            manifests = (json.loads(file.read_bytes()) for file in folder.glob("*/manifest.json"))
            named = [item for each in manifests for item in (each["entities"] if entities else [each])]
            return sorted({item["name"] for item in named if item["name"].startswith(incomplete)})
        return []

    return complete


EnvironmentName = Annotated[
    str | None,
    typer.Argument(help="The environment (default: default_environment).", autocompletion=environment_names),
]
_VERBOSE = "Show log messages, and tracebacks of failures."
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help=_VERBOSE)]
# Of a command that passes `-v` on.
LongVerbose = Annotated[bool, typer.Option("--verbose", help=_VERBOSE)]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="ENTITY",
        help="Only this entity (repeat, or separate with commas).",
        autocompletion=in_manifests(entities=True),
    ),
]
# The options of a command that writes to the environment's database, which a guard may refuse.
WRITES = ("environment", "allow_host", "yes", "database", "snapshot")
# The options of every command in a project.
_ALWAYS = ("project", "env_file", "verbose")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The shared options, in the order of the help text. `results`, `checks` and `differences` are kinds of --format.

    A command has at most one of these.
    """

    environment: EnvironmentName = None
    retries: Annotated[
        int | None,
        typer.Option(min=0, help="Attempts after the first, while a failure may be temporary (default: 20)."),
    ] = None
    timeout: Annotated[str | None, "TIME", "Start no attempt after this time (default: 2min)."] = None
    allow_host: Annotated[
        list[str] | None, "HOST", "Allow this server in addition to allow_hosts (repeat for several)."
    ] = None
    connections: Annotated[
        int | None,
        typer.Option(min=1, help="Connections that fill partitioned tables (default: 1). See the plan of --dry-run."),
    ] = None
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace rows that snapseed did not load.")] = False
    database: Annotated[str | None, "URL", "Override the environment's database."] = None
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="The database to capture (default: `source`).")
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Override the environment's snapshot.",
            autocompletion=in_manifests(entities=False),
        ),
    ] = None
    cluster: Annotated[
        str | None, "ADDRESS", "The Dask cluster to work on: tcp://…, local or none (default: `cluster`)."
    ] = None
    project: Annotated[Path | None, "The project folder (default: this folder or the nearest one above)."] = None
    env_file: Annotated[Path | None, "FILE", "Read variables that are not set from this file."] = None
    results: Annotated[ResultFormat, typer.Option("--format", help="How to write the result to stdout.")] = "text"
    checks: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How to write the result to stdout (default: github in GitHub Actions, otherwise text)."
        ),
    ] = None
    differences: Annotated[DiffFormat, typer.Option("--format", help="How to write the result to stdout.")] = "text"
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only the result, no progress.")] = False
    verbose: Verbose = False


def _parameters(function: Callable[..., object]) -> list[Parameter]:
    """The parameters as Typer reads them.

    One with texts in its annotation is an option named like it: the last is its help, one before that its metavar.
    """

    def of_typer(parameter: Parameter) -> Parameter:
        """The parameter, with such texts turned into an option of Typer's."""
        kind, *texts = get_args(parameter.annotation) or (parameter.annotation,)
        if not (texts and isinstance(texts[0], str)):
            return parameter
        # With its name, a flag has no opposite.
        names = [f"--{parameter.name.replace('_', '-')}"] if kind is bool else []
        *metavar, text = texts
        option = typer.Option(*names, metavar=metavar[0] if metavar else None, help=text)
        return parameter.replace(annotation=Annotated[kind, option])

    return [of_typer(parameter) for parameter in inspect.signature(function, eval_str=True).parameters.values()]


_PARAMETERS = _parameters(Options)


@dataclass(frozen=True)
class Call:
    """One call of a command: its project, the format of its output, and its shared options."""

    project: Project
    output: Format | DiffFormat
    options: Options

    @property
    def environment(self) -> Environment:
        """The environment that was named, or the default one, with the settings that options override.

        Raises `UsageError` if there is no such environment, `ConfigurationError` if its settings are wrong.
        """
        given = self.options
        names = ("database", "source", "snapshot", "retries", "timeout", "connections")
        environment = self.project.environment(given.environment, {name: getattr(given, name) for name in names})
        return environment.changed(allow_hosts=(*environment.allow_hosts, *(given.allow_host or ())))

    @contextmanager
    def executor(
        self, jobs: int, listener: Listener, *, shared_by: str | None = None
    ) -> Iterator[ClusterExecutor | None]:
        """That of the cluster to work on; None to work on this machine, as without `cluster` or jobs.

        `shared_by` is the option that says for how many connections a cluster has work; it has none for a single one.
        """
        address = self.options.cluster or self.project.cluster or "none"
        if jobs == 1 and shared_by and self.options.cluster not in {None, "none"}:
            raise UsageError(
                "over one connection there is nothing to share with a cluster",
                observed=f"--cluster {address}",
                next_step=f"add {shared_by} with how many tasks may be connected at a time, or leave --cluster out",
            )
        if address == "none" or jobs < (2 if shared_by else 1):
            yield None
            return
        with extra("cluster", "Dask, which --cluster needs, is"):
            from snapseed.cluster.connect import on_cluster
        with on_cluster(address, self.project, self.environment.snapshots, jobs=jobs, listener=listener) as executor:
            yield executor

    def of(self, environment: str | None) -> Call:
        """The same call for another environment; None is the default one."""
        return replace(self, options=replace(self.options, environment=environment))

    def again(self, command: str, *arguments: str, only: Sequence[str] | None = ()) -> str:
        """The line that runs another command in the same place: it repeats the options that say where."""
        given = self.options
        where = {"--only": ",".join(only or ()), "--project": given.project, "--env-file": given.env_file}
        where["--database"] = None if command in {"generate", "capture"} else given.database
        where["--snapshot"] = None if command == "db psql" else given.snapshot
        options = [part for name, value in where.items() if value for part in (name, redacted(str(value)))]
        environment = given.environment or self.project.default_environment
        return shlex.join(["snapseed", *command.split(), environment, *arguments, *options])

    def located(self, step: str, only: Sequence[str] | None) -> str:
        """A next step in which commands for an environment repeat the options that say where."""
        names = "|".join(map(re.escape, self.project.environments))
        command = rf"snapseed (generate|capture|load|diff|verify) ({names})(?: --snapshot [\w.-]+)?(?![\w-])"
        return re.sub(command, lambda found: self.of(found[2]).again(found[1], only=only), step)

    def with_second(self, argument: str | None) -> tuple[Call, str | None]:
        """The call, and the argument after its environment. A single one that names no environment is that argument."""
        if argument is None and self.options.environment not in {None, *self.project.environments}:
            return self.of(None), self.options.environment
        return self, argument

    def note(self, text: str) -> None:
        """Show a line of progress, unless --quiet."""
        if not self.options.quiet:
            console.note(text)

    def show(self, lines: Iterable[str], document: dict[str, object]) -> None:
        """Write a result to stdout, for people or for programs."""
        if self.output == "json":
            console.to_stdout(console.as_json(document))
        else:
            console.write(*lines)


def in_project(*names: str, verbose: object = Verbose) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these shared options, and --project, --env-file and --verbose, which all have.

    The command is a function of a `Call` and its own parameters. Typer reads the signature of the wrapper: the
    environment, the command's own parameters, then the shared ones. A failure is shown in the format that was asked
    for, and ends the process with its exit code.
    """
    shared = [parameter for parameter in _PARAMETERS if parameter.name in {*names, *_ALWAYS}]
    assert len(shared) == len(names) + len(_ALWAYS), names
    shared = [each.replace(annotation=verbose) if each.name == "verbose" else each for each in shared]
    leading = [parameter for parameter in shared if parameter.name == "environment"]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        """The command with the shared options in its signature, which Typer reads."""
        own = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in _parameters(command)[1:]]
        parameters = [*leading, *own, *shared[len(leading) :]]

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:  # noqa: ANN401 - whatever Typer has parsed
            """Find the project and run the command in it."""
            options = Options(**{parameter.name: values.pop(parameter.name) for parameter in shared})
            output: Format | DiffFormat = options.differences if "differences" in names else options.results
            if "checks" in names:
                output = options.checks or ("github" if console.is_in_github_actions() else "text")
            files = {name: values.get(name) for name in ("report", "junit")}
            with console.reporting(output, verbose=options.verbose, **files):
                project = find_project(options.project, options.env_file)
                for warning in unknown_variables(project.file):
                    console.note(f"warning: {warning}")
                call = Call(project, output, options)
                try:
                    command(call, **values)
                except SnapseedError as exc:
                    exc.next_step = exc.next_step and call.located(exc.next_step, values.get("only"))
                    raise

        # Typer asks `inspect` for the signature, and `typing` for the annotations.
        wrapper.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del wrapper.__wrapped__
        return wrapper

    return decorate


def entity_names(only: list[str] | None) -> tuple[str, ...]:
    """The names in `--only a,b --only c`. Raises `UsageError` for an empty one, which must not mean all."""
    names = tuple(name.strip() for text in only or [] for name in text.split(","))
    if "" in names:
        raise UsageError("the name of an entity is empty", observed=f"--only {','.join(only or [])!r}")
    return names
