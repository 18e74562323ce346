"""The settings: keys, types and defaults of each table of snapseed.toml, and the variables that override them.

Every error names the file, table and key, or the variable.
"""

from __future__ import annotations

import codecs
import difflib
import io
import os
import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from snapseed.errors import ConfigurationError, UsageError

# Snapshot and environment names become names of folders and databases, so only what is safe in both is allowed.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
BUILT_IN_EMBEDDER = "snapseed:HashingEmbedder"
# Variables of snapseed's own test suite begin like this.
_OF_TESTS = "SNAPSEED_TEST_"
_NotNegative = Annotated[int, msgspec.Meta(ge=0)]
_Table = TypeVar("_Table", bound=msgspec.Struct)


class ProjectTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[snapseed]`. Relative paths start at the project folder."""

    generators: str = "generators"
    snapshots: str = "snapshots"
    schema: str | None = None
    seed: _NotNegative = 42
    now: Annotated[datetime, msgspec.Meta(tz=True)] = datetime(2026, 1, 1, tzinfo=UTC)
    part_rows: Annotated[int, msgspec.Meta(ge=1, le=10**6)] = 2_500
    default_environment: str = "dev"
    cluster: str | None = None


class EmbeddingsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[embeddings]`: which texts are embedded, where the vectors go, and how workers get their jobs.

    `entity` has the texts in its column `text`. `parent` to `vector`, `content` and `key` are columns of `target`.
    """

    entity: str
    text: str
    target: str
    parent: str
    number: str
    model: str
    vector: str
    content: str | None = None
    key: str | None = None
    title: str | None = None
    index: Literal["hnsw", "ivfflat"] | None = None
    embedder: str = BUILT_IN_EMBEDDER
    options: dict[str, Any] | None = None
    queue: Literal["stream", "list"] = "stream"
    name: str = "snapseed:{project}:{environment}"
    payload: dict[str, Any] | None = None
    tries: Annotated[int, msgspec.Meta(ge=1)] = 5
    claim_after: str = "1min"


class ChildrenTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a table in `[capture.children]`: how many rows of it come with the row that they refer to.

    `of_parents`: they also come with rows that are only there because others refer to them, of all tables or of some.
    """

    limit: _NotNegative | None = None
    of_parents: bool | tuple[str, ...] = False


class ReferenceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[[capture.references]]`: columns that refer to those of another table, without a foreign key.

    `to_columns` are those of its key if nothing is said. `where` limits the rows of `table` that refer.
    """

    table: str
    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...] = ()
    where: str | None = None


class CaptureTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[capture]`: what a subset follows. The tables in `whole` come with all rows."""

    children: dict[str, bool | _NotNegative | ChildrenTable] = {}
    references: tuple[ReferenceTable, ...] = ()
    whole: tuple[str, ...] = ()


class MaskRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule of `[mask]`: its name, or `module:function`, and the options of that rule."""

    rule: str
    value: str | int | float | bool | None = None
    options: tuple[str | int | float | bool, ...] = ()
    pool: str | None = None
    column: str | None = None
    domain: str = "example.com"
    days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 365
    by: str | None = None
    noise: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    bucket: Annotated[float, msgspec.Meta(gt=0)] | None = None
    paths: dict[str, str | MaskRule] | None = None
    other: str = "text"
    unique: bool = False


class EnvironmentTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of `[environments.NAME]`."""

    snapshot: str | None = None
    snapshots: str | None = None
    scale: str | int | float | None = None
    database: str = "embedded"
    source: str | None = None
    redis: str = "embedded"
    embeddings: Literal["snapshot", "queue"] = "snapshot"
    create_schema: bool = False
    compression: Literal["auto", "keep"] = "auto"
    replace_existing: bool = False
    allow_hosts: tuple[str, ...] = ()
    max_size: str | None = None
    lock_timeout: str = "30s"
    statement_timeout: str = "0"
    retries: _NotNegative = 20
    timeout: str = "2min"
    workers: _NotNegative = 0
    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    embeddings_timeout: str = "10min"


def decoded(content: bytes) -> str:
    """The text in a file of UTF-8, with or without a byte order mark. Raises `ValueError` for another encoding."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("the file is in UTF-16; save it in UTF-8")
    return content.decode("utf-8-sig")


def read_toml(file: Path) -> dict[str, Any]:
    """The document. Raises `ConfigurationError` for a file that cannot be read or is not TOML."""
    try:
        return tomllib.loads(decoded(file.read_bytes()))
    except (ValueError, OSError) as exc:
        raise ConfigurationError("the configuration cannot be read", where=str(file), observed=str(exc)) from exc


def convert(value: object, kind: type[_Table], where: str) -> _Table:
    """The table as `kind`. Raises `ConfigurationError` for an unknown key, a wrong type or a number out of range."""
    if not isinstance(value, dict):
        raise ConfigurationError("not a table", where=where, observed=repr(value), expected="a TOML table")
    require_known(value, kind.__struct_fields__, where)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        problem, _, path = str(exc).partition(" - at `$.")
        expected, _, observed = problem.removeprefix("Expected ").partition(", got ")
        key = path.rstrip("`")
        if expected == problem:  # It says what was found, such as a key that is not known.
            kinds = {field.name: field.type for field in msgspec.structs.fields(kind)}
            expected, observed = " or ".join(map(str, get_args(kinds.get(key)))), problem
        observed = observed or (repr(value[key]) if key in value else "")
        raise ConfigurationError(
            "a setting is not valid", where=f"{where} {key}", observed=observed or None, expected=expected or None
        ) from exc


