"""Settings from the variables of the process: `SNAPSEED_*`, `${NAME}` inside a setting, and .env files asked for."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import msgspec
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from snapseed.errors import ConfigurationError, UsageError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def variable_of(key: str) -> str:
    """The variable that stands in for a key of the file."""
    return f"SNAPSEED_{key.upper()}"


def given(variable: str) -> str | None:
    """The variable's text; an empty one counts as not set."""
    return os.environ.get(variable) or None


def from_variable(table: type[msgspec.Struct], key: str, text: str) -> object:
    """A variable's text as the type that the same key has in the table; lists are separated by commas.

    Raises `ConfigurationError` that names the variable.
    """
    (field,) = (field for field in msgspec.structs.fields(table) if field.name == key)
    value: object = text
    if field.type == tuple[str, ...]:
        value = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        # Strictly first, or a text such as "null" would become something else where a text is wanted.
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as exc:
        kind = _KINDS.get(field.type, "a value of the key's type")
        raise ConfigurationError(
            f"{variable_of(key)} is not {kind}", where=f"the variable {variable_of(key)}", observed=repr(text)
        ) from exc


_KINDS: dict[object, str] = {bool: "true or false", int: "a whole number"}


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


def read_env_file(path: Path) -> None:
    """Set the variables of a .env file that are not set yet, for this process and those it starts.

    Raises `UsageError` where there is no such file, `ConfigurationError` for a line that assigns nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        raise UsageError("the file of variables cannot be read", where=str(path), observed=reason) from exc
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            # Without the line itself, which may hold a password.
            raise ConfigurationError(
                "a line of the file of variables cannot be read",
                where=f"{path}, line {binding.original.line}",
                expected="NAME=value, NAME='value' or NAME=\"value\"",
            )
    for name, value in dotenv_values(stream=io.StringIO(text)).items():
        if value is not None:
            os.environ.setdefault(name, value)
