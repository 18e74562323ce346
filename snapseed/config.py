"""snapseed.toml (or [tool.snapseed] in pyproject.toml) as one frozen `Project`.

Only this module reads the environment variables; a value comes from a flag, else `SNAPSEED_*`, else the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from snapseed.errors import ConfigurationError, UsageError
from snapseed.units import parse_scale, parse_size

FILE_NAME = "snapseed.toml"
# Snapshot and environment names become folder and database names, so they are kept to what is safe in both.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_Table = TypeVar("_Table", bound=msgspec.Struct)
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class ProjectTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[snapseed]`; relative paths start at the project folder."""

    generators: str = "generators"
    snapshots: str = "snapshots"
    schema: str | None = None
    seed: int = 42
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    part_rows: int = 2_500
    default_environment: str = "dev"


class EnvironmentTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[environments.NAME]`."""

    snapshot: str | None = None
    scale: str | int | float | None = None
    database: str = "embedded"
    redis: str = "embedded"
    embeddings: Literal["snapshot"] = "snapshot"
    create_schema: bool = False
    replace_existing: bool = False
    allow_hosts: tuple[str, ...] = ()
    max_size: str | None = None
    lock_timeout: str = "30s"
    statement_timeout: str = "0"


@dataclass(frozen=True)
class Environment:
    """A named target: which snapshot, which database, which Redis.

    `sources` tells, per key, where its value came from, in words for people.
    """

    name: str
    snapshot: str
    scale: int | None
    database: str
    redis: str
    embeddings: str
    create_schema: bool
    replace_existing: bool
    allow_hosts: tuple[str, ...]
    max_size: int | None
    lock_timeout: str
    statement_timeout: str
    sources: Mapping[str, str] = field(default_factory=dict)

    def allowing(self, hosts: Sequence[str] | None) -> Environment:
        """The same, with `hosts` among those that may be loaded into."""
        return replace(self, allow_hosts=(*self.allow_hosts, *(hosts or ())))


@dataclass(frozen=True)
class Project:
    """The folder that holds snapseed.toml, and what the file says. Picklable, so that worker processes get it whole."""

    folder: Path
    file: Path
    generators: Path
    snapshots: Path
    schema: Path | None
    seed: int
    now: datetime
    part_rows: int
    default_environment: str
    environments: Mapping[str, EnvironmentTable]

    def environment(self, name: str | None = None, overrides: Mapping[str, Any] | None = None) -> Environment:
        """The environment `name` (default: `default_environment`) with flags and variables applied.

        Raises `UsageError` for a name that the file does not define, and `ConfigurationError` for a value that is
        wrong or a `${VARIABLE}` that is not set and has no default.
        """
        name = name or self.default_environment
        if name not in self.environments:
            known = ", ".join(self.environments)
            raise UsageError(
                f"there is no environment named {name!r}",
                observed=name,
                expected=f"one of: {known}",
                where=str(self.file),
                next_step=_suggestion(name, list(self.environments)) or f"add a table [environments.{name}]",
            )
        return _resolve_environment(self, name, overrides or {})


def find_project(start: Path | None = None) -> Project:
    """The project that `start` (default: `SNAPSEED_PROJECT`, else the working folder) lies in.

    Looks in the folder itself and then in each one above it. Raises `UsageError` where there is none.
    """
    given = start or (Path(os.environ["SNAPSEED_PROJECT"]) if os.environ.get("SNAPSEED_PROJECT") else None)
    folder = (given or Path.cwd()).resolve()
    if given is not None and not folder.is_dir():
        raise UsageError("the project folder does not exist", observed=str(folder), next_step="check --project")
    for candidate in [folder, *folder.parents]:
        if (candidate / FILE_NAME).is_file():
            return _read_project(candidate / FILE_NAME)
        pyproject = candidate / "pyproject.toml"
        if pyproject.is_file() and _is_in_use(_read_toml(pyproject)):
            return _read_project(pyproject)
    raise UsageError(
        "no snapseed project found",
        where=str(folder),
        expected=f"a {FILE_NAME} here or in a folder above (or [tool.snapseed] in pyproject.toml)",
        next_step="run `snapseed init` to make one, or name its folder with --project",
    )


def interpolate(text: str, *, where: str) -> tuple[str, list[str]]:
    """`text` with each `${NAME}` and `${NAME:-default}` filled from the environment, and the names that were used.

    An empty variable counts as not set, as with `:-` in a shell. Raises `ConfigurationError` naming the variable.
    """
    used: list[str] = []

    def fill(match: re.Match[str]) -> str:
        value = os.environ.get(match["name"], "")
        if value:
            used.append(match["name"])
            return value
        if match["default"] is None:
            raise ConfigurationError(
                f"the environment variable {match['name']} is not set",
                where=where,
                expected=f"a value for ${{{match['name']}}}, which has no default",
                next_step=f"set {match['name']}, or write ${{{match['name']}:-default}}",
            )
        return match["default"]

    return _VARIABLE.sub(fill, text), used


def _resolve_environment(project: Project, name: str, overrides: Mapping[str, Any]) -> Environment:
    table = project.environments[name]
    place = f"{project.file.name} [environments.{name}]"
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key in EnvironmentTable.__struct_fields__:
        variable = f"SNAPSEED_{key.upper()}"
        if overrides.get(key) is not None:
            values[key], sources[key] = overrides[key], f"--{key.replace('_', '-')}"
        elif os.environ.get(variable):
            values[key] = _from_variable(key, os.environ[variable], variable)
            sources[key] = variable
        else:
            value = getattr(table, key)
            used: list[str] = []
            if isinstance(value, str):
                value, used = interpolate(value, where=f"{project.file} [environments.{name}] {key}")
            values[key] = value
            sources[key] = f"{place} {key}" + (f", from ${used[0]}" if used else "")
    snapshot = values["snapshot"] or name
    check_name(snapshot, where=sources["snapshot"])
    return Environment(
        name=name,
        sources=sources,
        **{
            **values,
            "snapshot": snapshot,
            "scale": None if values["scale"] is None else parse_scale(values["scale"]),
            "max_size": None if values["max_size"] is None else parse_size(values["max_size"]),
            "allow_hosts": tuple(values["allow_hosts"]),
        },
    )


def _from_variable(key: str, text: str, variable: str) -> object:
    """A variable's text as the type that the same key has in the file; lists are separated by commas."""
    if key == "allow_hosts":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if key in {"create_schema", "replace_existing"}:
        if text.lower() not in {"true", "false", "1", "0"}:
            raise ConfigurationError(f"{variable} is not a boolean", observed=repr(text), expected="true or false")
        return text.lower() in {"true", "1"}
    return text


def check_name(name: str, *, where: str) -> None:
    """Raise `ConfigurationError` unless `name` is safe as the name of a folder and of a database."""
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            "not a valid name for a snapshot or an environment",
            observed=repr(name),
            expected="lower-case letters, digits, '-' and '_', at most 41 of them, beginning with a letter or a digit",
            where=where,
        )


def _read_project(file: Path) -> Project:
    main, environments, prefix = _read_tables(file)
    table = _project_table(main, f"{file} [{prefix}]")
    if not isinstance(environments, dict) or not environments:
        raise ConfigurationError(
            "no environment is defined",
            where=str(file),
            expected="at least one table [environments.NAME]",
            next_step="add [environments.dev]",
        )
    tables = {}
    for name, value in environments.items():
        check_name(name, where=f"{file} [environments.{name}]")
        tables[name] = _convert(value, EnvironmentTable, f"{file} [environments.{name}]")
    if table.default_environment not in tables:
        raise ConfigurationError(
            "there is no default environment",
            where=f"{file} [{prefix}] default_environment",
            observed=f"{table.default_environment!r}, which no table [environments.…] defines",
            expected=f"one of: {', '.join(tables)}",
            next_step=f"add default_environment = {next(iter(tables))!r}",
        )
    folder = file.parent
    return Project(
        folder=folder,
        file=file,
        generators=folder / table.generators,
        snapshots=folder / table.snapshots,
        schema=None if table.schema is None else folder / table.schema,
        seed=table.seed,
        now=table.now.astimezone(UTC),
        part_rows=table.part_rows,
        default_environment=table.default_environment,
        environments=tables,
    )


def _is_in_use(pyproject: dict[str, Any]) -> bool:
    tools = pyproject.get("tool")
    return isinstance(tools, dict) and "snapseed" in tools


def _read_tables(file: Path) -> tuple[Any, Any, str]:
    """The main table, the environments, and how the main table is called."""
    document = _read_toml(file)
    if file.name == "pyproject.toml":
        main = document["tool"]["snapseed"]
        if not isinstance(main, dict):
            return main, {}, "tool.snapseed"
        return {key: main[key] for key in main if key != "environments"}, main.get("environments", {}), "tool.snapseed"
    for key in document:
        if key not in {"snapseed", "environments"}:
            raise _unknown_key(key, ["snapseed", "environments"], f"{file}, top level")
    return document.get("snapseed", {}), document.get("environments", {}), "snapseed"


def _project_table(main: object, where: str) -> ProjectTable:
    """The main table with `SNAPSEED_SEED` and `SNAPSEED_PART_ROWS` applied."""
    table = _convert(main, ProjectTable, where)
    for key in ("seed", "part_rows"):
        if variable := os.environ.get(f"SNAPSEED_{key.upper()}"):
            if not variable.isdecimal():
                raise ConfigurationError(f"SNAPSEED_{key.upper()} is not a whole number", observed=repr(variable))
            table = msgspec.structs.replace(table, **{key: int(variable)})
    if not 0 <= table.seed < 2**64 or not 1 <= table.part_rows <= 10**6:
        raise ConfigurationError(
            "a number is out of its range",
            where=where,
            observed=f"seed = {table.seed}, part_rows = {table.part_rows}",
            expected="0 <= seed < 2^64 and 1 <= part_rows <= 1000000",
        )
    if table.now.tzinfo is None:
        raise ConfigurationError(
            "`now` has no time zone", where=f"{where} now", expected="for example 2026-01-01T00:00:00Z"
        )
    return table


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ConfigurationError("the configuration cannot be read", where=str(file), observed=str(exc)) from exc


def _convert(value: object, kind: type[_Table], where: str) -> _Table:
    known = list(kind.__struct_fields__)
    if not isinstance(value, dict):
        raise ConfigurationError("not a table", where=where, observed=repr(value), expected="a TOML table")
    for key in value:
        if key not in known:
            raise _unknown_key(key, known, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        problem, _, path = str(exc).partition(" - at `$.")
        raise ConfigurationError(
            "a setting has the wrong type", where=f"{where} {path.rstrip('`')}", observed=problem
        ) from exc


def _unknown_key(key: str, known: list[str], where: str) -> ConfigurationError:
    return ConfigurationError(
        f"unknown key {key!r}",
        where=where,
        observed=key,
        expected=f"one of: {', '.join(known)}",
        next_step=_suggestion(key, known),
    )


def _suggestion(word: str, known: list[str]) -> str | None:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else None
