"""A proxy in front of the S3 server, and a project whose snapshots are in a prefix of their own."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapseed import Project, find_project
from snapseed.config.store import Store, read_store
from tests.generate.making import copy_shop, make_snapshot
from tests.stores.endpoint import KEYS, FaultProxy, running_proxy


@pytest.fixture
def proxy(endpoint: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultProxy]:
    """A proxy in front of it, without faults yet, and credentials for it."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with running_proxy(endpoint) as made:
        yield made


@dataclass(frozen=True)
class Stored:
    """A project with a small snapshot `dev` in its folder, and an empty store that it reaches through a proxy."""

    project: Project
    proxy: FaultProxy
    url: str

    @property
    def store(self) -> Store:
        """The store."""
        return read_store(self.url, self.project.folder, where="test")


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample project with a snapshot of 20 customers, to be copied."""
    project = copy_shop(tmp_path_factory.mktemp("stored") / "shop")
    make_snapshot(project, 20)
    return project.folder


@pytest.fixture
def stored(small_shop: Path, proxy: FaultProxy, tmp_path: Path) -> Stored:
    """A project, and an empty store."""
    folder = tmp_path / "shop"
    shutil.copytree(small_shop, folder)
    return Stored(find_project(folder), proxy, proxy.url(uuid.uuid4().hex))
