"""Databases with tables, and projects made from them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Sandbox

SCHEMAS = Path(__file__).parent / "schemas"
EXAMPLE = Path(__file__).parents[2] / "generators" / "schema.sql"

Init = Callable[..., Sandbox]


@pytest.fixture
def init(database: str, tmp_path: Path) -> Init:
    """Make tables by SQL, and a project from them by `snapseed init --from-database`; `said` returns what it prints."""

    def made(ddl: str, *options: str) -> Sandbox:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(ddl.encode())
        shown = Sandbox(tmp_path, "").run("init", "--from-database", database, "made", *options, check=True)
        (tmp_path / "said").write_text(shown.stdout, encoding="utf-8")
        # Without a database in the variables: the project's own configuration names it.
        return Sandbox(tmp_path / "made", "")

    return made


def said(project: Sandbox) -> str:
    """What init has printed about the project."""
    return (project.folder.parent / "said").read_text(encoding="utf-8")


def module(project: Sandbox, name: str) -> str:
    """The text of one of its generators."""
    return (project.folder / "generators" / f"{name}.py").read_text(encoding="utf-8")


def load(project: Sandbox, scale: int = 40) -> subprocess.CompletedProcess[str]:
    """Generate and load."""
    project.run("generate", "--scale", str(scale), "--quiet", check=True)
    return project.run("load", "dev", "--quiet", check=True)
