"""`verify --committed` checks every snapshot that git tracks, and whether git has all of its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Sandbox
from tests.docs.pages import ROOT

HOOKS = ROOT / ".pre-commit-hooks.yaml"
PROGRAMS = Path(sys.prefix) / "bin"


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run git as somebody, in the folder."""
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    none = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    variables = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")} | who | none
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=check)


@pytest.fixture
def repository(shop: Sandbox) -> Sandbox:
    """The shop in a subfolder of a git repository, with its snapshot `dev` committed."""
    (shop.folder / ".gitignore").write_text(".snapseed/\n__pycache__/\n")
    git(shop.folder.parent, "init", "--initial-branch=main")
    git(shop.folder.parent, "add", shop.folder.name)
    git(shop.folder.parent, "commit", "--message=all")
    return shop


def verify(sandbox: Sandbox) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and what was found wrong with each snapshot."""
    done = sandbox.run("verify", "--offline", "--committed", "--format", "json")
    snapshots = json.loads(done.stdout)["snapshots"]
    return done.returncode, {s["snapshot"]: [f"{f['path']}: {f['problem']}" for f in s["files"]] for s in snapshots}


def test_what_is_committed_and_whole_is_verified(repository: Sandbox) -> None:
    """Exit code 0; a snapshot that is not committed is not checked."""
    shutil.copytree(repository.folder / "snapshots/dev", repository.folder / "snapshots/mine")
    (repository.folder / "snapshots/mine/customers/part-00000.parquet").write_bytes(b"")
    assert verify(repository) == (0, {"dev": []})


def test_a_deleted_file_is_found(repository: Sandbox) -> None:
    """It would not be in a list of changed files."""
    git(repository.folder, "rm", "snapshots/dev/customers/part-00000.parquet")
    assert verify(repository) == (1, {"dev": ["customers/part-00000.parquet: missing"]})


def test_a_file_that_was_never_added_is_found(repository: Sandbox) -> None:
    """It is in the folder and matches the manifest, but a clone of the repository would not have it."""
    git(repository.folder, "rm", "--cached", "snapshots/dev/customers/part-00000.parquet")
    assert verify(repository) == (1, {"dev": ["customers/part-00000.parquet: not added to git"]})


def test_a_snapshot_without_its_manifest_is_found(repository: Sandbox) -> None:
    """And the other snapshots are still checked."""
    shutil.copytree(repository.folder / "snapshots/dev", repository.folder / "snapshots/whole")
    text = (repository.folder / "snapshots/whole/manifest.json").read_text()
    (repository.folder / "snapshots/whole/manifest.json").write_text(text.replace('"dev"', '"whole"'))
    git(repository.folder, "add", "snapshots/whole")
    git(repository.folder, "rm", "snapshots/dev/manifest.json")
    code, found = verify(repository)
    assert code == 1
    assert list(found) == ["dev", "whole"]
    assert found["dev"] == ["manifest.json: there is no snapshot named 'dev'"]


def test_a_snapshot_that_is_gone_altogether_is_no_finding(repository: Sandbox) -> None:
    """Nothing names it, so nothing is missing."""
    git(repository.folder, "rm", "-r", "snapshots/dev")
    assert verify(repository) == (0, {})


def test_without_git_it_is_a_usage_error(shop: Sandbox) -> None:
    """Exit code 2, and git's own words."""
    done = shop.run("verify", "--committed", GIT_CEILING_DIRECTORIES=str(shop.folder.parent))
    assert done.returncode == 2
    assert "not a git repository" in done.stderr


@pytest.fixture
def hooked(repository: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository with our published hook enabled, run from this environment instead of one of its own."""
    pytest.importorskip("pre_commit")
    (hook,) = yaml.safe_load(HOOKS.read_text())
    assert hook["language"] == "python"
    hook |= {"language": "system", "args": ["--project", repository.folder.name]}
    top = repository.folder.parent
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (top / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    git(top, "add", ".pre-commit-config.yaml")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(top / ".cache"))
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["pre-commit", "install"], cwd=top, check=True, capture_output=True)  # noqa: S607 - from the PATH
    return top


def test_the_manifest_of_hooks_is_valid() -> None:
    """As pre-commit itself says."""
    pytest.importorskip("pre_commit")
    subprocess.run([str(PROGRAMS / "pre-commit"), "validate-manifest", str(HOOKS)], check=True)


def test_a_commit_that_breaks_a_snapshot_is_refused(hooked: Path) -> None:
    """By the hook, whether a file was changed, deleted or left out, and also with `commit --all`."""
    dev = hooked / "shop/snapshots/dev"
    git(hooked, "commit", "--message=a commit that is whole passes")

    with (dev / "customers/part-00000.parquet").open("ab") as file:
        file.write(b"more")
    refused = git(hooked, "commit", "--all", "--message=changed", check=False)
    assert refused.returncode == 1
    assert "customers/part-00000.parquet: has" in refused.stdout + refused.stderr
    git(hooked, "restore", ".")

    git(hooked, "rm", "shop/snapshots/dev/customers/part-00000.parquet")
    refused = git(hooked, "commit", "--message=deleted", check=False)
    assert refused.returncode == 1
    assert "customers/part-00000.parquet: missing" in refused.stdout + refused.stderr
