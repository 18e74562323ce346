"""Verify every snapshot that is committed: its files against its manifest, and whether git has all of them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from snapseed.config import Project
from snapseed.errors import SnapshotError, UsageError
from snapseed.snapshot.manifest import FILE_NAME
from snapseed.snapshot.store import open_snapshot
from snapseed.verify.files import FileFinding, verify_files


@dataclass(frozen=True)
class CommittedResult:
    """What is wrong with one snapshot, nothing where `findings` is empty; no `identity` without a valid manifest."""

    snapshot: str
    identity: str | None
    rows: int
    findings: list[FileFinding]


def verify_committed(project: Project) -> list[CommittedResult]:
    """Compare the files of each snapshot that git tracks with its manifest, in the order of their names.

    All of them, not those that changed: a snapshot is broken, too, by a file that was deleted or never added, and no
    list of changed files names that one. Raises `UsageError` where there is no git, or no work tree of it.
    """
    results = []
    for name, tracked in sorted(_tracked(project).items()):
        try:
            snapshot = open_snapshot(project.snapshots, name)
        except SnapshotError as exc:
            problem = exc.summary + (f": {exc.observed}" if exc.observed else "")
            results.append(CommittedResult(name, None, 0, [FileFinding(None, FILE_NAME, problem)]))
            continue
        manifest = snapshot.manifest
        findings = verify_files(snapshot)
        named = [
            (None, FILE_NAME),
            *((entity.name, file.path) for entity in manifest.entities for file in entity.files),
        ]
        present = [(entity, path) for entity, path in named if (snapshot.folder / path).exists()]
        findings += [FileFinding(entity, path, "not added to git") for entity, path in present if path not in tracked]
        rows = sum(entity.rows for entity in manifest.entities)
        results.append(CommittedResult(name, manifest.identity, rows, findings))
    return results


def _tracked(project: Project) -> dict[str, set[str]]:
    """The files in git's index below the folder of snapshots, by snapshot."""
    # A hook's GIT_INDEX_FILE is relative to the folder that git runs the hook in: ours is not left without need.
    here = Path.cwd()
    folder = here if project.folder.is_relative_to(here) else project.folder
    command = ["git", "ls-files", "-z", "--cached", "--", str(project.snapshots)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        said = (
            exc.stderr.decode(errors="replace").strip() if isinstance(exc, subprocess.CalledProcessError) else str(exc)
        )
        raise UsageError(
            "git cannot say which snapshots are committed", where=str(project.snapshots), observed=said
        ) from exc
    files: dict[str, set[str]] = {}
    for text in filter(None, os.fsdecode(done.stdout).split("\0")):
        path = Path(os.path.normpath(folder / text)).relative_to(project.snapshots)
        # A file beside the snapshots is none of them.
        if len(path.parts) > 1:
            files.setdefault(path.parts[0], set()).add(Path(*path.parts[1:]).as_posix())
    return files
