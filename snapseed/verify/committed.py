"""Verify every committed snapshot: its files against its manifest, and whether git tracks all of them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError

from snapseed.config import Project
from snapseed.errors import SnapshotError, UsageError
from snapseed.snapshot.manifest import FILE_NAME
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import FileFinding, verify_files


@dataclass(frozen=True)
class CommittedResult:
    """One snapshot, and what is wrong with it. Without a valid manifest, `identity` is None."""

    snapshot: str
    identity: str | None
    rows: int
    findings: tuple[FileFinding, ...]


def verify_committed(project: Project) -> list[CommittedResult]:
    """Compare the files of each snapshot that git tracks with its manifest, sorted by name.

    All snapshots, not only changed ones: a file that was deleted or never added breaks a snapshot too, and does not
    appear in a list of changed files. Raises `UsageError` without git, or outside of a work tree.
    """
    return [_verify(project, name, tracked) for name, tracked in sorted(_tracked(project).items())]


def _verify(project: Project, name: str, tracked: set[str]) -> CommittedResult:
    try:
        snapshot = open_snapshot(project.snapshots, name)
    except SnapshotError as exc:
        problem = exc.summary + (f": {exc.observed}" if exc.observed else "")
        return CommittedResult(name, None, 0, (FileFinding(None, FILE_NAME, problem),))
    untracked = snapshot.present_files() - tracked
    findings = verify_files(snapshot)
    findings += [
        FileFinding(entity, path, "not added to git")
        for path, entity in snapshot.named_files().items()
        if path in untracked
    ]
    manifest = snapshot.manifest
    return CommittedResult(name, manifest.identity, manifest.rows, tuple(findings))


def _tracked(project: Project) -> dict[str, set[str]]:
    """The files in git's index below the folder of snapshots, by snapshot."""
    # A hook's GIT_INDEX_FILE is relative to the folder that git runs the hook in, so stay there if possible.
    here = Path.cwd()
    folder = here if project.folder.is_relative_to(here) else project.folder
    command = ["git", "ls-files", "-z", "--cached", "--", str(project.snapshots)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    except (OSError, CalledProcessError) as exc:
        said = exc.stderr.decode(errors="replace").strip() if isinstance(exc, CalledProcessError) else str(exc)
        summary = "git cannot say which snapshots are committed"
        raise UsageError(summary, where=str(project.snapshots), observed=said) from exc
    files: dict[str, set[str]] = {}
    for text in filter(None, os.fsdecode(done.stdout).split("\0")):
        path = Path(os.path.normpath(folder / text)).relative_to(project.snapshots)
        # A file directly in the folder of snapshots belongs to no snapshot.
        if len(path.parts) > 1:
            files.setdefault(path.parts[0], set()).add(Path(*path.parts[1:]).as_posix())
    return files
