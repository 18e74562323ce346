"""A project and its environments: frozen values made from snapseed.toml, or [tool.snapseed] in pyproject.toml.

A flag overrides a `SNAPSEED_*` variable, and a variable overrides the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from snapseed.config.settings import (
    CaptureTable,
    EmbeddingsTable,
    EnvironmentTable,
    MaskRule,
    ProjectTable,
    convert,
    from_variable,
    interpolate,
    mask_rules,
    read_env_file,
    read_toml,
    require_known,
    require_name,
    suggestion,
    value_of,
    variable_of,
)
from snapseed.config.store import Store, read_store
from snapseed.errors import ConfigurationError, UsageError
from snapseed.units import parse_scale, parse_seconds, parse_size

FILE_NAME = "snapseed.toml"
_TABLES = ("snapseed", "environments", "embeddings", "capture", "mask")
# The settings that are written as people write them.
_PARSERS: dict[str, Callable[..., float]] = {
    **dict.fromkeys(("timeout", "embeddings_timeout"), parse_seconds),
    "scale": parse_scale,
    "max_size": parse_size,
}


@dataclass(frozen=True)
class Environment:
    """A named target: which snapshot in which store, which database, which Redis. Times are in seconds.

    `source` is the database that the snapshot is captured from.

    `sources` says in words, for each key, where its value came from. A setting whose variable is not set is in `unset`
    and nowhere else: reading it raises that `ConfigurationError`, so other commands do not need the variable.
    """

    name: str
    snapshot: str
    snapshots: Store
    scale: int | None
    database: str
    source: str | None
    redis: str
    embeddings: str
    create_schema: bool
    compression: str
    replace_existing: bool
    allow_hosts: tuple[str, ...]
    max_size: int | None
    lock_timeout: str
    statement_timeout: str
    retries: int
    timeout: float
    workers: int
    connections: int
    embeddings_timeout: float
    sources: Mapping[str, str] = field(default_factory=dict)
    unset: Mapping[str, ConfigurationError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in self.unset:
            vars(self).pop(key)

    if not TYPE_CHECKING:  # a name that does not exist stays an error of types

        def __getattr__(self, name: str) -> NoReturn:
            raise vars(self).get("unset", {}).get(name) or AttributeError(name)

    def changed(self, **values: object) -> Environment:
        """A copy with other values of these settings."""
        other = copy(self)
        vars(other).update(values)
        return other


@dataclass(frozen=True)
class Project:
    """The folder that holds snapseed.toml, and what the file says. Picklable: worker processes get all of it.

    `stored` is the setting `snapshots` as it was written, for environments without their own.
    """

    folder: Path
    file: Path
    generators: Path
    stored: str
    schema: Path | None
    seed: int
    now: datetime
    part_rows: int
    default_environment: str
    environments: Mapping[str, EnvironmentTable]
    cluster: str | None = None
    embeddings: EmbeddingsTable | None = None
    capture: CaptureTable = CaptureTable()
    mask: Mapping[str, MaskRule] = field(default_factory=dict)

    @property
    def snapshots(self) -> Store:
        """Where snapshots are, unless an environment says otherwise. Raises `ConfigurationError` as `environment`."""
        where = f"{self.file} [snapseed] snapshots"
        return read_store(interpolate(self.stored, where=where)[0], self.folder, where=where)

    def environment(self, name: str | None = None, overrides: Mapping[str, Any] | None = None) -> Environment:
        """The environment `name` (default: `default_environment`) with flags (`overrides`) and variables applied.

        Raises `UsageError` for an unknown name, and `ConfigurationError` for a wrong value. A `${VARIABLE}` that is not
        set and has no default is an error only where its setting is used.
        """
        name = self.default_environment if name is None else name
        if name not in self.environments:
            raise UsageError(
                f"there is no environment named {name!r}",
                observed=name,
                expected=f"one of: {', '.join(self.environments)}",
                where=str(self.file),
                next_step=suggestion(name, self.environments)
                or (f"add a table [environments.{name}]" if name.replace("-", "_").isidentifier() else "give its name"),
            )
        return _resolve_environment(self, name, overrides or {})


def find_project(start: Path | None = None, env_file: Path | None = None) -> Project:
    """The project that contains `start` (default: `SNAPSEED_PROJECT`, else the working folder).

    Looks in the folder itself, then in each folder above it. First reads `env_file` (default: `SNAPSEED_ENV_FILE`, else
    none). Raises `UsageError` if there is no project, and what `read_env_file` raises.
    """
    if file := env_file or value_of("SNAPSEED_ENV_FILE"):
        read_env_file(Path(file))
    named = start or value_of("SNAPSEED_PROJECT")
    folder = Path(named or ".").resolve()
    if named and not folder.is_dir():
        raise UsageError("the project folder does not exist", observed=str(folder), next_step="check --project")
    for candidate in [folder, *folder.parents]:
        for path in (candidate / FILE_NAME, candidate / "pyproject.toml"):
            if path.is_file() and (tables := _read_tables(path)) is not None:
                return _project(path, tables)
    raise UsageError(
        "no snapseed project found",
        where=str(folder),
        expected=f"a {FILE_NAME} here or in a folder above (or [tool.snapseed] in pyproject.toml)",
        next_step="run `snapseed init` to create one, or name its folder with --project",
    )


def _resolve_environment(project: Project, name: str, overrides: Mapping[str, Any]) -> Environment:
    """An environment with the values of flags, variables and the file. Settings without their variable are `unset`."""
    resolved = {
        key: _resolve_setting(project, name, key, overrides.get(key)) for key in EnvironmentTable.__struct_fields__
    }
    sources = {key: source for key, (_, source) in resolved.items()}
    unset = {key: value for key, (value, _) in resolved.items() if isinstance(value, ConfigurationError)}
    values: dict[str, Any] = {key: None if key in unset else value for key, (value, _) in resolved.items()}
    if values["embeddings"] == "queue" and project.embeddings is None:
        raise ConfigurationError(
            "there is nothing to queue: the project has no table [embeddings]",
            where=sources["embeddings"],
            expected="[embeddings] with entity, text, target and the columns of the target",
            next_step="see docs/embeddings.md",
        )
    values["snapshot"] = values["snapshot"] or name
    require_name(values["snapshot"], where=sources["snapshot"])
    if "snapshots" not in unset:
        values["snapshots"] = read_store(values["snapshots"], project.folder, where=sources["snapshots"])
    values |= {
        key: parse(values[key], where=sources[key]) for key, parse in _PARSERS.items() if values[key] is not None
    }
    return Environment(name=name, sources=sources, unset=unset, **values)


def _resolve_setting(project: Project, environment: str, key: str, flag: object) -> tuple[Any, str]:
    """The value of a key, and where it came from: a flag, else a variable, else the file.

    The value is an error if the file names a variable that is not set.
    """
    if flag is not None:
        return flag, "--from" if key == "source" else f"--{key.replace('_', '-')}"
    if text := value_of(variable_of(key)):
        return from_variable(EnvironmentTable, key, text), variable_of(key)
    value = getattr(project.environments[environment], key)
    place = f"[environments.{environment}] {key}"
    if key == "snapshots" and value is None:
        value, place = project.stored, f"[snapseed] {key}"
    used: list[str] = []
    if isinstance(value, str):
        try:
            value, used = interpolate(value, where=f"{project.file} {place}")
        except ConfigurationError as exc:
            value = exc
    return value, f"{project.file.name} {place}" + (f", from ${used[0]}" if used else "")


def _project(file: Path, tables: dict[str, Any]) -> Project:
    """The project of a file with these tables. Raises `ConfigurationError` for a setting that is wrong."""
    main_name = "snapseed" if file.name == FILE_NAME else "tool.snapseed"
    table = _project_table(tables.get("snapseed", {}), f"{file} [{main_name}]")
    environments, embeddings = tables.get("environments"), tables.get("embeddings")
    if not isinstance(environments, dict) or not environments:
        raise ConfigurationError(
            "no environment is defined",
            where=str(file),
            expected="at least one table [environments.NAME]",
            next_step="add [environments.dev]",
        )
    converted = {}
    for name, value in environments.items():
        place = f"{file} [environments.{name}]"
        require_name(name, where=place)
        converted[name] = convert(value, EnvironmentTable, place)
    if table.default_environment not in converted:
        raise ConfigurationError(
            "the default environment does not exist",
            where=f"{file} [{main_name}] default_environment",
            observed=f"{table.default_environment!r}, which no table [environments.…] defines",
            expected=f"one of: {', '.join(converted)}",
            next_step=f"add default_environment = {next(iter(converted))!r}",
        )
    folder = file.parent
    return Project(
        folder=folder,
        file=file,
        generators=folder / table.generators,
        stored=table.snapshots,
        schema=None if table.schema is None else folder / table.schema,
        seed=table.seed,
        now=table.now.astimezone(UTC),
        part_rows=table.part_rows,
        default_environment=table.default_environment,
        environments=converted,
        cluster=table.cluster,
        embeddings=None if embeddings is None else convert(embeddings, EmbeddingsTable, f"{file} [embeddings]"),
        capture=convert(tables.get("capture", {}), CaptureTable, f"{file} [capture]"),
        mask=mask_rules(tables.get("mask", {}), f"{file} [mask]"),
    )


def _read_tables(file: Path) -> dict[str, Any] | None:
    """The tables by their names in snapseed.toml; None for a pyproject.toml without [tool.snapseed]."""
    document = read_toml(file)
    if file.name == FILE_NAME:
        require_known(document, _TABLES, f"{file}, top level")
        return document
    tools = document.get("tool")
    main = tools.get("snapseed") if isinstance(tools, dict) else None
    nested = {name: main.pop(name) for name in _TABLES[1:] if name in main} if isinstance(main, dict) else {}
    return None if main is None else {"snapseed": main, **nested}


def _project_table(main: object, where: str) -> ProjectTable:
    """The main table with `SNAPSEED_*` variables applied."""
    table = convert(main, ProjectTable, where)
    for key in ProjectTable.__struct_fields__:
        if text := value_of(variable_of(key)):
            table = msgspec.structs.replace(table, **{key: from_variable(ProjectTable, key, text)})
    if table.seed >= 2**64:
        raise ConfigurationError("the seed is too large", where=where, observed=str(table.seed), expected="below 2^64")
    return table
