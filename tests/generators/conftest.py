"""The rows of the example project, as `snapseed init` hands it out."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from snapseed import find_project
from snapseed.generate.pools import PoolFolder, Pools
from tests.docs.pages import ROOT
from tests.generate.making import frame_of, make_snapshot

Frames = dict[str, pl.DataFrame]

POOLS = ROOT / "generators" / "pools"


def copy_example(folder: Path) -> Path:
    """The example project, in `folder`."""
    shutil.copytree(ROOT / "generators", folder / "generators", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "snapseed.toml", folder)
    return folder


def make_example(folder: Path, users: int) -> Frames:
    """All rows of the example at this scale."""
    snapshot = make_snapshot(find_project(copy_example(folder)), users)
    return {record.name: frame_of(snapshot, record.name) for record in snapshot.manifest.entities}


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """All rows of 600 users."""
    return make_example(tmp_path_factory.mktemp("example"), 600)


def pool(name: str) -> pl.DataFrame:
    """A pool as text."""
    return Pools(PoolFolder(POOLS)).table(name)
