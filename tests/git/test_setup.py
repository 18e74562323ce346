"""`snapseed git setup` writes settings of this clone and lines of .gitattributes, once, and takes them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from snapseed.config import find_project
from snapseed.errors import UsageError
from snapseed.git.drivers import set_up, settings
from tests.conftest import Sandbox
from tests.git.conftest import Repository

NAMES = [*settings(), ".gitattributes"]


def settings_of(repository: Repository) -> dict[str, str]:
    """What the clone's configuration has of us."""
    listed = repository.git("config", "--local", "--list").stdout.splitlines()
    return dict(line.split("=", 1) for line in listed if ".snapseed." in line)


def test_a_second_time_changes_nothing(repository: Repository) -> None:
    """Neither the settings nor the file, which was committed with the lines."""
    before = settings_of(repository)
    assert before == settings()
    assert set_up(find_project(repository.project)) == dict.fromkeys(NAMES, "left as it was")
    assert settings_of(repository) == before
    assert repository.git("status", "--short").stdout == ""


def test_what_was_there_before_is_told(repository: Repository) -> None:
    """A setting of the same name is replaced and shown; lines of others that mean the same are enough."""
    repository.git("config", "diff.snapseed.textconv", "cat")
    repository.git("rm", "--quiet", "*.gitattributes")
    (repository.root / ".gitattributes").write_text("*.parquet diff=lfs\n*.parquet diff=snapseed\n")
    assert set_up(find_project(repository.project))["diff.snapseed.textconv"] == "replaced, was: cat"
    added = (repository.root / ".gitattributes").read_text().splitlines()[2:]
    assert added == ['"the project/snapshots/**/manifest.json" merge=snapseed']


def test_it_can_be_undone(repository: Repository) -> None:
    """The settings are gone, and the lines in .gitattributes do nothing without them."""
    done = set_up(find_project(repository.project), undo=True)
    assert done.pop(".gitattributes") == "left as it was"
    assert {what.partition(",")[0] for what in done.values()} == {"removed"}
    assert settings_of(repository) == {}
    assert set(set_up(find_project(repository.project), undo=True).values()) == {"left as it was"}
    repository.write(users=[["Ada"]])
    assert "Binary files" in repository.git("diff").stdout


def test_it_says_where_it_does_not_work(tmp_path: Path) -> None:
    """Outside of a repository, also to undo it; and for snapshots that are not in the repository."""
    file = tmp_path / "project" / "snapseed.toml"
    file.parent.mkdir()
    for setting in ("", 'snapshots = "../elsewhere"', 'snapshots = "s3://bucket/here"'):
        file.write_text(f"[snapseed]\n{setting}\n[environments.dev]\n")
        for undo in (False, True):
            if setting and undo:
                continue
            with pytest.raises(UsageError):
                set_up(find_project(file.parent), undo=undo)
        Repository(file.parent, file.parent).git("init", "--quiet")


def test_snapshots_beside_the_project(repository: Repository) -> None:
    """In the same repository: the lines match, and stay the same."""
    file = repository.project / "snapseed.toml"
    file.write_text(file.read_text().replace("[snapseed]", '[snapseed]\nsnapshots = "../data"'))
    assert set_up(find_project(repository.project))[".gitattributes"] == "added 2 lines"
    assert set_up(find_project(repository.project))[".gitattributes"] == "left as it was"


def test_what_git_refuses_is_an_error(repository: Repository) -> None:
    """As where another process changes the configuration."""
    (repository.root / ".git" / "config.lock").touch()
    with pytest.raises(UsageError):
        set_up(find_project(repository.project), undo=True)


def test_the_command_says_what_it_did(repository: Repository) -> None:
    """As lines and as a document."""
    sandbox = Sandbox(repository.project, "")
    assert "diff.snapseed.textconv" in sandbox.run("git", "setup", check=True).stdout
    done = sandbox.run_json("git", "setup", "--undo")["done"]
    assert list(done) == NAMES  # type: ignore[call-overload]
