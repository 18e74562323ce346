"""Where a template's tables come from: the project's schema file, or migrations of the application."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from snapseed.config import Project
from snapseed.errors import ConfigurationError


@dataclass(frozen=True)
class Schema:
    """How the tables are made, and a digest of all that this depends on: another digest is another template.

    `create` gets the URL of an empty database; without it, the load runs the project's schema file.
    """

    digest: str
    create: Callable[[str], object] | None = None


def project_schema(project: Project) -> Schema:
    """The project's `schema` file. Raises `ConfigurationError` where the project names none, or it cannot be read."""
    if project.schema is None:
        raise ConfigurationError(
            "nothing says how the tables of the snapshot are made",
            where=str(project.file),
            expected="a file `schema` in the project, or the application's own migrations",
            next_step="name a `schema` file, or override the fixture snapseed_schema to run your migrations",
        )
    return Schema(_digest([project.schema], project.folder))


def migrations(create: Callable[[str], object], files: Iterable[Path], folder: Path) -> Schema:
    """Tables that `create(url)` makes, which depends on `files`; they are told apart by their bytes.

    Raises `ConfigurationError` where there are no files: a template would never notice a new migration.
    """
    found = sorted({path.resolve() for path in files if path.is_file()})
    if not found:
        raise ConfigurationError(
            "nothing says when the tables that the application makes have changed",
            where=str(folder),
            observed="no file",
            expected="the files that its migrations consist of",
            next_step="name them by globs, for example snapseed_schema_files = migrations/**/*.py",
        )
    return Schema(_digest(found, folder.resolve()), create)


def _digest(files: Iterable[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise ConfigurationError(
                "the schema file cannot be read", where=str(path), observed=exc.strerror or str(exc)
            ) from exc
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
