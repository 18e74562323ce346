"""A fresh checkout, and a Python as setup-python leaves it, with all packages that a registry would provide."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.workflows.scripts import Runner

_NOT_COPIED = (".git", ".venv", ".snapseed", "dist", "__pycache__", ".*cache", ".hypothesis", ".coverage*")
_SITE = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a runner would check it out, in a git repository of its own, with a complete `.venv`."""
    folder = tmp_path_factory.mktemp("runner") / "snapseed"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
    for snapshot in (folder / "snapshots").iterdir():
        if snapshot.name not in {"ci", "test"}:
            shutil.rmtree(snapshot)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)  # noqa: S607 - from the PATH
    (folder / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "ready":
            (folder / ".venv" / entry.name).symlink_to(entry)
    (folder / ".venv/ready").touch()
    return folder


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything installed here except snapseed: what a registry would provide."""
    folder = tmp_path_factory.mktemp("dependencies")
    for entry in _SITE.iterdir():
        if "snapseed" not in entry.name and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


NewPython = Callable[[Path], Path]


@pytest.fixture(scope="session")
def new_python(dependencies: Path, tmp_path_factory: pytest.TempPathFactory) -> NewPython:
    """Creates environments with everything except snapseed, and returns their folders of programs."""
    # `python -m venv` takes two seconds to find out that pip is there already.
    without_ensurepip = tmp_path_factory.mktemp("without-ensurepip")
    (without_ensurepip / "ensurepip.py").touch()
    registry = f"{dependencies}\nimport sys; sys.path.insert(0, {str(without_ensurepip)!r})\n"

    def make(folder: Path) -> Path:
        # A script that creates an environment in the same place finds these packages in it.
        packages = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        (packages / "registry.pth").write_text(registry)
        pip = folder / "bin/pip"
        pip.write_text('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
        pip.chmod(0o755)
        return folder / "bin"

    return make


@pytest.fixture
def runner(tmp_path: Path, checkout: Path, new_python: NewPython) -> Runner:
    """A runner in the checkout, with a Python of its own on the PATH."""
    if f"polars=={version('polars')}\n" not in (ROOT / "constraints.txt").read_text():
        pytest.skip("it installs the pinned versions, but other versions are installed here")
    temporary = tmp_path / "temp"
    temporary.mkdir()
    path = os.pathsep.join([str(new_python(tmp_path / "python")), "/usr/local/bin", "/usr/bin", "/bin"])
    return Runner(temporary, checkout, path, variables={"PIP_NO_BUILD_ISOLATION": "0"})
