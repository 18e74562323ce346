"""Compare files with manifests: length and SHA-256, the rows in them, and whether git tracks all files.

Rows are read for a file whose SHA-256 differs, to name the chunks that changed, and of every file on request.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from snapseed.config import Project
from snapseed.errors import SnapshotError, UsageError
from snapseed.events import Advanced, Listener, ignore
from snapseed.snapshot.hashing import EMPTY, fingerprint
from snapseed.snapshot.keys import key_at
from snapseed.snapshot.manifest import FILE_NAME, RESTORE, EntityRecord, PartFile
from snapseed.snapshot.parquet import Part
from snapseed.snapshot.store import Snapshot, file_problem, open_snapshot
from snapseed.snapshot.store_git import git

# What is compared of the files: nothing, length and SHA-256, or these and the rows in them.
FileCheck = Literal["skip", "digests", "rows"]


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


def verify_files(
    snapshot: Snapshot,
    *,
    only: Sequence[str] = (),
    rows: bool = False,
    before_load: bool = False,
    listener: Listener = ignore,
) -> list[FileFinding]:
    """Everything that is wrong with the files; extra files count only if all entities are compared.

    With `rows`, the columns, types, keys and rows of each file are compared with the manifest too, without a server.
    `before_load`, files in a bucket are only listed: a load compares their SHA-256 while it reads them. The listener
    gets `Advanced` in bytes after each file.
    """
    entities = snapshot.manifest.chosen(only)
    if before_load and (sizes := snapshot.sizes_in_bucket()) is not None:
        return [
            FileFinding(entity.name, file.path, "missing" if size is None else f"has {size} bytes, not {file.bytes}")
            for entity in entities
            for file in entity.files
            if (size := sizes.get(snapshot.place.key(file))) != file.bytes
        ]
    total, done = sum(entity.bytes for entity in entities), 0
    findings = []
    for entity in entities:
        for file in entity.files:
            problem = file_problem(snapshot, file)
            if problem or rows:
                findings += _row_findings(snapshot, entity, file, problem)
            done += file.bytes
            listener(Advanced("files", done, total, unit="bytes"))
    if not only:
        schema = snapshot.manifest.schema_file
        if schema and (problem := file_problem(snapshot, schema)):
            findings.append(FileFinding(None, schema.path, problem))
        present = snapshot.place.present()
        extra = sorted(present - snapshot.named_files().keys()) if present else []
        findings += [FileFinding(None, path, "not named by the manifest") for path in extra]
    return findings


def require_none(findings: Sequence[FileFinding], snapshot: Snapshot) -> None:
    """Raise `SnapshotError` that lists the findings, if there are any."""
    if findings:
        raise SnapshotError(
            f"the files of snapshot {snapshot.manifest.name!r} are not what its manifest says",
            where=str(snapshot.place),
            observed="; ".join(map(str, findings)),
            next_step=RESTORE,
        )


def _row_findings(snapshot: Snapshot, entity: EntityRecord, file: PartFile, problem: str | None) -> list[FileFinding]:
    """The problem with the file, and the chunks whose rows changed; without one, a finding for each such chunk."""
    finding = partial(FileFinding, entity.name, file.path)
    findings = []
    try:
        with snapshot.open_part(entity, file, altered=problem is not None) as part:
            differences = ((number, _chunk_difference(part, entity, number)) for number in range(len(file.chunks)))
            findings += [finding(difference, (number,)) for number, difference in differences if difference]
    except SnapshotError as exc:
        findings.append(finding(f"cannot be read: {exc.observed}"))
    return [finding(problem, tuple(chain(*(each.chunks for each in findings))))] if problem else findings


def _chunk_difference(part: Part, entity: EntityRecord, number: int) -> str | None:
    """In what the rows of a chunk, computed from the file, differ from the manifest."""
    chunk, observed, first_key = part.file.chunks[number], EMPTY, None
    try:
        for batch in part.batches(number, [column.name for column in entity.columns]):
            if first_key is None:
                first_key = key_at(batch, entity.key_columns, 0)
            observed += fingerprint(batch.columns, entity.kinds)
    except SnapshotError as exc:
        return f"cannot be read: {exc.observed}"
    except ValueError as exc:
        return f"a value that the table cannot have: {exc}"
    if observed != chunk.digest():
        return f"{observed.rows:,} rows with fingerprint {observed}, expected {chunk.rows:,} with {chunk.fingerprint}"
    expected = chunk.first_key
    return None if first_key == expected else f"begins with the key {first_key}, expected {expected}"


@dataclass(frozen=True)
class CommittedResult:
    """One snapshot, and what is wrong with it. Without a valid manifest, `identity` is None."""

    snapshot: str
    identity: str | None
    rows: int
    findings: tuple[FileFinding, ...]


def verify_committed(project: Project, *, rows: bool = False) -> list[CommittedResult]:
    """Compare the files of each snapshot that git tracks with its manifest as `verify_files` does, sorted by name.

    All snapshots, not only changed ones: a file that was deleted or never added breaks a snapshot too, and does not
    appear in a list of changed files. Raises `UsageError` without git, or outside of a work tree.
    """
    return [_verify(project, name, tracked, rows=rows) for name, tracked in sorted(_tracked(project).items())]


def _verify(project: Project, name: str, tracked: set[str], *, rows: bool) -> CommittedResult:
    """Compare the files of one snapshot, of which git has `tracked` these."""
    try:
        snapshot = open_snapshot(project.snapshots, name)
    except SnapshotError as exc:
        problem = exc.summary + (f": {exc.observed}" if exc.observed else "")
        return CommittedResult(name, None, 0, (FileFinding(None, FILE_NAME, problem),))
    untracked, named = snapshot.place.present() - tracked, snapshot.named_files()
    findings = [FileFinding(entity, path, "not added to git") for path, entity in named.items() if path in untracked]
    manifest = snapshot.manifest
    return CommittedResult(name, manifest.identity, manifest.rows, (*verify_files(snapshot, rows=rows), *findings))


def _tracked(project: Project) -> dict[str, set[str]]:
    """The files in git's index below the folder of snapshots, by snapshot."""
    # A hook's GIT_INDEX_FILE is relative to the folder that git runs the hook in, so stay there if possible.
    here = Path.cwd()
    folder = here if project.folder.is_relative_to(here) else project.folder
    done = git(folder, "ls-files", "-z", "--cached", "--", str(project.snapshots.folder))
    if done.returncode:
        said, summary = done.stderr.decode(errors="replace").strip(), "git cannot say which snapshots are committed"
        raise UsageError(summary, where=str(project.snapshots), observed=said)
    files: dict[str, set[str]] = {}
    for text in filter(None, os.fsdecode(done.stdout).split("\0")):
        path = Path(os.path.normpath(folder / text)).relative_to(project.snapshots.folder)
        # A file directly in the folder of snapshots belongs to no snapshot.
        if len(path.parts) > 1:
            files.setdefault(path.parts[0], set()).add(Path(*path.parts[1:]).as_posix())
    return files
