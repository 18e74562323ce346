"""A fresh checkout, and a Python as setup-python leaves it, with all packages that a registry would provide."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.workflows.scripts import Runner

_NOT_COPIED = (".git", ".venv", ".snapseed", "dist", "__pycache__", ".*cache", ".hypothesis", ".coverage*")
_BOT = "github-actions[bot]"
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


@dataclass
class Thread:
    """What GitHub keeps for a pull request: comments with their authors. `writable` is what the job's token may do."""

    comments: list[dict[str, object]] = field(default_factory=list)
    writable: bool = True
    calls: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def variables(self) -> dict[str, str]:
        """What a job gets to talk to GitHub."""
        place = f"http://127.0.0.1:{self.port}"
        return {"GITHUB_API_URL": place, "GITHUB_REPOSITORY": "a/b", "TOKEN": "secret"}

    def add(self, login: str, body: str) -> dict[str, object]:
        """Add a comment."""
        self.comments.append({"id": len(self.comments), "user": {"login": login}, "body": body})
        return self.comments[-1]


@pytest.fixture
def thread() -> Iterator[Thread]:
    """A server that answers as GitHub does: https://docs.github.com/rest/issues/comments."""
    found = Thread()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = int(self.path.rpartition("page=")[2])
            self._answer(200, found.comments[100 * (page - 1) : 100 * page])

        def do_POST(self) -> None:
            self._write(lambda body: found.add(_BOT, body))

        def do_PATCH(self) -> None:
            self._write(lambda body: found.comments[int(self.path.rpartition("/")[2])].update(body=body))

        def _write(self, change: Callable[[str], object]) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
            found.calls.append(f"{self.command} {self.path}")
            if not found.writable or self.headers["Authorization"] != "Bearer secret":
                self._answer(403, {"message": "Resource not accessible by integration"})
                return
            change(body)
            self._answer(200, {})

        def _answer(self, code: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing to stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()
