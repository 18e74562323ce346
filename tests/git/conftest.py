"""A repository with a project, and small snapshots that are written into it without generators."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from snapseed.config import find_project
from snapseed.git.drivers import set_up
from snapseed.snapshot.hashing import combined
from snapseed.snapshot.manifest import EntityRecord, Manifest
from tests.forged import described, write_file, write_manifest

TYPES = {"id": "bigint", "text": "text"}
WHO = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
# What the tests of this machine's owner set must not matter.
VARIABLES = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
# The texts of an entity's rows, by part.
Parts = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Repository:
    """A repository, and the folder of the project in it, with a space in its name."""

    root: Path
    project: Path

    def git(self, *arguments: str, code: int = 0, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run git and require this exit code."""
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - on every machine with a checkout
            cwd=folder or self.root,
            env=VARIABLES,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def write(self, **entities: Parts) -> Manifest:
        """Replace the snapshot `ci`: for each entity its parts, with rows of these texts. Keys begin at 100."""
        folder = self.project / "snapshots" / "ci"
        shutil.rmtree(folder, ignore_errors=True)
        return write_manifest(folder, *(record_of(folder, name, parts) for name, parts in entities.items()))

    def commit(self, message: str = "change") -> str:
        """Commit everything; returns the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").stdout.strip()


def record_of(folder: Path, name: str, parts: Parts) -> EntityRecord:
    """The record of an entity whose files are written into the folder: one, or a folder of parts."""
    found = []
    for number, texts in enumerate(parts):
        path = name if len(parts) == 1 else f"{name}/part-{number:05d}"
        keys = range(100 * (number + 1), 100 * (number + 1) + len(texts))
        table = pa.table({"id": pa.array(keys, pa.int64()), "text": pa.array(texts, pa.string())})
        write_file(folder / f"{path}.parquet", table)
        found.append(described(folder, table, TYPES, path))
    total = combined(record.digest() for record in found)
    files = tuple(file for record in found for file in record.files)
    changes = {"name": name, "table": name, "rows": total.rows, "fingerprint": str(total), "files": files}
    return msgspec.structs.replace(found[0], **changes)


@pytest.fixture(scope="session")
def repository_once(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository that was set up, with one commit; tests only read it."""
    root = tmp_path_factory.mktemp("repository")
    found = Repository(root, root / "the project")
    found.git("init", "--quiet", "--initial-branch=main")
    found.project.mkdir()
    (found.project / "snapseed.toml").write_text(
        '[snapseed]\ndefault_environment = "test"\n[environments.test]\nsnapshot = "ci"\ndatabase = "embedded"\n'
    )
    set_up(find_project(found.project))
    found.write(users=[["Ada", "Bruno"]], orders=[["one"], ["two"]])
    found.commit("base")
    return found


@pytest.fixture
def repository(repository_once: Repository, tmp_path: Path) -> Repository:
    """A copy of that repository."""
    root = tmp_path / "repository"
    shutil.copytree(repository_once.root, root)
    return Repository(root, root / "the project")