def mask_rules(table: object, where: str, above: str = "") -> dict[str, MaskRule]:
    """The rules of `[mask]` by `table.column`, also of `[mask.table]`. Raises as `convert`."""
    if not isinstance(table, dict):
        raise ConfigurationError("not a table", where=where, observed=repr(table), expected="a TOML table")
    rules: dict[str, MaskRule] = {}
    for key, value in table.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and ("." not in name or "rule" not in value):
            rules |= mask_rules(value, where, f"{name}.")
        else:
            rules[name] = convert({"rule": value} if isinstance(value, str) else value, MaskRule, f"{where} {name}")
    return rules


def require_known(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise `ConfigurationError` for the first key that is not known."""
    for key in keys:
        if key not in known:
            raise ConfigurationError(
                f"unknown key {key!r}",
                where=where,
                observed=key,
                expected=f"one of: {', '.join(known)}",
                next_step=suggestion(key, known),
            )


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """The word that was probably meant, as a question."""
    close = difflib.get_close_matches(word, [other for other in known if other != word], n=1)
    return f"did you mean {close[0]!r}?" if close else None


def require_name(name: str, *, where: str) -> None:
    """Raise `ConfigurationError` unless `name` is safe as the name of a folder and of a database, and easy to type."""
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            "not a valid name for a snapshot, an environment or a state",
            observed=repr(name),
            expected="up to 41 lower-case letters, digits, '-' and '_', starting with a letter or a digit",
            where=where,
        )


def variable_of(key: str) -> str:
    """The variable that overrides a key of the file."""
    return f"SNAPSEED_{key.upper()}"


def value_of(variable: str) -> str | None:
    """The text of a variable; an empty variable counts as not set."""
    return os.environ.get(variable) or None


def variable_with(text: str) -> str | None:
    """A variable that holds this text and that a setting can name, if there is one."""
    names = (
        name for name, value in sorted(os.environ.items()) if value == text and _VARIABLE.fullmatch(f"${{{name}}}")
    )
    return next((name for name in names if not name.startswith(("_", variable_of("")))), None)


def mask_secret() -> str | None:
    """The secret that masks are keyed by. It is only ever in a variable, and nothing shows it."""
    return value_of(variable_of("mask_secret"))


def unknown_variables(file: Path) -> list[str]:
    """In words, each variable that is named like a setting but is none, and that `file` does not name either."""
    keys = ("project", "env_file", "mask_secret", *ProjectTable.__struct_fields__, *EnvironmentTable.__struct_fields__)
    known, text = [variable_of(key) for key in keys], file.read_text(encoding="utf-8", errors="replace")
    names = [name for name in sorted(os.environ) if name.startswith(variable_of("")) and name not in known]
    unknown = [name for name in names if not name.startswith(_OF_TESTS) and name not in text]
    return [f"the variable {name} is not a setting; {suggestion(name, known) or 'it is ignored'}" for name in unknown]


def from_variable(table: type[msgspec.Struct], key: str, text: str) -> object:
    """The text of a variable, as the type that the same key has in the table. Commas separate the items of lists.

    Raises `ConfigurationError` that names the variable.
    """
    (field,) = (field for field in msgspec.structs.fields(table) if field.name == key)
    value: object = text
    if field.type == tuple[str, ...]:
        value = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        # Strictly first: without that, a text such as "null" would not stay a text.
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as exc:
        variable, expected = variable_of(key), str(exc).removeprefix("Expected ")
        raise ConfigurationError(
            f"{variable} is not valid", where=f"the variable {variable}", observed=repr(text), expected=expected
        ) from exc


def interpolate(text: str, *, where: str) -> tuple[str, list[str]]:
    """`text` with each `${NAME}` and `${NAME:-default}` replaced by its variable, and the names that were used.

    An empty variable counts as not set, as with `:-` in a shell. Raises `ConfigurationError` that names the variable.
    """
    used: list[str] = []

    def fill(match: re.Match[str]) -> str:
        """The value of one variable, or its default."""
        if value := value_of(match["name"]):
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


def read_env_file(path: Path) -> None:
    """Set the variables of a .env file that are not set yet, for this process and those it starts.

    Raises `UsageError` if the file cannot be read, `ConfigurationError` for a line that assigns nothing.
    """
    try:
        text = decoded(path.read_bytes())
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError("the .env file cannot be read", where=str(path), observed=reason) from exc
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            # Without the line itself, which may contain a password.
            raise ConfigurationError(
                "a line of the .env file is not an assignment",
                where=f"{path}, line {binding.original.line}",
                expected="NAME=value, NAME='value' or NAME=\"value\"",
            )
    for name, value in dotenv_values(stream=io.StringIO(text)).items():
        if value is not None:
            os.environ.setdefault(name, value)
