"""snapseed.toml (or [tool.snapseed] in pyproject.toml) as one frozen `Project`, and its environments.

A value comes from a flag, else from `SNAPSEED_*`, else from the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from snapseed.config.settings import (
    EmbeddingsTable,
    EnvironmentTable,
    ProjectTable,
    check_name,
    convert,
    from_variable,
    given,
    interpolate,
    read_env_file,
    read_toml,
    suggestion,
    unknown_key,
    variable_of,
)
from snapseed.errors import ConfigurationError, UsageError
from snapseed.units import parse_scale, parse_seconds, parse_size

FILE_NAME = "snapseed.toml"


@dataclass(frozen=True)
class Environment:
    """A named target: which snapshot, which database, which Redis. Times are in seconds.

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
    retries: int
    timeout: float
    workers: int
    embeddings_timeout: float
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
    embeddings: EmbeddingsTable | None = None

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
                next_step=suggestion(name, list(self.environments)) or f"add a table [environments.{name}]",
            )
        return _resolve_environment(self, name, overrides or {})


def find_project(start: Path | None = None, env_file: Path | None = None) -> Project:
    """The project that `start` (default: `SNAPSEED_PROJECT`, else the working folder) lies in.

    Looks in the folder itself and then in each one above it. `env_file` (default: `SNAPSEED_ENV_FILE`, else none) is
    read before. Raises `UsageError` where there is no project, and all that `read_env_file` raises.
    """
    if file := env_file or given("SNAPSEED_ENV_FILE"):
        read_env_file(Path(file))
    named = start or given("SNAPSEED_PROJECT")
    folder = Path(named or ".").resolve()
    if named and not folder.is_dir():
        raise UsageError("the project folder does not exist", observed=str(folder), next_step="check --project")
    for candidate in [folder, *folder.parents]:
        if (candidate / FILE_NAME).is_file():
            return _read_project(candidate / FILE_NAME)
        pyproject = candidate / "pyproject.toml"
        if pyproject.is_file() and _is_in_use(read_toml(pyproject)):
            return _read_project(pyproject)
    raise UsageError(
        "no snapseed project found",
        where=str(folder),
        expected=f"a {FILE_NAME} here or in a folder above (or [tool.snapseed] in pyproject.toml)",
        next_step="run `snapseed init` to make one, or name its folder with --project",
    )


def _resolve_environment(project: Project, name: str, overrides: Mapping[str, Any]) -> Environment:
    table = project.environments[name]
    place = f"{project.file.name} [environments.{name}]"
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key in EnvironmentTable.__struct_fields__:
        if overrides.get(key) is not None:
            values[key], sources[key] = overrides[key], f"--{key.replace('_', '-')}"
        elif text := given(variable_of(key)):
            values[key] = from_variable(EnvironmentTable, key, text)
            sources[key] = variable_of(key)
        else:
            value = getattr(table, key)
            used: list[str] = []
            if isinstance(value, str):
                value, used = interpolate(value, where=f"{project.file} [environments.{name}] {key}")
            values[key] = value
            sources[key] = f"{place} {key}" + (f", from ${used[0]}" if used else "")
    if values["embeddings"] == "queue" and project.embeddings is None:
        raise ConfigurationError(
            "there is nothing to queue: the project has no table [embeddings]",
            where=sources["embeddings"],
            expected="[embeddings] with entity, text, target and the columns of the target",
            next_step="see docs/embeddings.md",
        )
    snapshot = values["snapshot"] or name
    check_name(snapshot, where=sources["snapshot"])
    for key in ("retries", "workers"):
        if values[key] < 0:
            raise ConfigurationError(
                "a number is out of its range", where=sources[key], observed=repr(values[key]), expected="0 or more"
            )
    return Environment(
        name=name,
        sources=sources,
        **{
            **values,
            "snapshot": snapshot,
            "scale": None if values["scale"] is None else parse_scale(values["scale"]),
            "max_size": None if values["max_size"] is None else parse_size(values["max_size"]),
            "allow_hosts": tuple(values["allow_hosts"]),
            **{key: parse_seconds(values[key], where=sources[key]) for key in ("timeout", "embeddings_timeout")},
        },
    )


def _read_project(file: Path) -> Project:
    main, environments, embeddings, prefix = _read_tables(file)
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
        tables[name] = convert(value, EnvironmentTable, f"{file} [environments.{name}]")
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
        embeddings=None if embeddings is None else convert(embeddings, EmbeddingsTable, f"{file} [embeddings]"),
    )


def _is_in_use(pyproject: dict[str, Any]) -> bool:
    tools = pyproject.get("tool")
    return isinstance(tools, dict) and "snapseed" in tools


def _read_tables(file: Path) -> tuple[Any, Any, Any, str]:
    """The main table, the environments, the table of embeddings, and how the main table is called."""
    document = read_toml(file)
    if file.name == "pyproject.toml":
        main = document["tool"]["snapseed"]
        if not isinstance(main, dict):
            return main, {}, None, "tool.snapseed"
        own = {key: main[key] for key in main if key not in {"environments", "embeddings"}}
        return own, main.get("environments", {}), main.get("embeddings"), "tool.snapseed"
    known = ["snapseed", "environments", "embeddings"]
    for key in document:
        if key not in known:
            raise unknown_key(key, known, f"{file}, top level")
    return document.get("snapseed", {}), document.get("environments", {}), document.get("embeddings"), "snapseed"


def _project_table(main: object, where: str) -> ProjectTable:
    """The main table with `SNAPSEED_*` applied."""
    table = convert(main, ProjectTable, where)
    for key in ProjectTable.__struct_fields__:
        if text := given(variable_of(key)):
            table = msgspec.structs.replace(table, **{key: from_variable(ProjectTable, key, text)})
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
