"""`snapseed generate` as a process: the size it announces, and single parts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.command_line import run_command
from tests.generate.making import write_project

MODULE = """
@entity(key="id", columns={"id": "bigint"})
def things(rows):
    return pl.DataFrame({"id": rows.key()})
"""


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it in a project with a hundred rows per part."""
    command = ("generate", "dev", "--jobs", "1", "--project", str(folder), *arguments)
    return run_command(command, folder, os.environ, timeout_seconds=60)


def test_a_large_snapshot_says_its_size_first(tmp_path: Path) -> None:
    """On stderr. A small one does not, and none does with --quiet, which leaves one line of the result."""
    folder = write_project(tmp_path / "project", MODULE).folder
    large = generate(folder, "--scale", "900")
    assert large.returncode == 0, large.stderr
    assert "9 parts, about 900 rows and " in large.stderr.splitlines()[0]
    assert " 0.0 " not in large.stderr
    assert generate(folder, "--scale", "300").stderr == ""
    quiet = generate(folder, "--scale", "900", "--quiet")
    assert (quiet.stderr, len(quiet.stdout.splitlines())) == ("", 1)


def test_a_part_alone(tmp_path: Path) -> None:
    """It is a snapshot of its own. A number that is too large is a usage error that names the valid ones."""
    folder = write_project(tmp_path / "project", MODULE).folder
    made = generate(folder, "--scale", "1b", "--part", "9999999", "--quiet")
    assert "snapshot dev-part-9999999: 100 rows" in made.stdout, made.stderr
    assert (folder / "snapshots/dev-part-9999999/things/part-9999999.parquet").is_file()
    refused = generate(folder, "--scale", "300", "--part", "3")
    assert refused.returncode == 2
    assert "expected: 0 to 2" in refused.stderr
