"""`snapseed git`: set up a clone, so that git shows the rows of committed snapshots and merges their manifests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from snapseed.cli.init import write_one
from snapseed.cli.options import Call, in_project
from snapseed.config import Project
from snapseed.errors import UsageError

git_app = typer.Typer(name="git", help="Let git show and merge committed snapshots.", no_args_is_help=True)
_ATTRIBUTES = ".gitattributes"
_LEFT = "left as it was"


@git_app.command()
@in_project("results")
def setup(call: Call, undo: Annotated[bool, "Remove the settings of this clone again."] = False) -> None:
    """Let `git diff`, `git log -p` and `git show` print rows, and `git merge` merge snapshots, in this clone."""
    done = remove(call.project) if undo else set_up(call.project)
    advice = (
        f"{_ATTRIBUTES} stays: without these settings its lines do nothing"
        if undo
        else f"commit {_ATTRIBUTES}; every clone runs `snapseed git setup` once. To undo it: snapseed git setup --undo"
    )
    call.show([*(f"  {name:<24} {what}" for name, what in done.items()), advice], {"done": done})


def set_up(project: Project) -> dict[str, str]:
    """Give git the drivers, in the configuration of this clone, and the files they are for, in .gitattributes.

    Returns what became of each setting, and of that file.
    """
    from snapseed.git.drivers import settings

    done = {name: _set(project.folder, name, value) for name, value in settings().items()}
    lines = list(_missing_attributes(project.folder, project.snapshots.folder))
    text = "".join(f"{line}\n" for line in lines)
    return {**done, _ATTRIBUTES: write_one(project.folder / _ATTRIBUTES, text) if lines else _LEFT}


def remove(project: Project) -> dict[str, str]:
    """Take the drivers out of the configuration of this clone."""
    from snapseed.git.drivers import settings

    return {name: _set(project.folder, name, None) for name in settings()}


def _set(folder: Path, name: str, value: str | None) -> str:
    """Give a setting of this clone a value, or remove it."""
    found = _git(folder, "config", "--local", "--get", name)
    before = found.stdout.removesuffix("\n") if found.returncode == 0 else None
    if before == value:
        return _LEFT
    if value is None:
        _git(folder, "config", "--local", "--unset-all", name, check=True)
        return f"removed, was: {before}"
    _git(folder, "config", "--local", "--replace-all", name, value, check=True)
    return "set" if before is None else f"replaced, was: {before}"


def _missing_attributes(folder: Path, snapshots: Path) -> Iterator[str]:
    """The lines that .gitattributes lacks: asked of git, because other lines and files may say the same."""
    inside = os.path.relpath(snapshots, folder)
    if inside.startswith(os.pardir):
        raise UsageError(
            "the snapshots are not below the project",
            observed=str(snapshots),
            expected=f"a folder below {folder}",
            next_step="only what is committed with the project can be shown by git",
        )
    for pattern, attributes in (("*.parquet", "-text -merge diff=snapseed"), ("manifest.json", "merge=snapseed")):
        name = attributes.rpartition(" ")[2].partition("=")[0]
        example = os.path.join(inside, "x", pattern.replace("*", "x"))  # noqa: PTH118 - as git names it
        if not _git(folder, "check-attr", name, "--", example, check=True).stdout.endswith(" snapseed\n"):
            path = "**/" + pattern if inside == os.curdir else f"{inside}/**/{pattern}"
            yield f"{json.dumps(path, ensure_ascii=False) if ' ' in path else path} {attributes}"


def _git(folder: Path, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run git. With `check`, raises `UsageError` if it fails."""
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise UsageError("git cannot be run", where=str(folder), observed=str(exc)) from exc
    if check and done.returncode:
        said = done.stderr.strip()
        raise UsageError(
            "git refused", where=str(folder), observed=said, next_step="run this inside of a git repository"
        )
    return done
