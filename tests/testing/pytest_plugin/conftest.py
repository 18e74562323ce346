"""Test suites that run as a user's would: pytest in its own process, with the plugin, on the test server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

# Without plugins that do not matter here. Hypothesis and Faker take four times as long to import as everything else.
QUICK = "-p no:cacheprovider -p no:faker -p no:hypothesispytest"
EXAMPLE = Path(__file__).parents[3] / "examples" / "pytest"


@dataclass(frozen=True)
class Suite:
    """A folder with the example's project and snapshot, and a test suite."""

    folder: Path
    url: str

    def write(self, **files: str) -> None:
        """Write Python files: name=text."""
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text, encoding="utf-8")

    def start(self, *arguments: str, module: str = "pytest", **variables: str) -> subprocess.Popen[str]:
        """Start pytest, or another module, in the folder."""
        kept = "PYTEST_DEBUG_TEMPROOT"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") or name == kept
        }
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env={**environment, "DATABASE_URL": self.url, "PYTEST_ADDOPTS": QUICK, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, module: str = "pytest", **variables: str) -> str:
        """Run it, and return what it prints."""
        return self.start(*arguments, module=module, **variables).communicate(timeout=120)[0]

    def clones(self) -> set[str]:
        """The clones on the server."""
        with psycopg.connect(self.url) as connection:
            query = "SELECT datname FROM pg_database WHERE starts_with(datname, 'snapseed_clone_')"
            return {str(name) for (name,) in connection.execute(query)}


def outcomes(said: str) -> dict[str, int]:
    """How many tests passed, failed, and so on, from pytest's last line."""
    return {word.rstrip("s"): int(count) for count, word in re.findall(r"(\d+) ([a-z]+)", said.splitlines()[-1])}


@pytest.fixture
def suite(tmp_path: Path, server: str) -> Suite:
    """The example's project without its tests. Its environment names the server's URL."""
    folder = tmp_path / "suite"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "tests", ".snapseed"))
    text = (folder / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.pytest")[0]
    (folder / "snapseed.toml").write_text(text.replace("tool.snapseed.", "").replace("tool.", ""), encoding="utf-8")
    (folder / "pyproject.toml").unlink()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    return Suite(folder, server)
