"""Compare files with manifests: length and SHA-256, which chunks changed if they differ, and whether git tracks all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError

from snapseed.config import Project
from snapseed.errors import SnapshotError, UsageError
from snapseed.events import Advanced, Listener, ignore
from snapseed.snapshot.arrow import in_one_piece
from snapseed.snapshot.hashing import fingerprint
from snapseed.snapshot.manifest import FILE_NAME, RESTORE, EntityRecord, PartFile
from snapseed.snapshot.store import Snapshot, file_problem, open_snapshot


@dataclass(frozen=True)
class FileFinding:
    """A file that is not what the manifest says. `chunks` are the numbers of the chunks whose rows changed."""

    entity: str | None
    path: str
    problem: str
    chunks: tuple[int, ...] = ()

    def __str__(self) -> str:
        place = f" (chunk {', '.join(map(str, self.chunks))})" if self.chunks else ""
        return f"{self.path}{place}: {self.problem}"


def verify_files(snapshot: Snapshot, *, only: Sequence[str] = (), listener: Listener = ignore) -> list[FileFinding]:
    """Everything that is wrong with the files; extra files count only if all entities are compared.

    The listener gets `Advanced` in bytes after each file.
    """
    entities = snapshot.manifest.chosen(only)
    total, done = sum(entity.bytes for entity in entities), 0
    findings = []
    for entity in entities:
        for file in entity.files:
            if problem := file_problem(snapshot, file):
                findings.append(FileFinding(entity.name, file.path, problem, _changed_chunks(snapshot, entity, file)))
            done += file.bytes
            listener(Advanced("files", done, total, unit="bytes"))
    if not only:
        extra = sorted(snapshot.present_files() - snapshot.named_files().keys())
        findings += [FileFinding(None, path, "not named by the manifest") for path in extra]
    return findings


def require_none(findings: Sequence[FileFinding], snapshot: Snapshot) -> None:
    """Raise `SnapshotError` that lists the findings, if there are any."""
    if findings:
        raise SnapshotError(
            f"the files of snapshot {snapshot.manifest.name!r} are not what its manifest says",
            where=str(snapshot.folder),
            observed="; ".join(map(str, findings)),
            next_step=RESTORE,
        )


def _changed_chunks(snapshot: Snapshot, entity: EntityRecord, file: PartFile) -> tuple[int, ...]:
    """The chunks of a damaged file that cannot be read or whose rows changed; empty if the file cannot be opened."""
    try:
        part = snapshot.open_part(file)
    except Exception:  # noqa: BLE001 - a damaged footer can cause any error
        return ()
    changed = []
    with part:
        for number, chunk in enumerate(file.chunks[: part.num_row_groups]):
            try:
                table = part.read_row_group(number, use_threads=False)
                columns = [in_one_piece(table.column(column.name)) for column in entity.columns]
                if fingerprint(columns, entity.kinds) != chunk.digest():
                    changed.append(number)
            except Exception:  # noqa: BLE001 - so can damaged data
                changed.append(number)
    return tuple(changed)


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
    untracked, named = snapshot.present_files() - tracked, snapshot.named_files()
    findings = [FileFinding(entity, path, "not added to git") for path, entity in named.items() if path in untracked]
    manifest = snapshot.manifest
    return CommittedResult(name, manifest.identity, manifest.rows, (*verify_files(snapshot), *findings))


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
